"""The resync: remote drift, and resources that vanished while nobody watched."""

import asyncio

import pytest

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import TransientError
from maskinporten_operator.model.maskinportenclient import FINALIZER
from maskinporten_operator.model.resources import APPLICATION, MASKINPORTEN_CLIENT
from maskinporten_operator.runtime import resync as module
from maskinporten_operator.runtime.queue import Key, WorkQueue
from maskinporten_operator.runtime.resync import Resync
from maskinporten_operator.runtime.store import WatchedResourceStore
from tests.unit.fakes import NAMESPACE, resource_body

DEADLINE = 5.0


class World:
    """A store of two, an empty one of another kind, an API server that lists uids, and DigDir's list.

    The API server and DigDir tell what was asked of them.
    """

    def __init__(self, interval):
        self.calls = []
        self.called = asyncio.Condition()
        self.uids = {"u1", "u2"}
        self.application_uids = set()
        self.failures = 0
        self.queue = WorkQueue()
        self.store = WatchedResourceStore(MASKINPORTEN_CLIENT, FINALIZER, lambda: 0.0, lambda *_: None)
        self.applications = WatchedResourceStore(APPLICATION, FINALIZER, lambda: 0.0, lambda *_: None)
        self.during_list = lambda: None
        for number in (1, 2):
            self.see(number)
        self.resync = Resync(
            interval, (self.store, self.applications), self.queue, self.list_uids, self.refresh, self.compare_secrets
        )

    def see(self, number):
        self._offer(self.store, number, "u")

    def see_application(self, number):
        """One of the name of a MaskinportenClient."""
        self._offer(self.applications, number, "a")

    def _offer(self, store, number, letter):
        metadata = {"name": f"app-{number}", "uid": f"{letter}{number}", "resourceVersion": str(10 + number)}
        store.offer(resource_body(metadata=metadata))

    async def _note(self, what):
        async with self.called:
            self.calls.append(what)
            self.called.notify_all()
        if self.failures:
            self.failures -= 1
            raise TransientError(Reason.DIGDIR_UNAVAILABLE, "no")

    async def compare_secrets(self):
        await self._note("compare Secrets")

    async def list_uids(self, kind):
        if kind == APPLICATION:
            await self._note("list applications")
            return set(self.application_uids)
        assert kind == MASKINPORTEN_CLIENT
        uids = set(self.uids)
        self.during_list()
        await self._note("list")
        return uids

    async def refresh(self):
        await self._note("refresh")

    async def until(self, *calls):
        async with asyncio.timeout(DEADLINE), self.called:
            await self.called.wait_for(lambda: self.calls[: len(calls)] == list(calls))

    async def until_empty_of(self, key):
        store = self.applications if key.kind == APPLICATION else self.store
        async with asyncio.timeout(DEADLINE):
            while store.find(key):
                await asyncio.sleep(0)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(module, "AFTER_GAP", 0.0)


@pytest.fixture
async def start(quick):
    running = []

    def start(interval=1000.0):
        world = World(interval)
        running.append(asyncio.create_task(world.resync.run()))
        return world

    yield start
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_the_first_list_is_read_at_once_and_the_resync_waits(start):
    world = start()

    await world.until("refresh")

    assert world.calls == ["refresh"]
    assert len(world.queue) == 0


async def test_one_that_stands_by_looks_for_what_vanished_and_reads_digdirs_list_when_it_leads(quick):
    world, leading = World(1000.0), asyncio.Event()
    task = asyncio.create_task(world.resync.run(leading))
    world.resync.note_gap()
    await world.until("list", "list applications")
    assert world.calls == ["list", "list applications"]
    leading.set()

    await world.until("list", "list applications", "refresh")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_first_list_that_fails_is_read_again(start):
    world = start()
    world.failures = 2

    await world.until("refresh", "refresh", "refresh")

    assert world.failures == 0


async def test_a_resync_looks_for_the_missing_then_lists_anew_then_queues_everything(start):
    world = start(interval=0.01)

    keys = {await asyncio.wait_for(world.queue.get(), DEADLINE) for _ in range(2)}

    assert world.calls[:5] == ["refresh", "list", "list applications", "compare Secrets", "refresh"]
    assert keys == {Key(MASKINPORTEN_CLIENT, NAMESPACE, "app-1"), Key(MASKINPORTEN_CLIENT, NAMESPACE, "app-2")}


async def test_after_a_gap_what_vanished_is_dropped(start):
    world = start()
    await world.until("refresh")
    world.uids = {"u2"}
    world.resync.note_gap()

    await world.until_empty_of(Key(MASKINPORTEN_CLIENT, NAMESPACE, "app-1"))

    assert list(world.store) == [Key(MASKINPORTEN_CLIENT, NAMESPACE, "app-2")]


async def test_a_list_that_fails_drops_nothing_and_is_tried_again(start):
    world = start()
    await world.until("refresh")
    world.failures = 1
    world.uids = {"u2"}
    world.resync.note_gap()

    await world.until("refresh", "list", "list")
    await world.until_empty_of(Key(MASKINPORTEN_CLIENT, NAMESPACE, "app-1"))

    assert len(world.store) == 1


async def test_what_is_made_while_the_list_is_read_is_not_dropped(start):
    world = start()
    await world.until("refresh")
    world.uids = {"u2"}
    world.during_list = lambda: world.see(3)
    world.resync.note_gap()

    await world.until_empty_of(Key(MASKINPORTEN_CLIENT, NAMESPACE, "app-1"))

    assert set(world.store) == {
        Key(MASKINPORTEN_CLIENT, NAMESPACE, "app-2"),
        Key(MASKINPORTEN_CLIENT, NAMESPACE, "app-3"),
    }


# Several kinds


async def test_a_resync_queues_the_resources_of_every_kind(start):
    world = start(interval=0.01)
    world.see_application(1)
    world.application_uids = {"a1"}

    keys = {await asyncio.wait_for(world.queue.get(), DEADLINE) for _ in range(3)}

    assert keys == {
        Key(MASKINPORTEN_CLIENT, NAMESPACE, "app-1"),
        Key(MASKINPORTEN_CLIENT, NAMESPACE, "app-2"),
        Key(APPLICATION, NAMESPACE, "app-1"),
    }


async def test_after_a_gap_what_vanished_of_a_kind_is_dropped_and_its_namesake_of_another_kind_is_not(start):
    world = start()
    await world.until("refresh")
    world.see_application(1)
    world.see_application(2)
    world.application_uids = {"a2"}
    world.resync.note_gap()

    await world.until_empty_of(Key(APPLICATION, NAMESPACE, "app-1"))

    assert list(world.applications) == [Key(APPLICATION, NAMESPACE, "app-2")]
    assert len(world.store) == 2
