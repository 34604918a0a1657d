"""The index of registrations: one list for all, kept up with our own writes and reads."""

import asyncio

import httpx
import pytest

from digdir_simulator import jws
from maskinporten_operator.adapters.digdir import registration_index as module
from maskinporten_operator.adapters.digdir.registration_index import DigdirRegistrationIndex
from maskinporten_operator.model.errors import OperatorError, OutcomeUnknownError, RejectedError, TransientError
from maskinporten_operator.model.jwk import PublicJwk
from tests.adapters.conftest import DEADLINE, LAG, IndexWorld, fields, held
from tests.manners import LAX, ODD, STRICT

OURS = "some-cluster:some-team:some-app"


@pytest.fixture
def world(digdir):
    return World(digdir)


class World(IndexWorld):
    """DigDir, and an index of its clients."""

    def __init__(self, digdir):
        super().__init__(digdir)
        self.index = self.start()

    def start(self, client=None):
        return self.build(DigdirRegistrationIndex, client or self.digdir.client)

    def lists(self):
        return self.digdir.count("list-clients")

    async def by_hand(self, **changes):
        """Somebody registers a client at DigDir, past the index."""
        return (await self.digdir.client.create_client(fields(**changes))).client_id


def public(jwk):
    return PublicJwk({"use": "sig", **jws.public_jwk(jwk)})


# Whose a registration is


@pytest.mark.parametrize("form", ["{}x", "{} ", " {}", "x{}", "{}:y", "upper"])
async def test_a_description_that_is_only_like_ours_is_somebody_elses(world, form):
    client_id = await world.by_hand(description=OURS.upper() if form == "upper" else form.format(OURS))
    await world.index.refresh()
    assert world.index.find(OURS) == ()

    await world.index.read(client_id)
    assert world.index.find(OURS) == ()


# Lists


async def test_all_that_wait_share_one_list(world):
    await asyncio.gather(*(world.index.ready() for _ in range(50)))

    assert world.lists() == 1
    assert world.index.is_listed


async def test_a_list_that_was_read_isnt_read_again(world):
    await world.index.ready()
    await world.index.ready()
    await world.index.listed_after(0)

    assert world.lists() == 1


async def test_one_that_asks_during_a_list_waits_for_the_next(world):
    hold = world.digdir.fault("hold", path="/clients$")
    first = asyncio.create_task(world.index.ready())
    await held(hold)
    later = [asyncio.create_task(world.index.refresh()) for _ in range(10)]
    await asyncio.sleep(0)
    hold.release()

    await asyncio.wait_for(asyncio.gather(first, *later), DEADLINE)

    assert world.lists() == 2


async def test_there_is_at_most_one_list_a_second(world):
    for _ in range(3):
        await world.index.refresh()

    assert world.lists() == 3
    assert world.slept == [pytest.approx(1, abs=0.02)] * 2


async def test_after_a_second_a_list_waits_for_nothing(world):
    await world.index.refresh()
    world.digdir.advance(1)
    await world.index.refresh()

    assert world.slept == []


async def test_a_list_that_fails_is_told_to_all_that_wait_and_costs_one_call(world):
    world.digdir.fault("status", status=503, path="/clients$")

    outcomes = await asyncio.gather(*(world.index.ready() for _ in range(10)), return_exceptions=True)

    assert [type(one) for one in outcomes] == [TransientError] * 10
    assert world.lists() == 1
    assert not world.index.is_listed
    await world.index.ready()
    assert world.slept == [pytest.approx(1, abs=0.05)]


@pytest.mark.parametrize("status", [400, 403, 404, 422])
async def test_a_list_that_is_refused_is_a_fault_of_no_resource_and_goes_by(world, status):
    await world.digdir.client.list_clients()
    world.digdir.fault("status", status=status, path="/clients$")

    with pytest.raises(TransientError) as caught:
        await world.index.ready()

    assert type(caught.value) is TransientError
    assert f"HTTP {status}" in str(caught.value)
    await world.index.ready()


async def test_one_that_gives_up_doesnt_take_the_list_from_the_others(world):
    hold = world.digdir.fault("hold", path="/clients$")
    first, second = (asyncio.create_task(world.index.ready()) for _ in range(2))
    await held(hold)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    hold.release()

    await asyncio.wait_for(second, DEADLINE)

    assert world.lists() == 1


async def test_a_list_that_fails_keeps_what_was_known(world):
    await world.by_hand()
    await world.index.ready()
    world.digdir.fault("html", path="/clients$")

    with pytest.raises(TransientError):
        await world.index.refresh()

    assert len(world.index.find(OURS)) == 1


# What is kept


async def test_a_listed_client_is_found_by_its_description_and_held_by_its_id(world):
    client_id = await world.by_hand()
    await world.index.ready()

    assert [one.client_id for one in world.index.find(OURS)] == [client_id]
    assert world.index.count_missing({client_id}) == 0


async def test_a_client_that_a_new_list_tells_as_before_is_not_read_anew(world):
    client_id = await world.by_hand()
    await world.index.ready()
    (before,) = world.index.find(OURS)
    await world.index.refresh()
    assert world.index.find(OURS)[0] is before

    await world.digdir.client.update_client(client_id, fields(client_name="Another"))
    await world.index.refresh()
    assert world.index.find(OURS)[0].fields["client_name"] == "Another"


@pytest.mark.parametrize("changes", [{"description": "made by hand"}, {"description": f"{OURS}-2"}], ids=str)
async def test_a_client_with_another_description_in_a_new_list_is_no_longer_found(world, changes):
    client_id = await world.by_hand()
    await world.index.ready()
    await world.digdir.client.update_client(client_id, fields(**changes))
    await world.index.refresh()

    assert world.index.find(OURS) == ()
    assert [one.client_id for one in world.index.find(f"{OURS}-2")] == [client_id] * len(world.index)


async def test_a_client_that_a_new_list_lacks_is_gone_and_its_namesake_is_there(world):
    gone, stays = await world.by_hand(), await world.by_hand()
    await world.index.ready()
    await world.digdir.client.delete_client(gone)
    await world.index.refresh()

    assert [one.client_id for one in world.index.find(OURS)] == [stays]
    assert world.index.count_missing({gone, stays}) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"description": "other-cluster:some-team:some-app"},
        {"description": "some-cluster-2:some-team:some-app"},
        {"description": "made by hand"},
        {"active": False},
        {"integration_type": "krr", "scopes": ["krr:global/kontaktinformasjon.read"]},
    ],
    ids=str,
)
async def test_foreign_and_unusable_clients_are_not_kept(world, changes):
    if "integration_type" in changes:
        world.digdir.set(allow_clients_without_scopes=True)
        changes = changes | {"scopes": []}
    client_id = await world.by_hand(**changes)
    await world.index.ready()

    assert len(world.index) == 0
    assert world.index.count_missing({client_id}) == 1


async def test_a_foreign_client_is_read_by_its_id_and_not_kept_but_known_to_exist(world):
    client_id = await world.by_hand(description="made by hand")
    await world.index.ready()
    assert world.index.count_missing({client_id}) == 1

    assert (await world.index.read(client_id)).description == "made by hand"

    assert world.index.count_missing({client_id}) == 0
    assert len(world.index) == 0
    assert world.index.find("made by hand") == ()


async def test_a_foreign_client_stays_known_to_exist_through_further_lists(world):
    client_id = await world.by_hand(description="made by hand")
    await world.index.read(client_id)
    world.digdir.advance(LAG + 1)
    await world.index.refresh()

    assert world.index.count_missing({client_id}) == 0


async def test_a_foreign_client_that_is_read_as_gone_exists_no_more(world):
    client_id = await world.by_hand(description="made by hand")
    await world.index.read(client_id)
    await world.digdir.client.delete_client(client_id)

    assert await world.index.read(client_id) is None
    assert world.index.count_missing({client_id}) == 1


async def test_a_foreign_client_that_is_given_to_us_is_kept_as_ours_and_missing_once_it_is_gone(world):
    client_id = await world.by_hand(description="made by hand")
    await world.index.read(client_id)
    await world.digdir.client.update_client(client_id, fields())
    world.digdir.advance(LAG + 1)
    await world.index.refresh()
    assert [one.client_id for one in world.index.find(OURS)] == [client_id]
    await world.digdir.client.delete_client(client_id)
    world.digdir.advance(2)
    await world.index.refresh()

    assert world.index.count_missing({client_id}) == 1


async def test_one_of_ours_that_is_given_away_is_found_no_more_and_known_to_exist(world):
    client_id = await world.by_hand()
    await world.index.ready()
    await world.digdir.client.update_client(client_id, fields(description="given away"))
    await world.index.read(client_id)

    assert world.index.find(OURS) == ()
    assert world.index.count_missing({client_id}) == 0


async def test_what_vanished_from_a_list_is_known_no_more(world):
    client_id = await world.by_hand()
    await world.index.ready()
    await world.digdir.client.delete_client(client_id)
    await world.index.refresh()

    assert world.index.find(OURS) == ()
    assert world.index.count_missing({client_id}) == 1


async def test_a_description_changed_by_hand_is_found_under_the_new_one_only(world):
    client_id = await world.by_hand(description="some-cluster:some-team:other")
    await world.index.ready()
    await world.digdir.client.update_client(client_id, fields())
    await world.index.refresh()

    assert [one.client_id for one in world.index.find(OURS)] == [client_id]
    assert world.index.find("some-cluster:some-team:other") == ()


async def test_the_keys_are_read_apart_when_a_client_doesnt_tell_them(world, jwks):
    client_id = await world.by_hand()
    await world.digdir.client.replace_keys(client_id, [public(jwks[0])])
    answers = {
        "/api/v1/clients/x": httpx.Response(200, json=fields(client_id="x")),
        "/api/v1/clients/x/jwks": httpx.Response(200, json={"keys": [{"kid": "a"}]}),
    }
    apart = world.start(world.digdir.answering(lambda request: answers[request.url.path]))

    assert [key.kid for key in (await world.index.read(client_id)).keys] == [jwks[0]["kid"]]
    assert [key.kid for key in (await apart.read("x")).keys] == ["a"]


# Our own writes and lists that lag


async def test_our_own_registration_outranks_a_list_that_lags(world):
    world.lag()
    registered = await world.index.register(fields())
    world.digdir.advance(2)
    await world.index.refresh()

    assert [one.client_id for one in world.index.find(OURS)] == [registered.client_id]


async def test_our_own_update_outranks_a_list_that_lags(world):
    registered = await world.index.register(fields())
    world.digdir.advance(60)
    world.lag()
    await world.index.update(registered, fields(client_name="Another"))
    world.digdir.advance(2)
    await world.index.refresh()

    (found,) = world.index.find(OURS)
    assert found.fields["client_name"] == "Another"


async def test_our_own_keys_outrank_a_list_that_lags(world, jwks):
    registered = await world.index.register(fields())
    world.digdir.advance(60)
    world.lag()
    await world.index.publish_keys(registered, [public(jwks[0])])
    world.digdir.advance(2)
    await world.index.refresh()

    (found,) = world.index.find(OURS)
    assert [key.kid for key in found.keys] == [jwks[0]["kid"]]


async def test_a_deleted_client_stays_deleted_against_a_list_that_lags(world):
    registered = await world.index.register(fields())
    world.digdir.advance(60)
    world.lag()
    await world.index.delete(registered.client_id)
    world.digdir.advance(2)
    await world.index.refresh()

    assert world.index.find(OURS) == ()
    assert world.index.count_missing({registered.client_id}) == 1


async def test_one_that_was_read_as_gone_stays_gone_against_a_list_that_lags(world):
    client_id = await world.by_hand()
    world.digdir.advance(60)
    await world.index.ready()
    world.lag()
    await world.digdir.client.delete_client(client_id)
    assert await world.index.read(client_id) is None
    world.digdir.advance(2)
    await world.index.refresh()

    assert world.index.count_missing({client_id}) == 1


async def test_a_write_during_a_list_outranks_it(world):
    hold = world.digdir.fault("hold", when="after", method="GET", path="/clients$")
    listing = asyncio.create_task(world.index.ready())
    await held(hold)
    registered = await world.index.register(fields())
    hold.release()
    await asyncio.wait_for(listing, DEADLINE)

    assert world.index.count_missing({registered.client_id}) == 0


async def test_after_the_lag_a_list_is_believed_again(world):
    registered = await world.index.register(fields())
    await world.digdir.client.update_client(registered.client_id, fields(client_name="By hand"))
    world.digdir.advance(LAG + 1)
    await world.index.refresh()

    (found,) = world.index.find(OURS)
    assert found.fields["client_name"] == "By hand"


async def test_an_update_whose_answer_has_no_keys_keeps_those_that_were_known(world, jwks):
    registered = await world.index.register(fields())
    published = await world.index.publish_keys(registered, [public(jwks[0])])
    body = {**registered.fields, "client_name": "Another"}
    silent = world.start(world.digdir.answering(lambda _: httpx.Response(200, json=body)))

    updated = await silent.update(published, fields(client_name="Another"))

    assert updated.keys == published.keys


# When absence may be proven


async def test_a_resource_that_is_new_needs_a_list_after_its_first_sight(world):
    assert world.index.absence_provable_at(OURS, 1234.0, had_finalizer=False) == 1234.0


async def test_after_a_takeover_the_mark_needs_a_list_after_that_and_lag_and_nothing_is_listed_yet(world):
    await world.index.ready()
    world.digdir.advance(1000)
    alone_since = world.monotonic() - 4.0
    world.index.begin(alone_since)

    assert world.index.absence_provable_at(OURS, 0.0, had_finalizer=True) == alone_since + LAG
    assert not world.index.is_listed
    lists = world.lists()
    await world.index.ready()
    assert world.lists() == lists + 1


async def test_a_resource_with_our_mark_needs_a_list_after_start_and_lag(world):
    before = world.monotonic()
    index = world.start()
    started_by = world.monotonic()

    assert before + LAG <= index.absence_provable_at(OURS, 0.0, had_finalizer=True) <= started_by + LAG
    assert index.absence_provable_at(OURS, 9999.0, had_finalizer=True) == 9999.0


@pytest.mark.parametrize("kind", ["drop", "html"])
async def test_a_lost_answer_needs_a_list_after_it_and_the_lag(world, kind):
    world.digdir.fault(kind, when="after", method="POST", path="/clients$")
    before = world.monotonic()
    with pytest.raises(OutcomeUnknownError):
        await world.index.register(fields())

    provable_at = world.index.absence_provable_at(OURS, 0.0, had_finalizer=False)

    assert before + LAG <= provable_at <= world.monotonic() + LAG
    assert world.index.absence_provable_at("some-cluster:some-team:other", 0.0, had_finalizer=False) == 0.0


async def test_a_registration_that_is_cancelled_under_way_counts_as_a_lost_answer(world):
    await world.digdir.client.list_clients()
    hold = world.digdir.fault("hold", when="after", method="POST", path="/clients$")
    task = asyncio.create_task(world.index.register(fields()))
    await held(hold)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert world.index.absence_provable_at(OURS, 0.0, had_finalizer=False) > world.monotonic() + LAG - 1


async def test_a_refused_registration_is_not_unconfirmed(world):
    with pytest.raises(RejectedError):
        await world.index.register(fields(scopes=["not:granted"]))

    assert world.index.absence_provable_at(OURS, 0.0, had_finalizer=False) == 0.0


async def test_a_registration_that_was_never_sent_is_not_unconfirmed(world):
    world.digdir.fault("drop", path="^/token$")
    with pytest.raises(TransientError):
        await world.index.register(fields())

    assert world.index.absence_provable_at(OURS, 0.0, had_finalizer=False) == 0.0


async def test_a_lost_registration_is_found_by_a_list_that_is_new_enough(world):
    world.lag(5)
    world.digdir.fault("drop", when="after", method="POST", path="/clients$")
    with pytest.raises(OutcomeUnknownError):
        await world.index.register(fields())
    await world.index.refresh()
    assert world.index.find(OURS) == ()
    provable_at = world.index.absence_provable_at(OURS, 0.0, had_finalizer=False)
    assert provable_at > world.monotonic()

    world.digdir.advance(provable_at - world.monotonic())
    await world.index.listed_after(provable_at)

    assert len(world.index.find(OURS)) == 1


async def test_a_lost_answer_is_forgotten_once_it_is_known_what_became_of_it(world):
    world.digdir.fault("drop", when="after", method="POST", path="/clients$")
    with pytest.raises(OutcomeUnknownError):
        await world.index.register(fields())
    await world.index.refresh()

    assert len(world.index.find(OURS)) == 1
    assert world.index.absence_provable_at(OURS, 0.0, had_finalizer=False) == 0.0


async def test_a_list_within_the_lag_doesnt_settle_a_lost_answer(world):
    world.lag(120)
    world.digdir.fault("drop", when="after", method="POST", path="/clients$")
    with pytest.raises(OutcomeUnknownError):
        await world.index.register(fields())
    provable_at = world.index.absence_provable_at(OURS, 0.0, had_finalizer=False)

    await world.index.refresh()

    assert world.index.absence_provable_at(OURS, 0.0, had_finalizer=False) == provable_at


# Unconfirmed writes


async def test_an_inactive_client_counts_as_absent(world):
    registered = await world.index.register(fields())
    answers = httpx.Response(200, json={**registered.fields, "active": False})
    index = world.start(world.digdir.answering(lambda _: answers))

    assert await index.read(registered.client_id) is None


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("write", ["update", "publish_keys"])
async def test_a_write_without_an_answer_leaves_the_registration_unconfirmed_until_it_is_read(world, jwks, write, when):
    registered = await world.index.register(fields())
    argument = fields(client_name="Another") if write == "update" else [public(jwks[0])]
    world.digdir.fault("drop", when=when, path=registered.client_id)
    with pytest.raises(OutcomeUnknownError):
        await getattr(world.index, write)(registered, argument)
    assert world.index.is_unconfirmed(registered.client_id)

    await world.index.refresh()
    assert world.index.is_unconfirmed(registered.client_id)
    await world.index.read(registered.client_id)

    assert not world.index.is_unconfirmed(registered.client_id)


async def test_a_write_that_is_answered_leaves_nothing_unconfirmed(world, jwks):
    registered = await world.index.register(fields())
    updated = await world.index.update(registered, fields(client_name="Another"))
    await world.index.publish_keys(updated, [public(jwks[0])])

    assert not world.index.is_unconfirmed(registered.client_id)


# Deletion for good


async def delete(index, client_id):
    """What a deletion for good does to a client."""
    await index.delete_keys(client_id)
    await index.delete(client_id)


async def test_a_deletion_takes_the_keys_and_then_the_client(world, jwks):
    registered = await world.index.register(fields())
    await world.index.publish_keys(registered, [public(jwks[0])])
    since = world.digdir.simulator.ledger.last_sequence

    await delete(world.index, registered.client_id)

    calls = world.digdir.simulator.ledger.entries(since=since)["entries"]
    assert [call["operation"] for call in calls] == ["delete-keys", "delete-client"]
    assert world.digdir.stored(registered.client_id).keys == ()
    assert not world.digdir.stored(registered.client_id).active


@pytest.mark.parametrize("manner", [STRICT, LAX, ODD], ids=["strict", "lax", "odd"])
@pytest.mark.parametrize("path", ["/jwks$", "/clients/[^/]+$"], ids=["keys", "client"])
async def test_a_deletion_whose_answer_was_lost_is_done_by_the_next(world, path, manner):
    world.digdir.set(**manner)
    registered = await world.index.register(fields())
    world.digdir.fault("drop", when="after", method="DELETE", path=path)
    with pytest.raises(OutcomeUnknownError):
        await delete(world.index, registered.client_id)

    await delete(world.index, registered.client_id)

    assert not world.digdir.stored(registered.client_id).active
    assert world.index.count_missing({registered.client_id}) == 1


async def test_a_deletion_of_one_that_doesnt_exist_is_done(world):
    await delete(world.index, "unknown")


@pytest.mark.parametrize("status", [400, 404, 409])
async def test_keys_that_arent_deleted_dont_keep_the_client_from_being_deleted(world, jwks, status):
    registered = await world.index.register(fields())
    await world.index.publish_keys(registered, [public(jwks[0])])
    world.digdir.fault("status", status=status, method="DELETE", path="/jwks$")

    await delete(world.index, registered.client_id)

    assert not world.digdir.stored(registered.client_id).active
    assert world.index.count_missing({registered.client_id}) == 1


async def test_clients_of_others_are_remembered_up_to_a_bound_the_newest_ones(world, monkeypatch):
    monkeypatch.setattr(module, "MAX_FOREIGN_IDS", 2)
    ids = [await world.by_hand(description=f"somebody's {number}") for number in range(3)]
    await world.index.ready()
    for one in (ids[0], ids[1], ids[0], ids[2]):
        await world.index.read(one)

    assert [world.index.count_missing({one}) == 0 for one in ids] == [True, False, True]


@pytest.mark.parametrize(("status", "is_unconfirmed"), [(400, False), (403, True), (503, True)])
async def test_an_update_that_is_refused_for_what_is_in_it_leaves_nothing_unconfirmed(world, status, is_unconfirmed):
    registered = await world.index.register(fields())
    world.digdir.fault("status", status=status, method="PUT", path="/clients/")

    with pytest.raises(OperatorError):
        await world.index.update(registered, fields(client_name="Another name"))

    assert world.index.is_unconfirmed(registered.client_id) is is_unconfirmed


async def test_nothing_stays_unconfirmed_of_what_is_gone(world):
    registered = await world.index.register(fields())
    world.digdir.fault("drop", when="after", method="PUT", path="/clients/")
    with pytest.raises(OutcomeUnknownError):
        await world.index.update(registered, fields(client_name="Another name"))
    world.digdir.advance(1)
    await world.index.refresh()
    assert world.index.is_unconfirmed(registered.client_id)

    await world.digdir.client.delete_client(registered.client_id)
    world.digdir.advance(LAG + 1)
    await world.index.refresh()

    assert not world.index.is_unconfirmed(registered.client_id)


async def test_a_refused_deletion_of_an_active_client_is_told(world):
    registered = await world.index.register(fields())
    world.digdir.fault("status", status=403, method="DELETE", path="/clients/[^/]+$")

    with pytest.raises(RejectedError):
        await delete(world.index, registered.client_id)

    assert world.digdir.stored(registered.client_id).active
    assert world.index.count_missing({registered.client_id}) == 0
