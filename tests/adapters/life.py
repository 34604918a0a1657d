"""One resource's whole life: real passes and the real way to DigDir, the simulator, and an API server in memory.

Time is virtual and everything is in one process, so that a life takes milliseconds and can be lived in every manner
that DigDir may have.
"""

import functools
import uuid
from dataclasses import replace
from datetime import timedelta

import httpx

from digdir_simulator import Config, create_app, jws
from digdir_simulator.in_process import InProcessTransport
from digdir_simulator.seed import SeedGrant, SeedScope, grant, seed_scopes
from digdir_simulator.state import Key
from maskinporten_operator.adapters.digdir.auth import JwtGrantAuth
from maskinporten_operator.adapters.digdir.calls import Calls
from maskinporten_operator.adapters.digdir.client_api import ClientApi
from maskinporten_operator.adapters.digdir.grant_index import GrantIndex
from maskinporten_operator.adapters.digdir.metadata import MetadataReader
from maskinporten_operator.adapters.digdir.registration_index import RegistrationIndex
from maskinporten_operator.adapters.digdir.scope_api import ScopeApi
from maskinporten_operator.adapters.digdir.scope_index import ScopeIndex
from maskinporten_operator.config import Config as OperatorConfig
from maskinporten_operator.model.jwk import RsaKey
from tests.adapters.conftest import LAG, URL, WELL_KNOWN
from tests.certificates import rsa_key as certified_key
from tests.unit import fakes

RIGHTS = OperatorConfig.model_fields["admin_scopes"].default
"""Those that the operator asks for unless it is told otherwise."""


@functools.cache
def minted(number):
    """A real key of a length that DigDir takes; the same one for the same number."""
    private = certified_key(10 + number % 4).private_numbers()
    public = private.public_numbers
    numbers = (public.n, public.e, private.d, private.p, private.q, private.dmp1, private.dmq1, private.iqmp)
    return RsaKey(*map(fakes.encode_number, numbers))


class Mint:
    def __init__(self):
        self._taken = 0

    async def take(self, namespace):
        self._taken += 1
        return minted(self._taken)


class LiveWorld(fakes.World):
    """A resource on an API server in memory, and DigDir with the simulator's settings of `manner`."""

    def __init__(self, credentials, admin_jwk, settings=fakes.SETTINGS, **manner):
        """`credentials` are the operator's own, read once for many lives, as that takes long; `admin_jwk` is theirs."""
        self._credentials, self._admin_jwk, self._manner = credentials, admin_jwk, manner
        super().__init__(settings)
        self.mint = Mint()

    def start(self):
        """Begin a process, which remembers nothing of the one before."""
        if not hasattr(self, "simulator"):
            self._open()
        super().start()
        monotonic, sleep = self.clock.monotonic, self._sleep
        metadata = MetadataReader(self._plain, WELL_KNOWN, monotonic)
        auth = JwtGrantAuth(
            self._plain, metadata, self._credentials, RIGHTS, lambda: self.clock.now().timestamp(), monotonic=monotonic
        )
        http = httpx.AsyncClient(transport=self._transport, base_url=URL, auth=auth)
        calls = Calls(http, f"{URL}/api/v1/", lambda *_: None, monotonic)
        more = {"monotonic": monotonic, "sleep": sleep}
        api, marks = ScopeApi(calls), {"cluster": self.settings.cluster, "lag": LAG}
        self.registry = RegistrationIndex(ClientApi(calls), **marks, **more)
        self.scopes = ScopeIndex(api, **marks, **more)
        self.grants = GrantIndex(api, self.scopes, max_age=300, **more)

    def _open(self):
        config = Config(public_url=URL, admin_jwk=jws.public_jwk(self._admin_jwk))
        app = create_app(config, clock=lambda: self.clock.now().timestamp())
        self.simulator = app.state.simulator
        self.simulator.settings = type(self.simulator.settings).model_validate(self._manner)
        self._transport = InProcessTransport(app)
        self._plain = httpx.AsyncClient(transport=self._transport, base_url=URL)

    async def _sleep(self, seconds):
        self.clock.advance(seconds)

    # What happens on the cluster

    def create(self, **changes):
        """Somebody makes the resource, another one than before."""
        body = fakes.resource_body(**changes)
        body["metadata"]["uid"] = str(uuid.uuid4())
        self.cluster.resource = body
        self.cluster.touch()
        self.start_anew()

    def start_anew(self):
        """The process sees the resource for the first time."""
        self.first_seen = replace(self.first_seen, at=self.clock.monotonic(), had_finalizer=False)

    async def delete(self, **annotations):
        """Somebody deletes the resource; its Secret goes with it."""
        self.cluster.annotate(**annotations)
        self.cluster.touch(deletionTimestamp="2026-03-01T00:00:00Z")
        for _ in range(10):
            outcome = await self.reconcile()
            if self.cluster.resource is None:
                self.cluster.secrets.clear()
                return
            assert outcome.retry, outcome
            self.clock.advance((outcome.retry.delay or 1.0) + 0.1)
        raise AssertionError(f"not deleted: {self.cluster.resource['status']} {self.announcer.announced[-3:]}")

    async def settle(self, most=20):
        """Let passes follow one another until one has nothing left to do."""
        return await super().settle(most)

    async def later(self, **passed):
        """Let time pass, have the lists read anew as a resync does, and settle."""
        self.clock.advance(timedelta(**passed).total_seconds())
        await self.registry.refresh()
        await self.scopes.refresh()
        return await self.settle()

    # What is at DigDir

    @property
    def state(self):
        return self.simulator.state

    @property
    def clients(self):
        """The clients with the resource's description, the oldest first."""
        found = [one.current for one in self.state.clients.values()]
        return [one for one in found if one.fields["description"] == fakes.DESCRIPTION]

    @property
    def client(self):
        """The one that is active."""
        (found,) = [one for one in self.clients if one.active]
        return found

    @property
    def kids(self):
        """The ids of its keys that haven't expired."""
        return [key.kid for key in self.client.keys if key.exp > self.clock.now().timestamp()]

    def change_client(self, **changes):
        """Somebody changes the active client by hand."""
        self.state.put_client(replace(self.client, **changes), self.clock.now().timestamp())

    def expiring(self, jwk, **lives):
        """A key as DigDir keeps it, that expires after a while."""
        now = self.clock.now()
        return Key(dict(jwk), int((now + timedelta(**lives)).timestamp()), now.timestamp(), now.timestamp())

    def seed_scope(self, name, **fields):
        """A scope that has always been there."""
        seed_scopes(self.state, [SeedScope(name=name, **fields)], self.clock.now().timestamp())

    def give(self, name, orgno=None, state="APPROVED"):
        """Somebody gives access, by default to the organisation."""
        now = self.clock.now().timestamp()
        grant(self.state, SeedGrant(scope=name, consumer_orgno=orgno, state=state), now, now)

    def scope(self, name):
        """A scope as it is now; None if there is none."""
        return self.state.scope(name)

    def consumers(self, name):
        """Who has access to a scope."""
        accesses = self.state.accesses.get(name, {}).values()
        return {one.current.consumer_orgno for one in accesses if one.current.state == "APPROVED"}

    @property
    def violations(self):
        """In what the operator's calls broke the contract of DigDir's API."""
        return [(one["operation"], one["violations"]) for one in self.simulator.ledger.violating()]
