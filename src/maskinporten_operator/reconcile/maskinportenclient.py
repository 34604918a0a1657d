"""One pass over one MaskinportenClient."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import structlog

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import OperatorError, RejectedError, TransientError
from maskinporten_operator.model.resources import InvalidSpec, parse
from maskinporten_operator.plan.decisions import TOUCHES_REGISTRATION
from maskinporten_operator.plan.maskinportenclient import plan_maskinportenclient
from maskinporten_operator.plan.outcomes import DONE, Outcome, Progress, fail, succeed
from maskinporten_operator.reconcile.execute import execute
from maskinporten_operator.reconcile.finalize import finalize
from maskinporten_operator.reconcile.observe import observe, read_again
from maskinporten_operator.reconcile.report import report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.reconcile.ports import Ports, Sighting

log = structlog.get_logger()


async def reconcile_maskinportenclient(body: Mapping[str, Any], sighting: Sighting, ports: Ports) -> Outcome:
    """Bring one resource a pass nearer to its spec, and say how that ended. Raises nothing but cancellation."""
    progress = Progress(parse(body))
    correlation_id = ports.random.hex(32)
    with structlog.contextvars.bound_contextvars(correlation_id=correlation_id):
        outcome = await _attempt(progress, sighting, ports)
        try:
            await report(outcome, progress, ports, correlation_id)
        except OperatorError as error:
            outcome = fail(error)
        except Exception as error:  # noqa: BLE001 - as in a pass
            outcome = _fail_internally(error)
        _log(outcome, progress)
    return outcome


async def _attempt(progress: Progress, sighting: Sighting, ports: Ports) -> Outcome:
    resource = progress.resource
    try:
        if resource.meta.deleting:
            await finalize(resource, sighting, progress, ports)
            return DONE
        if isinstance(resource.spec, InvalidSpec):
            raise RejectedError(Reason.INVALID_SPEC, resource.spec.message)  # noqa: TRY301 - one way to an outcome

        seen = await observe(progress, resource.spec, sighting, ports)
        plan = plan_maskinportenclient(seen, ports.policy, ports.clock.now())
        if not seen.fresh and any(isinstance(step, TOUCHES_REGISTRATION) for step in plan.steps) and seen.registration:
            seen = await read_again(seen, ports)
            plan = plan_maskinportenclient(seen, ports.policy, ports.clock.now())
        await execute(plan, seen, progress, ports)
    except OperatorError as error:
        return fail(error)
    except Exception as error:  # noqa: BLE001 - a fault of ours in one resource must not stop the others
        return _fail_internally(error)
    return fail(plan.hold, plan.notices) if plan.hold else succeed(plan.notices, plan.next_look)


def _fail_internally(error: Exception) -> Outcome:
    """Tell where a fault of ours is. The text of an arbitrary exception may quote what it worked on, such as a key."""
    place = "".join(traceback.format_tb(error.__traceback__))
    log.error("internal error", error=type(error).__name__, exception=place)
    return fail(TransientError(Reason.INTERNAL_ERROR, "A fault in the operator; its log tells where"))


def _log(outcome: Outcome, progress: Progress) -> None:
    verdict = outcome.verdicts[0] if outcome.verdicts else None
    if not progress.actions and (verdict is None or verdict.status == "True"):
        return
    log.log(
        outcome.level,
        "reconciled" if verdict is None or verdict.status == "True" else "not ready",
        reason=str(verdict.reason) if verdict else None,
        message=verdict.message if verdict and verdict.status != "True" else None,
        actions=progress.actions or None,
        generation=progress.generation,
    )
