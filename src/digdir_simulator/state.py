"""What DigDir knows: organisations, clients with their keys, scopes, accesses and delegations.

Every client, scope and access is an immutable record behind a `Versioned`, which remembers the
past few minutes. Lists that lag, and Maskinporten's late view of the admin state, are then nothing
but a look at an earlier instant.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

from cryptography.hazmat.primitives.asymmetric import rsa

from digdir_simulator import jws
from digdir_simulator.errors import timestamp, to_json

HISTORY_SECONDS = 300.0
"""How long a replaced version is remembered; longer than the greatest lag that can be set."""

SINCE_ALWAYS = float("-inf")
"""The instant of what was seeded: no lag hides it."""

T = TypeVar("T")


class Versioned(Generic[T]):
    """A value with its recent past."""

    __slots__ = ("_versions",)

    def __init__(self, value: T, at: float) -> None:
        """Begin with `value` from the instant `at`, in epoch seconds."""
        self._versions = [(at, value)]

    @property
    def current(self) -> T:
        """The newest value."""
        return self._versions[-1][1]

    def set(self, value: T, at: float) -> None:
        """Replace the value from the instant `at` on; from always on, the past is replaced too."""
        if at == SINCE_ALWAYS:
            self._versions = [(at, value)]
            return
        versions = self._versions
        versions.append((at, value))
        outdated = 0
        while versions[outdated + 1][0] <= at - HISTORY_SECONDS:
            outdated += 1
        del versions[:outdated]

    def as_of(self, at: float) -> T | None:
        """Return the value at the instant `at`, None if there was none yet."""
        for since, value in reversed(self._versions):
            if since <= at:
                return value
        return None


@dataclass(frozen=True)
class Key:
    """A public key of a client.

    Attributes:
        jwk: the public members as registered, with ``kid``, ``use`` and ``alg``.
        exp: the instant from which the token endpoint refuses it (MP-121), epoch seconds.
        created: when this kid with this modulus was first registered.
        last_updated: when it was last sent.
    """

    jwk: dict[str, Any]
    exp: int
    created: float
    last_updated: float

    @property
    def kid(self) -> str:
        """Identifier of the key within its client."""
        return str(self.jwk["kid"])

    @cached_property
    def public_key(self) -> rsa.RSAPublicKey:
        """The key, for checking signatures."""
        return jws.public_key(self.jwk)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The key as the admin API shows it."""
        return {
            **self.jwk,
            "exp": self.exp,
            "created": timestamp(self.created),
            "last_updated": timestamp(self.last_updated),
        }


@dataclass(frozen=True)
class Client:
    """A client of some organisation.

    Attributes:
        client_id: its identifier at DigDir and at Maskinporten.
        client_orgno: the organisation that owns it.
        fields: the writable fields but ``client_id``, ``client_orgno`` and ``active``, defaults filled in.
        active: False once it is deleted; nothing is ever erased.
        keys: its registered keys.
        created: epoch seconds.
        last_updated: epoch seconds.
    """

    client_id: str
    client_orgno: str
    fields: dict[str, Any]
    active: bool
    created: float
    last_updated: float
    keys: tuple[Key, ...] = ()

    def key(self, kid: object) -> Key | None:
        """Return the registered key with this `kid`."""
        return next((key for key in self.keys if key.kid == kid), None)

    @property
    def integration_type(self) -> str:
        """Such as ``maskinporten``; never changes."""
        return str(self.fields["integration_type"])

    @property
    def scopes(self) -> list[str]:
        """The scopes registered on the client."""
        scopes: list[str] = self.fields["scopes"]
        return scopes

    @cached_property
    def jwks_document(self) -> dict[str, Any]:
        """The body of GET …/jwks of a client with keys."""
        if not self.keys:
            return {"keys": []}
        return {
            "keys": [key.document for key in self.keys],
            "created": timestamp(min(key.created for key in self.keys)),
            "last_updated": timestamp(max(key.last_updated for key in self.keys)),
        }

    @cached_property
    def json_without_jwks(self) -> bytes:
        """The client as the admin API shows it, leaving out the keys; kept, since records never change."""
        return to_json(
            {
                "client_id": self.client_id,
                "client_orgno": self.client_orgno,
                **self.fields,
                "active": self.active,
                "created": timestamp(self.created),
                "last_updated": timestamp(self.last_updated),
            }
        )

    @cached_property
    def json(self) -> bytes:
        """The client as the admin API shows it."""
        keys = to_json({"keys": [key.document for key in self.keys]})
        return b'%b,"jwks":%b}' % (self.json_without_jwks[:-1], keys)


_SHOWN_OF_EVERY_SCOPE: dict[str, Any] = {
    "token_type": "SELF_CONTAINED",
    "authorization_max_lifetime": 0,
    "requires_user_consent": False,
    "requires_user_authentication": False,
    "requires_pseudonymous_tokens": False,
    "protected": False,
    "supports_european_businesses": False,
}
"""Fields that DigDir's listing has of each scope, with the values of one for which nothing else was said."""


@dataclass(frozen=True)
class Scope:
    """A scope that some organisation owns.

    Attributes:
        name: ``prefix:subscope``.
        owner_orgno: the owner.
        description: what it gives access to.
        visibility: ``PUBLIC`` scopes are shown to everyone, ``PRIVATE`` ones to the owner.
        allowed_integration_types: which clients may have it; empty means all.
        at_max_age: greatest lifetime of a token with it, seconds; 0 leaves it to the client.
        delegation_source: issuer under which consumers may delegate it, if any.
        accessible_for_all: every organisation may use it without having been granted it.
        active: False makes Maskinporten refuse it.
        created: epoch seconds.
        last_updated: epoch seconds.
        more: further fields of the admin API that the simulator shows but gives no meaning.
    """

    name: str
    owner_orgno: str
    description: str
    visibility: str = "PUBLIC"
    allowed_integration_types: tuple[str, ...] = ("maskinporten",)
    at_max_age: int = 0
    delegation_source: str | None = None
    accessible_for_all: bool = False
    active: bool = True
    created: float = 0
    last_updated: float = 0
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """The part before the first colon."""
        return self.name.partition(":")[0]

    @property
    def subscope(self) -> str:
        """The part after the first colon."""
        return self.name.partition(":")[2]

    def allows(self, integration_type: str) -> bool:
        """Tell whether clients of this integration type may have the scope."""
        return not self.allowed_integration_types or integration_type in self.allowed_integration_types

    @cached_property
    def document(self) -> dict[str, Any]:
        """The scope as the admin API shows it; absent members are left out, as in the live listing."""
        document = {
            "name": self.name,
            "prefix": self.prefix,
            "subscope": self.subscope,
            "description": self.description,
            "visibility": self.visibility,
            **_SHOWN_OF_EVERY_SCOPE,
            "allowed_integration_types": list(self.allowed_integration_types),
            "at_max_age": self.at_max_age,
            "accessible_for_all": self.accessible_for_all,
            "active": self.active,
            "owner_orgno": self.owner_orgno,
            "created": timestamp(self.created),
            "last_updated": timestamp(self.last_updated),
            **self.more,
        }
        if self.delegation_source:
            document["delegation_source"] = self.delegation_source
        return document

    @cached_property
    def json(self) -> bytes:
        """The scope as the admin API shows it; kept, since records never change."""
        return to_json(self.document)


@dataclass(frozen=True)
class Access:
    """The access of an organisation to a scope; taken back it is ``DENIED``, never erased."""

    scope: str
    consumer_orgno: str
    state: str
    created: float
    last_updated: float

    @cached_property
    def instants(self) -> dict[str, str]:
        """When it was given and last changed, as the admin API shows it."""
        return {"created": timestamp(self.created), "last_updated": timestamp(self.last_updated)}


@dataclass(frozen=True)
class Delegation:
    """A consumer lets a supplier use a scope on its behalf, as registered at the delegation source."""

    scope: str
    consumer_orgno: str
    supplier_orgno: str


@dataclass(frozen=True)
class DelegationSource:
    """Where delegations are registered, such as Altinn."""

    issuer: str
    name: str
    created: float = 0
    last_updated: float = 0


Record = Client | Scope | Access | Delegation
"""What a state is made of."""


def _tell_nobody(_record: Client | Scope | Access) -> None:
    pass


@dataclass
class State:
    """Everything the admin API can show, now and in the recent past.

    Attributes:
        organisation: organisation number of the organisation whose operator is under test.
        prefixes: its scope prefixes.
        names: name of each known organisation by organisation number.
        since: when the state was loaded, epoch seconds.
        accesses: by scope name, and then by organisation number of the consumer.
        on_put: is told every record that is put.
        version: number of records that were put so far.
    """

    organisation: str
    prefixes: tuple[str, ...]
    names: dict[str, str]
    since: float = 0
    clients: dict[str, Versioned[Client]] = field(default_factory=dict)
    scopes: dict[str, Versioned[Scope]] = field(default_factory=dict)
    accesses: dict[str, dict[str, Versioned[Access]]] = field(default_factory=dict)
    delegations: set[Delegation] = field(default_factory=set)
    delegation_sources: tuple[DelegationSource, ...] = ()
    on_put: Callable[[Client | Scope | Access], None] = _tell_nobody
    version: int = 0

    def records(self) -> Iterator[Record]:
        """Yield everything that there is now."""
        for scope in self.scopes.values():
            yield scope.current
        for accesses in self.accesses.values():
            for access in accesses.values():
                yield access.current
        for client in self.clients.values():
            yield client.current
        yield from self.delegations

    def put_client(self, client: Client, at: float) -> None:
        """Register `client`, or replace it, from the instant `at` on."""
        _put(self.clients, client.client_id, client, at)
        self._tell(client)

    def put_scope(self, scope: Scope, at: float) -> None:
        """Register `scope`, or replace it, from the instant `at` on."""
        _put(self.scopes, scope.name, scope, at)
        self._tell(scope)

    def put_access(self, access: Access, at: float) -> None:
        """Register `access`, or replace it, from the instant `at` on."""
        _put(self.accesses.setdefault(access.scope, {}), access.consumer_orgno, access, at)
        self._tell(access)

    def _tell(self, record: Client | Scope | Access) -> None:
        self.version += 1
        self.on_put(record)

    def client(self, client_id: str, at: float | None = None) -> Client | None:
        """Return the client now, or as it was at the instant `at`."""
        return _get(self.clients, client_id, at)

    def scope(self, name: str, at: float | None = None) -> Scope | None:
        """Return the scope now, or as it was at the instant `at`."""
        return _get(self.scopes, name, at)

    def clients_of(self, orgno: str, at: float) -> Iterable[Client]:
        """Yield the organisation's clients, inactive ones too, as they were at the instant `at`."""
        for versions in self.clients.values():
            client = versions.as_of(at)
            if client is not None and client.client_orgno == orgno:
                yield client

    def scopes_at(self, at: float) -> Iterable[Scope]:
        """Yield all scopes, inactive ones too, as they were at the instant `at`."""
        for versions in self.scopes.values():
            scope = versions.as_of(at)
            if scope is not None:
                yield scope

    def access(self, scope: str, consumer_orgno: str, at: float | None = None) -> Access | None:
        """Return the consumer's access to the scope now, or as it was at the instant `at`."""
        return _get(self.accesses.get(scope, {}), consumer_orgno, at)

    def accesses_to(self, scope: str, at: float) -> Iterable[Access]:
        """Yield the accesses to one scope, those taken back too, as they were at the instant `at`."""
        for versions in self.accesses.get(scope, {}).values():
            access = versions.as_of(at)
            if access is not None:
                yield access

    def accesses_of(self, consumer_orgno: str, at: float) -> Iterable[Access]:
        """Yield the accesses of one consumer, those taken back too, as they were at the instant `at`."""
        for scope in self.accesses:
            access = self.access(scope, consumer_orgno, at)
            if access is not None:
                yield access

    def prefix_owner(self, prefix: str) -> str | None:
        """Return who owns the prefix: the organisation if it is one of its own, else the owner of a scope with it."""
        if prefix in self.prefixes:
            return self.organisation
        versions = self.scopes.values()
        return next((scope.owner_orgno for v in versions if (scope := v.current).prefix == prefix), None)

    def prefix_owners(self) -> dict[str, str]:
        """Return the owner of each prefix, as `prefix_owner` says."""
        owners = dict.fromkeys(self.prefixes, self.organisation)
        for versions in self.scopes.values():
            owners.setdefault(versions.current.prefix, versions.current.owner_orgno)
        return owners

    def may_use(self, orgno: str, scope: Scope, at: float | None = None, *, owner_needs_access: bool = False) -> bool:
        """Tell whether the organisation may have tokens with `scope`.

        It may when it was granted the scope, the scope is open to all, or it owns the scope and owners
        need no access of their own.
        """
        if scope.accessible_for_all or (scope.owner_orgno == orgno and not owner_needs_access):
            return True
        access = self.access(scope.name, orgno, at)
        return access is not None and access.state == "APPROVED"


K = TypeVar("K")


def _put(store: dict[K, Versioned[T]], key: K, value: T, at: float) -> None:
    versions = store.get(key)
    if versions is None:
        store[key] = Versioned(value, at)
    else:
        versions.set(value, at)


def _get(store: dict[K, Versioned[T]], key: K, at: float | None) -> T | None:
    versions = store.get(key)
    if versions is None:
        return None
    return versions.current if at is None else versions.as_of(at)
