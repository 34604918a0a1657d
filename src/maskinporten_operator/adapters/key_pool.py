"""A store of RSA keys that are minted ahead of need, by a process of their own: see `adapters.minting`.

A 2048-bit key takes tens of milliseconds of CPU time: on the event loop every resource would wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import sys
from asyncio.subprocess import PIPE
from collections import Counter, deque
from typing import TYPE_CHECKING, Protocol, Self

import structlog

from maskinporten_operator.adapters.minting import HURRY
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import TransientError
from maskinporten_operator.model.jwk import RsaKey
from maskinporten_operator.model.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

BATCH = 8
"""Keys that are minted at once: few enough that nobody waits long for the batch."""
REST = 1.0
"""Seconds without a taker before a store that isn't low is filled up: minting would slow down those that take."""
KEPT_SHARE = 8
"""One key of so many is kept for namespaces that took few lately."""
FEW = 8
LATELY = 60.0
"""Seconds within which a namespace that took `FEW` keys leaves the kept ones to others."""
PROGRAM: tuple[str, ...] = (sys.executable, "-P", "-m", "maskinporten_operator.adapters.minting")
log = structlog.get_logger()


class Minter(Protocol):
    """What makes keys."""

    async def mint(self, count: int, *, hurry: bool) -> list[RsaKey]:
        """Make keys: one after the other, or on all cores if somebody waits for them."""

    def hurry(self) -> None:
        """Somebody waits for what is being made."""

    async def end(self) -> None:
        """Stop; a batch under way is discarded."""


class MintingProcess:
    """A process that makes keys."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> Self:
        """Start it.

        Raises:
            OSError: There can't be one.
        """
        return cls(await asyncio.create_subprocess_exec(*PROGRAM, stdin=PIPE, stdout=PIPE))

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    async def mint(self, count: int, *, hurry: bool) -> list[RsaKey]:
        """Make keys: one after the other, or on all cores if somebody waits for them.

        Raises:
            OSError: The process has ended.
        """
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{count}{HURRY if hurry else ''}\n".encode())
        await self._process.stdin.drain()
        line = await self._process.stdout.readline()
        if not line:
            raise ConnectionError("the process that mints keys has ended")
        return [RsaKey(*members) for members in json.loads(line)]

    def hurry(self) -> None:
        """Somebody waits for what is being made."""
        assert self._process.stdin
        self._process.stdin.write(f"{HURRY}\n".encode())

    async def end(self) -> None:
        """End it at once: a batch under way takes long where the machine is busy."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        # Not by waiting for its end alone: the pipes are closed only once both have been read to their end.
        await self._process.communicate()


class ProcessKeyPool:
    """A store of new keys, filled up again when some are taken. They leave this process's memory only into a Secret.

    Namespaces that wait are served round-robin, and the last keys are kept for those that took few lately.

    Attributes:
        failing: Whether the last attempt to mint keys failed.
    """

    def __init__(self, size: int, start: Callable[[], Awaitable[Minter]] = MintingProcess.start) -> None:
        """`size` is how many keys are kept; `start` starts what mints them."""
        self.failing = False
        self._size = size
        self._start = start
        self._minter: Minter | None = None
        self._is_unhurried = False  # what the minter is at
        self._keys: deque[RsaKey] = deque()
        self._wanted = asyncio.Event()
        self._waiting: Turns[asyncio.Future[RsaKey]] = Turns()
        self._takers = _Takers()
        self._last_taken = -math.inf
        self._filler: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def waiting(self) -> int:
        """How many wait for a key."""
        return len(self._waiting)

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
        await self._end_minter()

    async def take(self, namespace: str) -> RsaKey:
        """Take a key for a namespace, waiting for one if none is left for it.

        Raises:
            TransientError: No key could be made.
        """
        given: asyncio.Future[RsaKey] = asyncio.get_running_loop().create_future()
        self._waiting.add(namespace, given)
        self._give()
        if self._minter and self._is_unhurried and not given.done():
            self._is_unhurried = False
            self._minter.hurry()
        self._wanted.set()
        try:
            async with asyncio.timeout(60):
                return await given
        except TimeoutError:
            self._withdraw(namespace, given)
            raise TransientError(Reason.INTERNAL_ERROR, "No key could be made within a minute") from None
        except asyncio.CancelledError:
            self._withdraw(namespace, given)
            raise

    def _withdraw(self, namespace: str, given: asyncio.Future[RsaKey]) -> None:
        """Give up a wait; a key that came too late goes to the others."""
        self._waiting.discard(namespace, given)
        if not given.cancelled():
            self._keys.appendleft(given.result())
            self._give()

    def _give(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._keys and (namespace := self._choose(now)) is not None:
            waiting = self._waiting.take(namespace)
            if not waiting.cancelled():
                waiting.set_result(self._keys.popleft())
                self._takers.note(namespace, now)
                self._last_taken = now

    def _choose(self, now: float) -> str | None:
        """Choose the namespace that is next, among those that may get a key now."""
        if len(self._keys) > self._size // KEPT_SHARE:
            return next(iter(self._waiting), None)
        return next((one for one in self._waiting if self._takers.count(one, now) < FEW), None)

    async def _fill(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while (missing := self._size + len(self._waiting) - len(self._keys)) > 0:
                if self._can_wait():
                    await asyncio.sleep(REST)
                    continue
                try:
                    await self._add(min(BATCH, len(self._waiting) or missing))
                except Exception as error:  # noqa: BLE001 - a full process table, a killed process: nothing may end this
                    if not self.failing:
                        log.warning("minting keys failed; its process is started again", error=type(error).__name__)
                    self.failing = True
                    await self._end_minter()
                    await asyncio.sleep(1)

    def _can_wait(self) -> bool:
        in_use = asyncio.get_running_loop().time() < self._last_taken + REST
        return in_use and not self._waiting and len(self._keys) > self._size // 4

    async def _add(self, count: int) -> None:
        self._minter = self._minter or await self._start()
        hurry = bool(self._waiting)
        self._is_unhurried = not hurry
        keys = await self._minter.mint(count, hurry=hurry)
        self._is_unhurried = False
        if self.failing:
            log.info("keys are minted again")
        self.failing = False
        self._keys.extend(keys)
        self._give()

    async def _end_minter(self) -> None:
        minter, self._minter = self._minter, None
        if minter:
            await minter.end()


class _Takers:
    """How many keys each namespace took lately; nothing is kept of those that took none."""

    def __init__(self) -> None:
        self._taken: deque[tuple[float, str]] = deque()
        self._counts: Counter[str] = Counter()

    def note(self, namespace: str, now: float) -> None:
        """A namespace takes a key; `now` in seconds."""
        self._expire(now)
        self._taken.append((now, namespace))
        self._counts[namespace] += 1

    def count(self, namespace: str, now: float) -> int:
        """Count the keys that it took lately."""
        self._expire(now)
        return self._counts[namespace]

    def _expire(self, now: float) -> None:
        while self._taken and self._taken[0][0] <= now - LATELY:
            _, namespace = self._taken.popleft()
            self._counts[namespace] -= 1
            if not self._counts[namespace]:
                del self._counts[namespace]
