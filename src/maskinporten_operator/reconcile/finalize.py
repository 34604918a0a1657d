"""The deletion path: it needs marks and an API, never a valid spec; absent is done.

Deleting for good goes the other way round: consumers' access, the scopes, keys and client, and last the finalizer. A
crash after any step leaves the finalizer, and the next pass finds by description what is left.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import RejectedError, WaitingError
from maskinporten_operator.model.maskinportenclient import (
    DELETE_ANNOTATION,
    DIGDIRATOR_FINALIZERS,
    FINALIZER,
    PRESERVE_ANNOTATION,
    RESYNC_ANNOTATION,
    MaskinportenClient,
)
from maskinporten_operator.plan.maskinportenclient import Absence, build_mass_absence
from maskinporten_operator.plan.scopes import build_activation, find_owner, find_told_scopes
from maskinporten_operator.reconcile.observe import count_missing

if TYPE_CHECKING:
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.plan.outcomes import ClientProgress
    from maskinporten_operator.plan.policy import Policy
    from maskinporten_operator.reconcile.place import Place
    from maskinporten_operator.reconcile.ports import Ports, Sighting


async def finalize(
    resource: MaskinportenClient, sighting: Sighting, place: Place, progress: ClientProgress, ports: Ports
) -> None:
    """Let the resource go; delete what is its own at DigDir first, only if somebody asked for it.

    One in a namespace that is going away is let go before its own turn comes: Kubernetes looks for what is left there
    every five seconds, and so is done a turn sooner.

    Raises:
        OperatorError: DigDir or the cluster didn't do its part; the resource stays until they do.
    """
    # Where nothing is looked after, Digdirator may be, and its finalizers are its own.
    takes_over = ports.policy.takes_over and place.is_selected
    if not (resource.marked or (takes_over and resource.left_by_digdirator)):
        return
    if place.is_selected and is_deleted_for_good(resource.meta, ports.policy):
        await _delete_for_good(resource, sighting, progress, ports)
    finalizers = (FINALIZER, *DIGDIRATOR_FINALIZERS) if takes_over else (FINALIZER,)
    await ports.cluster.remove_finalizers(resource.meta, finalizers)


def is_deleted_for_good(meta: ObjectMeta, policy: Policy) -> bool:
    """Whether client and scopes go with the resource. Preserving wins; without a word the cluster's policy holds."""
    if meta.asks(PRESERVE_ANNOTATION):
        return False
    if DELETE_ANNOTATION in meta.annotations:
        return meta.asks(DELETE_ANNOTATION)
    return policy.deletion_policy == "Delete"


async def _delete_for_good(
    resource: MaskinportenClient, sighting: Sighting, progress: ClientProgress, ports: Ports
) -> None:
    # Both are known before anything is deleted: when too much is missing nothing is.
    registrations = await _find_registrations(resource, sighting, ports)
    mark = ports.policy.build_description(resource.meta)
    for name in await _find_scopes(resource, sighting, mark, ports):
        await _delete_scope(name, mark, progress, ports)
    for client_id in registrations:
        await ports.registry.delete(client_id)
        progress.note(f"deleted client {client_id} for good", "ClientDeleted")


async def _find_registrations(resource: MaskinportenClient, sighting: Sighting, ports: Ports) -> list[str]:
    """Find every active registration with our description: one left over would be adopted by a resource to come."""
    registry, description = ports.registry, ports.policy.build_description(resource.meta)
    started = ports.clock.monotonic()
    provable_at = registry.absence_provable_at(description, sighting.at, marked=sighting.marked)
    if provable_at > started and not registry.find(description):
        raise _await_list(provable_at - started)
    await registry.listed_after(started)
    found = {one.client_id for one in registry.find(description)}
    hint = resource.status.get("clientID")
    if isinstance(hint, str) and hint not in found:
        with suppress(RejectedError):  # whoever may write the status may name anybody's
            registration = await registry.read(hint)
            if registration and registration.usable and registration.description == description:
                found.add(hint)
    absence = Absence(None, 0, *count_missing(ports))
    if not found and absence.is_mass and not resource.meta.asks(RESYNC_ANNOTATION):
        raise build_mass_absence(absence)
    return sorted(found)


async def _find_scopes(resource: MaskinportenClient, sighting: Sighting, mark: str, ports: Ports) -> list[str]:
    """Find every scope that may be ours by its description, whatever the spec says; the status may know of more."""
    scopes = ports.scopes
    started = ports.clock.monotonic()
    if (provable_at := scopes.all_provable_at(mark, marked=sighting.marked)) > started:
        raise _await_list(provable_at - started)
    await scopes.listed_after(started)
    names = [scope.name for scope in scopes.find_owned(mark)]
    prefix = f"{ports.policy.scope_prefix}:"
    for name in find_told_scopes(resource.status):
        if name.startswith(prefix) and not scopes.find(name):
            with suppress(RejectedError):  # whoever may write the status may name anybody's
                names += [name] if await scopes.read(name) else []
    return names


async def _delete_scope(name: str, mark: str, progress: ClientProgress, ports: Ports) -> None:
    """Take all access back, then deactivate: whoever activates it again begins with nobody."""
    scope = await ports.scopes.read(name)
    if scope is None or find_owner(scope, ports.policy.cluster) != mark:
        return  # somebody took it over since it was listed
    is_active = scope.active
    access = await ports.scopes.read_access(name, anew=True)
    try:
        for orgno in sorted(access.consumers | access.doubtful):
            try:
                await ports.scopes.revoke(name, orgno)
            except RejectedError:
                if is_active:
                    raise
                # Perhaps DigDir changes no access to an inactive scope: it is active until the access is gone
                await ports.scopes.update(name, build_activation(scope))
                is_active = True
                await ports.scopes.revoke(name, orgno)
            progress.note(f"revoked {name} from {orgno}", "AccessRevoked")
    except RejectedError:
        if is_active and not scope.active:
            await ports.scopes.deactivate(name)  # while the deletion waits nobody gets tokens with it again
        raise
    if is_active:
        await ports.scopes.deactivate(name)
        progress.note(f"deactivated {name}", "ScopeDeactivated")


def _await_list(seconds: float) -> WaitingError:
    return WaitingError(
        Reason.AWAITING_LIST,
        "An earlier attempt may have left something at DigDir: waiting for its list to tell",
        seconds,
    )
