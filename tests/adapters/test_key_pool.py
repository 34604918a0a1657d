"""New keys: made ahead of need, never twice the same, and whatever befalls the worker, made again."""

import asyncio
import gc
import itertools
import os
import queue
import signal
import sys
import threading
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from maskinporten_operator.adapters import key_pool as module
from maskinporten_operator.adapters.key_pool import BATCH, FEW, KEPT_SHARE, LATELY, ProcessKeyPool, _Takers
from maskinporten_operator.adapters.minting import NICE, NICE_IN_A_HURRY, Orders
from maskinporten_operator.model.errors import TransientError
from maskinporten_operator.model.jwk import PrivateJwk

DEADLINE = 60.0
"""Seconds; the worker makes keys of idle time, and these tests share the machine."""
SOON = 5.0


async def until(condition, seconds=SOON):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


class Maker:
    """Makes numbers for keys, and fails as often as it is told to, at the start or at the work."""

    def __init__(self):
        self.made = 0
        self.failures = []
        self.refusals = []
        self.started = self.ended = 0
        self.asked = []
        self.hurries = []

    async def start(self):
        if self.refusals:
            raise self.refusals.pop(0)
        self.started += 1
        return self

    def hurry(self):
        self.hurries.append("meanwhile")

    async def mint(self, count, *, hurry):
        self.asked.append(count)
        self.hurries.append(hurry)
        if self.failures:
            raise self.failures.pop(0)
        await asyncio.sleep(0)
        numbers = range(self.made, self.made + count)
        self.made += count
        return list(numbers)

    async def end(self):
        self.ended += 1


@pytest.fixture
def maker(monkeypatch):
    real_sleep = asyncio.sleep
    monkeypatch.setattr(module.asyncio, "sleep", lambda seconds: real_sleep(min(seconds, 0.01)))
    return Maker()


async def test_the_pool_fills_up_to_its_size_and_no_further(maker):
    async with ProcessKeyPool(10, maker.start) as pool:
        await until(lambda: len(pool) == 10)
        await asyncio.sleep(0.05)

        assert len(pool) == maker.made == 10
        assert max(maker.asked) == BATCH


async def test_what_is_taken_is_made_again(maker):
    async with ProcessKeyPool(3, maker.start) as pool:
        taken = [await pool.take("ns") for _ in range(20)]
        await until(lambda: len(pool) == 3)

    assert taken == list(range(20))
    assert maker.made == 23


async def test_a_pool_without_a_store_makes_keys_when_they_are_asked_for(maker):
    async with ProcessKeyPool(0, maker.start) as pool:
        await asyncio.sleep(0.05)
        assert maker.made == 0

        assert await asyncio.wait_for(pool.take("ns"), SOON) == 0
        assert len(pool) == 0


async def test_many_at_once_get_a_key_each(maker):
    async with ProcessKeyPool(2, maker.start) as pool:
        taken = await asyncio.wait_for(asyncio.gather(*(pool.take("ns") for _ in range(30))), SOON)

    assert sorted(taken) == list(range(30))


@pytest.mark.parametrize(
    "error",
    [ConnectionError("killed"), OSError("no more processes"), ValueError("odd"), RuntimeError("shutdown")],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_fails_in_a_worker_it_is_started_again(maker, error):
    maker.failures = [error, error]
    async with ProcessKeyPool(2, maker.start) as pool:
        assert await asyncio.wait_for(pool.take("ns"), SOON) == 0
        await until(lambda: len(pool) == 2)

    assert maker.failures == []
    assert (maker.started, maker.ended) == (3, 3)


async def test_a_worker_that_cant_be_started_is_tried_again(maker):
    maker.refusals = [OSError("the process table is full")] * 2
    async with ProcessKeyPool(2, maker.start) as pool:
        assert await asyncio.wait_for(pool.take("ns"), SOON) == 0

    assert (maker.refusals, maker.started) == ([], 1)


async def test_a_pool_is_failing_from_a_failure_until_keys_are_minted_again(maker):
    maker.failures = [OSError("no")] * 1000
    async with ProcessKeyPool(2, maker.start) as pool:
        assert not pool.failing
        await until(lambda: pool.failing)
        maker.failures.clear()
        await until(lambda: len(pool) == 2)

        assert not pool.failing


async def test_one_that_waits_in_vain_is_told_after_a_time(maker, monkeypatch):
    maker.failures = [OSError("no")] * 1000
    real_timeout = asyncio.timeout
    monkeypatch.setattr(module.asyncio, "timeout", lambda _: real_timeout(0.05))

    async with ProcessKeyPool(1, maker.start) as pool:
        with pytest.raises(TransientError, match="No key could be made") as caught:
            await pool.take("ns")

    assert caught.value.reason == "InternalError"


async def test_one_that_gives_up_waiting_takes_no_key_from_the_others(maker):
    maker.failures = [OSError("no")]
    async with ProcessKeyPool(0, maker.start) as pool:
        first, second = (asyncio.create_task(pool.take("ns")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

        assert isinstance(await asyncio.wait_for(second, SOON), int)


async def test_a_worker_process_makes_real_keys_and_a_killed_one_is_replaced():
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
    async with ProcessKeyPool(1) as pool:
        first = await asyncio.wait_for(pool.take("ns"), DEADLINE)
        worker = pool._minter.pid
        os.kill(worker, signal.SIGKILL)
        second, third = [await asyncio.wait_for(pool.take("ns"), DEADLINE) for _ in range(2)]
        successor = pool._minter.pid

        assert successor != worker
    gc.collect()

    assert len({first.n, second.n, third.n}) == 3
    assert all(PrivateJwk.find(PrivateJwk("k", key).serialize()) for key in (first, second, third))
    assert not is_running(worker)
    assert not is_running(successor)
    assert complaints == []  # such as a process that nobody waited for


async def test_a_worker_process_ends_with_its_parent():
    script = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE).pid, flush=True)"
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script + "; input()", *module.PROGRAM, stdin=PIPE, stdout=PIPE
    )
    worker = int(await parent.stdout.readline())
    assert is_running(worker)
    parent.kill()
    await parent.communicate()

    await until(lambda: not is_running(worker), DEADLINE)


def is_running(pid):
    """One that has ended may still be there, where nobody has asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_nothing_is_minted_while_keys_are_taken_and_the_store_is_not_low(maker):
    async with ProcessKeyPool(40, maker.start) as pool:
        await until(lambda: len(pool) == 40)

        for _ in range(25):
            await pool.take("ns")
            await asyncio.sleep(0)
        assert maker.made == 40  # fifteen are left, more than a quarter

        for _ in range(6):
            await pool.take("ns")
        await until(lambda: maker.made > 40)


# In a hurry


async def test_keys_are_made_of_idle_time_until_somebody_waits(maker):
    async with ProcessKeyPool(2, maker.start) as pool:
        await until(lambda: len(pool) == 2)
        assert maker.hurries == [False]

        await asyncio.gather(*(pool.take("ns") for _ in range(5)))
        await until(lambda: len(pool) == 2)

    assert maker.asked == [2, 3, 2]  # of what is waited for no more than that, to have it soon
    assert maker.hurries == [False, True, False]


async def test_one_that_waits_has_what_is_being_made_of_idle_time_made_in_a_hurry():
    hand = Hand()
    async with ProcessKeyPool(8, hand.start) as pool:
        await until(lambda: hand.asked)
        assert (hand.asked, hand.hurried) == ([(8, False)], 0)
        waiting = [asyncio.create_task(pool.take("ns")) for _ in range(3)]
        await settle()
        assert hand.hurried == 1
        assert pool.waiting == 3
        for _ in range(3):
            hand.allowed.release()

        await asyncio.wait_for(asyncio.gather(*waiting), SOON)
        assert pool.waiting == 0
        assert hand.asked[1] == (2, True)


def test_a_key_that_is_made_of_idle_time_and_never_ready_holds_up_no_other():
    never, answers = threading.Event(), queue.SimpleQueue()
    numbers = itertools.count(1)

    def mint():
        if threading.current_thread().name == "idle":
            never.wait()
        return next(numbers)

    orders = Orders(answers.put, mint)
    threads = [threading.Thread(target=orders.work, args=(lambda: None,), name="idle", daemon=True)]
    threads += [threading.Thread(target=orders.work_in_a_hurry, args=(lambda: None, 2), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    orders.take("4")
    orders.take("!")
    first = answers.get(timeout=SOON)
    orders.take("3!")
    second = answers.get(timeout=SOON)
    never.set()

    assert len(first) == 4
    assert len({*first, *second}) == 7


async def test_what_somebody_waits_for_is_made_on_all_cores_and_isnt_starved():
    """Below the operator itself, though not by SCHED_IDLE, which may leave it nothing for minutes."""
    async with ProcessKeyPool(0) as pool:
        await asyncio.wait_for(pool.take("ns"), DEADLINE)
        threads = find_threads(pool._minter.pid)
        assert {os.sched_getscheduler(one) for one in threads} == {os.SCHED_OTHER}
        ranks = sorted(os.getpriority(os.PRIO_PROCESS, one) for one in threads)

    assert ranks == [0, *[NICE_IN_A_HURRY] * len(os.sched_getaffinity(0)), NICE]


def find_threads(pid):
    return [int(one.name) for one in Path(f"/proc/{pid}/task").iterdir()]


# Fairness


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


class Hand:
    """Makes as many keys as a test lets it."""

    def __init__(self):
        self.allowed = asyncio.Semaphore(0)
        self.made = 0
        self.asked = []
        self.hurried = 0

    async def start(self):
        return self

    def hurry(self):
        self.hurried += 1

    async def mint(self, count, *, hurry):
        self.asked.append((count, hurry))
        await self.allowed.acquire()
        self.made += 1
        return [self.made]

    async def end(self):
        pass


async def test_namespaces_that_wait_get_keys_by_turns():
    hand, got = Hand(), []

    async def take(pool, namespace):
        await pool.take(namespace)
        got.append(namespace)

    async with ProcessKeyPool(0, hand.start) as pool, asyncio.TaskGroup() as group:
        for namespace in ["busy"] * 5 + ["calm"]:
            group.create_task(take(pool, namespace))
        await settle()
        for number in range(6):
            hand.allowed.release()
            await until(lambda count=number + 1: len(got) == count)

    assert got == ["busy", "calm", "busy", "busy", "busy", "busy"]


async def test_one_that_took_many_keys_leaves_the_last_ones_to_others():
    hand, size = Hand(), 64
    async with ProcessKeyPool(size, hand.start) as pool:
        for _ in range(size):
            hand.allowed.release()
        await until(lambda: len(pool) == size)
        kept = size // KEPT_SHARE
        for _ in range(size - kept):
            await pool.take("busy")
        waiting = asyncio.create_task(pool.take("busy"))
        await settle()
        assert not waiting.done()

        assert [await asyncio.wait_for(pool.take("calm"), SOON) for _ in range(FEW)]
        assert len(pool) == kept - FEW
        for _ in range(FEW + 1):
            hand.allowed.release()
        await asyncio.wait_for(waiting, SOON)  # what is made beyond the kept ones is for all


async def test_many_namespaces_that_take_few_each_get_all_the_keys_there_are():
    hand, size = Hand(), 64
    async with ProcessKeyPool(size, hand.start) as pool:
        for _ in range(size):
            hand.allowed.release()
        await until(lambda: len(pool) == size)

        assert len({await asyncio.wait_for(pool.take(f"ns-{n}"), SOON) for n in range(size)}) == size


async def test_a_key_that_was_given_to_one_that_waits_no_more_is_kept_for_others():
    hand = Hand()
    async with ProcessKeyPool(0, hand.start) as pool:
        gone = asyncio.create_task(pool.take("calm"))
        await settle()
        pool._keys.append("key")
        pool._give()
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)

        assert await asyncio.wait_for(pool.take("calm"), SOON) == "key"


def test_who_took_keys_is_remembered_for_a_minute_and_then_not_at_all():
    takers = _Takers()
    for _ in range(3):
        takers.note("busy", 10.0)
    takers.note("calm", 20.0)

    assert takers.count("busy", 10.0 + LATELY - 1) == 3
    assert takers.count("busy", 10.0 + LATELY) == 0
    assert (dict(takers._counts), len(takers._taken)) == ({"calm": 1}, 1)
