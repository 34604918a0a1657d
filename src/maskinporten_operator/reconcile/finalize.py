"""The deletion of a resource, whether or not its spec is valid."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from maskinporten_operator.model.blockers import Blocker
from maskinporten_operator.model.errors import OperatorError, RejectedError
from maskinporten_operator.plan.exposed_scopes import MAX_READS, MAX_WRITES, is_owned_scope
from maskinporten_operator.plan.outcomes import DONE, Outcome, continue_deletion, deletion_blocked
from maskinporten_operator.plan.teardown import (
    OwnedScope,
    TeardownSnapshot,
    check_clients,
    check_unfinished,
    find_finalizers,
    is_deleted_for_good,
    plan_teardown,
)
from maskinporten_operator.reconcile.execute import execute_teardown
from maskinporten_operator.reconcile.exposures import find_round
from maskinporten_operator.reconcile.observe import count_missing

if TYPE_CHECKING:
    from maskinporten_operator.model.maskinportenclient import MaskinportenClient
    from maskinporten_operator.plan.registration_settings import RegistrationSettings
    from maskinporten_operator.reconcile.memory import Round
    from maskinporten_operator.reconcile.namespace_state import NamespaceState
    from maskinporten_operator.reconcile.ports import Digdir, FirstSeen, Ports, RegistrationIndex, ScopeIndex
    from maskinporten_operator.reconcile.progress import ClientProgress


async def finalize(progress: ClientProgress, first_seen: FirstSeen, namespace: NamespaceState, ports: Ports) -> Outcome:
    """Delete what is the resource's at DigDir, if that was asked for, and remove the finalizers.

    In a namespace that is being deleted this happens before the resource's own deletion: the namespace controller
    retries every five seconds, and is done one retry sooner.
    """
    meta = progress.resource.meta
    finalizers = find_finalizers(meta, ports.settings, is_selected=namespace.is_selected)
    if not finalizers:
        return DONE
    try:
        seen = TeardownSnapshot(meta, finalizers)
        if namespace.is_selected and is_deleted_for_good(meta, ports.settings):
            seen = await _observe(progress.resource, finalizers, first_seen, ports)
        plan = plan_teardown(seen)
        if not isinstance(plan, Blocker):
            await execute_teardown(plan, progress, ports)
    except OperatorError as error:
        plan = error.blocker
    if not isinstance(plan, Blocker) and (unfinished := check_unfinished(seen)):
        round_ = find_round(progress.resource, ports.memory, ports.clock, deletes=True)
        round_.read.update(scope.name for scope in seen.scopes)
        return continue_deletion(unfinished)
    ports.memory.end_round(meta.uid)
    return deletion_blocked(plan) if isinstance(plan, Blocker) else DONE


async def _observe(
    resource: MaskinportenClient, finalizers: tuple[str, ...], first_seen: FirstSeen, ports: Ports
) -> TeardownSnapshot:
    """Find what DigDir has of the resource, once its lists must have it: one list for all passes of a round."""
    ownership = ports.settings.build_ownership(resource.meta)
    round_ = find_round(resource, ports.memory, ports.clock, deletes=True)
    started = round_.began
    if (list_due := _find_provable_at(ownership, first_seen, ports.digdir) - started) > 0:
        return TeardownSnapshot(resource.meta, finalizers, list_due)
    await ports.digdir.registrations.listed_after(started)
    clients = await _find_clients(resource, ownership, ports.digdir.registrations)
    seen = TeardownSnapshot(
        resource.meta, finalizers, clients=clients, missing=count_missing(ports.known, ports.digdir.registrations)
    )
    if check_clients(seen):
        return seen  # nothing is deleted then, so scopes needn't be looked for
    await ports.digdir.scopes.listed_after(started)
    scopes, unfinished = await _observe_scopes(resource, ownership, round_, ports.digdir.scopes, ports.settings)
    return replace(seen, scopes=scopes, unfinished=unfinished)


def _find_provable_at(ownership: str, first_seen: FirstSeen, digdir: Digdir) -> float:
    """Find when lists have all clients and scopes; clients that are known needn't be waited for."""
    scopes = digdir.scopes.complete_at(ownership, had_finalizer=first_seen.had_finalizer)
    if digdir.registrations.find(ownership):
        return scopes
    return max(
        scopes,
        digdir.registrations.absence_provable_at(ownership, first_seen.at, had_finalizer=first_seen.had_finalizer),
    )


async def _find_clients(
    resource: MaskinportenClient, ownership: str, registrations: RegistrationIndex
) -> tuple[str, ...]:
    """Find every active registration with our description: a later resource would adopt one that is left over."""
    found = {one.client_id for one in registrations.find(ownership)}
    hint = resource.status.client_id
    if hint is not None and hint not in found:
        with suppress(RejectedError):  # whoever may write the status may name anybody's
            registration = await registrations.read(hint)
            if registration and registration.usable and registration.description == ownership:
                found.add(hint)
    return tuple(found)


async def _observe_scopes(
    resource: MaskinportenClient, ownership: str, round_: Round, scopes: ScopeIndex, settings: RegistrationSettings
) -> tuple[tuple[OwnedScope, ...], bool]:
    """Read as many scopes as one pass deletes, with who has access; say whether any are left."""
    found: list[OwnedScope] = []
    reads = writes = 0
    for name in _find_candidates(resource, ownership, scopes, settings):
        if name in round_.read:
            continue
        if reads >= MAX_READS or writes >= MAX_WRITES:
            return tuple(found), True
        reads += 1
        if not await _is_owned(name, ownership, scopes, settings):
            round_.read.add(name)
            continue
        access = await scopes.read_access(name, anew=True)
        found.append(OwnedScope(name, access.consumers | access.unconfirmed))
        writes += 1 + len(found[-1].consumers)
    return tuple(found), False


def _find_candidates(
    resource: MaskinportenClient, ownership: str, scopes: ScopeIndex, settings: RegistrationSettings
) -> list[str]:
    """Find every scope that may be ours, whatever the spec says; the status may know of more than the list."""
    owned = [scope.name for scope in scopes.find_owned(ownership)]
    prefix = f"{settings.scope_prefix}:"
    hinted = (name for name in resource.status.scope_names if name.startswith(prefix))
    return [*owned, *(name for name in hinted if not scopes.find(name))]


async def _is_owned(name: str, ownership: str, scopes: ScopeIndex, settings: RegistrationSettings) -> bool:
    if scope := scopes.find(name):
        return is_owned_scope(scope, ownership, settings.cluster)
    with suppress(RejectedError):  # whoever may write the status may name anybody's
        return is_owned_scope(await scopes.read(name), ownership, settings.cluster)
    return False
