"""Writes the status, only if something changed, and tells people what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.conditions import READY
from maskinporten_operator.plan.status import build_status, check_status, find_condition, stays_ready

if TYPE_CHECKING:
    from maskinporten_operator.plan.outcomes import Outcome, Progress
    from maskinporten_operator.reconcile.ports import Ports


async def report(outcome: Outcome, progress: Progress[Any], ports: Ports, correlation_id: str) -> None:
    """Make the status say how the pass ended.

    Raises:
        OperatorError: The status couldn't be written; the next pass writes it.
    """
    resource = progress.resource
    if not outcome.verdicts or stays_ready(outcome, progress):
        return
    before = find_condition(resource.status, READY) or {}
    status = build_status(outcome, progress, ports.clock.now(), correlation_id)
    if check_status(resource.status, status):
        progress.wrote = True
        await ports.cluster.write_status(resource.meta, status)
    verdict = outcome.verdicts[0]
    if progress.actions:
        message = "; ".join(progress.actions)
        ports.announcer.announce(resource.meta, "Normal", "Synchronized", message[0].upper() + message[1:])
    if verdict.status == "False" and (before.get("reason"), before.get("message")) != (
        verdict.reason,
        verdict.message,
    ):
        ports.announcer.announce(resource.meta, "Warning", str(verdict.reason), verdict.message)
