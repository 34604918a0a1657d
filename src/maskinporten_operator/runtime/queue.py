"""The work queue: each key once, the urgent first, never two passes over one key at the same time."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from maskinporten_operator.plan.backoff import backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskinporten_operator.model.resources import Kind


MOST_ACTIONS = 20
ACTIONS_WINDOW = 20.0
COOL_DOWN = 5.0
"""Seconds. After `MOST_ACTIONS` passes that changed something within `ACTIONS_WINDOW`, the key's next pass waits: two
that mend against each other would otherwise do so without end, and as fast as they can."""


class Key(NamedTuple):
    """Names a resource."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.name} {self.namespace}/{self.name}"


class Priority(IntEnum):
    """What goes first."""

    CHANGE = 0
    RETRY = 1
    RESYNC = 2


class WorkQueue:
    """Keys to work on, now or after a delay. For one event loop; its size is bounded by the number of keys."""

    def __init__(
        self,
        chance: Callable[[], float] = random.random,
        observe_wait: Callable[[Key, float], None] = lambda *_: None,
        *,
        closed: bool = False,
    ) -> None:
        """`observe_wait` is told how long each key waited; one that is `closed` takes nothing until it is opened."""
        self._chance = chance
        self._observe_wait = observe_wait
        self._ready: asyncio.PriorityQueue[tuple[Priority, int, Key]] = asyncio.PriorityQueue()
        self._order = itertools.count()
        self._queued: dict[Key, Priority] = {}
        self._since: dict[Key, float] = {}
        self._running: set[Key] = set()
        self._again: dict[Key, Priority] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._actions: dict[Key, deque[float]] = {}
        self._closed = closed

    def __len__(self) -> int:
        """How many keys wait to be worked on now."""
        return len(self._queued) + len(self._again)

    def is_running(self, key: Key) -> bool:
        """Whether a pass over the key is under way."""
        return key in self._running

    def add(self, key: Key, priority: Priority = Priority.CHANGE) -> None:
        """Ask for a pass over the key; while one runs, for another one after it."""
        if self._closed:
            return
        if key not in self._running and self._is_hot(key):
            self.add_after(key, COOL_DOWN, priority)
            return
        waiting = self._again if key in self._running else self._queued
        if waiting.get(key, Priority.RESYNC + 1) <= priority:
            return
        waiting[key] = priority
        if waiting is self._queued:
            # One that was queued with less priority stays behind as a blank: `get` passes over it.
            self._since.setdefault(key, asyncio.get_running_loop().time())
            self._ready.put_nowait((priority, next(self._order), key))

    def add_after(self, key: Key, delay: float, priority: Priority = Priority.RETRY) -> None:
        """Ask for a pass after `delay` seconds, unless one is due sooner."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if self._closed or (timer and timer.when() <= loop.time() + delay):
            return
        if timer:
            timer.cancel()
        self._timers[key] = loop.call_later(delay, self._ring, key, priority)

    def retry(self, key: Key, *, at_once: bool = False) -> None:
        """Ask for a pass after a delay that grows with the failures in a row; the first may be tried `at_once`."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        waited_for = failures - at_once
        self.add_after(key, backoff(waited_for, self._chance()) if waited_for else 0.0)

    def clear_failures(self, key: Key) -> None:
        """The pass went well."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """Take the most urgent key; `done` must follow."""
        while True:
            priority, _, key = await self._ready.get()
            if self._queued.get(key) == priority:
                del self._queued[key]
                self._observe_wait(key, asyncio.get_running_loop().time() - self._since.pop(key))
                self._running.add(key)
                if timer := self._timers.pop(key, None):
                    timer.cancel()  # the pass that begins decides when the next one is due
                return key

    def note_action(self, key: Key) -> None:
        """The pass changed something."""
        self._actions.setdefault(key, deque(maxlen=MOST_ACTIONS)).append(asyncio.get_running_loop().time())

    def done(self, key: Key) -> None:
        """The pass is over."""
        self._running.discard(key)
        if (priority := self._again.pop(key, None)) is not None:
            self.add(key, priority)

    def forget(self, key: Key) -> None:
        """The resource is gone."""
        self._failures.pop(key, None)
        self._actions.pop(key, None)
        if timer := self._timers.pop(key, None):
            timer.cancel()

    def open(self) -> None:
        """Take work from now on."""
        self._closed = False

    def close(self) -> None:
        """Take no more work."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._queued.clear()
        self._since.clear()
        self._again.clear()

    @property
    def longest_wait(self) -> float:
        """How many seconds the key waits that has waited longest for a worker."""
        return asyncio.get_running_loop().time() - min(self._since.values()) if self._since else 0.0

    @property
    def running(self) -> int:
        """How many passes are under way."""
        return len(self._running)

    def _is_hot(self, key: Key) -> bool:
        """Whether so many passes changed something lately that somebody else undoes what they do."""
        actions = self._actions.get(key)
        if not actions or len(actions) < MOST_ACTIONS:
            return False
        return asyncio.get_running_loop().time() - actions[0] < ACTIONS_WINDOW

    def _ring(self, key: Key, priority: Priority) -> None:
        self._timers.pop(key, None)
        self.add(key, priority)
