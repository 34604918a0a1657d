"""Changes of owned Secrets lead back to their owners, and our own writes to nobody."""

import asyncio

import pytest

from maskinporten_operator.model.resources import FINALIZER
from maskinporten_operator.runtime.queue import Key, WorkQueue
from maskinporten_operator.runtime.secrets import SecretChanges
from maskinporten_operator.runtime.store import ObjectStore, VersionStore
from tests.unit.fakes import NAME, NAMESPACE, SECRET, owner_reference, resource_body

OWNER = Key(NAMESPACE, NAME)
WAITING = Key(NAMESPACE, "waiting-app")


class World:
    def __init__(self):
        self.versions = VersionStore()
        self.queue = WorkQueue()
        self.store = ObjectStore(FINALIZER, lambda: 0.0, lambda *_: None)
        self.gaps = 0
        self.changes = SecretChanges(self.versions, self.store, self.queue, self.note_gap)
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
    return {
        "namespace": NAMESPACE,
        "name": name,
        "resourceVersion": str(number),
        "ownerReferences": list(owners or [owner_reference()]),
    }


async def test_a_change_queues_the_owner(world):
    world.changes.on_change(secret(10))

    assert await world.queued() == {OWNER}


async def test_a_change_that_was_seen_before_queues_nobody(world):
    world.changes.on_change(secret(10))
    await world.queued()
    world.changes.on_change(secret(10))

    assert await world.queued() == set()


async def test_a_secret_of_a_resource_that_isnt_known_queues_nobody(world):
    world.changes.on_change(secret(10, owner_reference(name="unknown"), name="unknown-secret"))

    assert await world.queued() == set()


async def test_an_owner_of_another_kind_is_none(world):
    world.changes.on_change(secret(10, owner_reference(kind="AzureAdApplication"), name="unknown-secret"))

    assert await world.queued() == set()


async def test_a_deletion_queues_the_owner_and_those_that_wait_for_the_name(world):
    world.store.offer(resource_body(metadata={"name": WAITING.name, "uid": "u2", "resourceVersion": "11"}))

    world.changes.on_delete(secret(10))

    assert await world.queued() == {OWNER, WAITING}


async def test_a_secret_that_a_complete_list_lacks_was_deleted(world):
    world.changes.on_list([{"metadata": secret(10)}])
    await world.queued()

    world.changes.on_list([])

    assert await world.queued() == {OWNER}
    assert list(world.versions) == []


async def test_a_list_of_another_namespace_says_nothing_of_a_secret(world):
    world.changes.on_list([{"metadata": secret(10)}], NAMESPACE)
    await world.queued()

    world.changes.on_list([], "other-team")

    assert await world.queued() == set()
    assert list(world.versions) == [Key(NAMESPACE, SECRET)]


async def test_a_secret_that_a_list_of_its_namespace_lacks_was_deleted(world):
    world.changes.on_list([{"metadata": secret(10)}], NAMESPACE)
    await world.queued()

    world.changes.on_list([], NAMESPACE)

    assert await world.queued() == {OWNER}


async def test_every_complete_list_is_told_as_a_gap_since_owners_may_have_vanished_too(world):
    world.changes.on_change(secret(10))
    world.changes.on_delete(secret(11))
    assert world.gaps == 0

    world.changes.on_list([])
    world.changes.on_list([], NAMESPACE)

    assert world.gaps == 2


async def test_a_list_that_shows_nothing_new_queues_nobody(world):
    world.changes.on_list([{"metadata": secret(10)}])
    await world.queued()

    world.changes.on_list([{"metadata": secret(10)}])

    assert await world.queued() == set()


async def test_the_echo_of_a_passs_own_write_before_its_answer_queues_nobody(world):
    await world.begin_pass()
    world.changes.on_change(secret(10))
    world.versions.accept({"metadata": secret(10)})
    world.end_pass()

    assert await world.queued() == set()


async def test_the_echo_of_a_passs_own_write_after_its_answer_queues_nobody(world):
    await world.begin_pass()
    world.versions.accept({"metadata": secret(10)})
    world.changes.on_change(secret(10))
    world.end_pass()
    world.changes.on_change(secret(10))

    assert await world.queued() == set()


@pytest.mark.parametrize("ours", [None, 10])
async def test_anothers_edit_during_a_pass_queues_the_owner_at_its_end(world, ours):
    await world.begin_pass()
    if ours:
        world.versions.accept({"metadata": secret(ours)})
    world.changes.on_change(secret(11))
    assert len(world.queue) == 0
    world.end_pass()

    assert await world.queued() == {OWNER}


async def test_a_deletion_during_a_pass_is_seen_after_it(world):
    await world.begin_pass()
    world.versions.accept({"metadata": secret(10)})
    world.changes.on_delete(secret(12))
    world.end_pass()

    assert await world.queued() == {OWNER}


async def test_what_one_pass_settled_is_not_settled_again(world):
    await world.begin_pass()
    world.changes.on_change(secret(11))
    world.end_pass()
    await world.queued()
    await world.begin_pass()
    world.end_pass()

    assert await world.queued() == set()
