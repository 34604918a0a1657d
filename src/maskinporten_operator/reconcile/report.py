"""Writes the status, only if something changed, and tells people what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.conditions import READY
from maskinporten_operator.model.resources import parse
from maskinporten_operator.plan.status import build_status, check_status, find_condition, stays_ready

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.plan.outcomes import Outcome, Progress
    from maskinporten_operator.reconcile.ports import Ports


async def report(outcome: Outcome, progress: Progress, ports: Ports, correlation_id: str) -> None:
    """Make the status say how the pass ended.

    Raises:
        OperatorError: The status couldn't be written; the next pass writes it.
    """
    resource = progress.resource
    if not outcome.verdicts or stays_ready(resource, outcome):
        return
    before = find_condition(resource.status, READY) or {}
    status = build_status(outcome, progress, ports.clock.now(), correlation_id)
    if ports.cluster.pruned_status_fields is None:
        # After a restart every status differs from one that the CRD cut: one write tells, and spares the others theirs.
        async with ports.first_status:
            await _write(status, progress, ports)
    else:
        await _write(status, progress, ports)
    verdict = outcome.verdicts[0]
    if progress.actions:
        message = "; ".join(progress.actions)
        ports.announcer.announce(resource.meta, "Normal", "Synchronized", message[0].upper() + message[1:])
    if verdict.status == "False" and (before.get("reason"), before.get("message")) != (
        verdict.reason,
        verdict.message,
    ):
        ports.announcer.announce(resource.meta, "Warning", str(verdict.reason), verdict.message)


async def _write(status: Mapping[str, Any], progress: Progress, ports: Ports) -> None:
    resource = progress.resource
    if check_status(resource, status, ports.cluster.pruned_status_fields or frozenset()):
        progress.resource = parse(await ports.cluster.write_status(resource.meta, status))
