"""The work queue: each key once, the urgent first, never two passes over one key at the same time."""

import asyncio
import weakref
from contextvars import ContextVar, copy_context
from itertools import pairwise

import pytest

from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT
from maskinporten_operator.plan.outcomes import Outcome, Retry
from maskinporten_operator.reconcile.ports import FirstSeen
from maskinporten_operator.runtime import queue as module
from maskinporten_operator.runtime.metrics import Metrics
from maskinporten_operator.runtime.queue import ACTIONS_WINDOW, COOL_DOWN, MAX_ACTIONS, Key, Priority, WorkQueue
from maskinporten_operator.runtime.store import Entry
from maskinporten_operator.runtime.workers import Controller, Workers

A, B, C = (Key(MASKINPORTEN_CLIENT, "ns", name) for name in "abc")
DEADLINE = 5.0


@pytest.fixture
def queue():
    return WorkQueue(chance=lambda: 0.5)


async def take(queue):
    async with asyncio.timeout(DEADLINE):
        return await queue.get()


async def take_all(queue):
    taken = []
    while len(queue):
        taken.append(await take(queue))
        queue.done(taken[-1])
    return taken


def due_in(queue, key):
    return queue._timers[key].when() - asyncio.get_running_loop().time()


async def test_one_that_is_closed_takes_nothing_until_it_is_opened():
    queue = WorkQueue(closed=True)
    queue.add(A)
    queue.add_after(A, 0.0)
    assert len(queue) == 0
    queue.open()
    queue.add(B)

    assert await take_all(queue) == [B]


async def test_a_key_that_waits_keeps_nothing_that_the_pass_before_has_bound(queue):
    class Bound:
        pass

    bound = ContextVar("bound")

    def run_pass():
        bound.set(Bound())
        queue.add_after(A, 3600.0)
        return weakref.ref(bound.get())

    find_bound = copy_context().run(run_pass)

    assert find_bound() is None


async def test_it_tells_how_long_each_key_waited_and_the_longest_still_waits():
    waits = []
    queue = WorkQueue(observe_wait=lambda key, seconds: waits.append((key, seconds)))
    assert queue.longest_wait == 0
    queue.add(A, Priority.RESYNC)
    queue.add(A)
    queue._since[A] -= 7
    queue.add(B)

    assert 7 <= queue.longest_wait < 7 + DEADLINE
    await take_all(queue)
    assert [key for key, _ in waits] == [A, B]
    assert waits[0][1] >= 7 > waits[1][1]


async def test_a_key_that_is_added_twice_is_taken_once(queue):
    queue.add(A)
    queue.add(A)

    assert await take_all(queue) == [A]


async def test_keys_of_one_priority_are_taken_in_the_order_of_their_arrival(queue):
    for key in (B, C, A):
        queue.add(key)

    assert await take_all(queue) == [B, C, A]


async def test_a_users_change_goes_before_retries_and_the_resync(queue):
    queue.add(A, Priority.RESYNC)
    queue.add(B, Priority.RETRY)
    queue.add(C, Priority.CHANGE)

    assert await take_all(queue) == [C, B, A]


async def test_a_key_that_waits_is_raised_by_a_more_urgent_request_and_taken_once(queue):
    queue.add(A, Priority.RESYNC)
    queue.add(B, Priority.RESYNC)
    queue.add(B, Priority.CHANGE)

    assert await take_all(queue) == [B, A]
    assert len(queue) == 0


async def test_a_key_that_waits_is_not_lowered_by_a_less_urgent_request(queue):
    queue.add(A, Priority.RETRY)
    queue.add(B, Priority.CHANGE)
    queue.add(B, Priority.RESYNC)

    assert await take_all(queue) == [B, A]


async def test_a_key_that_is_worked_on_is_not_given_out_again_until_it_is_done(queue):
    queue.add(A)
    await take(queue)
    queue.add(A)
    other = asyncio.create_task(queue.get())
    queue.add(B)

    assert await asyncio.wait_for(other, DEADLINE) == B
    assert queue.is_running(A)
    queue.done(A)

    assert await take(queue) == A


async def test_many_changes_during_a_pass_make_one_further_pass(queue):
    queue.add(A)
    await take(queue)
    for _ in range(5):
        queue.add(A)
    queue.done(A)

    assert await take_all(queue) == [A]


async def test_a_change_during_a_pass_keeps_its_priority(queue):
    queue.add(A)
    await take(queue)
    queue.add(A, Priority.RESYNC)
    queue.add(A, Priority.CHANGE)
    queue.add(B, Priority.RETRY)
    queue.done(A)

    assert await take_all(queue) == [A, B]


async def test_a_pass_without_news_isnt_followed_by_another(queue):
    queue.add(A)
    await take(queue)
    queue.done(A)

    assert len(queue) == 0
    assert not queue.is_running(A)


async def test_a_blank_left_by_a_raised_key_doesnt_give_it_out_twice(queue):
    queue.add(A, Priority.RESYNC)
    queue.add(A, Priority.CHANGE)
    await take(queue)
    queue.done(A)
    queue.add(A, Priority.RESYNC)
    assert await take(queue) == A
    waiting = asyncio.create_task(queue.get())
    queue.add(B, Priority.RESYNC)

    assert await asyncio.wait_for(waiting, DEADLINE) == B


async def test_one_that_waits_gets_a_key_that_is_added_later(queue):
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add(A)

    assert await asyncio.wait_for(waiting, DEADLINE) == A


async def test_a_key_is_due_after_its_delay(queue):
    queue.add_after(A, 0.01)

    assert len(queue) == 0
    assert await take(queue) == A


async def test_of_two_delays_the_shorter_holds(queue):
    queue.add_after(A, 1000)
    queue.add_after(A, 10)
    queue.add_after(A, 500)

    assert due_in(queue, A) == pytest.approx(10, abs=1)


async def test_a_pass_that_begins_decides_when_the_next_is_due(queue):
    queue.add_after(A, 1000)
    queue.add(A)
    await take(queue)

    assert A not in queue._timers


async def test_a_retry_waits_longer_with_each_failure_in_a_row(queue):
    delays = []
    for _ in range(7):
        queue.retry(A)
        delays.append(due_in(queue, A))
        queue._timers.pop(A).cancel()

    assert delays == pytest.approx([1, 2, 4, 8, 16, 20, 20], abs=0.5)


async def test_of_many_that_fail_each_waits_longer_in_the_end(queue):
    for number in range(1000):
        queue.retry(Key(MASKINPORTEN_CLIENT, "failing", str(number)))

    assert [delay_of_retry(queue, A) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 50.05, 50.05]


def delay_of_retry(queue, key):
    queue.retry(key)
    delay = due_in(queue, key)
    queue._timers.pop(key).cancel()
    return pytest.approx(delay, abs=0.5)


async def test_a_success_ends_the_row_of_failures(queue):
    for _ in range(4):
        delay_of_retry(queue, A)
    queue.clear_failures(A)

    assert delay_of_retry(queue, A) == 1


async def test_failures_are_counted_for_each_key(queue):
    delay_of_retry(queue, A)
    delay_of_retry(queue, A)

    assert delay_of_retry(queue, B) == 1
    assert delay_of_retry(queue, A) == 4


async def test_a_resource_that_is_gone_has_no_timer_and_no_failures(queue):
    queue.retry(A)
    queue.forget(A)

    assert A not in queue._timers
    assert delay_of_retry(queue, A) == 1


# The brake


@pytest.fixture
async def loop_time(monkeypatch):
    """The event loop's time, which the test moves; timers are looked at and never ring."""
    loop = asyncio.get_running_loop()
    moment = float(int(loop.time()))  # whole, so that sums are exact

    def advance(seconds):
        nonlocal moment
        moment += seconds

    monkeypatch.setattr(loop, "time", lambda: moment)
    return advance


async def pass_over(queue, key, times=1):
    """Make passes that change something."""
    for _ in range(times):
        queue.add(key)
        assert len(queue) == 1
        assert await queue.get() == key
        queue.note_action(key)
        queue.done(key)


async def test_twenty_passes_that_change_something_are_made_at_once_and_the_next_waits(queue, loop_time):
    await pass_over(queue, A, MAX_ACTIONS)

    queue.add(A)

    assert len(queue) == 0
    assert due_in(queue, A) == COOL_DOWN


async def test_passes_that_change_nothing_never_brake(queue, loop_time):
    for _ in range(5 * MAX_ACTIONS):
        queue.add(A)
        queue.done(await queue.get())


async def test_the_brake_is_off_when_the_first_of_twenty_passes_is_long_enough_ago(queue, loop_time):
    await pass_over(queue, A)
    loop_time(ACTIONS_WINDOW)
    await pass_over(queue, A, MAX_ACTIONS - 1)

    await pass_over(queue, A)
    queue.add(A)

    assert len(queue) == 0


async def test_passes_that_are_spread_never_brake(queue, loop_time):
    for _ in range(5 * MAX_ACTIONS):
        await pass_over(queue, A)
        loop_time(ACTIONS_WINDOW / MAX_ACTIONS)


async def test_the_brake_of_one_key_leaves_the_others_alone(queue, loop_time):
    await pass_over(queue, A, MAX_ACTIONS)

    await pass_over(queue, B)


async def test_a_braked_key_that_is_asked_for_again_is_put_off_no_further(queue, loop_time):
    await pass_over(queue, A, MAX_ACTIONS)
    queue.add(A)
    loop_time(2)
    queue.add(A)

    assert due_in(queue, A) == COOL_DOWN - 2


async def test_a_braked_key_keeps_a_timer_that_is_sooner(queue, loop_time):
    await pass_over(queue, A, MAX_ACTIONS)
    queue.add_after(A, 1)
    queue.add(A)

    assert due_in(queue, A) == 1


async def test_a_timer_that_rings_too_soon_is_braked_too(queue, loop_time):
    await pass_over(queue, A, MAX_ACTIONS)
    queue.add_after(A, 1)
    loop_time(1)
    queue._ring(A, Priority.RETRY)

    assert len(queue) == 0
    assert due_in(queue, A) == COOL_DOWN


async def test_a_change_during_the_twentieth_pass_waits_and_isnt_lost(queue, loop_time):
    await pass_over(queue, A, MAX_ACTIONS - 1)
    queue.add(A)
    await queue.get()
    queue.add(A, Priority.CHANGE)
    assert len(queue) == 1
    queue.note_action(A)
    queue.done(A)

    assert len(queue) == 0
    assert due_in(queue, A) == COOL_DOWN


async def test_after_the_cool_down_a_braked_key_is_worked_on(queue, monkeypatch):
    monkeypatch.setattr(module, "COOL_DOWN", 0.01)
    monkeypatch.setattr(module, "ACTIONS_WINDOW", 0.05)
    await pass_over(queue, A, MAX_ACTIONS)
    queue.add(A)

    assert await take(queue) == A


async def test_a_resource_that_is_gone_leaves_no_brake_to_one_of_its_name(queue, loop_time):
    await pass_over(queue, A, MAX_ACTIONS)
    queue.forget(A)

    await pass_over(queue, A)


async def test_a_closed_queue_sets_no_brake(queue, loop_time):
    await pass_over(queue, A, MAX_ACTIONS)
    queue.close()
    queue.add(A)

    assert not queue._timers


# The end


async def test_a_closed_queue_takes_no_work_and_forgets_what_waited(queue):
    queue.add(A)
    await take(queue)
    queue.add(B)
    queue.add_after(C, 0)
    queue.close()
    queue.add(B)
    queue.add_after(C, 0)
    queue.done(A)

    assert len(queue) == 0
    assert queue.running == 0
    assert not queue._timers
    waiting = asyncio.create_task(queue.get())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_however_keys_are_added_none_is_lost_and_none_is_worked_on_twice_at_once(queue, monkeypatch):
    monkeypatch.setattr(module, "MAX_ACTIONS", 1_000_000)  # many passes at once are what this is about
    at_work, wanted, served = set(), 0, {A: 0, B: 0, C: 0}

    async def work():
        while True:
            key = await queue.get()
            assert key not in at_work
            at_work.add(key)
            served[key] = wanted
            await asyncio.sleep(0)
            at_work.discard(key)
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(3)]
    for wanted in range(1, 200):
        for key in (A, B, C)[: wanted % 3 + 1]:
            queue.add(key, Priority(wanted % 3))
        if wanted % 7 == 0:
            await asyncio.sleep(0)
    wanted = 200
    for key in (A, B, C):
        queue.add(key)
    async with asyncio.timeout(DEADLINE):
        while len(queue) or queue.running:
            await asyncio.sleep(0)
    for worker in workers:
        worker.cancel()

    assert served == {A: 200, B: 200, C: 200}


async def test_one_that_is_retried_at_once_waits_only_from_its_second_failure_in_a_row_on(queue):
    queue.retry(A, at_once=True)
    assert due_in(queue, A) <= 0
    assert await take(queue) == A
    queue.retry(A, at_once=True)
    assert 0.5 < due_in(queue, A) <= 1
    queue.done(A)


async def test_one_that_failed_before_isnt_retried_at_once(queue):
    queue.retry(A)
    assert await take(queue) == A
    queue.retry(A, at_once=True)

    assert due_in(queue, A) > 0.5


class Gone:
    """A store that holds one resource until a pass is made over it, or longer."""

    def __init__(self, *, vanishes, retry=None):
        self.retry = retry
        self.entry = Entry({"metadata": {"uid": "u"}}, FirstSeen(0.0, had_finalizer=True))
        self.vanishes = vanishes

    def find(self, key):
        return self.entry

    async def reconcile(self, body, first_seen):
        if self.vanishes:
            self.entry = None
        return Outcome((), self.retry, 0, acted=True)


@pytest.mark.parametrize(("vanishes", "noted"), [(True, 0), (False, 1)])
async def test_nothing_is_noted_of_a_resource_that_vanished_during_its_pass(queue, vanishes, noted):
    await work_off(queue, Gone(vanishes=vanishes))

    assert len(queue._actions) == noted


async def work_off(queue, store):
    """Make one pass over A."""
    controller = Controller(store, store.reconcile, lambda *_: None)
    workers = Workers(1, queue, {MASKINPORTEN_CLIENT: controller}, Metrics())
    queue.add(A)
    running = asyncio.create_task(workers.run())
    async with asyncio.timeout(DEADLINE):
        while len(queue) or queue.running:
            await asyncio.sleep(0)
    running.cancel()


@pytest.mark.parametrize(("patient", "order"), [(True, [B, A]), (False, [A, B])])
async def test_a_patient_retry_lets_everybody_else_go_first(queue, patient, order):
    await work_off(queue, Gone(vanishes=False, retry=Retry(0.05, failed=True, patient=patient)))
    async with asyncio.timeout(DEADLINE):
        while not len(queue):
            await asyncio.sleep(0)
    queue.add(B, Priority.RETRY)

    assert [await take(queue), await take(queue)] == order


@pytest.mark.parametrize("count", [1, 3])
async def test_between_passes_that_wait_for_nothing_all_others_have_their_turn(queue, count):
    order = []

    class Quick(Gone):
        async def reconcile(self, body, first_seen):
            order.append("pass")
            return await super().reconcile(body, first_seen)

    async def do_something_else():
        while True:
            order.append("something else")
            await asyncio.sleep(0)

    store, keys = Quick(vanishes=False), [Key(MASKINPORTEN_CLIENT, f"ns-{number}", "a") for number in range(6)]
    workers = Workers(
        count, queue, {MASKINPORTEN_CLIENT: Controller(store, store.reconcile, lambda *_: None)}, Metrics()
    )
    for key in keys:
        queue.add(key, Priority.RESYNC)
    tasks = [asyncio.create_task(one) for one in (workers.run(), do_something_else())]
    async with asyncio.timeout(DEADLINE):
        while order.count("pass") < len(keys):
            await asyncio.sleep(0)
    for task in tasks:
        task.cancel()

    assert ("pass", "pass") not in pairwise(order)
