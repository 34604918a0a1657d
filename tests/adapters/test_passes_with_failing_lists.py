"""Whole passes over the real client of DigDir's API, while one of its lists fails: the rest goes on."""

import dataclasses
import json
from datetime import UTC, datetime

import httpx
import pytest

from digdir_simulator.in_process import InProcessTransport
from maskinporten_operator.adapters.digdir.grant_index import LEAST_BETWEEN, GrantIndex
from maskinporten_operator.adapters.digdir.index import RegistrationIndex
from maskinporten_operator.adapters.digdir.scope_api import ScopeApi
from maskinporten_operator.adapters.digdir.scope_index import ScopeIndex
from maskinporten_operator.model.keys import RsaKey
from maskinporten_operator.plan.consumption import OWN_SCOPES
from maskinporten_operator.reconcile.ports import Sighting
from tests.adapters.conftest import IndexWorld
from tests.specs import exposed
from tests.unit.fakes import SECRET, World, decode

GRANTED, OPEN, DELEGATED, OWN = (
    "skatt:some.scope",
    "udir:some.open.scope",
    "skatt:delegated.scope",
    "nav:some/other/scope",
)
EVERY = (GRANTED, OPEN, DELEGATED, OWN)
LATER = "krr:global/kontaktinformasjon.read"
EXPOSED = "nav:arbeid/some/scope"
KS = "971032146"
MAX_AGE = 180.0
SOON = 2.0
LISTS = {
    "accesses": ("/scopes/access/all$", "granted scopes"),
    "open": ("/scopes/all$", "open scopes"),
    "delegated": ("/scopes/all$", "delegated scopes"),
    "sources": ("/delegationsources$", None),
    "own": ("/scopes$", OWN_SCOPES),
}
FAULTS = {"503": 503, "400": 400, "403": 403, "HTML": None, "odd row": "odd"}
every_fault = pytest.mark.parametrize(("which", "fault"), [(which, fault) for which in LISTS for fault in FAULTS])


class Failing(httpx.AsyncBaseTransport):
    """The simulator, with one list that fails."""

    def __init__(self, app):
        self.inner = InProcessTransport(app)
        self.which = self.fault = None
        self.struck = 0

    async def handle_async_request(self, request):
        if self.which is None or not self._is_meant(request):
            return await self.inner.handle_async_request(request)
        self.struck += 1
        fault = FAULTS[self.fault]
        if fault == "odd":
            answer = await self.inner.handle_async_request(request)
            return httpx.Response(200, json=[5, {"name": 5}, *json.loads(await answer.aread()), None, {}])
        if fault is None:
            return httpx.Response(200, html="<html>")
        return httpx.Response(fault, json={"error_description": "it is broken"})

    def _is_meant(self, request):
        path, query = request.url.path.removeprefix("/api/v1"), request.url.params
        if request.method != "GET" or path != LISTS[self.which][0].removesuffix("$"):
            return False
        return self.which not in {"open", "delegated"} or ("delegated_sources" in query) is (self.which == "delegated")


class Clock:
    """The simulator's clocks, as a pass sees them."""

    def __init__(self, index_world):
        self.monotonic = index_world.monotonic
        self.wall = index_world.digdir.wall

    def now(self):
        return datetime.fromtimestamp(self.wall(), UTC)


class Mint:
    """A key that DigDir takes, over and over."""

    def __init__(self, jwk):
        self.key = RsaKey(**{one.name: jwk[one.name] for one in dataclasses.fields(RsaKey)})

    async def take(self):
        return self.key


class Passes(World):
    """An API server in memory, and DigDir behind the real client."""

    def __init__(self, digdir, transport, jwk):
        consumes = [{"name": name} for name in EVERY]
        exposes = [exposed("some/scope", consumers=[{"orgno": KS}], delegationSource="altinn")]
        super().__init__(spec={"secretName": SECRET, "scopes": {"consumes": consumes, "exposes": exposes}})
        self.real, self.transport = digdir, transport
        self.clock, self.mint = Clock(IndexWorld(digdir)), Mint(jwk)
        self.api = ScopeApi(digdir.calls_over(digdir.authorized(digdir.credentials, transport=transport)))
        self.start_real()

    def start_real(self):
        self.start()
        world = IndexWorld(self.real)
        self.registry = world.build(RegistrationIndex, self.real.client)
        self.scopes = world.build(ScopeIndex, self.api)
        self.grants = GrantIndex(self.api, self.scopes, max_age=MAX_AGE, monotonic=world.monotonic, sleep=world.sleep)
        self.sighting = Sighting(self.clock.monotonic(), marked=True)

    def fail(self, which=None, fault=None):
        self.transport.which, self.transport.fault = which, fault

    async def settled(self):
        for _ in range(20):
            outcome = await self.reconcile()
            if self.ready == "True":
                return
            delay = outcome.retry.delay if outcome.retry and outcome.retry.delay is not None else LEAST_BETWEEN
            self.real.advance(delay + 0.1)
        raise AssertionError(self.status)

    def registered(self):
        (client,) = [
            one for one in self.real.simulator.state.clients_of("889640782", self.real.wall.now) if is_ours(one)
        ]
        return set(client.fields["scopes"])

    def break_secret(self):
        del self.secret["data"]["MASKINPORTEN_ISSUER"]


def is_ours(client):
    return client.active and client.fields["description"].startswith("some-cluster:")


@pytest.fixture
def transport(digdir):
    return Failing(digdir.app)


@pytest.fixture
def world(digdir, transport, jwks):
    return Passes(digdir, transport, jwks[0])


async def test_without_any_fault_all_is_registered_and_exposed(world):
    await world.settled()

    assert world.registered() == set(EVERY)
    assert world.real.consumers(EXPOSED) == {KS}


@every_fault
async def test_a_list_that_fails_later_costs_neither_secret_nor_what_is_known(world, which, fault):
    await world.settled()
    world.fail(which, fault)
    world.real.advance(MAX_AGE + 1)
    world.break_secret()
    before = world.real.monotonic.now

    await world.reconcile()

    assert decode(world.secret, "MASKINPORTEN_ISSUER") == "http://digdir.test/"
    assert world.real.monotonic.now - before <= SOON
    assert world.registered() == set(EVERY)
    assert world.ready == "True"


@every_fault
async def test_a_list_that_fails_at_the_start_costs_neither_secret_nor_what_is_known(world, which, fault):
    await world.settled()
    world.real.advance(60)
    world.break_secret()
    world.fail(which, fault)
    world.start_real()
    before = world.real.monotonic.now

    await world.reconcile()

    assert decode(world.secret, "MASKINPORTEN_ISSUER") == "http://digdir.test/"
    assert world.real.monotonic.now - before <= SOON
    assert world.registered() == set(EVERY)
    assert world.ready == "True"
    assert world.transport.struck > 0


@every_fault
async def test_a_new_client_is_registered_with_what_it_may_have_whatever_list_fails_at_the_start(world, which, fault):
    world.fail(which, fault)
    for _ in range(4):
        await world.reconcile()
        world.real.advance(11)

    assert world.registered() == set(EVERY)
    assert decode(world.secret, "MASKINPORTEN_SCOPES") == " ".join(EVERY)
    world.fail()
    world.real.advance(20)
    await world.settled()
    assert world.real.consumers(EXPOSED) == {KS}
    assert len([one for one in world.real.simulator.state.clients_of("889640782", 2e9) if is_ours(one)]) == 1


@pytest.mark.parametrize("which", [one for one, (_, name) in LISTS.items() if name])
async def test_what_is_left_out_while_a_list_fails_is_told_with_the_list(world, which):
    await world.settled()
    world.fail(which, "503")
    world.real.advance(MAX_AGE + 1)
    await world.reconcile()
    world.real.advance(LEAST_BETWEEN + 1)
    consumes = [{"name": name} for name in (*EVERY, LATER, "ks:not.granted")]
    world.cluster.edit_spec(scopes={"consumes": consumes})
    world.sighting = Sighting(world.clock.monotonic(), marked=True)  # the spec is a new one
    for _ in range(3):
        await world.reconcile()
        world.real.advance(LEAST_BETWEEN + 1)

    assert world.registered() == {*EVERY, LATER}
    assert (world.ready, world.condition["reason"]) == ("False", "ScopesNotGranted")
    assert "ks:not.granted (DigDir: Scope ks:not.granted is not accessible" in world.condition["message"]
    assert f"What DigDir lists as {LISTS[which][1]} couldn't be read" in world.condition["message"]
