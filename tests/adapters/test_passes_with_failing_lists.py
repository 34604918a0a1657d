"""Whole passes over the real client of DigDir's API, while one of its lists fails: the rest goes on."""

import json

import httpx
import pytest

from maskinporten_operator.adapters.digdir.grant_index import MIN_LOOK_INTERVAL
from maskinporten_operator.plan.consumed_scopes import OWN_SCOPES
from tests.adapters.life import LiveWorld
from tests.specs import exposed
from tests.unit.fakes import SECRET, decode
from tests.unit.world import GRANT_MAX_AGE

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
SOON = 2.0
LISTS = {
    "accesses": ("/scopes/access/all", "granted scopes"),
    "open": ("/scopes/all", "open scopes"),
    "delegated": ("/scopes/all", "delegated scopes"),
    "sources": ("/delegationsources", None),
    "own": ("/scopes", OWN_SCOPES),
}
FAULTS = {"503": 503, "400": 400, "403": 403, "HTML": None, "odd row": "odd"}
every_fault = pytest.mark.parametrize(("which", "fault"), [(which, fault) for which in LISTS for fault in FAULTS])


class Failing(httpx.AsyncBaseTransport):
    """The way to the simulator, on which one list fails."""

    def __init__(self, inner):
        self.inner = inner
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
        if request.method != "GET" or path != LISTS[self.which][0]:
            return False
        return self.which not in {"open", "delegated"} or ("delegated_sources" in query) is (self.which == "delegated")


class Passes(LiveWorld):
    """A resource that consumes a scope of each kind and exposes one, with a list that can fail."""

    def __init__(self):
        super().__init__()
        self.failing = self.digdir.transport = Failing(self.digdir.transport)
        self.start()
        exposes = [exposed("some/scope", consumers=[{"orgno": KS}], delegationSource="altinn")]
        consumes = [{"name": name} for name in EVERY]
        self.create(spec={"secretName": SECRET, "scopes": {"consumes": consumes, "exposes": exposes}})

    def fail(self, which=None, fault=None):
        self.failing.which, self.failing.fault = which, fault

    def registered(self):
        return set(self.client.scopes)

    def break_secret(self):
        del self.secret["data"]["MASKINPORTEN_ISSUER"]


@pytest.fixture
def world():
    world = Passes()
    yield world
    assert world.digdir.violations == []


@pytest.fixture
async def converged(world):
    await world.settle()
    return world


async def test_without_any_fault_all_is_registered_and_exposed(converged):
    assert converged.registered() == set(EVERY)
    assert converged.digdir.consumers(EXPOSED) == {KS}


@every_fault
async def test_a_list_that_fails_later_costs_neither_secret_nor_what_is_known(converged, which, fault):
    converged.fail(which, fault)
    converged.clock.advance(GRANT_MAX_AGE + 1)
    converged.break_secret()
    before = converged.clock.passed

    await converged.reconcile()

    assert decode(converged.secret, "MASKINPORTEN_ISSUER") == "http://digdir.test/"
    assert converged.clock.passed - before <= SOON
    assert converged.registered() == set(EVERY)
    assert converged.ready == "True"


@every_fault
async def test_a_list_that_fails_at_the_start_costs_neither_secret_nor_what_is_known(converged, which, fault):
    converged.clock.advance(60)
    converged.break_secret()
    converged.fail(which, fault)
    converged.start()
    before = converged.clock.passed

    await converged.reconcile()

    assert decode(converged.secret, "MASKINPORTEN_ISSUER") == "http://digdir.test/"
    assert converged.clock.passed - before <= SOON
    assert converged.registered() == set(EVERY)
    assert converged.ready == "True"
    assert converged.failing.struck > 0


@every_fault
async def test_a_new_client_is_registered_with_what_it_may_have_whatever_list_fails_at_the_start(world, which, fault):
    world.fail(which, fault)
    for _ in range(4):
        await world.reconcile()
        world.clock.advance(MIN_LOOK_INTERVAL + 1)

    assert world.registered() == set(EVERY)
    assert decode(world.secret, "MASKINPORTEN_SCOPES") == " ".join(EVERY)
    world.fail()
    world.clock.advance(20)
    await world.settle()
    assert world.digdir.consumers(EXPOSED) == {KS}
    assert len(world.clients) == 1


@pytest.mark.parametrize("which", [one for one, (_, name) in LISTS.items() if name])
async def test_what_is_left_out_while_a_list_fails_is_told_with_the_list(converged, which):
    converged.fail(which, "503")
    converged.clock.advance(GRANT_MAX_AGE + 1)
    await converged.reconcile()
    converged.clock.advance(MIN_LOOK_INTERVAL + 1)
    consumes = [{"name": name} for name in (*EVERY, LATER, "ks:not.granted")]
    converged.cluster.edit_spec(scopes={"consumes": consumes})
    converged.see()
    for _ in range(3):
        await converged.reconcile()
        converged.clock.advance(MIN_LOOK_INTERVAL + 1)

    assert converged.registered() == {*EVERY, LATER}
    assert (converged.ready, converged.condition["reason"]) == ("False", "ScopesNotGranted")
    assert "ks:not.granted (DigDir: Scope ks:not.granted is not accessible" in converged.condition["message"]
    assert f"What DigDir lists as {LISTS[which][1]} couldn't be read" in converged.condition["message"]


# What a healthy client costs


def calls(world, since):
    return [one["operation"] for one in world.digdir.simulator.ledger.entries(since=since)["entries"]]


async def test_a_client_costs_two_writes_and_a_resync_no_call_of_its_own(world):
    await world.settle()
    written = [one for one in calls(world, 0) if one in {"create-client", "update-client", "replace-keys"}]
    assert written == ["create-client", "replace-keys"]

    await world.later(hours=8)
    since = world.digdir.simulator.ledger.last_sequence
    for _ in range(5):
        await world.reconcile()

    assert calls(world, since) == []


# Adopted by hand


@pytest.mark.parametrize("name", ["refresh_token_lifetime", "authorization_lifetime"])
async def test_a_client_that_was_made_by_hand_with_a_lifetime_of_zero_is_adopted_and_updated(converged, name):
    fields = {**converged.client.fields, name: 0, "client_name": "By hand"}
    converged.change_client(fields=fields)
    converged.start()

    await converged.later(seconds=60)

    assert converged.client.fields["client_name"] == "Some Organisation"
    assert converged.client.fields[name] > 0
    assert converged.ready == "True"
