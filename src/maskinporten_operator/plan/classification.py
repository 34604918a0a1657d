"""What in the organisation belongs to which resource: managed, to be adopted, in conflict, orphaned."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from maskinporten_operator.model.resources import InvalidSpec
from maskinporten_operator.plan.exposed_scopes import find_owner, is_ownership
from maskinporten_operator.plan.registration_fields import choose

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from maskinporten_operator.model.maskinportenclient import ExposedScope, MaskinportenClient
    from maskinporten_operator.model.registrations import Registration
    from maskinporten_operator.model.scopes import RegisteredScope
    from maskinporten_operator.plan.registration_settings import RegistrationSettings


class InventoryState(StrEnum):
    """How a client or scope at DigDir stands to the cluster's resources."""

    CONFLICT = "Conflict"
    ADOPTABLE = "Adoptable"
    MISSING = "Missing"
    DUPLICATE = "Duplicate"
    WITHDRAWN = "Withdrawn"
    ORPHANED = "Orphaned"
    MANAGED = "Managed"


@dataclass(frozen=True, slots=True)
class Item:
    """A client or scope.

    Attributes:
        kind: `client` or `scope`.
        name: The client id, or the full scope; empty for a client that is missing.
        resource: The resource that it belongs to or is wanted by, `<namespace>/<name>`; empty for what is orphaned.
        revokes: The consumers that adopting the scope would take access from, since the spec doesn't name them.
    """

    kind: str
    state: InventoryState
    name: str
    resource: str
    description: str
    revokes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inventory:
    """All items, and how many other clients and scopes the organisation has."""

    items: tuple[Item, ...]
    foreign_clients: int
    foreign_scopes: int


@dataclass(slots=True)
class _Resources:
    """The cluster's resources by ownership, and the scopes that they want."""

    by_ownership: dict[str, MaskinportenClient]
    wanted: dict[str, list[tuple[MaskinportenClient, ExposedScope]]] = field(default_factory=dict)


def classify(
    resources: Iterable[MaskinportenClient],
    registrations: Collection[Registration],
    scopes: Collection[RegisteredScope],
    settings: RegistrationSettings,
    namespaces: Collection[str] = (),
) -> Inventory:
    """Tell the organisation's clients and scopes apart.

    Args:
        resources: All that are managed.
        registrations: The organisation's active clients.
        scopes: Its own scopes, inactive ones too.
        settings: The settings by which things are named.
        namespaces: Those that are managed, all if empty: what belongs to others is ignored.
    """
    known = _sort(resources, settings)
    clients = list(_classify_clients(known, registrations, settings, namespaces))
    taken_scopes = list(_classify_scopes(known, scopes, settings, namespaces))
    items = sorted(
        (*clients, *taken_scopes),
        key=lambda one: (list(InventoryState).index(one.state), one.resource, one.kind, one.name),
    )
    return Inventory(
        tuple(items),
        sum(one.usable for one in registrations) - len({one.name for one in clients if one.name}),
        len({one.name for one in scopes if one.active} - {one.name for one in taken_scopes}),
    )


def find_stale_consumers(
    item: Item, consumers: Iterable[str], resources: Iterable[MaskinportenClient], settings: RegistrationSettings
) -> tuple[str, ...]:
    """Find the consumers that adopting a scope would take access from."""
    for resource, scope in _sort(resources, settings).wanted.get(item.name, ()):
        if show_resource(resource) == item.resource and scope.enabled:
            return tuple(sorted(set(consumers) - {one.orgno for one in scope.consumers}))
    return ()


def show_resource(resource: MaskinportenClient) -> str:
    """Name a resource."""
    return f"{resource.meta.namespace}/{resource.meta.name}"


def _sort(resources: Iterable[MaskinportenClient], settings: RegistrationSettings) -> _Resources:
    known = _Resources({})
    wanted: defaultdict[str, list[tuple[MaskinportenClient, ExposedScope]]] = defaultdict(list)
    for resource in resources:
        known.by_ownership[settings.build_ownership(resource.meta)] = resource
        if isinstance(resource.spec, InvalidSpec):
            continue
        for subscope, scope in resource.spec.exposed_scopes.items():
            wanted[f"{settings.scope_prefix}:{subscope}"].append((resource, scope))
    known.wanted = dict(wanted)
    return known


def _classify_clients(
    known: _Resources,
    registrations: Iterable[Registration],
    settings: RegistrationSettings,
    namespaces: Collection[str],
) -> Iterator[Item]:
    by_ownership: defaultdict[str, list[Registration]] = defaultdict(list)
    for registration in registrations:
        if registration.usable and _is_here(registration.description, settings, namespaces):
            by_ownership[registration.description].append(registration)
    for ownership, found in by_ownership.items():
        resource = known.by_ownership.get(ownership)
        hint = resource.status.client_id if resource else None
        chosen = choose(found, hint)
        for one in found:
            if resource is None:
                yield Item("client", InventoryState.ORPHANED, one.client_id, "", ownership)
            elif one is not chosen:
                yield Item("client", InventoryState.DUPLICATE, one.client_id, show_resource(resource), ownership)
            else:
                state = InventoryState.MANAGED if one.client_id == hint else InventoryState.ADOPTABLE
                yield Item("client", state, one.client_id, show_resource(resource), ownership)
    for ownership, resource in known.by_ownership.items():
        if ownership not in by_ownership:
            yield Item("client", InventoryState.MISSING, "", show_resource(resource), ownership)


def _classify_scopes(
    known: _Resources, scopes: Iterable[RegisteredScope], settings: RegistrationSettings, namespaces: Collection[str]
) -> Iterator[Item]:
    by_name = {scope.name: scope for scope in scopes}
    for name, scope in by_name.items():
        ownership = find_owner(scope, settings.cluster)
        owner = known.by_ownership.get(ownership) if ownership else None
        wanted_by = [resource for resource, _ in known.wanted.get(name, ())]
        for resource in wanted_by:
            if resource is not owner:
                yield Item("scope", InventoryState.CONFLICT, name, show_resource(resource), scope.description)
        if owner and owner in wanted_by:
            state = InventoryState.MANAGED if name in owner.status.scope_names else InventoryState.ADOPTABLE
            yield Item("scope", state, name, show_resource(owner), scope.description)
        elif owner and scope.active:
            yield Item("scope", InventoryState.WITHDRAWN, name, show_resource(owner), scope.description)
        elif ownership and not owner and scope.active and _is_here(ownership, settings, namespaces):
            yield Item("scope", InventoryState.ORPHANED, name, "", scope.description)
    for name, wanted in known.wanted.items():
        for resource, scope_spec in wanted:
            if name not in by_name and scope_spec.enabled:
                yield Item("scope", InventoryState.MISSING, name, show_resource(resource), "")


def _is_here(ownership: str, settings: RegistrationSettings, namespaces: Collection[str]) -> bool:
    return is_ownership(ownership, settings.cluster) and (not namespaces or ownership.split(":")[1] in namespaces)
