"""When a process may work, what it lacks until then, and what it forgets when it takes over."""

import asyncio
from dataclasses import dataclass, field

import pytest

from maskinporten_operator.runtime import leadership as module
from maskinporten_operator.runtime.leadership import Leadership

LIST_LAG = 10.0
PROOF = "LIST_LAG to pass, before which no list proves that a resource has no client"


@dataclass
class Elector:
    """The process's part in an election, as far as it is looked at."""

    leading: asyncio.Event = field(default_factory=asyncio.Event)
    left: float = 0.0
    alone_since: float = 0.0
    made_lease: bool = False
    stands_by: bool = False
    hangs: bool = False
    released: bool = False

    def time_left(self):
        return self.left

    async def release(self):
        if self.hangs:
            await asyncio.Event().wait()
        self.released = True

    def lead(self, *, alone_since=0.0, made_lease=False):
        self.left, self.alone_since, self.made_lease = 10.0, alone_since, made_lease
        self.leading.set()


class World:
    def __init__(self, elector):
        self.elector, self.now, self.taken_over = elector, 0.0, []
        self.leadership = Leadership(elector, LIST_LAG, lambda: self.now, lambda *when: self.taken_over.append(when))


@pytest.fixture
def world():
    return World(Elector())


async def test_with_nobody_to_contend_with_a_process_works_at_once_and_forgets_nothing():
    world = World(None)
    await world.leadership.acquire()
    await world.leadership.release()

    assert world.leadership.may_work
    assert world.leadership.begun.is_set()
    assert world.leadership.find_missing() == []
    assert world.taken_over == []


async def test_until_it_has_the_lease_it_neither_works_nor_forgets(world):
    acquiring = asyncio.create_task(world.leadership.acquire())
    await asyncio.sleep(0)

    assert not world.leadership.may_work
    assert not world.leadership.begun.is_set()
    assert world.taken_over == []
    acquiring.cancel()


@pytest.mark.parametrize(("stands_by", "missing"), [(False, ["the Lease"]), (True, [])])
async def test_it_lacks_the_lease_unless_it_stands_by_for_another_that_works(world, stands_by, missing):
    world.elector.stands_by = stands_by

    assert world.leadership.find_missing() == missing


async def test_what_others_may_have_written_is_forgotten_before_it_works(world):
    order = []
    world.leadership._take_over = lambda *when: order.append((*when, world.leadership.begun.is_set()))
    world.elector.lead(alone_since=3.0)
    await world.leadership.acquire()

    assert order == [(3.0, 3.0 + LIST_LAG, False)]
    assert world.leadership.begun.is_set()
    assert world.leadership.may_work


@pytest.mark.parametrize(("now", "missing"), [(12.9, [PROOF]), (13.0, [])])
async def test_on_a_new_cluster_it_is_ready_when_new_resources_neednt_wait_for_a_proof(world, now, missing):
    world.elector.lead(alone_since=3.0, made_lease=True)
    await world.leadership.acquire()
    world.now = now

    assert world.leadership.find_missing() == missing


async def test_one_that_takes_over_stays_ready(world):
    world.elector.lead(alone_since=3.0)
    await world.leadership.acquire()
    world.now = 4.0

    assert world.leadership.find_missing() == []


async def test_a_lease_that_has_run_out_stops_the_work_and_not_the_readiness(world):
    world.elector.lead()
    await world.leadership.acquire()
    world.elector.left = 0.0

    assert not world.leadership.may_work
    assert world.leadership.find_missing() == []


async def test_the_lease_is_given_back_at_the_end(world):
    await world.leadership.release()

    assert world.elector.released


async def test_a_lease_that_cant_be_given_back_in_time_is_left_to_expire(world, monkeypatch):
    monkeypatch.setattr(module, "RELEASE_SECONDS", 0.01)
    world.elector.hangs = True
    await world.leadership.release()

    assert not world.elector.released
