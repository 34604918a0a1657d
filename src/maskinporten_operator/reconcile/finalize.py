"""The deletion path: it needs an id and an API, never a valid spec; absent is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import WaitingError
from maskinporten_operator.model.maskinportenclient import (
    DELETE_ANNOTATION,
    PRESERVE_ANNOTATION,
    RESYNC_ANNOTATION,
    MaskinportenClient,
)
from maskinporten_operator.plan.maskinportenclient import Absence, build_mass_absence
from maskinporten_operator.reconcile.observe import count_missing

if TYPE_CHECKING:
    from maskinporten_operator.plan.outcomes import ClientProgress
    from maskinporten_operator.reconcile.ports import Ports, Sighting


async def finalize(resource: MaskinportenClient, sighting: Sighting, progress: ClientProgress, ports: Ports) -> None:
    """Let the resource go; delete its registration first only if somebody asked for it.

    Raises:
        OperatorError: DigDir or the cluster didn't do its part; the resource stays until they do.
    """
    if not resource.marked:
        return
    meta = resource.meta
    if meta.asks(DELETE_ANNOTATION) and not meta.asks(PRESERVE_ANNOTATION):
        for client_id in await _find_registrations(resource, sighting, ports):
            await ports.registry.delete(client_id)
            progress.actions.append(f"deleted client {client_id} for good")
    await ports.cluster.remove_finalizer(meta)


async def _find_registrations(resource: MaskinportenClient, sighting: Sighting, ports: Ports) -> list[str]:
    """Find every active registration with our description: one left over would be adopted by a resource to come."""
    registry, description = ports.registry, ports.policy.build_description(resource.meta)
    started = ports.clock.monotonic()
    provable_at = registry.absence_provable_at(description, sighting.at, marked=sighting.marked)
    if provable_at > started and not registry.find(description):
        raise WaitingError(
            Reason.AWAITING_LIST,
            "An earlier attempt may have registered a client: waiting for DigDir's list to tell before it is deleted",
            provable_at - started,
        )
    await registry.listed_after(started)
    found = {one.client_id for one in registry.find(description)}
    hint = resource.status.get("clientID")
    if isinstance(hint, str) and hint not in found:
        registration = await registry.read(hint)
        if registration and registration.usable and registration.description == description:
            found.add(hint)
    absence = Absence(None, 0, *count_missing(ports))
    if not found and absence.is_mass and not resource.meta.asks(RESYNC_ANNOTATION):
        raise build_mass_absence(absence)
    return sorted(found)
