"""Changes of owned objects lead back to their owners, and our own writes to nobody."""

import asyncio

import pytest

from maskinporten_operator.adapters.cluster.watch import reduce_to_name
from maskinporten_operator.model.maskinportenclient import FINALIZER
from maskinporten_operator.model.resources import (
    APPLICATION,
    DEPLOYMENT,
    HORIZONTAL_POD_AUTOSCALER,
    MASKINPORTEN_CLIENT,
    POD_DISRUPTION_BUDGET,
    parse_meta,
)
from maskinporten_operator.model.resources import SECRET as SECRET_KIND
from maskinporten_operator.plan.secret import SecretSummary
from maskinporten_operator.runtime.owned_changes import SUMMARY, OwnedChanges, WatchedSecrets
from maskinporten_operator.runtime.queue import Key, Priority, WorkQueue
from maskinporten_operator.runtime.store import MAX_WAIT_FOR_LISTS, FirstLists, VersionStore, WatchedResourceStore
from tests.unit.fakes import NAME, NAMESPACE, SECRET, UID, owner_reference, private_jwk, resource_body
from tests.unit.virtual_time import run_in_virtual_time

OWNER = Key(MASKINPORTEN_CLIENT, NAMESPACE, NAME)
KEY_OF_SECRET = Key(SECRET_KIND, NAMESPACE, SECRET)
WAITING = Key(MASKINPORTEN_CLIENT, NAMESPACE, "waiting-app")


class World:
    def __init__(self):
        self.versions = VersionStore()
        self.queue = WorkQueue()
        self.store = WatchedResourceStore(MASKINPORTEN_CLIENT, FINALIZER, lambda: 0.0, lambda *_: None)
        self.gaps = 0
        self.changes = OwnedChanges(self.versions, self.store, self.queue, self.note_gap)
        self.secrets = self.changes.listen(SECRET_KIND)
        self.store.offer(resource_body())

    def note_gap(self):
        self.gaps += 1

    async def begin_pass(self):
        self.queue.add(OWNER)
        assert await self.queue.get() == OWNER

    def end_pass(self):
        self.changes.settle(OWNER)
        self.queue.done(OWNER)

    async def queued(self):
        keys = set()
        while len(self.queue):
            async with asyncio.timeout(5):
                keys.add(key := await self.queue.get())
            self.queue.done(key)
        return keys


@pytest.fixture
async def world():
    return World()


def secret(number, *owners, name=SECRET):
    """The metadata of a Secret, and as well that of an object of any other kind."""
    return {
        "namespace": NAMESPACE,
        "name": name,
        "resourceVersion": str(number),
        "ownerReferences": list(owners or [owner_reference()]),
    }


async def test_a_change_queues_the_owner(world):
    world.secrets.on_change(secret(10))

    assert await world.queued() == {OWNER}


async def test_a_change_that_was_seen_before_queues_nobody(world):
    world.secrets.on_change(secret(10))
    await world.queued()
    world.secrets.on_change(secret(10))

    assert await world.queued() == set()


async def test_an_object_that_a_new_list_lacks_queues_those_whom_it_named(world):
    deployments = world.changes.listen(DEPLOYMENT)
    deployments.on_change(secret(10, name="some-deployment"))
    await world.queued()

    deployments.on_list([])

    assert await world.queued() == {OWNER}


@pytest.mark.parametrize("kind", [SECRET_KIND, DEPLOYMENT], ids=lambda kind: kind.name)
async def test_an_object_that_lost_its_owner_queues_the_one_that_its_label_names(world, kind):
    lost = secret(10, name="of-another-name") | {"labels": {"app": NAME}}
    del lost["ownerReferences"]

    world.changes.listen(kind).on_change(lost)

    assert await world.queued() == {OWNER}


async def test_a_label_queues_nobody_while_there_is_an_owner(world):
    owned = secret(10, owner_reference(name="unknown"), name="of-another-name") | {"labels": {"app": NAME}}

    world.secrets.on_change(owned)

    assert await world.queued() == set()


async def test_a_secret_of_a_resource_that_isnt_known_queues_nobody(world):
    world.secrets.on_change(secret(10, owner_reference(name="unknown"), name="unknown-secret"))

    assert await world.queued() == set()


async def test_an_owner_of_another_kind_is_none(world):
    world.secrets.on_change(secret(10, owner_reference(kind="AzureAdApplication"), name="unknown-secret"))

    assert await world.queued() == set()


async def test_a_deletion_queues_the_owner_and_those_that_wait_for_the_name(world):
    world.store.offer(resource_body(metadata={"name": WAITING.name, "uid": "u2", "resourceVersion": "11"}))

    world.secrets.on_delete(secret(10))

    assert await world.queued() == {OWNER, WAITING}


async def test_a_secret_that_a_complete_list_lacks_was_deleted(world):
    world.secrets.on_list([{"metadata": secret(10)}])
    await world.queued()

    world.secrets.on_list([])

    assert await world.queued() == {OWNER}
    assert list(world.versions) == []


async def test_a_list_of_another_namespace_says_nothing_of_a_secret(world):
    world.secrets.on_list([{"metadata": secret(10)}], NAMESPACE)
    await world.queued()

    world.secrets.on_list([], "other-team")

    assert await world.queued() == set()
    assert list(world.versions) == [Key(SECRET_KIND, NAMESPACE, SECRET)]


async def test_a_secret_that_a_list_of_its_namespace_lacks_was_deleted(world):
    world.secrets.on_list([{"metadata": secret(10)}], NAMESPACE)
    await world.queued()

    world.secrets.on_list([], NAMESPACE)

    assert await world.queued() == {OWNER}


async def test_every_complete_list_but_the_first_is_told_as_a_gap_since_owners_may_have_vanished_too(world):
    world.secrets.on_list([], NAMESPACE)
    world.secrets.on_list([], "other")
    world.secrets.on_change(secret(10))
    world.secrets.on_delete(secret(11))
    assert world.gaps == 0

    world.secrets.on_list([], NAMESPACE)

    assert world.gaps == 1


async def test_a_list_that_shows_nothing_new_queues_nobody(world):
    world.secrets.on_list([{"metadata": secret(10)}])
    await world.queued()

    world.secrets.on_list([{"metadata": secret(10)}])

    assert await world.queued() == set()


async def test_the_echo_of_a_passs_own_write_before_its_answer_queues_nobody(world):
    await world.begin_pass()
    world.secrets.on_change(secret(10))
    world.versions.record_own_write(KEY_OF_SECRET, 10)
    world.end_pass()

    assert await world.queued() == set()


async def test_the_echo_of_a_passs_own_write_after_its_answer_queues_nobody(world):
    await world.begin_pass()
    world.versions.record_own_write(KEY_OF_SECRET, 10)
    world.secrets.on_change(secret(10))
    world.end_pass()
    world.secrets.on_change(secret(10))

    assert await world.queued() == set()


@pytest.mark.parametrize("ours", [None, 10])
async def test_anothers_edit_during_a_pass_queues_the_owner_at_its_end(world, ours):
    await world.begin_pass()
    if ours:
        world.versions.record_own_write(KEY_OF_SECRET, ours)
    world.secrets.on_change(secret(11))
    assert len(world.queue) == 0
    world.end_pass()

    assert await world.queued() == {OWNER}


async def test_a_deletion_during_a_pass_is_seen_after_it(world):
    await world.begin_pass()
    world.versions.record_own_write(KEY_OF_SECRET, 10)
    world.secrets.on_delete(secret(12))
    world.end_pass()

    assert await world.queued() == {OWNER}


async def test_what_one_pass_settled_is_not_settled_again(world):
    await world.begin_pass()
    world.secrets.on_change(secret(11))
    world.end_pass()
    await world.queued()
    await world.begin_pass()
    world.end_pass()

    assert await world.queued() == set()


# Several kinds of owned objects


async def test_a_change_of_another_kind_queues_the_owner_too(world):
    world.changes.listen(DEPLOYMENT).on_change(secret(10))

    assert await world.queued() == {OWNER}
    assert list(world.versions) == [Key(DEPLOYMENT, NAMESPACE, SECRET)]


async def test_of_two_kinds_objects_of_one_name_are_told_apart(world):
    world.secrets.on_change(secret(11))
    await world.queued()

    world.changes.listen(DEPLOYMENT).on_change(secret(10))

    assert await world.queued() == {OWNER}


UNSTEADY = pytest.mark.parametrize("kind", [HORIZONTAL_POD_AUTOSCALER, POD_DISRUPTION_BUDGET], ids=lambda it: it.name)


@UNSTEADY
async def test_a_status_that_moves_all_the_time_queues_nobody(world, kind):
    listener = world.changes.listen(kind)
    listener.on_change(secret(10) | {"generation": 1})
    assert await world.queued() == {OWNER}

    listener.on_change(secret(11) | {"generation": 1})
    assert await world.queued() == set()


@UNSTEADY
@pytest.mark.parametrize(
    "change", [{"generation": 2}, {"deletionTimestamp": "2026-01-01T00:00:00Z"}, {"uid": "another"}], ids=str
)
async def test_whatever_else_moves_in_such_an_object_queues_the_owner(world, kind, change):
    listener = world.changes.listen(kind)
    listener.on_change(secret(10) | {"generation": 1})
    await world.queued()

    listener.on_change(secret(11) | {"generation": 1} | change)
    assert await world.queued() == {OWNER}


@UNSTEADY
async def test_its_deletion_queues_the_owner_and_so_does_one_that_takes_its_place(world, kind):
    listener = world.changes.listen(kind)
    for change in (listener.on_change, listener.on_delete, listener.on_change):
        change(secret(10))
        assert await world.queued() == {OWNER}


@UNSTEADY
async def test_the_first_status_after_a_write_of_ours_queues_nobody(world, kind):
    world.versions.record_own_write(Key(kind, NAMESPACE, SECRET), 10)
    world.changes.take_write(kind, secret(10) | {"generation": 1, "labels": {"app": NAME, "team": "some-team"}})
    await world.queued()

    world.changes.listen(kind).on_change(secret(11) | {"generation": 1, "labels": {"app": NAME}})
    assert await world.queued() == set()


async def test_a_complete_list_of_one_kind_says_nothing_of_another(world):
    world.secrets.on_change(secret(10))
    await world.queued()

    world.changes.listen(DEPLOYMENT).on_list([])

    assert await world.queued() == set()
    assert list(world.versions) == [Key(SECRET_KIND, NAMESPACE, SECRET)]


async def test_the_answer_to_a_write_of_one_kind_is_no_excuse_for_a_change_of_another(world):
    await world.begin_pass()
    world.versions.record_own_write(KEY_OF_SECRET, 10)
    world.changes.listen(DEPLOYMENT).on_change(secret(10))
    world.end_pass()

    assert await world.queued() == {OWNER}


async def test_owners_of_a_kind_that_another_store_holds_are_passed_over(world):
    world.secrets.on_change(secret(10, owner_reference(kind=APPLICATION.name), name="unknown-secret"))

    assert await world.queued() == set()


@pytest.mark.parametrize("happens", ["changed", "deleted"])
async def test_what_befalls_a_secret_is_urgent(world, happens):
    world.secrets.on_change(secret("11"))
    await world.queued()
    world.secrets.on_change(secret("12")) if happens == "changed" else world.secrets.on_delete(secret("12"))

    assert world.queue._queued == {OWNER: Priority.REPAIR}


def both(controlling):
    """References to two owners, of which one controls."""
    return [
        owner_reference() | {"controller": controlling == OWNER},
        owner_reference("u2", WAITING.name) | {"controller": controlling == WAITING},
    ]


@pytest.mark.parametrize(("writer", "other"), [(OWNER, WAITING), (WAITING, OWNER)], ids=["first", "second"])
async def test_a_write_of_ours_queues_the_other_owner_since_no_event_will_be_news_of_it(world, writer, other):
    world.store.offer(resource_body(metadata={"name": WAITING.name, "uid": "u2", "resourceVersion": "11"}))

    world.changes.take_write(SECRET_KIND, secret(10, *both(writer)))

    assert await world.queued() == {other}


async def test_a_write_of_ours_queues_whoever_else_names_the_secret(world):
    world.store.offer(resource_body(metadata={"name": WAITING.name, "uid": "u2", "resourceVersion": "11"}))

    world.changes.take_write(SECRET_KIND, secret(10))

    assert await world.queued() == {WAITING}


async def test_a_write_of_ours_to_what_nobody_else_claims_queues_nobody(world):
    world.changes.take_write(SECRET_KIND, secret(10))

    assert await world.queued() == set()


async def test_another_owner_whose_pass_is_under_way_looks_again_after_it(world):
    world.store.offer(resource_body(metadata={"name": WAITING.name, "uid": "u2", "resourceVersion": "11"}))
    await world.begin_pass()

    world.changes.take_write(SECRET_KIND, secret(10, *both(WAITING)))
    world.end_pass()

    assert await world.queued() == {OWNER}


# What is remembered of Secrets


def summary(version):
    return SecretSummary(version, UID, "client-1", private_jwk().digest, b"contents")


async def test_what_a_list_tells_of_a_secret_is_remembered_until_it_moves(world):
    world.secrets.on_list([{"metadata": secret(10), SUMMARY: summary(10)}])
    assert world.versions.recall(KEY_OF_SECRET) == summary(10)

    world.secrets.on_change(secret(11))
    assert world.versions.recall(KEY_OF_SECRET) is None


async def test_what_was_read_before_the_watch_tells_of_it_is_not_recalled_but_then(world):
    world.secrets.on_change(secret(10))
    world.versions.remember(KEY_OF_SECRET, summary(11))
    assert world.versions.recall(KEY_OF_SECRET) is None

    world.secrets.on_change(secret(11))
    assert world.versions.recall(KEY_OF_SECRET) == summary(11)


async def test_nothing_is_remembered_of_a_secret_that_isnt_watched_or_has_to_be_read(world):
    world.versions.remember(KEY_OF_SECRET, summary(10))
    world.secrets.on_change(secret(10))
    assert world.versions.recall(KEY_OF_SECRET) is None

    world.versions.remember(KEY_OF_SECRET, summary(10))
    world.versions.remember(KEY_OF_SECRET, None)
    assert world.versions.recall(KEY_OF_SECRET) is None


async def test_nothing_is_remembered_of_a_secret_that_is_gone(world):
    world.secrets.on_list([{"metadata": secret(10), SUMMARY: summary(10)}])
    world.secrets.on_delete(secret(11))
    world.secrets.on_change(secret(10))

    assert world.versions.recall(KEY_OF_SECRET) is None


async def test_a_change_that_the_watch_missed_is_found_by_a_comparison(world):
    world.secrets.on_change(secret(10))
    await world.queued()

    world.changes.compare(SECRET_KIND, {KEY_OF_SECRET: 10}, [{"metadata": secret(12)}])

    assert await world.queued() == {OWNER}


async def test_of_what_is_known_a_comparison_takes_the_name_alone(world):
    world.secrets.on_change(secret(10))
    await world.queued()
    assert not world.changes.is_news(SECRET_KIND, secret(10))

    world.changes.compare(SECRET_KIND, {KEY_OF_SECRET: 10}, [reduce_to_name({"metadata": secret(10)})])

    assert await world.queued() == set()
    assert world.changes.find_owned(SECRET_KIND, OWNER) == (SECRET,)


async def test_a_newer_version_is_news_and_one_of_which_no_watch_told_whose_it_is(world):
    assert world.changes.is_news(SECRET_KIND, secret(10))
    world.versions.record_own_write(KEY_OF_SECRET, 10)
    assert world.changes.is_news(SECRET_KIND, secret(10))
    world.secrets.on_list([{"metadata": secret(10)}])
    assert not world.changes.is_news(SECRET_KIND, secret(10))
    assert world.changes.is_news(SECRET_KIND, secret(11))


async def test_a_deletion_that_the_watch_missed_is_found_by_a_comparison(world):
    world.secrets.on_change(secret(10))
    await world.queued()

    world.changes.compare(SECRET_KIND, {KEY_OF_SECRET: 10}, [])

    assert KEY_OF_SECRET not in world.versions
    assert await world.queued() == {OWNER}


async def test_what_came_or_moved_while_a_list_was_read_isnt_missed_in_it(world):
    world.secrets.on_change(secret(11))
    world.secrets.on_change(secret(12, name="newer"))
    await world.queued()

    world.changes.compare(SECRET_KIND, {KEY_OF_SECRET: 10}, [])

    assert {one.name for one in world.versions} == {SECRET, "newer"}
    assert await world.queued() == set()


def test_the_first_lists_are_waited_for_as_long_as_they_may_take():
    async def wait(clock):
        lists = FirstLists(["a", "b"])
        asyncio.get_running_loop().call_later(3, lists.take, "a")
        asyncio.get_running_loop().call_later(5, lists.take, "b")
        await asyncio.gather(*(lists.wait() for _ in range(3)))
        taken = clock()
        lists = FirstLists([None])
        await lists.wait()
        await lists.wait()
        return taken, clock() - taken

    assert run_in_virtual_time(wait) == (5, MAX_WAIT_FOR_LISTS)


async def test_the_secrets_that_a_resource_owns_are_known_without_a_call(world):
    meta, owned = parse_meta(MASKINPORTEN_CLIENT, resource_body()), WatchedSecrets(world.changes)
    world.secrets.on_list([{"metadata": secret(10, name="one")}, {"metadata": secret(11, name="another")}])
    world.secrets.on_change(secret(12, owner_reference(name="other-app"), name="of-another"))
    assert owned.find_owned(meta) == ("another", "one")

    world.secrets.on_change(secret(13, owner_reference(name="other-app"), name="one"))
    world.secrets.on_delete(secret(14, name="another"))

    assert owned.find_owned(meta) == ()


async def test_what_our_own_write_made_is_known_as_owned_before_the_watch_tells_of_it(world):
    meta, owned = parse_meta(MASKINPORTEN_CLIENT, resource_body()), WatchedSecrets(world.changes)
    world.changes.take_write(SECRET_KIND, secret(10, name="one"))

    assert owned.find_owned(meta) == ("one",)
