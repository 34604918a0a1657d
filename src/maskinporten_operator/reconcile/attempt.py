"""The end of a pass of any kind: reported, logged, and never an exception."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import structlog

from maskinporten_operator.model.blockers import Blocker
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import OperatorError
from maskinporten_operator.model.resources import UnreadableSpec
from maskinporten_operator.plan.outcomes import MAX_CONFLICTS, REJECTED_RECHECK_SECONDS, Outcome, not_ready
from maskinporten_operator.reconcile.report import report

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from maskinporten_operator.reconcile.memory import Memory
    from maskinporten_operator.reconcile.ports import Ports
    from maskinporten_operator.reconcile.progress import Progress

OUTAGES = frozenset({Reason.DIGDIR_UNAVAILABLE, Reason.RATE_LIMITED})
"""Reasons for which nothing is begun that can wait."""
log = structlog.get_logger()


async def conclude(attempt: Awaitable[Outcome], progress: Progress[Any], ports: Ports) -> Outcome:
    """Make the attempt, then report how it ended. Raises nothing but cancellation."""
    correlation_id = ports.random.hex(32)
    with structlog.contextvars.bound_contextvars(correlation_id=correlation_id):
        conflicts = _Conflicts(progress.resource.meta.uid, ports.memory)
        try:
            outcome = await attempt
        except OperatorError as error:
            outcome = not_ready(error.blocker)
        except Exception as error:  # noqa: BLE001 - a fault of ours in one resource must not stop the others
            outcome = _internal_error(error)
        outcome = conflicts.weigh(outcome)
        if outcome.verdicts and outcome.verdicts[0].reason in OUTAGES:
            ports.memory.record_outage(ports.clock.monotonic())
        try:
            await report(outcome, progress, ports, correlation_id)
        except OperatorError as error:
            outcome = conflicts.weigh(_spare(not_ready(error.blocker), progress))
        except Exception as error:  # noqa: BLE001 - as in the attempt
            outcome = _internal_error(error)
        conflicts.record()
        _log(outcome, progress)
    acted = bool(progress.actions) or progress.wrote
    return replace(outcome, acted=acted and not outcome.unfinished)


@dataclass(slots=True)
class _Conflicts:
    """The conflicts in a row of one resource's passes, the one under way being the last."""

    uid: str
    memory: Memory
    is_one: bool = False

    def weigh(self, outcome: Outcome) -> Outcome:
        """Replace the outcome of a lasting conflict by its report."""
        if outcome.lasting is None:
            return outcome
        self.is_one = True
        stays = self.memory.conflicts(self.uid) + 1 >= MAX_CONFLICTS
        return outcome.lasting if stays else outcome

    def record(self) -> None:
        """Remember how the pass ended."""
        if self.is_one:
            self.memory.record_conflict(self.uid)
        else:
            self.memory.clear_conflicts(self.uid)


def _spare(outcome: Outcome, progress: Progress[Any]) -> Outcome:
    """Delay the next write of the status of a resource that exceeds the limits.

    The API server may need longer for it than the timeout, and works on it meanwhile, which delays other calls.
    """
    retry = outcome.retry
    if retry is None or retry.at_once or not isinstance(progress.resource.spec, UnreadableSpec):
        return outcome
    return replace(outcome, retry=replace(retry, delay=REJECTED_RECHECK_SECONDS))


def _internal_error(error: Exception) -> Outcome:
    """Log where a fault of ours is, without the exception's text, which may quote a key."""
    place = "".join(traceback.format_tb(error.__traceback__))
    log.error("internal error", error=type(error).__name__, exception=place)
    return not_ready(Blocker("Transient", Reason.INTERNAL_ERROR, "A fault in the operator; its log tells where"))


def _is_known(outcome: Outcome, progress: Progress[Any]) -> bool:
    """Whether a pass that nobody needs to know of found what was said before, as many do while a rollout goes on."""
    return outcome.level <= logging.INFO and not progress.wrote


def _log(outcome: Outcome, progress: Progress[Any]) -> None:
    verdict = outcome.verdicts[0] if outcome.verdicts else None
    if not progress.actions and (verdict is None or verdict.status == "True" or _is_known(outcome, progress)):
        return
    log.log(
        outcome.level,
        "reconciled" if verdict is None or verdict.status == "True" else "not ready",
        reason=str(verdict.reason) if verdict else None,
        message=verdict.message if verdict and verdict.status != "True" else None,
        actions=[action.text for action in progress.actions] or None,
        generation=progress.generation,
    )
