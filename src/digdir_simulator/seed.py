"""The seed document: what DigDir knows at the start, and the form in which a state is exported."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from digdir_simulator.errors import ApiError
from digdir_simulator.requests import complete_client, parse_client, parse_keys, require_form
from digdir_simulator.state import (
    SINCE_ALWAYS,
    Access,
    Client,
    Delegation,
    DelegationSource,
    Key,
    Scope,
    State,
)

DIGDIR = "991825827"
"""Organisation number of DigDir, the owner of the admin scopes."""

ADMIN_SCOPES = ("idporten:dcr.read", "idporten:dcr.write", "idporten:scopes.read", "idporten:scopes.write")
"""The scopes that the admin client has."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SeedOrganisation(_Model):
    """An organisation; its number has nine digits."""

    orgno: str = Field(pattern=r"^\d{9}$")
    name: str


class SeedScope(_Model):
    """A scope, see `digdir_simulator.state.Scope`; its owner is by default that of its prefix."""

    name: str = Field(pattern=r"^[^:\s]+:\S+$")
    owner_orgno: str | None = Field(default=None, pattern=r"^\d{9}$")
    description: str = "Simulated scope"
    visibility: str = Field(default="PUBLIC", pattern="^(PUBLIC|PRIVATE|INTERNAL)$")
    allowed_integration_types: tuple[str, ...] = ("maskinporten",)
    at_max_age: int = Field(default=0, ge=0)
    delegation_source: str | None = None
    accessible_for_all: bool = False
    active: bool = True
    created: float | None = None
    last_updated: float | None = None
    more: dict[str, Any] = Field(default_factory=dict)


class SeedGrant(_Model):
    """Access of a consumer, by default the organisation, to a scope.

    A scope that the document doesn't list is made, owned by `owner_orgno`.
    """

    scope: str = Field(pattern=r"^[^:\s]+:\S+$")
    consumer_orgno: str | None = Field(default=None, pattern=r"^\d{9}$")
    state: str = Field(default="APPROVED", pattern="^(REQUESTED|APPROVED|DENIED)$")
    owner_orgno: str = Field(default=DIGDIR, pattern=r"^\d{9}$")
    created: float | None = None
    last_updated: float | None = None


class SeedDelegation(_Model):
    """A consumer's delegation of a scope, by default to the organisation as supplier."""

    scope: str
    consumer_orgno: str = Field(pattern=r"^\d{9}$")
    supplier_orgno: str | None = Field(default=None, pattern=r"^\d{9}$")


class SeedDelegationSource(_Model):
    """A delegation source and its issuer URL."""

    issuer: str
    name: str


class Seed(_Model):
    """A seed document, see `parse_seed`.

    Instants are epoch seconds; those left out are the instant of loading.

    Attributes:
        organisation: the organisation whose operator is under test.
        prefixes: its scope prefixes.
        organisations: further organisations that are known by name.
        scopes: all scopes that exist, besides the admin scopes.
        grants: accesses; a bare scope name stands for the organisation's approved access.
        clients: clients as POST /clients takes them, with ``client_id``, ``active``, ``client_orgno``,
            ``keys`` (a list of JWK), ``created`` and ``last_updated`` as further members.
        generate_scopes: so many more scopes under the first prefix, each granted to one consumer.
        generate_clients: so many more clients of the organisation, made by no operator.
        delegations: delegations registered at the delegation sources.
        delegation_sources: what GET /delegationsources shows.
    """

    organisation: SeedOrganisation
    prefixes: tuple[str, ...] = ()
    organisations: tuple[SeedOrganisation, ...] = ()
    scopes: tuple[SeedScope, ...] = ()
    grants: tuple[SeedGrant | str, ...] = ()
    clients: tuple[dict[str, Any], ...] = ()
    generate_scopes: int = Field(default=0, ge=0, le=100_000)
    generate_clients: int = Field(default=0, ge=0, le=100_000)
    delegations: tuple[SeedDelegation, ...] = ()
    delegation_sources: tuple[SeedDelegationSource, ...] = ()


ALTINN = "https://www.altinn.no/"
"""Issuer of Altinn as a delegation source."""

_SKATT, _UDIR, _KS, _SUPPLIED = "974761076", "970018131", "971032146", "910753614"

DEFAULT_SEED: dict[str, Any] = {
    "organisation": {"orgno": "889640782", "name": "ARBEIDS- OG VELFERDSETATEN"},
    "prefixes": ["nav"],
    "organisations": [
        {"orgno": _SKATT, "name": "SKATTEETATEN"},
        {"orgno": _UDIR, "name": "UTDANNINGSDIREKTORATET"},
        {"orgno": _KS, "name": "KS"},
    ],
    "scopes": [
        {"name": "nav:some/other/scope"},
        {"name": "nav:private/scope", "visibility": "PRIVATE", "at_max_age": 60},
        {"name": "skatt:some.scope", "owner_orgno": _SKATT},
        {"name": "skatt:delegated.scope", "owner_orgno": _SKATT, "delegation_source": ALTINN},
        {"name": "krr:global/kontaktinformasjon.read", "owner_orgno": DIGDIR},
        {"name": "udir:some.open.scope", "owner_orgno": _UDIR, "accessible_for_all": True},
        {"name": "ks:not.granted", "owner_orgno": _KS},
    ],
    "grants": [
        "skatt:some.scope",
        "krr:global/kontaktinformasjon.read",
        {"scope": "skatt:delegated.scope", "consumer_orgno": _SUPPLIED},
    ],
    "delegations": [{"scope": "skatt:delegated.scope", "consumer_orgno": _SUPPLIED}],
    "delegation_sources": [{"issuer": ALTINN, "name": "Altinn"}],
}
"""What a simulator knows that is started without a seed."""


def parse_seed(document: object) -> Seed:
    """Read a seed document; members that it leaves out are those of the default seed.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(document, Mapping):
        raise ValueError("a seed is a mapping")  # noqa: TRY004 - it comes from a file, not from code
    return Seed.model_validate({**DEFAULT_SEED, **document})


def _admin_scopes(organisation: str) -> tuple[list[SeedScope], list[SeedGrant]]:
    scopes = [SeedScope(name=name, owner_orgno=DIGDIR, visibility="PRIVATE") for name in ADMIN_SCOPES]
    return scopes, [SeedGrant(scope=name, consumer_orgno=organisation) for name in ADMIN_SCOPES]


def _scope(scope: SeedScope, owners: Mapping[str, str], now: float) -> Scope:
    owner = scope.owner_orgno or owners.get(scope.name.partition(":")[0])
    if owner is None:
        message = f"scope {scope.name} needs owner_orgno, its prefix is not the organisation's"
        raise ValueError(message)
    given = scope.model_dump(exclude={"owner_orgno", "created", "last_updated"})
    created = now if scope.created is None else scope.created
    updated = created if scope.last_updated is None else scope.last_updated
    return Scope(**given, owner_orgno=owner, created=created, last_updated=updated)


def seed_scopes(state: State, seeds: Iterable[SeedScope], now: float) -> list[Scope]:
    """Register scopes past all rules, or replace those of the same names, as if they had always been there.

    Raises:
        ValueError: a scope has no owner; none is registered then.
    """
    owners = dict.fromkeys(state.prefixes, state.organisation)
    scopes = [_scope(scope, owners, now) for scope in seeds]
    for scope in scopes:
        state.put_scope(scope, SINCE_ALWAYS)
    return scopes


def _generate_scopes(state: State, count: int, now: float) -> None:
    """Register `count` scopes of the organisation, each granted to DigDir."""
    if count and not state.prefixes:
        raise ValueError("generate_scopes needs a prefix of the organisation")
    for number in range(1, count + 1):
        name = f"{state.prefixes[0]}:generated/scope.{number}"
        description = f"Generated scope {number}"
        scope = Scope(name, state.organisation, description, created=now, last_updated=now)
        state.put_scope(scope, SINCE_ALWAYS)
        state.put_access(Access(name, DIGDIR, "APPROVED", now, now), SINCE_ALWAYS)


def grant(state: State, order: SeedGrant, now: float, at: float) -> Access:
    """Set an access, and make its scope if there is none, from the instant `at` on."""
    if order.scope not in state.scopes:
        scope = SeedScope(name=order.scope, owner_orgno=order.owner_orgno)
        state.put_scope(_scope(scope, {}, now), at)
    consumer = order.consumer_orgno or state.organisation
    before = state.access(order.scope, consumer)
    created = order.created if order.created is not None else before.created if before else now
    updated = now if order.last_updated is None else order.last_updated
    access = Access(order.scope, consumer, order.state, created, updated)
    state.put_access(access, at)
    return access


def seed_client(state: State, document: Mapping[str, Any], now: float) -> Client:
    """Register a client past all rules on scopes and owners, as if it had always been there.

    Raises:
        ValueError: its fields or keys are wrong.
    """
    try:
        fields = parse_client(complete_client(document))
        keys = _keys(document["keys"], now) if document.get("keys") else ()
    except ApiError as error:
        message = "; ".join(problem.message for problem in error.problems)
        raise ValueError(message) from error
    created = float(document.get("created", now))
    client = Client(
        client_id=str(document.get("client_id") or uuid.uuid4()),
        client_orgno=str(document.get("client_orgno") or state.organisation),
        fields=fields,
        active=document.get("active") is not False,
        created=created,
        last_updated=float(document.get("last_updated", created)),
        keys=keys,
    )
    state.clients.pop(client.client_id, None)
    state.put_client(client, SINCE_ALWAYS)
    return client


def _keys(jwks: list[Any], now: float) -> tuple[Key, ...]:
    require_form("replace-keys", {"keys": jwks})
    keys = []
    for key, jwk in zip(parse_keys(jwks, None, now), jwks, strict=True):
        created = float(jwk.get("created", now))
        keys.append(Key(key.jwk, key.exp, created, float(jwk.get("last_updated", created))))
    return tuple(keys)


def load(seed: Seed, now: float) -> State:
    """Build the state that a seed describes.

    Raises:
        ValueError: the seed contradicts itself.
    """
    organisation = seed.organisation
    names = {organisation.orgno: organisation.name, DIGDIR: "DIGITALISERINGSDIREKTORATET"}
    names |= {other.orgno: other.name for other in seed.organisations}
    state = State(organisation.orgno, seed.prefixes, names, now)
    scopes, grants = _admin_scopes(organisation.orgno)
    seed_scopes(state, (*scopes, *seed.scopes), now)
    for order in (*grants, *seed.grants):
        grant(state, SeedGrant(scope=order) if isinstance(order, str) else order, now, SINCE_ALWAYS)
    _generate_scopes(state, seed.generate_scopes, now)
    for client in seed.clients:
        seed_client(state, client, now)
    usable = [
        name
        for name, versions in state.scopes.items()
        if name not in ADMIN_SCOPES
        and versions.current.allows("maskinporten")
        and state.may_use(organisation.orgno, versions.current)
    ]
    for number in range(1, seed.generate_clients + 1):
        client = {
            "client_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"digdir-simulator-{number}")),
            "client_name": organisation.name,
            "description": f"Generated client {number}",
            "integration_type": "maskinporten",
            "scopes": usable[:1],
        }
        seed_client(state, client, now)
    state.delegations = {
        Delegation(d.scope, d.consumer_orgno, d.supplier_orgno or organisation.orgno) for d in seed.delegations
    }
    state.delegation_sources = tuple(
        DelegationSource(source.issuer, source.name, now, now) for source in seed.delegation_sources
    )
    return state


def dump(state: State) -> dict[str, Any]:
    """Return the state as a seed document, from which `load` builds the same state again.

    Of the past, and of what the token endpoint doesn't see yet, it has nothing.
    """
    return {
        "organisation": {"orgno": state.organisation, "name": state.names[state.organisation]},
        "prefixes": list(state.prefixes),
        "organisations": [{"orgno": orgno, "name": name} for orgno, name in state.names.items()],
        "scopes": [scope_document(scope.current) for scope in state.scopes.values()],
        "grants": [
            {
                "scope": access.current.scope,
                "consumer_orgno": access.current.consumer_orgno,
                "state": access.current.state,
                "created": access.current.created,
                "last_updated": access.current.last_updated,
            }
            for accesses in state.accesses.values()
            for access in accesses.values()
        ],
        "clients": [client_document(client.current) for client in state.clients.values()],
        "delegations": [
            {"scope": d.scope, "consumer_orgno": d.consumer_orgno, "supplier_orgno": d.supplier_orgno}
            for d in sorted(state.delegations, key=lambda d: (d.scope, d.consumer_orgno, d.supplier_orgno))
        ],
        "delegation_sources": [{"issuer": source.issuer, "name": source.name} for source in state.delegation_sources],
    }


def scope_document(scope: Scope) -> dict[str, Any]:
    """Return a scope as a seed has it."""
    return {name: getattr(scope, name) for name in SeedScope.model_fields}


def client_document(client: Client) -> dict[str, Any]:
    """Return a client as a seed has it."""
    return {
        "client_id": client.client_id,
        "client_orgno": client.client_orgno,
        **client.fields,
        "active": client.active,
        "created": client.created,
        "last_updated": client.last_updated,
        "keys": [
            {**key.jwk, "exp": key.exp, "created": key.created, "last_updated": key.last_updated} for key in client.keys
        ],
    }
