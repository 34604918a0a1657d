"""Writes the status, only if something changed, and tells people what happened."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.conditions import CONSUMERS_VALID, READY, SCOPES_DECLARED
from maskinporten_operator.model.errors import ForbiddenError, OperatorError, RejectedError
from maskinporten_operator.plan.status import (
    MAX_MESSAGE_LENGTH,
    build_status,
    check_status,
    stays_ready,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.model.status_hint import StatusHint
    from maskinporten_operator.plan.outcomes import Outcome
    from maskinporten_operator.reconcile.ports import Cluster, Ports
    from maskinporten_operator.reconcile.progress import Action, News, Progress


WARNED_OF = frozenset({READY, CONSUMERS_VALID, SCOPES_DECLARED})
"""The conditions of which an Event tells when they turn False: somebody must do something."""


async def report(outcome: Outcome, progress: Progress[Any], ports: Ports, correlation_id: str) -> None:
    """Make the status say how the pass ended.

    Raises:
        OperatorError: The status couldn't be written; the next pass writes it.
    """
    resource, current = progress.resource, progress.resource.status
    outcome = replace(outcome, verdicts=progress.complete(outcome.verdicts))
    news = _find_actions(progress.actions)
    try:
        if outcome.verdicts and not stays_ready(outcome, resource.meta, current, impaired=progress.impaired):
            facts, now = progress.build_facts(), ports.clock.now()
            status = build_status(outcome, current, facts, progress.generation, now, correlation_id)
            end = progress.find_news(outcome.verdicts[0])
            if end or check_status(current.fields, status):
                progress.wrote = True
                await ports.cluster.write_status(resource.meta, status)
            news += [*([end] if end else []), *_find_warnings(outcome, current)]
    except (RejectedError, ForbiddenError) as error:
        # Nothing else tells of it where people look.
        news.append(("Warning", str(error.reason), f"The status can't be written: {error}"))
        raise
    finally:
        # What was done is announced, whether or not the status could be written.
        await _announce(news, resource.meta, ports)


async def _announce(news: Sequence[News], meta: ObjectMeta, ports: Ports) -> None:
    is_leaving = meta.deleting or ports.known.namespaces.is_ending(meta.namespace)
    if news and is_leaving and await _is_ending(meta.namespace, ports.cluster):
        return  # Events can't be created there any more
    for kind, reason, message in news:
        ports.announcer.announce(meta, kind, reason, message)


async def _is_ending(namespace: str, cluster: Cluster) -> bool:
    try:
        return await cluster.is_namespace_terminating(namespace)
    except OperatorError:
        return False  # an Event too many is refused


def _find_actions(actions: Sequence[Action]) -> list[News]:
    """Tell what was done: one Event for each kind of thing."""
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for action in actions:
        by_reason[action.reason].append(action.text)
    return [("Normal", reason, _capitalize("; ".join(texts))) for reason, texts in by_reason.items()]


def _find_warnings(outcome: Outcome, status: StatusHint) -> list[News]:
    """Tell of conditions that turned False, or are so for another reason."""
    warnings: list[News] = []
    for verdict in outcome.verdicts:
        before = status.find_condition(verdict.type)
        previous = before and (before.status, before.reason, before.message)
        is_news = previous != (verdict.status, verdict.reason, verdict.message[:MAX_MESSAGE_LENGTH])
        if verdict.type in WARNED_OF and verdict.status == "False" and is_news:
            warnings.append(("Warning", str(verdict.reason), verdict.message))
    return warnings


def _capitalize(text: str) -> str:
    return text[0].upper() + text[1:]
