"""New keys: made ahead of need, never twice the same, and whatever befalls the worker, made again."""

import asyncio
import gc
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest

from maskinporten_operator.adapters import keys as module
from maskinporten_operator.adapters.keys import BATCH, KeyPool
from maskinporten_operator.model.errors import TransientError
from maskinporten_operator.model.keys import PrivateJwk

DEADLINE = 60.0
"""Seconds; the worker makes keys of idle time, and these tests share the machine."""
SOON = 5.0


async def until(condition, seconds=SOON):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


class Maker:
    """Makes numbers for keys, in a thread, and fails as often as it is told to."""

    def __init__(self):
        self.made = 0
        self.failures = []
        self.asked = []

    def __call__(self, count):
        self.asked.append(count)
        if self.failures:
            raise self.failures.pop(0)
        numbers = range(self.made, self.made + count)
        self.made += count
        return list(numbers)


@pytest.fixture
def maker(monkeypatch):
    maker, real_sleep = Maker(), asyncio.sleep
    monkeypatch.setattr(module, "mint_keys", maker)
    monkeypatch.setattr(module, "ProcessPoolExecutor", lambda count, **_: ThreadPoolExecutor(count))
    monkeypatch.setattr(module.asyncio, "sleep", lambda seconds: real_sleep(min(seconds, 0.01)))
    return maker


async def test_the_pool_fills_up_to_its_size_and_no_further(maker):
    async with KeyPool(10) as pool:
        await until(lambda: len(pool) == 10)
        await asyncio.sleep(0.05)

        assert len(pool) == maker.made == 10
        assert max(maker.asked) == BATCH


async def test_what_is_taken_is_made_again(maker):
    async with KeyPool(3) as pool:
        taken = [await pool.take() for _ in range(20)]
        await until(lambda: len(pool) == 3)

    assert taken == list(range(20))
    assert maker.made == 23


async def test_a_pool_without_a_store_makes_keys_when_they_are_asked_for(maker):
    async with KeyPool(0) as pool:
        await asyncio.sleep(0.05)
        assert maker.made == 0

        assert await asyncio.wait_for(pool.take(), SOON) == 0
        assert len(pool) == 0


async def test_many_at_once_get_a_key_each(maker):
    async with KeyPool(2) as pool:
        taken = await asyncio.wait_for(asyncio.gather(*(pool.take() for _ in range(30))), SOON)

    assert sorted(taken) == list(range(30))


@pytest.mark.parametrize(
    "error",
    [BrokenProcessPool("killed"), OSError("no more processes"), ValueError("odd"), RuntimeError("shutdown")],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_fails_in_a_worker_it_is_started_again(maker, error):
    maker.failures = [error, error]
    async with KeyPool(2) as pool:
        assert await asyncio.wait_for(pool.take(), SOON) == 0
        await until(lambda: len(pool) == 2)

    assert maker.failures == []


async def test_a_worker_that_cant_be_started_is_tried_again(maker, monkeypatch):
    attempts = []

    def start(count, **_):
        attempts.append(count)
        if len(attempts) < 3:
            raise OSError("the process table is full")
        return ThreadPoolExecutor(count)

    monkeypatch.setattr(module, "ProcessPoolExecutor", start)
    async with KeyPool(2) as pool:
        assert await asyncio.wait_for(pool.take(), SOON) == 0

    assert len(attempts) == 3


async def test_one_that_waits_in_vain_is_told_after_a_time(maker, monkeypatch):
    maker.failures = [OSError("no")] * 1000
    real_timeout = asyncio.timeout
    monkeypatch.setattr(module.asyncio, "timeout", lambda _: real_timeout(0.05))

    async with KeyPool(1) as pool:
        with pytest.raises(TransientError, match="No key could be made") as caught:
            await pool.take()

    assert caught.value.reason == "InternalError"


async def test_one_that_gives_up_waiting_takes_no_key_from_the_others(maker):
    maker.failures = [OSError("no")]
    async with KeyPool(0) as pool:
        first, second = (asyncio.create_task(pool.take()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

        assert isinstance(await asyncio.wait_for(second, SOON), int)


async def test_a_worker_process_makes_real_keys_and_a_killed_one_is_replaced():
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
    async with KeyPool(1) as pool:
        first = await asyncio.wait_for(pool.take(), DEADLINE)
        (worker,) = pool._executor._processes.values()
        os.kill(worker.pid, signal.SIGKILL)
        second, third = [await asyncio.wait_for(pool.take(), DEADLINE) for _ in range(2)]
        (successor,) = pool._executor._processes.values()

        assert successor.pid != worker.pid
    successor.join(SOON)
    await asyncio.sleep(0.1)
    gc.collect()

    assert len({first.n, second.n, third.n}) == 3
    assert all(PrivateJwk.find(PrivateJwk("k", key).serialize()) for key in (first, second, third))
    assert not successor.is_alive()
    assert complaints == []  # such as a batch whose failure nobody took


async def test_nothing_is_minted_while_keys_are_taken_and_the_store_is_not_low(maker):
    async with KeyPool(40) as pool:
        await until(lambda: len(pool) == 40)

        for _ in range(25):
            await pool.take()
            await asyncio.sleep(0)
        assert maker.made == 40  # fifteen are left, more than a quarter

        for _ in range(6):
            await pool.take()
        await until(lambda: maker.made > 40)
