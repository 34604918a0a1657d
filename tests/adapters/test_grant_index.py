"""What may be registered on a client: listed now and then, and looked for when a name isn't known."""

import asyncio

import httpx
import pytest
from structlog.testing import capture_logs

from maskinporten_operator.adapters.digdir.grant_index import MIN_DUE, MIN_LOOK_INTERVAL, DigdirGrantIndex
from maskinporten_operator.adapters.digdir.scope_index import DigdirScopeIndex
from maskinporten_operator.model.scopes import RegisteredScope
from tests.adapters.conftest import DEADLINE, IndexWorld, held, scope_fields

MAX_AGE = 180.0
GRANTED, OPEN, DELEGATED, OWN = (
    "skatt:some.scope",
    "udir:some.open.scope",
    "skatt:delegated.scope",
    "nav:some/other/scope",
)
MISSING = "ks:not.granted"
ORGNO = "889640782"


@pytest.fixture
def world(digdir):
    return World(digdir)


class World(IndexWorld):
    """DigDir, and the index of its grants."""

    def __init__(self, digdir):
        super().__init__(digdir)
        self.own = self.build(DigdirScopeIndex, digdir.scopes)
        self.index = self.start(digdir.scopes)

    def start(self, api):
        return DigdirGrantIndex(api, self.own, max_age=MAX_AGE, monotonic=self.monotonic, sleep=self.sleep)

    async def find(self, *names, asked=None):
        """Ask now, or as somebody who asked before."""
        return await self.index.find(names, self.monotonic() if asked is None else asked)

    async def names(self, *names, **more):
        return (await self.find(*names, **more)).names

    def looks(self):
        return self.digdir.count("list-accesses-given-to-me")


# What may be registered


async def test_granted_open_delegated_and_own_scopes_may_be_registered_and_no_other(world):
    granted = await world.find(GRANTED, OPEN, DELEGATED, OWN, MISSING, "unknown:scope")

    assert granted.names == {GRANTED, OPEN, DELEGATED, OWN}


async def test_only_those_that_were_asked_about_are_told(world):
    assert await world.names(GRANTED) == {GRANTED}


async def test_the_organisation_to_which_scopes_must_be_granted_is_told(world):
    assert (await world.find(GRANTED)).orgno == ORGNO


async def test_the_organisations_number_is_told_by_its_own_scopes_where_it_was_granted_none(world):
    world.digdir.fault("empty-list-error", path="/scopes/access/all$")

    assert (await world.find(MISSING)).orgno == ORGNO


@pytest.mark.parametrize("state", ["DENIED", "REQUESTED"])
async def test_access_that_is_denied_or_merely_asked_for_is_none(world, state):
    world.digdir.set(access_list_includes_denied=True)
    world.digdir.access(GRANTED, state=state)

    assert await world.names(GRANTED) == set()


async def test_inactive_scopes_that_are_open_delegated_or_own_may_not_be_registered(world):
    world.digdir.seed(OPEN, owner_orgno="970018131", accessible_for_all=True, active=False)
    world.digdir.seed(OWN, active=False)

    assert await world.names(OPEN, OWN) == set()


OPEN_FIELDS = {"active": True, "accessible_for_all": True, "allowed_integration_types": ["maskinporten"]}


def open_to_all(world, **fields):
    """What DigDir lists as open: a scope with other members than it should have, and one as it should be."""

    async def list_open():
        return (
            RegisteredScope(OPEN, {name: one for name, one in (OPEN_FIELDS | fields).items() if one != "none"}),
            RegisteredScope("udir:other", OPEN_FIELDS),
        )

    world.digdir.scopes.list_open = list_open
    world.index = world.start(world.digdir.scopes)


@pytest.mark.parametrize("member", [True, False, None, "true", 1, "none"], ids=repr)
async def test_a_scope_that_is_listed_as_open_is_so_only_if_it_says_it(world, member):
    open_to_all(world, accessible_for_all=member)

    assert await world.names(OPEN, "udir:other") == ({OPEN, "udir:other"} if member is True else {"udir:other"})


@pytest.mark.parametrize(
    ("types", "allowed"),
    [
        (["maskinporten"], True),
        (["krr", "maskinporten"], True),
        ([], True),
        (None, True),
        ("none", True),
        (["krr"], False),
        (["idporten", "ansattporten"], False),
    ],
    ids=repr,
)
async def test_an_open_scope_that_clients_of_another_type_alone_may_have_may_not_be_registered(world, types, allowed):
    open_to_all(world, allowed_integration_types=types)

    assert await world.names(OPEN, "udir:other") == ({OPEN, "udir:other"} if allowed else {"udir:other"})


@pytest.mark.parametrize("types", [5, True, {"a": 1}, [5], [None]], ids=repr)
async def test_types_of_another_form_hide_no_other_scope(world, types):
    open_to_all(world, allowed_integration_types=types)

    assert "udir:other" in await world.names(OPEN, "udir:other")


@pytest.mark.parametrize(("types", "allowed"), [(("maskinporten", "krr"), True), (("krr",), False)])
async def test_a_delegated_scope_that_clients_of_another_type_alone_may_have_may_not_be_registered(
    world, types, allowed
):
    fields = {"owner_orgno": "974761076", "delegation_source": "https://www.altinn.no/"}
    world.digdir.seed(DELEGATED, **fields, allowed_integration_types=types)

    assert await world.names(DELEGATED) == ({DELEGATED} if allowed else set())


async def test_scopes_that_may_be_delegated_are_listed_once_whatever_their_sources_are(world):
    sources = {DELEGATED: "https://www.altinn.no/", "ssb:delegated": "https://elsewhere.test/"}
    for name, source in sources.items():
        world.digdir.seed(name, owner_orgno="974761076", delegation_source=source)

    assert await world.names(*sources) == set(sources)
    assert world.digdir.count("list-all-scopes") == 2  # those that are open, and these
    assert world.digdir.count("list-delegation-sources") == 0


async def test_that_nothing_is_granted_is_no_fault(world):
    world.digdir.set(empty_list_is_error=True)
    world.digdir.fault("empty-list-error", path="/scopes/access/all$")
    world.digdir.simulator.state.scopes.pop(OPEN)
    world.digdir.simulator.state.scopes.pop(DELEGATED)

    assert await world.names(GRANTED, OWN) == {OWN}


# How often it is looked


async def test_what_is_known_is_remembered_for_as_long_as_was_said(world):
    await world.find(GRANTED)
    world.digdir.advance(MAX_AGE - 1)
    await world.find(GRANTED)
    assert world.looks() == 1

    world.digdir.advance(2)
    await world.find(GRANTED)

    assert world.looks() == 2


async def test_access_that_was_taken_back_is_noticed_when_the_lists_are_too_old(world):
    await world.find(GRANTED)
    world.digdir.access(GRANTED, state="DENIED")
    assert await world.names(GRANTED) == {GRANTED}
    world.digdir.advance(MAX_AGE + 1)

    assert await world.names(GRANTED) == set()


async def test_a_name_that_isnt_known_is_looked_for_at_once_by_whoever_asks_after_the_last_look(world):
    await world.find(GRANTED)
    world.digdir.access(MISSING)
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)

    granted = await world.find(MISSING)

    assert granted.names == {MISSING}
    assert granted.due == 0
    assert world.looks() == 2


async def test_one_whose_question_is_older_than_the_lists_is_answered_by_them(world):
    asked = world.monotonic()
    await world.find(GRANTED)
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)

    granted = await world.find(MISSING, asked=asked)

    assert (granted.names, granted.due) == (set(), 0)
    assert world.looks() == 1


async def test_names_that_arent_known_are_looked_for_at_most_every_ten_seconds(world):
    await world.find(GRANTED)
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)
    assert (await world.find("unknown:0")).due == 0
    for number in range(1, 20):
        granted = await world.find(f"unknown:{number}")
        assert 0 < granted.due <= MIN_LOOK_INTERVAL
    assert world.looks() == 2

    world.digdir.advance(granted.due)
    assert (await world.find("unknown:20")).due == 0

    assert world.looks() == 3


async def test_one_that_waited_as_long_as_it_was_told_gets_a_fresh_answer(world):
    await world.find(GRANTED)
    world.digdir.access(MISSING)
    first = await world.find(MISSING)
    assert first.names == set()
    world.digdir.advance(first.due)

    assert await world.names(MISSING) == {MISSING}


async def test_known_names_are_told_while_another_is_looked_for_too_soon(world):
    await world.find(GRANTED)

    granted = await world.find(GRANTED, MISSING)

    assert granted.names == {GRANTED}
    assert granted.due > 0


async def test_all_that_ask_at_the_start_share_one_look(world):
    answers = await asyncio.gather(*(world.find(GRANTED, MISSING) for _ in range(50)))

    assert {one.names for one in answers} == {frozenset({GRANTED})}
    assert world.looks() == 1


@pytest.mark.parametrize("name", [MISSING, "nav:brand/new"])
async def test_all_that_ask_for_a_new_name_share_one_look_and_its_answer(world, name):
    await world.find(GRANTED)
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)
    if name == MISSING:
        world.digdir.access(name)
    else:
        world.digdir.seed(name)

    answers = await asyncio.gather(*(world.find(name) for _ in range(20)))

    assert world.looks() == 2
    assert {(one.names, one.due) for one in answers} == {(frozenset({name}), 0.0)}


async def test_one_that_asks_during_a_look_that_began_before_doesnt_wait_for_another(world):
    await world.find(GRANTED)
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)
    hold = world.digdir.fault("hold", path="/scopes/access/all$")
    first = asyncio.create_task(world.find(MISSING))
    await held(hold)

    late = await asyncio.wait_for(world.find("unknown:scope"), DEADLINE)
    hold.release()
    await asyncio.wait_for(first, DEADLINE)

    assert MIN_DUE <= late.due <= MIN_LOOK_INTERVAL
    assert world.looks() == 2


async def test_one_that_asks_during_a_long_look_asks_again_after_two_seconds(world):
    await world.find(GRANTED)
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)
    hold = world.digdir.fault("hold", path="/scopes/access/all$")
    first = asyncio.create_task(world.find(MISSING))
    await held(hold)
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)

    late = await asyncio.wait_for(world.find("unknown:scope"), DEADLINE)
    hold.release()
    await asyncio.wait_for(first, DEADLINE)

    assert late.due == MIN_DUE == 2.0


async def test_a_new_scope_of_our_own_prefix_is_looked_for_among_the_own_ones_too(world):
    await world.find(GRANTED)
    world.digdir.seed("nav:brand/new")
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)

    assert await world.names("nav:brand/new") == {"nav:brand/new"}
    assert world.digdir.count("list-own-scopes") == 2


async def test_a_look_for_a_new_name_reads_the_organisations_own_scopes_too(world):
    await world.find(GRANTED)
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)
    await world.find(MISSING)

    assert world.digdir.count("list-own-scopes") == 2


async def test_an_own_scope_that_was_made_just_now_may_be_consumed_without_a_look(world):
    await world.find(GRANTED)
    await world.own.create("nav:arbeid:new", scope_fields("nav:arbeid:new"))

    assert await world.names("nav:arbeid:new") == {"nav:arbeid:new"}
    await world.own.deactivate("nav:arbeid:new")
    assert await world.names("nav:arbeid:new") == set()
    assert world.looks() == 1


# Refusals and outages


async def test_after_a_refusal_the_lists_are_read_anew_though_not_more_than_every_ten_seconds(world):
    await world.find(GRANTED)
    world.digdir.access(GRANTED, state="DENIED")
    world.index.expire()
    assert await world.names(GRANTED) == {GRANTED}
    assert world.looks() == 1
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)

    assert await world.names(GRANTED) == set()
    await world.find(GRANTED, asked=0)
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)
    await world.find(GRANTED, asked=0)

    assert world.looks() == 2


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_refusal_that_comes_while_the_lists_are_read_has_them_read_once_more(world, when):
    await world.find(GRANTED)
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)
    hold = world.digdir.fault("hold", when=when, path="/scopes/access/all$")
    look = asyncio.create_task(world.find(MISSING))
    await held(hold)
    world.index.expire()
    hold.release()
    await asyncio.wait_for(look, DEADLINE)
    assert world.looks() == 2
    world.digdir.access(GRANTED, state="DENIED")
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)

    assert await world.names(GRANTED, asked=0) == set()
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)
    await world.find(GRANTED, asked=0)

    assert world.looks() == 3


async def test_a_refusal_outlives_a_look_that_fails(world):
    await world.find(GRANTED)
    world.index.expire()
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)
    world.digdir.fault("status", status=503, path="/scopes/access/all$")
    assert await world.names(GRANTED) == {GRANTED}
    world.digdir.access(GRANTED, state="DENIED")
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)

    assert await world.names(GRANTED) == set()


EVERY = {GRANTED, OPEN, DELEGATED, OWN}
LISTS = {
    "/scopes/access/all$": (("granted scopes",), {GRANTED}),
    "/scopes/all$": (("open scopes", "delegated scopes"), {OPEN, DELEGATED}),
    "/scopes$": (("own scopes",), {OWN}),
}
ODD_ROWS = [5, None, {}, {"scope": 5}, {"name": 5}]
every_fault = pytest.mark.parametrize(
    ("kind", "order"),
    [("status", {"status": status}) for status in (400, 401, 403, 404, 503)] + [("html", {}), ("drop", {})],
)


@pytest.mark.parametrize("path", LISTS)
@every_fault
async def test_a_list_that_fails_at_the_start_takes_nothing_but_its_own_and_is_told(world, path, kind, order):
    unread, missing = LISTS[path]
    fault = world.digdir.fault(kind, path=path, times=None, **order)

    with capture_logs() as logs:
        granted = await world.find(*EVERY)
        await world.find(*EVERY)

    assert (granted.names, granted.unread, granted.due) == (EVERY - missing, unread, 0)
    assert {one["list"] for one in logs if one["event"] == "list not read"} == set(unread)
    assert len([one for one in logs if one["event"] == "list not read"]) == len(unread)
    world.digdir.simulator.faults.remove(fault.number)
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)
    later = await world.find(*EVERY)
    assert (later.names, later.unread) == (EVERY, ())


@pytest.mark.parametrize("path", LISTS)
@every_fault
async def test_a_list_that_fails_later_keeps_what_it_told(world, path, kind, order):
    await world.find(*EVERY)
    world.digdir.fault(kind, path=path, times=None, **order)
    world.digdir.advance(MAX_AGE + 1)
    await world.find(*EVERY)
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)

    granted = await world.find(*EVERY, MISSING)

    assert granted.names == EVERY
    assert granted.unread == LISTS[path][0]
    assert granted.withdrawn == set()


@pytest.mark.parametrize("odd", ODD_ROWS, ids=str)
async def test_an_odd_row_in_any_list_costs_that_row(world, odd):
    answer = world.digdir.scopes_answering

    def rows(request):
        path, query = request.url.path, request.url.params
        if path.endswith("/access/all"):
            return [odd, {"scope": GRANTED, "consumer_orgno": ORGNO, "state": "APPROVED"}]
        if "accessible_for_all" in query:
            return [odd, {"name": OPEN, "active": True, "accessible_for_all": True}]
        return [odd, {"name": DELEGATED, "active": True, "delegation_source": "https://some.test/"}]

    world.index = world.start(answer(lambda request: httpx.Response(200, json=rows(request))))

    granted = await world.find(*EVERY)

    assert (granted.names, granted.unread) == (EVERY, ())


async def test_an_outage_at_the_start_costs_all_that_ask_one_look(world):
    world.digdir.fault("status", status=503, path="/scopes/access/all$")

    answers = await asyncio.gather(*(world.find(GRANTED) for _ in range(10)))

    assert {one.unread for one in answers} == {("granted scopes",)}
    assert world.looks() == 1


async def test_of_lists_that_are_young_only_the_one_that_failed_is_read_again(world):
    world.digdir.fault("status", status=503, path="/scopes/access/all$")
    await world.find(OPEN)
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)

    assert await world.names(GRANTED, asked=0) == {GRANTED}

    assert (world.looks(), world.digdir.count("list-all-scopes"), world.digdir.count("list-own-scopes")) == (2, 2, 1)


async def test_a_list_that_keeps_failing_keeps_nobody_from_a_look_for_a_new_name(world):
    world.digdir.fault("status", status=503, path="/scopes/access/all$", times=None)
    await world.find(GRANTED)
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)
    asked = world.monotonic()

    granted = await world.find(OPEN, MISSING, asked=asked)

    assert (granted.names, granted.due, granted.unread) == ({OPEN}, 0, ("granted scopes",))


# What was allowed once


async def test_what_was_granted_open_or_own_once_and_isnt_any_more_is_told_as_withdrawn(world):
    await world.find(*EVERY)
    world.digdir.access(GRANTED, state="DENIED")
    world.digdir.seed(OPEN, owner_orgno="970018131", accessible_for_all=False)
    await world.own.deactivate(OWN)
    world.digdir.advance(MAX_AGE + 1)

    granted = await world.find(*EVERY, MISSING)

    assert granted.names == {DELEGATED}
    assert granted.withdrawn == {GRANTED, OPEN, OWN}
    world.digdir.access(GRANTED)
    world.digdir.advance(MAX_AGE + 1)
    assert (await world.find(*EVERY)).withdrawn == {OPEN, OWN}


async def test_access_that_was_taken_back_is_known_as_such_to_a_new_process(world):
    world.digdir.access(GRANTED, state="DENIED")

    granted = await world.find(GRANTED, MISSING)

    assert (granted.names, granted.withdrawn) == (set(), {GRANTED})


@pytest.mark.parametrize("granted_to_itself", [True, False])
async def test_an_own_scope_is_told_apart_from_one_that_is_granted(world, granted_to_itself):
    if granted_to_itself:
        world.digdir.access(OWN)

    granted = await world.find(GRANTED, OWN)

    assert granted.names == {GRANTED, OWN}
    assert granted.own == (set() if granted_to_itself else {OWN})
    assert granted.certain == ({GRANTED, OWN} if granted_to_itself else {GRANTED})


async def test_an_outage_keeps_what_was_known_and_is_looked_past_every_ten_seconds(world):
    await world.find(GRANTED)
    world.digdir.advance(MAX_AGE + 1)
    world.digdir.fault("status", status=503, path="/scopes/access/all$", times=2)

    for _ in range(5):
        assert await world.names(GRANTED) == {GRANTED}
    assert world.looks() == 2
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)
    assert await world.names(GRANTED) == {GRANTED}
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)
    assert await world.names(GRANTED) == {GRANTED}

    assert world.looks() == 4


@pytest.mark.parametrize("kind", ["status", "html", "drop"])
async def test_an_outage_during_a_look_for_a_new_name_keeps_what_was_known(world, kind):
    await world.find(GRANTED)
    world.digdir.advance(MIN_LOOK_INTERVAL + 1)
    world.digdir.fault(kind, path="/scopes/access/all$")

    granted = await world.find(GRANTED, MISSING)

    assert (granted.names, granted.due, granted.unread) == ({GRANTED}, 0, ("granted scopes",))


async def test_what_one_list_tells_is_taken_in_though_another_fails(world):
    await world.find(GRANTED)
    world.digdir.access(MISSING)
    world.digdir.advance(MAX_AGE + 1)
    world.digdir.fault("status", status=503, path="/scopes/all$", times=None)

    assert await world.names(GRANTED, OPEN, MISSING) == {GRANTED, OPEN, MISSING}
