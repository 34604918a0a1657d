"""Reads what a resource exposes: the scopes of its spec, and those that its mark owns besides."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from maskinporten_operator.model.claims import claim_scope
from maskinporten_operator.model.errors import OperatorError, RejectedError, TransientError
from maskinporten_operator.model.maskinportenclient import RESYNC_ANNOTATION
from maskinporten_operator.plan.scopes import Exposure, check_scope_description, is_owned_scope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maskinporten_operator.model.blockers import Blocker
    from maskinporten_operator.model.maskinportenclient import ExposedScope, MaskinportenClient, MaskinportenClientSpec
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.model.scopes import RegisteredScope
    from maskinporten_operator.reconcile.ports import Ports


async def observe_exposures(
    resource: MaskinportenClient, spec: MaskinportenClientSpec, ports: Ports
) -> tuple[Exposure, ...]:
    """Read the exposed scopes, in the order of the spec, then those that left it.

    Raises:
        OperatorError: A list couldn't be read.
    """
    wanted = {f"{ports.policy.scope_prefix}:{subscope}": scope for subscope, scope in spec.exposed_scopes.items()}
    told = frozenset(resource.status.scope_names)
    try:
        await ports.scopes.ready()
    except OperatorError:
        if wanted or told:
            raise
        return ()  # nothing is known to be its own: what it consumes doesn't wait for that
    exposed: list[Exposure] = []
    fault: TransientError | None = None
    for name, scope in wanted.items():
        try:
            exposed.append(await _observe_exposed(name, scope, told, resource, ports))
        except TransientError as error:
            if fault:
                raise  # a second one is no scope's own
            fault = error
            exposed.append(Exposure(name, scope, ports.scopes.find(name), refusal=fault.blocker))
    owned = ports.scopes.find_owned(ports.policy.build_description(resource.meta))
    withdrawn = [await _observe_withdrawn(scope, ports) for scope in owned if scope.name not in wanted]
    return (*exposed, *withdrawn)


def find_fault(exposures: Iterable[Exposure]) -> Blocker | None:
    """Find the fault that kept a scope from being read, if there was one."""
    return next((one.refusal for one in exposures if one.refusal and one.refusal.kind == "Transient"), None)


def recall_exposures(seen: tuple[Exposure, ...], ports: Ports) -> tuple[Exposure, ...]:
    """Give the scopes as a pass left them, by what is known without another call."""
    return tuple(
        Exposure(
            one.name,
            one.wanted,
            ports.scopes.find(one.name),
            ports.scopes.find_access(one.name),
            one.rival,
            one.issuer,
            one.refusal,
        )
        for one in seen
    )


async def _observe_exposed(
    name: str, wanted: ExposedScope, told: frozenset[str], resource: MaskinportenClient, ports: Ports
) -> Exposure:
    if check_scope_description(name, wanted, ports.policy.build_description(resource.meta)):
        return Exposure(name, wanted, ports.scopes.find(name))
    try:
        registered = await _read_scope(name, told, resource, ports)
        is_ours = _is_ours(registered, resource, ports)
        anew = resource.meta.asks(RESYNC_ANNOTATION)
        access = await ports.scopes.read_access(name, anew=anew) if is_ours else None
        issuer = await ports.scopes.find_issuer(wanted.delegation_source) if wanted.delegation_source else None
    except RejectedError as refusal:  # of this scope, which keeps nothing else from being done
        return Exposure(name, wanted, ports.scopes.find(name), refusal=refusal.blocker)
    rival = _find_rival(resource.meta, wanted, ports) if registered is None else None
    return Exposure(name, wanted, registered, access, rival, issuer)


async def _read_scope(
    name: str, told: frozenset[str], resource: MaskinportenClient, ports: Ports
) -> RegisteredScope | None:
    """Give a scope as listed, or as it is now where the list may not tell."""
    registered = ports.scopes.find(name)
    hidden = registered is None and name in told  # nothing is ever erased at DigDir
    foreign = registered is not None and not _is_ours(registered, resource, ports)  # it may have become ours since
    if hidden or foreign or ports.scopes.is_doubtful(name) or resource.meta.asks(RESYNC_ANNOTATION):
        return await ports.scopes.read(name)
    return registered


def _is_ours(scope: RegisteredScope | None, resource: MaskinportenClient, ports: Ports) -> bool:
    return is_owned_scope(scope, ports.policy.build_description(resource.meta), ports.policy.cluster)


async def _observe_withdrawn(scope: RegisteredScope, ports: Ports) -> Exposure:
    access = None
    if scope.active:
        with suppress(RejectedError, TransientError):  # it is merely counted
            access = await ports.scopes.read_access(scope.name)
    return Exposure(scope.name, None, scope, access)


def _find_rival(meta: ObjectMeta, wanted: ExposedScope, ports: Ports) -> str | None:
    rival = ports.fleet.find_rival(meta, claim_scope(wanted.subscope), ports.namespaces.is_selected)
    return f"{rival[0]}/{rival[1]}" if rival else None
