"""One pass over one MaskinportenClient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import RejectedError
from maskinporten_operator.model.maskinportenclient import parse
from maskinporten_operator.model.resources import InvalidSpec
from maskinporten_operator.plan.decisions import TOUCHES_REGISTRATION
from maskinporten_operator.plan.maskinportenclient import plan_maskinportenclient
from maskinporten_operator.plan.outcomes import DONE, ClientProgress, Outcome, fail, succeed
from maskinporten_operator.reconcile.attempt import conclude
from maskinporten_operator.reconcile.execute import execute
from maskinporten_operator.reconcile.finalize import finalize
from maskinporten_operator.reconcile.observe import observe, read_again

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.reconcile.ports import Ports, Sighting


async def reconcile_maskinportenclient(body: Mapping[str, Any], sighting: Sighting, ports: Ports) -> Outcome:
    """Bring one resource a pass nearer to its spec, and say how that ended. Raises nothing but cancellation."""
    progress = ClientProgress(parse(body))
    return await conclude(_attempt(progress, sighting, ports), progress, ports)


async def _attempt(progress: ClientProgress, sighting: Sighting, ports: Ports) -> Outcome:
    resource = progress.resource
    if resource.meta.deleting:
        await finalize(resource, sighting, progress, ports)
        return DONE
    if isinstance(resource.spec, InvalidSpec):
        raise RejectedError(Reason.INVALID_SPEC, resource.spec.message)

    seen = await observe(progress, resource.spec, sighting, ports)
    plan = plan_maskinportenclient(seen, ports.policy, ports.clock.now())
    if not seen.fresh and any(isinstance(step, TOUCHES_REGISTRATION) for step in plan.steps) and seen.registration:
        seen = await read_again(seen, ports)
        plan = plan_maskinportenclient(seen, ports.policy, ports.clock.now())
    await execute(plan, seen, progress, ports)
    return fail(plan.hold, plan.notices) if plan.hold else succeed(plan.notices, plan.next_look)
