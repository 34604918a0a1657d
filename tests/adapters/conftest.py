"""The operator's own HTTP client against the simulator in this process, with clocks that the tests move."""

import asyncio
import contextlib
import functools
import json
import time

import httpx
import pytest

from digdir_simulator import Config, create_app, jws
from digdir_simulator.faults import FaultOrder
from digdir_simulator.in_process import InProcessTransport
from digdir_simulator.seed import SeedGrant, SeedScope, grant, seed_scopes
from maskinporten_operator.adapters.digdir import credentials
from maskinporten_operator.adapters.digdir.auth import JwtGrantAuth
from maskinporten_operator.adapters.digdir.calls import Calls
from maskinporten_operator.adapters.digdir.client_api import ClientApi
from maskinporten_operator.adapters.digdir.credentials import AdminCredentials, JwkFile
from maskinporten_operator.adapters.digdir.metadata import MaskinportenMetadata
from maskinporten_operator.adapters.digdir.scope_api import ScopeApi

DEADLINE = 5.0
LAG = 10.0
URL = "http://digdir.test"
WELL_KNOWN = f"{URL}/.well-known/oauth-authorization-server"
ADMIN_SCOPES = ("idporten:dcr.read", "idporten:dcr.write", "idporten:scopes.read", "idporten:scopes.write")


class ManualClock:
    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


class Ticking:
    """A world whose clock goes on a little with each look, and by what anybody sleeps."""

    def __init__(self, clock, advance):
        self.clock = clock
        self.advance = advance
        self.slept = []

    def monotonic(self):
        self.clock.advance(0.001)
        return self.clock.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.advance(seconds)


class Digdir:
    """The simulator, and the operator's way to it."""

    def __init__(self, source, **config):
        self.wall = ManualClock(float(int(time.time())))
        self.monotonic = ManualClock(1000.0)
        self.app = create_app(Config(public_url=URL, **config), clock=self.wall)
        self.simulator = self.app.state.simulator
        self.plain = httpx.AsyncClient(transport=InProcessTransport(self.app), base_url=URL)
        self.metadata = MaskinportenMetadata(self.plain, WELL_KNOWN, self.monotonic)
        self.credentials = AdminCredentials("admin-client", source)
        self.http = self.authorized(self.credentials)
        self.observed = []
        self.client = self.client_over(self.http)
        self.scopes = ScopeApi(self.calls_over(self.http))

    def authorized(self, credentials, scopes=ADMIN_SCOPES, transport=None):
        auth = JwtGrantAuth(self.plain, self.metadata, credentials, scopes, self.wall, monotonic=self.monotonic)
        return httpx.AsyncClient(transport=transport or InProcessTransport(self.app), base_url=URL, auth=auth)

    def client_over(self, http):
        return ClientApi(self.calls_over(http))

    def calls_over(self, http):
        return Calls(http, f"{URL}/api/v1/", lambda *call: self.observed.append(call), self.monotonic)

    def answering(self, handler):
        """A client of an API that answers as `handler` does."""
        return self.client_over(httpx.AsyncClient(transport=httpx.MockTransport(handler)))

    def scopes_answering(self, handler):
        """The operations on scopes of an API that answers as `handler` does."""
        return ScopeApi(self.calls_over(httpx.AsyncClient(transport=httpx.MockTransport(handler))))

    def seed(self, name, **fields):
        """A scope that has always been there."""
        (made,) = seed_scopes(self.simulator.state, [SeedScope(name=name, **fields)], self.wall.now)
        return made

    def access(self, name, orgno=None, state="APPROVED"):
        """Somebody gives, asks for or takes access to a scope; by default the organisation's own."""
        return grant(
            self.simulator.state, SeedGrant(scope=name, consumer_orgno=orgno, state=state), self.wall.now, self.wall.now
        )

    def consumers(self, name):
        """Who has access to a scope."""
        accesses = self.simulator.state.accesses_to(name, self.wall.now)
        return {one.consumer_orgno for one in accesses if one.state == "APPROVED"}

    def advance(self, seconds):
        self.wall.advance(seconds)
        self.monotonic.advance(seconds)

    def fault(self, kind, **order):
        return self.simulator.faults.add(FaultOrder(kind=kind, **order))

    def set(self, **settings):
        self.simulator.settings = self.simulator.settings.model_copy(update=settings)

    def count(self, operation):
        return self.simulator.ledger.summary(operation=operation)["total"]

    def stored(self, client_id):
        return self.simulator.state.client(client_id)


class IndexWorld(Ticking):
    """DigDir, and what an index of it is made with."""

    def __init__(self, digdir):
        super().__init__(digdir.monotonic, digdir.advance)
        self.digdir = digdir

    def build(self, index, api):
        return index(api, cluster="some-cluster", lag=LAG, monotonic=self.monotonic, sleep=self.sleep)

    def lag(self, seconds=8):
        self.digdir.set(list_lag_seconds=seconds)


def scope_fields(name="nav:arbeid:some.scope.read", **changes):
    prefix, _, subscope = name.partition(":")
    return {
        "prefix": prefix,
        "subscope": subscope,
        "description": f"some-cluster:some-team:some-app.{subscope}",
        "visibility": "PUBLIC",
        "allowed_integration_types": ["maskinporten"],
        "at_max_age": 30,
        "authorization_max_lifetime": 30,
        "accessible_for_all": False,
        "active": True,
    } | changes


async def held(fault):
    """Wait until a fault holds a call."""
    async with asyncio.timeout(DEADLINE):
        while not fault.held:
            await asyncio.sleep(0)


def fields(**changes):
    return {
        "client_name": "Some Organisation",
        "description": "some-cluster:some-team:some-app",
        "integration_type": "maskinporten",
        "application_type": "web",
        "token_endpoint_auth_method": "private_key_jwt",
        "grant_types": ["urn:ietf:params:oauth:grant-type:jwt-bearer"],
        "access_token_lifetime": 3600,
        "scopes": ["skatt:some.scope"],
    } | changes


_CONSTRUCT = credentials.jwk.construct


@functools.cache
def _construct_once(members, algorithm):
    return _CONSTRUCT(json.loads(members), algorithm)


@pytest.fixture(autouse=True)
def keys_are_made_once(monkeypatch):
    """A key is made of the same members once: to test whether its factors are primes takes longer than most tests."""
    # For each test anew: whoever else uses the library in this process gets its own function back
    monkeypatch.setattr(
        credentials.jwk, "construct", lambda members, algorithm: _construct_once(json.dumps(members), algorithm)
    )


@pytest.fixture(scope="session")
def admin_jwk():
    return jws.new_private_jwk()


@pytest.fixture(scope="session")
def jwks():
    return [jws.new_private_jwk() for _ in range(2)]


@pytest.fixture
def jwk_file(tmp_path, admin_jwk):
    path = tmp_path / "admin.jwk"
    path.write_text(json.dumps(admin_jwk))
    return path


@pytest.fixture
async def digdir(admin_jwk, jwk_file):
    digdir = Digdir(JwkFile(jwk_file), admin_jwk=jws.public_jwk(admin_jwk))
    async with digdir.plain, digdir.http:
        yield digdir
    assert digdir.simulator.ledger.violating() == []


@pytest.fixture
def trusting():
    """The simulator with an admin client that has a certificate, of somebody whom it trusts."""

    @contextlib.asynccontextmanager
    async def trusting(trusted, source):
        digdir = Digdir(source, trusted_certificates=trusted.chain_pem)
        async with digdir.plain, digdir.http:
            yield digdir
        assert digdir.simulator.ledger.violating() == []

    return trusting
