"""One pass over one MaskinportenClient."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import OperatorError, RejectedError
from maskinporten_operator.model.maskinportenclient import parse
from maskinporten_operator.model.resources import InvalidSpec
from maskinporten_operator.plan.maskinportenclient import (
    LOOK_AGAIN_FOR_OWN,
    has_become_own,
    judge_maskinportenclient,
    plan_maskinportenclient,
)
from maskinporten_operator.plan.outcomes import DONE, ClientProgress, Outcome, fail, hold_deletion, succeed
from maskinporten_operator.plan.scopes import build_scope_status
from maskinporten_operator.reconcile.attempt import conclude
from maskinporten_operator.reconcile.execute import execute
from maskinporten_operator.reconcile.exposures import recall_exposures
from maskinporten_operator.reconcile.finalize import finalize
from maskinporten_operator.reconcile.observe import find_unread, observe, read_again
from maskinporten_operator.reconcile.place import check_place, find_place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.plan.decisions import Plan
    from maskinporten_operator.plan.maskinportenclient import Snapshot
    from maskinporten_operator.reconcile.ports import Ports, Sighting


async def reconcile_maskinportenclient(body: Mapping[str, Any], sighting: Sighting, ports: Ports) -> Outcome:
    """Bring one resource a pass nearer to its spec, and say how that ended. Raises nothing but cancellation."""
    progress = ClientProgress(parse(body))
    return await conclude(_attempt(progress, sighting, ports), progress, ports)


async def _attempt(progress: ClientProgress, sighting: Sighting, ports: Ports) -> Outcome:
    resource = progress.resource
    place = await find_place(resource.meta.namespace, ports)
    if resource.meta.deleting or place.is_ending:
        try:
            await finalize(resource, sighting, place, progress, ports)
        except OperatorError as error:
            return hold_deletion(error)
        return DONE
    if hold := check_place(place):
        raise hold
    if isinstance(resource.spec, InvalidSpec):
        raise RejectedError(Reason.INVALID_SPEC, resource.spec.message)

    seen = await observe(progress, resource.spec, sighting, ports)
    plan = plan_maskinportenclient(seen, ports.policy, ports.clock.now())
    if unread := find_unread(plan, seen):
        seen = await read_again(seen, unread, ports)
        plan = plan_maskinportenclient(seen, ports.policy, ports.clock.now())
    refusal = await execute(plan, seen, progress, ports)
    return _judge(seen, plan, refusal, progress, ports)


def _judge(
    seen: Snapshot, plan: Plan, refusal: OperatorError | None, progress: ClientProgress, ports: Ports
) -> Outcome:
    if seen.exposures is None:
        assert plan.hold  # only what keeps the resource waiting keeps a pass from looking at its scopes
        return fail(plan.hold)
    exposures = recall_exposures(seen.exposures, ports)
    left = replace(seen, registration=progress.registration, exposures=exposures)
    mark = ports.policy.build_description(seen.resource.meta)
    progress.exposed_scopes = build_scope_status(exposures, mark, ports.policy)
    hold, notices = judge_maskinportenclient(left, plan, ports.policy)
    next_look = LOOK_AGAIN_FOR_OWN if has_become_own(left) else plan.next_look
    if error := refusal or hold:
        return fail(error, notices, next_look)
    return succeed(notices, next_look)
