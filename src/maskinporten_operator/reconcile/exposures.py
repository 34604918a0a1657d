"""Reads what a resource exposes: the scopes of its spec, and those that its mark owns besides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskinporten_operator.model.claims import claim_scope
from maskinporten_operator.model.maskinportenclient import RESYNC_ANNOTATION
from maskinporten_operator.plan.scopes import Exposure, find_owner

if TYPE_CHECKING:
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
    wanted = {f"{ports.policy.scope_prefix}:{scope.subscope}": scope for scope in spec.scopes.exposes}
    if wanted or resource.status.get("exposedScopes"):
        await ports.scopes.ready()
    exposed = [await _observe_exposed(name, scope, resource, ports) for name, scope in wanted.items()]
    owned = ports.scopes.find_owned(ports.policy.build_description(resource.meta))
    withdrawn = [await _observe_withdrawn(scope, ports) for scope in owned if scope.name not in wanted]
    return (*exposed, *withdrawn)


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
        )
        for one in seen
    )


async def _observe_exposed(name: str, wanted: ExposedScope, resource: MaskinportenClient, ports: Ports) -> Exposure:
    scopes, anew = ports.scopes, resource.meta.asks(RESYNC_ANNOTATION)
    registered = scopes.find(name)
    # One that isn't ours may have been described as ours since it was listed.
    if anew or scopes.is_doubtful(name) or (registered and not _is_ours(registered, resource, ports)):
        registered = await scopes.read(name)
    is_ours = registered is not None and _is_ours(registered, resource, ports)
    return Exposure(
        name,
        wanted,
        registered,
        await scopes.read_access(name, anew=anew) if is_ours else None,
        _find_rival(resource.meta, wanted, ports) if registered is None else None,
        await ports.scopes.find_issuer(wanted.delegation_source) if wanted.delegation_source else None,
    )


def _is_ours(scope: RegisteredScope, resource: MaskinportenClient, ports: Ports) -> bool:
    return find_owner(scope, ports.policy.cluster) == ports.policy.build_description(resource.meta)


async def _observe_withdrawn(scope: RegisteredScope, ports: Ports) -> Exposure:
    access = await ports.scopes.read_access(scope.name) if scope.active else None
    return Exposure(scope.name, None, scope, access)


def _find_rival(meta: ObjectMeta, wanted: ExposedScope, ports: Ports) -> str | None:
    rival = ports.fleet.find_rival(meta, claim_scope(wanted.subscope))
    return f"{rival[0]}/{rival[1]}" if rival else None
