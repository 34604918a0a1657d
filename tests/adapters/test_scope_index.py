"""The index of scopes: one list for all, kept up with our own writes and reads, and who may use ours."""

import asyncio

import httpx
import pytest

from maskinporten_operator.adapters.digdir.scope_index import MAX_SOURCES_AGE, MIN_SOURCES_INTERVAL, DigdirScopeIndex
from maskinporten_operator.model.errors import (
    AlreadyExistsError,
    BadRequestError,
    OutcomeUnknownError,
    RejectedError,
    TransientError,
)
from tests.adapters.conftest import DEADLINE, LAG, IndexWorld, held, scope_fields

OWNERSHIP = "some-cluster:some-team:some-app"
NAME = "nav:arbeid:some.scope.read"
OURS = f"{OWNERSHIP}.arbeid:some.scope.read"
KOMMUNE, SKATT, KS = "123456789", "974761076", "971032146"
ALTINN = "https://www.altinn.no/"
EVERY_WRITE = {
    "create": lambda index: index.create("nav:arbeid:other", scope_fields("nav:arbeid:other")),
    "update": lambda index: index.update(NAME, scope_fields(at_max_age=120)),
    "deactivate": lambda index: index.deactivate(NAME),
}
every_write = pytest.mark.parametrize("write", EVERY_WRITE)


@pytest.fixture
def world(digdir):
    return World(digdir)


class World(IndexWorld):
    """DigDir, and an index of its scopes."""

    def __init__(self, digdir):
        super().__init__(digdir)
        self.index = self.start()

    def start(self, api=None):
        return self.build(DigdirScopeIndex, api or self.digdir.scopes)

    async def made(self, *consumers):
        """Ours is there, made by this index a while ago."""
        await self.index.create(NAME, scope_fields())
        for orgno in consumers:
            await self.index.grant(NAME, orgno)
        self.digdir.advance(60)
        await self.index.refresh()

    def row_lists(self):
        return self.digdir.count("list-accesses")


# Lists


async def test_all_that_wait_share_one_list(world):
    await asyncio.gather(*(world.index.ready() for _ in range(50)))

    assert world.digdir.count("list-own-scopes") == 1


async def test_a_listed_scope_is_found_by_its_name_and_by_its_owner_inactive_or_not(world):
    world.digdir.seed(NAME, description=OURS)
    world.digdir.seed("nav:arbeid:old", description=f"arbeid - {OWNERSHIP}", active=False)
    world.digdir.seed("nav:arbeid:theirs", description="some-cluster:some-team:some-app2.arbeid:theirs")
    await world.index.ready()

    assert [one.name for one in world.index.find_owned(OWNERSHIP)] == ["nav:arbeid:old", NAME]
    assert world.index.find("nav:arbeid:theirs").description == "some-cluster:some-team:some-app2.arbeid:theirs"
    assert len(world.index) == 3


async def test_of_a_scope_that_isnt_this_clusters_only_a_few_members_are_kept(world):
    await world.index.ready()

    theirs = world.index.find("nav:private/scope")
    assert set(theirs.fields) == {"subscope", "description", "active", "owner_orgno"}
    assert theirs.subscope == "private/scope"
    assert len(world.index) == 0


async def test_the_organisations_number_is_told_by_its_scopes(world):
    assert world.index.find_orgno() is None
    await world.index.ready()

    assert world.index.find_orgno() == "889640782"


async def test_a_description_changed_by_hand_is_found_under_the_new_owner_only(world):
    await world.made()
    await world.digdir.scopes.update(NAME, scope_fields(description="some-cluster:a:b.arbeid:some.scope.read"))
    await world.index.refresh()

    assert world.index.find_owned(OWNERSHIP) == ()
    assert [one.name for one in world.index.find_owned("some-cluster:a:b")] == [NAME]


async def test_a_list_that_fails_keeps_what_was_known(world):
    await world.made()
    world.digdir.fault("html", path="/scopes$")

    with pytest.raises(TransientError):
        await world.index.refresh()

    assert world.index.find_owned(OWNERSHIP)


@pytest.mark.parametrize("status", [400, 403])
async def test_a_list_that_is_refused_is_a_fault_of_no_resource(world, status):
    world.digdir.fault("status", status=status, path="/scopes$")

    with pytest.raises(TransientError):
        await world.index.ready()


async def test_an_organisation_without_scopes_has_an_empty_list(world):
    world.digdir.set(empty_list_is_error=True)
    world.digdir.simulator.state.scopes.pop("nav:some/other/scope")
    world.digdir.simulator.state.scopes.pop("nav:private/scope")

    await world.index.ready()

    assert world.index.find("nav:some/other/scope") is None
    assert world.index.find_orgno() is None


# Our own writes and lists that lag


async def test_our_own_scope_outranks_a_list_that_lags(world):
    world.lag()
    await world.index.create(NAME, scope_fields())
    world.digdir.advance(2)
    await world.index.refresh()

    assert [one.name for one in world.index.find_owned(OWNERSHIP)] == [NAME]
    assert world.index.find_access(NAME) is not None


async def test_our_own_update_outranks_a_list_that_lags(world):
    await world.made()
    world.lag()
    await world.index.update(NAME, scope_fields(at_max_age=120))
    world.digdir.advance(2)
    await world.index.refresh()

    assert world.index.find(NAME).fields["at_max_age"] == 120


@pytest.mark.parametrize("deleted_status", [200, 204])
async def test_our_own_deactivation_outranks_a_list_that_lags(world, deleted_status):
    world.digdir.set(deleted_status=deleted_status)
    await world.made()
    world.lag()
    await world.index.deactivate(NAME)
    assert not world.index.find(NAME).active
    world.digdir.advance(2)
    await world.index.refresh()

    assert not world.index.find(NAME).active
    assert world.index.find(NAME).fields["at_max_age"] == 30


async def test_one_that_was_read_as_given_away_stays_so_against_a_list_that_lags(world):
    await world.made()
    world.lag()
    await world.digdir.scopes.update(NAME, scope_fields(description="made by hand"))
    await world.index.read(NAME)
    world.digdir.advance(2)
    await world.index.refresh()

    assert world.index.find_owned(OWNERSHIP) == ()
    assert world.index.find(NAME).description == "made by hand"


async def test_a_write_during_a_list_outranks_it(world):
    hold = world.digdir.fault("hold", when="after", method="GET", path="/scopes$")
    listing = asyncio.create_task(world.index.ready())
    await held(hold)
    await world.index.create(NAME, scope_fields())
    hold.release()
    await asyncio.wait_for(listing, DEADLINE)

    assert world.index.find_owned(OWNERSHIP)


async def test_after_the_lag_a_list_is_believed_again(world):
    await world.made()
    await world.digdir.scopes.update(NAME, scope_fields(at_max_age=99))
    world.digdir.advance(LAG + 1)
    await world.index.refresh()

    assert world.index.find(NAME).fields["at_max_age"] == 99


async def test_a_scope_that_isnt_there_is_read_as_none_and_deactivated_without_a_fault(world):
    assert await world.index.read("nav:unknown") is None
    await world.index.deactivate("nav:unknown")

    assert world.index.find("nav:unknown") is None


# Creation


@pytest.mark.parametrize("description", [OURS, "made by hand"])
async def test_a_scope_that_exists_already_is_read_and_told_as_a_conflict(world, description):
    await world.index.ready()
    world.digdir.seed(NAME, description=description, active=False)

    with pytest.raises(TransientError) as caught:
        await world.index.create(NAME, scope_fields())

    assert caught.value.reason == "ScopeConflict"
    assert NAME in str(caught.value)
    assert world.index.find(NAME).description == description
    assert not world.index.find(NAME).active
    assert bool(world.index.find_owned(OWNERSHIP)) == (description == OURS)
    assert not world.index.is_unconfirmed(NAME)


async def test_a_creation_that_is_refused_for_what_is_in_it_is_told_as_a_refusal(world):
    with pytest.raises(RejectedError) as caught:
        await world.index.create(NAME, scope_fields(description=" "))

    assert caught.value.reason == "RefusedByDigDir"
    assert world.index.find(NAME) is None
    assert not world.index.is_unconfirmed(NAME)


@pytest.mark.parametrize(("status", "kind"), [(400, BadRequestError), (403, RejectedError), (422, RejectedError)])
async def test_a_creation_that_is_refused_is_no_conflict_whatever_is_there(world, status, kind):
    await world.index.ready()
    world.digdir.seed(NAME, description="made by hand")
    world.digdir.fault("status", status=status, method="POST", path="/scopes$")

    with pytest.raises(RejectedError) as caught:
        await world.index.create(NAME, scope_fields())

    assert type(caught.value) is kind
    assert world.index.find(NAME) is None
    assert not world.index.is_unconfirmed(NAME)


async def test_one_that_exists_by_now_and_cant_be_read_is_told_as_what_keeps_it_from_being_read(world):
    await world.index.ready()
    world.digdir.seed(NAME, description="made by hand")
    world.digdir.fault("status", status=503, method="GET", path="/scopes")

    with pytest.raises(TransientError) as caught:
        await world.index.create(NAME, scope_fields())

    assert type(caught.value) is TransientError
    assert world.index.find(NAME) is None


async def test_a_new_scope_has_no_consumers_and_no_call_is_made_to_know_it(world):
    await world.index.create(NAME, scope_fields())

    assert (await world.index.read_access(NAME)).consumers == frozenset()
    assert world.row_lists() == 0


# Unconfirmed writes


@every_write
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["drop", "html"])
async def test_a_write_without_an_answer_leaves_the_scope_unconfirmed_until_it_is_read(world, write, when, kind):
    await world.made()
    name = "nav:arbeid:other" if write == "create" else NAME
    method = {"create": "POST", "update": "PUT", "deactivate": "DELETE"}[write]
    world.digdir.fault(kind, when=when, method=method, path="/scopes$")
    with pytest.raises(OutcomeUnknownError):
        await EVERY_WRITE[write](world.index)
    assert world.index.is_unconfirmed(name)

    await world.index.refresh()
    assert world.index.is_unconfirmed(name)
    await world.index.read(name)

    assert not world.index.is_unconfirmed(name)


@every_write
async def test_a_write_that_is_cancelled_under_way_leaves_the_scope_unconfirmed(world, write):
    await world.made()
    method = {"create": "POST", "update": "PUT", "deactivate": "DELETE"}[write]
    hold = world.digdir.fault("hold", when="after", method=method, path="/scopes$")
    task = asyncio.create_task(EVERY_WRITE[write](world.index))
    await held(hold)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert world.index.is_unconfirmed("nav:arbeid:other" if write == "create" else NAME)


@every_write
async def test_a_write_that_is_answered_or_refused_leaves_nothing_unconfirmed(world, write):
    await world.made()
    world.digdir.fault("status", status=403, path="/scopes$")
    with pytest.raises(RejectedError):
        await EVERY_WRITE[write](world.index)
    assert not world.index.is_unconfirmed(NAME)
    assert not world.index.is_unconfirmed("nav:arbeid:other")

    await EVERY_WRITE[write](world.index)

    assert not world.index.is_unconfirmed(NAME)
    assert not world.index.is_unconfirmed("nav:arbeid:other")


async def test_a_refused_write_leaves_what_was_known(world):
    await world.made()
    world.digdir.fault("status", status=403, path="/scopes$")
    with pytest.raises(RejectedError):
        await world.index.deactivate(NAME)

    assert world.index.find(NAME).active
    assert world.index.find_owned(OWNERSHIP)


# When all of a resource's scopes are known


async def test_a_resource_with_our_mark_needs_a_list_after_start_and_lag(world):
    before = world.monotonic()
    index = world.start()

    assert before + LAG <= index.complete_at(OWNERSHIP, had_finalizer=True) <= world.monotonic() + LAG
    assert index.complete_at(OWNERSHIP, had_finalizer=False) <= before


async def test_a_creation_without_an_answer_needs_one_after_the_lag_for_its_own_resource_only(world):
    await world.index.ready()
    world.digdir.fault("drop", when="after", method="POST", path="/scopes$")
    before = world.monotonic()
    with pytest.raises(OutcomeUnknownError):
        await world.index.create(NAME, scope_fields())

    assert before + LAG <= world.index.complete_at(OWNERSHIP, had_finalizer=False) <= world.monotonic() + LAG
    assert world.index.complete_at("some-cluster:some-team:another", had_finalizer=False) <= before
    world.digdir.advance(LAG + 1)
    await world.index.refresh()
    assert world.index.complete_at(OWNERSHIP, had_finalizer=False) <= before
    assert [one.name for one in world.index.find_owned(OWNERSHIP)] == [NAME]


# Who may use ours


async def test_who_may_use_a_scope_is_read_once(world):
    world.digdir.seed(NAME, description=OURS)
    world.digdir.access(NAME, SKATT)
    assert world.index.find_access(NAME) is None

    first = await world.index.read_access(NAME)
    world.digdir.access(NAME, KS)
    second = await world.index.read_access(NAME)

    assert first == second == world.index.find_access(NAME)
    assert first.consumers == {SKATT}
    assert world.row_lists() == 1


async def test_who_may_use_a_scope_is_read_again_once_after_it_expired(world):
    world.digdir.seed(NAME, description=OURS)
    await world.index.ready()
    await world.index.read_access(NAME)
    world.digdir.access(NAME, KS)
    world.index.expire_access()
    assert world.index.find_access(NAME).consumers == frozenset()

    for _ in range(3):
        assert (await world.index.read_access(NAME)).consumers == {KS}

    assert world.row_lists() == 2


@pytest.mark.parametrize("state", ["DENIED", "REQUESTED"])
async def test_a_row_that_is_denied_or_merely_asked_for_is_no_access(world, state):
    world.digdir.set(access_list_includes_denied=True)
    world.digdir.seed(NAME, description=OURS)
    world.digdir.access(NAME, SKATT)
    world.digdir.access(NAME, KS, state=state)

    assert (await world.index.read_access(NAME)).consumers == {SKATT}


@pytest.mark.parametrize("odd", ["", "12345678", "1234567890", "12345678a", "..", "١٢٣٤٥٦٧٨٩", "123456789\n", 5, None])
async def test_a_consumer_whose_number_cant_be_one_is_none(world, odd):
    rows = [{"scope": NAME, "consumer_orgno": orgno, "state": "APPROVED"} for orgno in (SKATT, odd, KS)]
    index = world.start(world.digdir.scopes_answering(lambda _: httpx.Response(200, json=rows)))

    assert (await index.read_access(NAME)).consumers == {SKATT, KS}


async def test_a_scope_without_rows_has_no_consumers_also_when_digdir_says_that_there_arent_any(world):
    world.digdir.seed(NAME, description=OURS)
    world.digdir.set(empty_list_is_error=True)

    assert (await world.index.read_access(NAME)).consumers == frozenset()


async def test_our_own_grants_and_revocations_are_known_without_a_call(world):
    await world.made(KOMMUNE)
    await world.index.grant(NAME, SKATT)
    await world.index.revoke(NAME, KOMMUNE)

    assert (await world.index.read_access(NAME)).consumers == {SKATT}
    assert world.row_lists() == 0
    assert world.digdir.consumers(NAME) == {SKATT}


async def test_our_own_grants_and_revocations_outrank_rows_that_lag(world):
    await world.made(KOMMUNE)
    world.lag()
    await world.index.grant(NAME, SKATT)
    await world.index.revoke(NAME, KOMMUNE)
    world.index.expire_access()
    world.digdir.advance(2)

    assert (await world.index.read_access(NAME)).consumers == {SKATT}
    world.index.expire_access()
    world.digdir.advance(1)
    assert (await world.index.read_access(NAME)).consumers == {SKATT}
    assert world.row_lists() == 2


async def test_what_others_did_is_believed_beside_our_own_writes(world):
    await world.made(KOMMUNE)
    await world.index.grant(NAME, SKATT)
    world.digdir.access(NAME, KS)
    world.digdir.access(NAME, KOMMUNE, state="DENIED")
    world.index.expire_access()

    assert (await world.index.read_access(NAME)).consumers == {SKATT, KS}


async def test_after_the_lag_rows_are_believed_again(world):
    await world.made(KOMMUNE)
    world.digdir.access(NAME, KOMMUNE, state="DENIED")
    world.digdir.advance(LAG + 1)
    world.index.expire_access()

    assert (await world.index.read_access(NAME)).consumers == frozenset()


async def test_rows_that_cant_be_read_leave_what_was_known_and_are_read_again(world):
    await world.made(KOMMUNE)
    world.index.expire_access()
    world.digdir.fault("status", status=503, path="/scopes/access$")

    with pytest.raises(TransientError):
        await world.index.read_access(NAME)

    assert world.index.find_access(NAME).consumers == {KOMMUNE}
    assert (await world.index.read_access(NAME)).consumers == {KOMMUNE}


async def test_a_consumer_that_digdir_refused_is_remembered_until_the_rows_are_read_again(world):
    await world.made(SKATT)
    world.digdir.set(orgno_check="checksum")
    with pytest.raises(BadRequestError):
        await world.index.grant(NAME, KOMMUNE)

    known = await world.index.read_access(NAME)
    assert known.consumers == {SKATT}
    assert "wrong check digit" in known.refused[KOMMUNE]
    world.index.expire_access()

    assert (await world.index.read_access(NAME)).refused == {}


async def test_a_consumer_that_digdir_takes_after_all_is_refused_no_more(world):
    await world.made()
    world.digdir.set(orgno_check="checksum")
    with pytest.raises(RejectedError):
        await world.index.grant(NAME, KOMMUNE)
    world.digdir.set(orgno_check="digits")

    await world.index.grant(NAME, KOMMUNE)

    known = await world.index.read_access(NAME)
    assert (known.consumers, dict(known.refused)) == ({KOMMUNE}, {})


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, RejectedError), (403, RejectedError), (404, RejectedError), (409, AlreadyExistsError), (422, RejectedError)],
)
async def test_a_refusal_for_any_other_reason_says_nothing_of_the_consumer(world, status, kind):
    await world.made()
    world.digdir.fault("status", status=status, method="PUT", path="/scopes/access/", times=2)
    with pytest.raises(RejectedError) as caught:
        await world.index.grant(NAME, SKATT)
    assert type(caught.value) is kind

    known = await world.index.read_access(NAME)
    assert (known.refused, known.unconfirmed, known.consumers) == ({}, frozenset(), frozenset())


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("write", ["grant", "revoke"])
async def test_an_access_is_unconfirmed_after_a_lost_answer_until_it_is_written_again(world, write, when):
    await world.made(KOMMUNE)
    world.digdir.fault("drop", when=when, path="/scopes/access/")
    with pytest.raises(OutcomeUnknownError):
        await getattr(world.index, write)(NAME, KOMMUNE)
    assert (await world.index.read_access(NAME)).unconfirmed == {KOMMUNE}

    await getattr(world.index, write)(NAME, KOMMUNE)

    known = await world.index.read_access(NAME)
    assert known.unconfirmed == frozenset()
    assert known.consumers == world.digdir.consumers(NAME) == ({KOMMUNE} if write == "grant" else set())


@pytest.mark.parametrize("write", ["grant", "revoke"])
async def test_an_access_is_unconfirmed_after_its_write_was_cancelled(world, write):
    await world.made(KOMMUNE)
    hold = world.digdir.fault("hold", when="after", path="/scopes/access/")
    task = asyncio.create_task(getattr(world.index, write)(NAME, KOMMUNE))
    await held(hold)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (await world.index.read_access(NAME)).unconfirmed == {KOMMUNE}


async def test_unconfirmed_outlasts_rows_that_may_lag_and_ends_with_rows_that_dont(world):
    await world.made()
    world.lag()
    world.digdir.fault("drop", when="after", path="/scopes/access/")
    with pytest.raises(OutcomeUnknownError):
        await world.index.grant(NAME, KOMMUNE)
    world.index.expire_access()
    assert (await world.index.read_access(NAME)).unconfirmed == {KOMMUNE}
    world.digdir.advance(LAG + 1)
    world.index.expire_access()

    known = await world.index.read_access(NAME)

    assert (known.unconfirmed, known.consumers) == (frozenset(), {KOMMUNE})


async def test_one_that_has_no_access_is_revoked_without_a_fault(world):
    await world.made()

    await world.index.revoke(NAME, KOMMUNE)

    assert (await world.index.read_access(NAME)).consumers == frozenset()


async def test_the_access_list_outlives_a_list_of_scopes_and_goes_with_its_scope(world):
    await world.made(KOMMUNE)
    assert world.index.find_access(NAME).consumers == {KOMMUNE}
    del world.digdir.simulator.state.scopes[NAME]
    world.digdir.advance(LAG + 1)
    await world.index.refresh()

    assert world.index.find_access(NAME) is None


async def test_a_deactivated_scope_keeps_its_consumers(world):
    await world.made(KOMMUNE)

    await world.index.deactivate(NAME)

    assert world.index.find_access(NAME).consumers == world.digdir.consumers(NAME) == {KOMMUNE}


# Without the right to read one


async def test_a_scope_that_may_not_be_read_by_itself_is_looked_for_in_a_new_list(world):
    await world.made()
    world.digdir.advance(LAG + 1)
    world.digdir.seed(NAME, description="somebody's")
    world.digdir.fault("status", status=403, path="/scopes/scope$", times=None)
    lists = world.digdir.count("list-own-scopes")

    assert (await world.index.read(NAME)).description == "somebody's"
    assert world.digdir.count("list-own-scopes") == lists + 1


async def test_scopes_that_may_not_be_read_by_themselves_share_a_list(world):
    names = [f"{NAME}.{number}" for number in range(20)]
    for name in names:
        world.digdir.seed(name)
    await world.index.ready()
    world.digdir.advance(LAG + 1)
    world.digdir.fault("status", status=403, path="/scopes/scope$", times=None)
    lists = world.digdir.count("list-own-scopes")

    assert [(await world.index.read(name)).name for name in names] == names
    assert world.digdir.count("list-own-scopes") == lists + 1


async def test_of_an_unconfirmed_scope_that_may_not_be_read_by_itself_only_a_list_since_then_tells(world):
    await world.made()
    world.digdir.fault("status", status=403, path="/scopes/scope$", times=None)
    await world.index.refresh()
    world.digdir.fault("drop", when="after", method="PUT", path="/scopes$")
    with pytest.raises(OutcomeUnknownError):
        await world.index.update(NAME, scope_fields(NAME, at_max_age=99))
    lists = world.digdir.count("list-own-scopes")

    await world.index.read(NAME)
    assert world.digdir.count("list-own-scopes") == lists + 1


async def test_an_unconfirmed_scope_that_may_not_be_read_by_itself_is_no_longer_so_after_a_list(world):
    await world.made()
    world.digdir.fault("drop", when="after", method="PUT", path="/scopes$")
    with pytest.raises(OutcomeUnknownError):
        await world.index.update(NAME, scope_fields(NAME, at_max_age=99))
    world.digdir.advance(LAG + 1)
    world.digdir.fault("status", status=403, path="/scopes/scope$", times=None)

    assert (await world.index.read(NAME)).fields["at_max_age"] == 99
    assert not world.index.is_unconfirmed(NAME)


@pytest.mark.parametrize("status", [400, 403])
async def test_a_scope_that_may_not_be_read_and_isnt_listed_is_told(world, status):
    world.digdir.fault("status", status=status, path="/scopes/scope$", times=None)

    with pytest.raises(RejectedError):
        await world.index.read("nav:unknown")


# Delegation sources


async def test_a_delegation_source_is_found_by_its_name_and_remembered(world):
    for _ in range(3):
        assert await world.index.find_issuer("altinn") == ALTINN
    assert world.digdir.count("list-delegation-sources") == 1

    world.digdir.advance(MAX_SOURCES_AGE + 1)
    await world.index.find_issuer("altinn")

    assert world.digdir.count("list-delegation-sources") == 2


async def test_all_that_need_the_sources_first_share_one_read(world):
    found = await asyncio.gather(*(world.index.find_issuer("altinn") for _ in range(20)))

    assert found == [ALTINN] * 20
    assert world.digdir.count("list-delegation-sources") == 1


async def test_one_that_waits_for_the_sources_and_is_cancelled_takes_them_from_nobody(world):
    hold = world.digdir.fault("hold", path="/delegationsources")
    first = asyncio.create_task(world.index.find_issuer("altinn"))
    await held(hold)
    second = asyncio.create_task(world.index.find_issuer("altinn"))
    await asyncio.sleep(0)
    first.cancel()
    hold.release()

    assert await asyncio.wait_for(second, DEADLINE) == ALTINN


async def test_a_source_that_isnt_known_is_looked_for_now_and_then(world):
    assert await world.index.find_issuer("digdir") is None
    assert await world.index.find_issuer("digdir") is None
    assert world.digdir.count("list-delegation-sources") == 1

    world.digdir.advance(MIN_SOURCES_INTERVAL + 1)
    assert await world.index.find_issuer("digdir") is None

    assert world.digdir.count("list-delegation-sources") == 2


async def test_an_outage_of_the_sources_keeps_what_was_known(world):
    await world.index.find_issuer("altinn")
    world.digdir.advance(MAX_SOURCES_AGE + 1)
    world.digdir.fault("status", status=503, path="/delegationsources")

    assert await world.index.find_issuer("altinn") == ALTINN


async def test_an_outage_before_the_sources_were_ever_read_is_told(world):
    world.digdir.fault("status", status=503, path="/delegationsources")

    with pytest.raises(TransientError):
        await world.index.find_issuer("altinn")


async def test_all_that_wait_for_the_sources_share_an_outage_too(world):
    world.digdir.fault("status", status=503, path="/delegationsources")
    found = await asyncio.gather(*(world.index.find_issuer("altinn") for _ in range(20)), return_exceptions=True)

    assert {type(one) for one in found} == {TransientError}
    assert world.digdir.count("list-delegation-sources") == 1
