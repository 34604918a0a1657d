"""A world in memory, in virtual time: an API server, and DigDir as the simulator, with the operator's own way to it.

A pass here is the whole of it but for sockets: the real indexes, the real client of DigDir's API and its token, and the
simulator, which answers as DigDir does and notes whatever breaks the contract of its API.
"""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import httpx

from digdir_simulator import Config, create_app, jws
from digdir_simulator.config import Settings
from digdir_simulator.faults import Fault, FaultOrder
from digdir_simulator.in_process import InProcessTransport
from digdir_simulator.seed import SeedGrant, SeedScope, grant, seed_client, seed_scopes
from digdir_simulator.state import Key
from maskinporten_operator.adapters.digdir.auth import JwtGrantAuth
from maskinporten_operator.adapters.digdir.calls import Calls
from maskinporten_operator.adapters.digdir.client_api import ClientApi
from maskinporten_operator.adapters.digdir.credentials import AdminCredentials, JwkFile
from maskinporten_operator.adapters.digdir.grant_index import DigdirGrantIndex
from maskinporten_operator.adapters.digdir.metadata import MaskinportenMetadata
from maskinporten_operator.adapters.digdir.registration_index import DigdirRegistrationIndex
from maskinporten_operator.adapters.digdir.scope_api import ScopeApi
from maskinporten_operator.adapters.digdir.scope_index import DigdirScopeIndex
from maskinporten_operator.adapters.digdir.token_requests import TokenRequests
from maskinporten_operator.adapters.digdir.wire import read_registration
from maskinporten_operator.config import Config as OperatorConfig
from maskinporten_operator.model.maskinportenclient import FINALIZER
from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT, parse_meta
from maskinporten_operator.model.tokens import TokenRequest, Trial
from maskinporten_operator.plan.platform import Platform
from maskinporten_operator.plan.secret import ObservedSecret
from maskinporten_operator.reconcile.client_pass import reconcile_maskinportenclient
from maskinporten_operator.reconcile.memory import Memory
from maskinporten_operator.reconcile.ports import Digdir as DigdirPorts
from maskinporten_operator.reconcile.ports import FirstSeen, Known, Ports
from tests.unit.fakes import (
    DEFAULT,
    ORGNO,
    OTHER_SCOPE,
    SCOPE,
    SECRET,
    SERVER,
    SETTINGS,
    FakeAnnouncer,
    FakeChildren,
    FakeClock,
    FakeCluster,
    FakeKeyPool,
    FakeNamespaces,
    FakeRandomness,
    FakeResourceStore,
    FakeSecrets,
    Trips,
    registration_fields,
    resource_body,
)

if TYPE_CHECKING:
    from maskinporten_operator.model.jwk import PrivateJwk, PublicJwk
    from maskinporten_operator.model.registrations import Registration

LAG = 10.0
GRANT_MAX_AGE = SETTINGS.grant_recheck
URL = SERVER.issuer.rstrip("/")
RIGHTS = OperatorConfig.model_fields["admin_scopes"].default
"""Those that the operator asks for unless it is told otherwise."""
ADMIN = "admin-client"
KS = "971032146"
"""An organisation whose scopes may be consumed."""
BARE = {"scopes": [], "grants": [], "delegations": []}
"""What DigDir knows at the start: no scopes, and Altinn as delegation source."""
OF_CLIENTS = {
    "list_clients": "list_clients",
    "list_owned_clients": "list_clients",
    "find_client": "read_client",
    "create_client": "create_client",
    "update_client": "update_client",
    "delete_client": "delete_client",
    "list_keys": "list_keys",
    "replace_keys": "replace_keys",
    "delete_keys": "delete_keys",
}
OF_SCOPES = {
    "list_own": "list_own_scopes",
    "find": "read_scope",
    "create": "create_scope",
    "update": "update_scope",
    "deactivate": "delete_scope",
    "list_accesses": "list_accesses",
    "grant": "grant_access",
    "revoke": "revoke_access",
    "list_granted": "list_granted",
    "list_open": "list_open",
    "list_delegated": "list_delegated",
    "list_delegation_sources": "list_delegation_sources",
}
"""The methods of the API's client, and what `Trips` calls them."""
READ_ONLY = ("client_id", "client_orgno", "created", "last_updated")
"""Members of a client that DigDir sets."""
READS = {
    *("list_clients", "read_client", "list_keys", "list_own_scopes", "read_scope", "list_accesses", "list_granted"),
    *("list_open", "list_delegated", "list_delegation_sources", "get_metadata", "take"),
    *("find_secret", "find_uses", "find_maskinportenclient", "is_namespace_terminating", "is_namespace_selected"),
}


@functools.cache
def admin_jwk():
    return jws.new_private_jwk()


@functools.cache
def admin_credentials():
    """The operator's own, read once for all worlds, as that takes long."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "admin.jwk")
        path.write_text(json.dumps(admin_jwk()))
        credentials = AdminCredentials(ADMIN, JwkFile(path))
        credentials.build_assertion(SERVER.issuer, RIGHTS, 0.0)
    return credentials


class Tripping:
    """Lets methods of something go wrong; `names` says what each is called there."""

    def __init__(self, inner, trips: Trips, names: dict[str, str]):
        self._inner, self._trips = inner, trips
        for method, name in names.items():
            setattr(self, method, self._wrap(getattr(inner, method), name))

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def _wrap(self, method, name):
        async def call(*args, **kwargs):
            late = self._trips.enter(name, *args)
            result = await method(*args, **kwargs)
            if late:
                raise late()
            return result

        return call


class Digdir:
    """DigDir, and what others do there by hand; it outlives every process of the operator."""

    def __init__(self, clock: FakeClock, seed=None, **settings):
        self.clock = clock
        config = Config(
            public_url=URL,
            admin_jwk=jws.public_jwk(admin_jwk()),
            seed=BARE if seed is None else seed,
            settings=Settings.model_validate(settings),
        )
        app = create_app(config, clock=lambda: self.now)
        self.simulator = app.state.simulator
        self.transport = InProcessTransport(app)

    @property
    def now(self) -> float:
        return self.clock.now().timestamp()

    @property
    def state(self):
        return self.simulator.state

    def set(self, **settings):
        """Let DigDir behave so from now on."""
        self.simulator.settings = self.simulator.settings.model_copy(update=settings)

    @property
    def violations(self):
        """In what the operator's calls broke the contract of DigDir's API."""
        return [(one["operation"], one["violations"]) for one in self.simulator.ledger.violating()]

    def fault(self, kind, **order) -> Fault:
        """Let something go wrong with the next calls."""
        return self.simulator.faults.add(FaultOrder(kind=kind, **order))

    def clear_faults(self):
        """Let everything go well again."""
        self.simulator.faults.clear()

    def calls(self, *operations, since: int = 0) -> list[dict]:
        """The calls of these operations, or of all but those for tokens, after the one of a number."""
        entries = self.simulator.ledger.entries(since=since)["entries"]
        return [one for one in entries if one["operation"] in (operations or {one["operation"]} - {"token"})]

    @property
    def sequence(self) -> int:
        """The number of the latest call."""
        return self.simulator.ledger.last_sequence

    # Clients

    @property
    def clients(self) -> dict[str, Registration]:
        """All clients but the operator's own, inactive ones too, the oldest first."""
        own = (one.current for one in self.state.clients.values() if one.current.client_orgno == ORGNO)
        return {one.client_id: read_registration(json.loads(one.json)) for one in own if one.client_id != ADMIN}

    @property
    def ids(self) -> list[str]:
        """The ids of all clients, the oldest first."""
        return list(self.clients)

    @property
    def active(self) -> list[Registration]:
        return [one for one in self.clients.values() if one.fields["active"]]

    def create(self, fields, *keys: PublicJwk, orgno: str | None = None) -> Registration:
        """Register a client, by default of the organisation; what `fields` leaves out is as the operator has it."""
        whole = registration_fields(**fields)
        document = {name: value for name, value in whole.items() if name in fields or name not in READ_ONLY}
        client = seed_client(self.state, document | {"client_orgno": orgno}, self.now)
        self.set_keys(client.client_id, keys)
        return read_registration(json.loads(self.state.client(client.client_id).json))

    def change(self, client_id: str, **fields):
        """Change members of a client; `created` is in epoch seconds."""
        client = self.state.client(client_id)
        apart = {name: fields.pop(name) for name in ("active", "created") if name in fields}
        self.state.put_client(replace(client, fields={**client.fields, **fields}, **apart), self.now)

    def set_keys(self, client_id: str, keys):
        """Replace a client's keys by these, of which some may have expired."""
        client = self.state.client(client_id)
        self.state.put_client(replace(client, keys=tuple(map(self._build_key, keys))), self.now)

    def _build_key(self, key: PublicJwk) -> Key:
        members = dict(key.members)
        exp = int(members.pop("exp", self.now + 365 * 86400))
        created = members.pop("created", None)
        at = _parse_instant(created) if created else self.now
        members.pop("last_updated", None)
        return Key(members, exp, at, at)

    def lose_clients(self):
        """Know of no client any more."""
        for client_id in self.ids:
            del self.state.clients[client_id]

    # Scopes

    @property
    def scopes(self) -> dict[str, dict]:
        """The organisation's own scopes as DigDir shows them, inactive ones too."""
        own = (one.current for one in self.state.scopes.values() if one.current.owner_orgno == ORGNO)
        return {one.name: dict(one.document) for one in own}

    def add_scope(self, name: str, description: str, *consumers: str, **fields):
        """A scope that is there already, with these consumers."""
        self._seed_scope(name, description=description, **fields)
        self.set_consumers(name, *consumers)

    def _seed_scope(self, name: str, **fields):
        given = {one: fields.pop(one) for one in SeedScope.model_fields if one in fields}
        seed_scopes(self.state, [SeedScope(name=name, more=fields, **given)], self.now)

    def change_scope(self, name: str, **fields):
        """Change members of a scope."""
        scope = self.state.scope(name)
        known = {one: fields.pop(one) for one in SeedScope.model_fields if one in fields}
        self.state.put_scope(replace(scope, more={**scope.more, **fields}, **known), self.now)

    def set_consumers(self, name: str, *consumers: str):
        """Let these have access to a scope, and nobody else."""
        for orgno in self.consumers(name) - set(consumers):
            self._grant(name, orgno, "DENIED")
        for orgno in consumers:
            self._grant(name, orgno)

    def consumers(self, name: str) -> set[str]:
        """Who has access to a scope."""
        accesses = (one.current for one in self.state.accesses.get(name, {}).values())
        return {one.consumer_orgno for one in accesses if one.state == "APPROVED"}

    def _grant(self, name: str, orgno: str | None = None, state: str = "APPROVED"):
        grant(self.state, SeedGrant(scope=name, consumer_orgno=orgno, state=state), self.now, self.now)

    # Scopes of others

    def offer(self, *names: str):
        """There are such scopes, which nobody may use."""
        for name in names:
            if self.state.scope(name) is None:
                self._seed_scope(name, owner_orgno=KS)

    def grant(self, *names: str):
        """Their owner lets the organisation use scopes, as DigDir lists."""
        self.offer(*names)
        for name in names:
            self._grant(name)

    def withdraw(self, *names: str):
        """Their owner lets the organisation use scopes no longer."""
        for name in names:
            self._grant(name, state="DENIED")

    def open(self, *names: str):
        """Scopes may be used by anybody, though no list tells of it."""
        self.offer(*names)
        for name in names:
            self.change_scope(name, accessible_for_all=True, visibility="PRIVATE")

    def refuse(self, *names: str):
        """Scopes are listed as granted, and refused all the same."""
        self.grant(*names)
        for name in names:
            self.change_scope(name, allowed_integration_types=("krr",))

    def admit(self, *names: str):
        """Scopes are refused no longer."""
        for name in names:
            self.change_scope(name, allowed_integration_types=("maskinporten",))


def _parse_instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class Trials:
    """The credentials that passes had tried, which are asked for when the test says so."""

    def __init__(self, tokens: TokenRequests):
        self._tokens = tokens
        self._trials: dict[str, Trial] = {}
        self.requests: dict[str, TokenRequest] = {}
        self.asked = 0

    def verify(self, meta, subject, request):
        self.requests[subject] = request
        return self._trials.setdefault(subject, Trial())

    async def ask(self):
        """Ask Maskinporten once for each that got no token."""
        for subject, request in self.requests.items():
            if not self._trials[subject].is_over:
                self.asked += 1
                answer = await self._tokens.ask(request)
                self._trials[subject] = Trial(answer, is_over=answer.outcome == "Issued")


class World:
    """Everything at once: what outlives a process, and the process."""

    def __init__(self, settings=SETTINGS, digdir=None, **changes):
        self.settings = settings
        self.trips = Trips()
        self.clock = digdir.clock if digdir else FakeClock()
        self.random = FakeRandomness()
        self.cluster = FakeCluster(self.trips, resource_body(**changes))
        self.digdir = digdir or Digdir(self.clock)
        self.key_pool = FakeKeyPool(self.trips)
        self.announcer = FakeAnnouncer()
        if digdir is None:
            self.digdir.grant(SCOPE, OTHER_SCOPE, DEFAULT)
        self.start()

    def start(self):
        """Begin a process, which remembers nothing of the one before."""
        self.memory = Memory()
        self.resources = FakeResourceStore()
        self.namespaces = FakeNamespaces()
        body = self.cluster.resource
        had_finalizer = body is not None and FINALIZER in body["metadata"]["finalizers"]
        monotonic = self.clock.monotonic
        plain = httpx.AsyncClient(transport=self.digdir.transport, base_url=URL)
        metadata = MaskinportenMetadata(plain, SERVER.well_known_url, monotonic)
        auth = JwtGrantAuth(
            plain, metadata, admin_credentials(), RIGHTS, lambda: self.clock.now().timestamp(), monotonic=monotonic
        )
        http = httpx.AsyncClient(transport=self.digdir.transport, base_url=URL, auth=auth)
        calls = self._build_calls(http, f"{URL}/api/v1/")
        clients = Tripping(ClientApi(calls), self.trips, OF_CLIENTS)
        scopes = Tripping(ScopeApi(calls), self.trips, OF_SCOPES)
        ticking = {"monotonic": monotonic, "sleep": self._sleep}
        naming = {"cluster": self.settings.cluster, "lag": LAG}
        self.registrations = DigdirRegistrationIndex(clients, **naming, **ticking)
        self.scopes = DigdirScopeIndex(scopes, **naming, **ticking)
        self.grants = DigdirGrantIndex(scopes, self.scopes, max_age=GRANT_MAX_AGE, **ticking)
        self.metadata = Tripping(metadata, self.trips, {"get": "get_metadata"})
        self.verifier = Trials(TokenRequests(plain, metadata, lambda: self.clock.now().timestamp()))
        self.first_seen = FirstSeen(monotonic(), had_finalizer)

    def _build_calls(self, http, url):
        return Calls(http, url, lambda *_: None, self.clock.monotonic)

    def see(self):
        """The process sees the resource, without our finalizer, for the first time."""
        self.first_seen = FirstSeen(self.clock.monotonic(), had_finalizer=False)

    async def _sleep(self, seconds):
        self.clock.advance(seconds)

    @property
    def ports(self) -> Ports:
        return Ports(
            settings=self.settings,
            platform=Platform(),
            cluster=self.cluster,
            digdir=DigdirPorts(self.registrations, self.scopes, self.grants, self.metadata, self.verifier),
            known=Known(self.resources, FakeSecrets(self.cluster), FakeChildren(self.cluster), self.namespaces),
            key_pool=self.key_pool,
            announcer=self.announcer,
            clock=self.clock,
            random=self.random,
            memory=self.memory,
        )

    async def reconcile(self, body=None):
        """Run one pass; `body` is what it begins with if that is old."""
        self.trips.calls.clear()
        return await reconcile_maskinportenclient(body or self.cluster.resource, self.first_seen, self.ports)

    async def settle(self, most: int = 12):
        """Run passes, each when the one before said, until one has nothing to do and the resource is ready or held."""
        for _ in range(most):
            outcome = await self.reconcile()
            if outcome.retry is None or (not outcome.retry.failed and self.ready == "True"):
                return outcome
            self.clock.advance((outcome.retry.delay if outcome.retry.delay is not None else 1.0) + 0.1)
        raise AssertionError(f"not settled after {most} passes: {self.cluster.resource['status']}")

    async def resync(self):
        """Do what a resync does, long after the newest write."""
        self.clock.advance(LAG + 1)
        await self.registrations.refresh()
        await self.scopes.refresh()
        self.scopes.expire_access()

    @property
    def writes(self) -> list[str]:
        """The calls that changed something."""
        return [call for call in self.trips.calls if call not in READS]

    @property
    def meta(self):
        return parse_meta(MASKINPORTEN_CLIENT, self.cluster.resource)

    @property
    def status(self):
        return self.cluster.resource["status"]

    @property
    def condition(self):
        (ready,) = (one for one in self.status.get("conditions", ()) if one["type"] == "Ready")
        return ready

    def find_condition(self, kind):
        """The condition of a type, or None."""
        return next((one for one in self.status.get("conditions", ()) if one["type"] == kind), None)

    @property
    def ready(self):
        return self.condition["status"] if self.status.get("conditions") else None

    @property
    def secret(self):
        return self.cluster.secrets[SECRET]

    @property
    def held(self) -> PrivateJwk:
        jwk = ObservedSecret(self.secret).jwk
        assert jwk
        return jwk

    @property
    def client(self) -> Registration:
        (client,) = self.digdir.active
        return client

    @property
    def kids(self) -> list[str]:
        return [key.kid for key in self.client.keys]
