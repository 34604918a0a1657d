"""Minting RSA keys ahead of need, in a worker process of low priority.

A 2048-bit key takes tens of milliseconds of CPU time: on the event loop every resource would wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import multiprocessing
import os
import signal
import threading
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Self

import structlog

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import TransientError
from maskinporten_operator.model.keys import RsaKey

if TYPE_CHECKING:
    from types import TracebackType

KEY_SIZE = 2048
BATCH = 8
"""Keys that one task of a worker makes: few enough that nobody waits long for the batch."""
REST = 1.0
"""Seconds without a taker before a store that isn't low is filled up: minting would slow down those that take."""
log = structlog.get_logger()


class KeyPool:
    """A store of new keys, filled up again when some are taken. They leave this process's memory only into a Secret."""

    def __init__(self, size: int, workers: int = 1) -> None:
        self._size = size
        self._workers = workers
        self._keys: deque[RsaKey] = deque()
        self._arrived = asyncio.Condition()
        self._wanted = asyncio.Event()
        self._waiting = 0
        self._last_taken = -math.inf
        self._executor: ProcessPoolExecutor | None = None
        self._filler: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._keys)

    async def __aenter__(self) -> Self:
        self._wanted.set()
        self._filler = asyncio.create_task(self._fill())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._filler
        self._filler.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._filler
        self._close_executor()

    async def take(self) -> RsaKey:
        """Take a key, waiting for one if none is left.

        Raises:
            TransientError: No key could be made.
        """
        async with self._arrived:
            self._waiting += 1
            self._wanted.set()
            try:
                async with asyncio.timeout(60):
                    await self._arrived.wait_for(lambda: bool(self._keys))
            except TimeoutError:
                raise TransientError(Reason.INTERNAL_ERROR, "No key could be made within a minute") from None
            finally:
                self._waiting -= 1
            self._last_taken = asyncio.get_running_loop().time()
            return self._keys.popleft()

    async def _fill(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while (missing := self._size + self._waiting - len(self._keys)) > 0:
                if self._can_wait():
                    await asyncio.sleep(REST)
                    continue
                batches: list[asyncio.Future[list[RsaKey]]] = []
                try:
                    batches += [
                        loop.run_in_executor(self._get_executor(), mint_keys, min(BATCH, missing))
                        for _ in range(self._workers)
                    ]
                    for batch in asyncio.as_completed(batches):
                        await self._add(await batch)
                except Exception as error:  # noqa: BLE001 - a full process table, a killed worker: nothing may end this
                    log.warning("minting keys failed; its process is started again", error=type(error).__name__)
                    self._close_executor()
                    await asyncio.sleep(1)
                finally:
                    for batch in batches:  # nobody waits for what is left of them, nor for how it fails
                        batch.cancel()

    def _can_wait(self) -> bool:
        in_use = asyncio.get_running_loop().time() < self._last_taken + REST
        return in_use and not self._waiting and len(self._keys) > self._size // 4

    async def _add(self, keys: list[RsaKey]) -> None:
        async with self._arrived:
            self._keys.extend(keys)
            self._arrived.notify_all()

    def _get_executor(self) -> ProcessPoolExecutor:
        if self._executor is None:
            # spawn: a fork would carry this process's memory, connections and threads along.
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(self._workers, mp_context=context, initializer=_prepare_worker)
        return self._executor

    def _close_executor(self) -> None:
        if self._executor:
            self._executor.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.kill()  # a batch under way has no value, and takes long where the machine is busy
            self._executor = None


def mint_keys(count: int) -> list[RsaKey]:
    """Make RSA keys; runs in a worker process."""
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 - loaded by the worker only
    from jose.utils import base64url_encode  # noqa: PLC0415

    def encode(number: int) -> str:
        return str(base64url_encode(number.to_bytes((number.bit_length() + 7) // 8)).decode())

    keys = []
    for _ in range(count):
        private = rsa.generate_private_key(65537, KEY_SIZE).private_numbers()
        public = private.public_numbers
        numbers = (public.n, public.e, private.d, private.p, private.q, private.dmp1, private.dmq1, private.iqmp)
        keys.append(RsaKey(*map(encode, numbers)))
    return keys


def _prepare_worker() -> None:
    # Below everything else: keys are made of idle time. Where that isn't allowed, nice comes nearest.
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (AttributeError, OSError):
        os.nice(19)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Ctrl-C goes to the whole process group; the operator ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end_with_parent() -> None:
    """A parent that is killed can't end its workers, and these would wait for tasks for ever."""
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(0)
