"""The work queue is fair between namespaces: none takes all workers, nor makes the others wait for its own."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT
from maskinporten_operator.runtime.queue import KEPT_SHARE, NEWS, PATIENT, Key, Priority, WorkQueue
from tests.unit.virtual_time import run_in_virtual_time

WORKERS = 24
KEPT = WORKERS // KEPT_SHARE
NAMESPACES = ("busy", "calm", "other", "fourth")


def key(namespace, number=0):
    return Key(MASKINPORTEN_CLIENT, namespace, f"n{number}")


async def take(queue, count=1):
    """Take so many keys, none of which is done."""
    return [await queue.get() for _ in range(count)]


async def has_none_for_anybody(queue):
    """Whether whoever asks for a key waits."""
    asking = asyncio.ensure_future(queue.get())
    for _ in range(3):
        await asyncio.sleep(0)
    if asking.done():
        return False
    asking.cancel()
    return True


def fill(queue, namespace, count, priority=Priority.CHANGE):
    for number in range(count):
        queue.add(key(namespace, number), priority)


async def test_namespaces_take_turns():
    queue = WorkQueue()
    fill(queue, "busy", 3)
    fill(queue, "calm", 2)

    assert [one.namespace for one in await take(queue, 5)] == ["busy", "calm", "busy", "calm", "busy"]


async def test_the_next_worker_goes_to_whoever_has_fewest_passes_under_way():
    queue = WorkQueue()
    fill(queue, "busy", 10)
    await take(queue, 4)
    fill(queue, "calm", 10)

    assert [one.namespace for one in await take(queue, 4)] == ["calm"] * 4
    assert {one.namespace for one in await take(queue, 2)} == {"busy", "calm"}


async def test_within_a_namespace_a_deletion_or_a_lost_secret_goes_before_changes_that_came_earlier():
    queue = WorkQueue()
    fill(queue, "busy", 5)
    queue.add(key("busy", 9), Priority.REPAIR)

    assert await take(queue) == [key("busy", 9)]


async def test_many_repairs_of_one_namespace_dont_hold_up_the_changes_of_another():
    queue = WorkQueue()
    fill(queue, "busy", 10, Priority.REPAIR)
    fill(queue, "calm", 3)

    assert [one.namespace for one in await take(queue, 6)] == ["busy", "calm"] * 3


@pytest.mark.parametrize("patient", PATIENT)
@pytest.mark.parametrize("news", NEWS)
async def test_news_go_before_what_may_wait_whosever_they_are(news, patient):
    queue = WorkQueue(workers=WORKERS)
    fill(queue, "busy", 50, patient)
    await take(queue, 3)
    fill(queue, "calm", 10, news)

    assert {one.namespace for one in await take(queue, 10)} == {"calm"}


async def test_one_namespace_alone_gets_all_workers_but_the_few_that_are_kept():
    queue = WorkQueue(workers=WORKERS)
    fill(queue, "busy", 50)
    await take(queue, WORKERS - KEPT)

    assert KEPT == 3
    assert await has_none_for_anybody(queue)


async def test_the_kept_workers_serve_namespaces_without_a_pass_under_way_one_each():
    queue = WorkQueue(workers=WORKERS)
    fill(queue, "busy", 50)
    await take(queue, WORKERS - KEPT)
    fill(queue, "calm", 2)
    fill(queue, "other", 1, Priority.RESYNC)

    assert await take(queue, 2) == [key("calm"), key("other")]
    assert await has_none_for_anybody(queue)


async def test_a_worker_that_waited_gets_a_key_when_a_pass_makes_room():
    queue = WorkQueue(workers=WORKERS)
    fill(queue, "busy", 50)
    first, *_ = await take(queue, WORKERS - KEPT)
    waiting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.done(first)

    assert await asyncio.wait_for(waiting, 5) == key("busy", WORKERS - KEPT)


@pytest.mark.parametrize("workers", [1, 4, KEPT_SHARE - 1])
async def test_where_there_are_few_workers_none_is_kept(workers):
    queue = WorkQueue(workers=workers)
    fill(queue, "busy", workers)

    assert len(await take(queue, workers)) == workers


def measure_wait(workers, namespaces):
    """Let so many namespaces ask for a hundred passes of ten seconds; give the longest wait of another, asking once."""

    async def main(now):
        queue = WorkQueue(workers=workers)
        waited = []

        async def work():
            while True:
                taken = await queue.get()
                if taken.namespace == "calm":
                    waited.append(now() - asked)
                else:
                    await asyncio.sleep(10)
                queue.done(taken)

        running = [asyncio.ensure_future(work()) for _ in range(WORKERS)]
        for number in range(namespaces):
            fill(queue, f"busy-{number}", 100)
        await asyncio.sleep(1)
        asked = now()
        queue.add(key("calm"))
        while not waited:
            await asyncio.sleep(0.1)
        for one in running:
            one.cancel()
        return waited[0]

    return run_in_virtual_time(main)


@pytest.mark.parametrize("namespaces", [1, 5])
def test_long_passes_of_others_hold_nobody_up_since_workers_are_kept(namespaces):
    assert measure_wait(WORKERS, namespaces) == 0
    assert measure_wait(None, namespaces) == pytest.approx(9)  # if none were


ADD = st.tuples(st.sampled_from(NAMESPACES), st.integers(0, 5), st.sampled_from(Priority))
ACTIONS = st.lists(st.one_of(ADD, st.just("take"), st.just("done")), max_size=60)


class Model:
    """The queue, and what is known of it by what was asked of it."""

    def __init__(self):
        self.queue = WorkQueue(workers=WORKERS // 2)
        self.limit = WORKERS // 2 - WORKERS // 2 // KEPT_SHARE
        self.waiting = {}  # by key: its priority and when it came to that
        self.running = []
        self.again = {}
        self.moment = 0

    def add(self, one, priority):
        self.moment += 1
        self.queue.add(one, priority)
        place = self.again if one in self.running else self.waiting
        if one not in place or priority < place[one][0]:
            place[one] = (priority, self.moment)

    def done(self):
        if self.running:
            one = self.running.pop(0)
            self.queue.done(one)
            if one in self.again:
                self.moment += 1
                self.waiting[one] = (self.again.pop(one)[0], self.moment)

    def load(self, namespace):
        return sum(one.namespace == namespace for one in self.running)

    def may_be_served(self):
        crowded = len(self.running) >= self.limit
        return {one: rank for one, rank in self.waiting.items() if not (crowded and self.load(one.namespace))}

    async def take(self):
        candidates = self.may_be_served()
        if not candidates:
            assert await has_none_for_anybody(self.queue)
            return
        one = await self.queue.get()
        priority, came = self.waiting[one]
        assert one in candidates
        assert one not in self.running
        rivals = {other: rank for other, rank in candidates.items() if (rank[0] in NEWS) >= (priority in NEWS)}
        assert all((rank[0] in NEWS) == (priority in NEWS) for rank in rivals.values()), "news wait"
        least = min(self.load(other.namespace) for other in rivals)
        assert self.load(one.namespace) == least, "a namespace with fewer passes under way waits"
        equal = {other: rank for other, rank in rivals.items() if self.load(other.namespace) == least}
        assert all(rank[0] >= priority for rank in equal.values()), "something more urgent waits"
        own = [rank for other, rank in equal.items() if other.namespace == one.namespace and rank[0] == priority]
        assert came == min(moment for _, moment in own), "an earlier one of its namespace waits"
        del self.waiting[one]
        self.running.append(one)


@given(ACTIONS)
def test_whatever_is_asked_it_is_fair_complete_and_keeps_nothing(actions):
    async def main(_):
        model = Model()
        for action in actions:
            if action == "take":
                await model.take()
            elif action == "done":
                model.done()
            else:
                model.add(key(action[0], action[1]), action[2])
            assert len(model.queue) == len(model.waiting) + len(model.again)
        while model.waiting or model.running:
            await model.take()
            model.done()
        queue = model.queue
        assert not any((queue._queued, queue._since, queue._load, queue._running, queue._again))
        assert not any(map(list, queue._turns.values()))

    run_in_virtual_time(main)


def test_the_turn_of_each_namespace_comes_after_as_many_others_as_there_are():
    async def main(_):
        queue = WorkQueue()
        for number in range(200):
            fill(queue, f"ns-{number}", 3)
        taken = []
        for _ in range(600):
            taken.append(await queue.get())
            queue.done(taken[-1])
        for turn in range(3):
            assert set(Counter(one.namespace for one in taken[turn * 200 : turn * 200 + 200]).values()) == {1}

    run_in_virtual_time(main)
