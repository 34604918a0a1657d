"""The work queue: each key once, never two passes over one key at the same time, and fair to namespaces.

The order: changes before retries and the resync. Of either, the namespace with the fewest passes under way is next,
then the higher priority, then round-robin, and within a namespace first in, first out. The last few workers are kept
for namespaces without a pass under way ([0025] in docs/decisions).
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter, deque
from contextvars import Context
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from maskinporten_operator.model.turns import Turns
from maskinporten_operator.plan.backoff import backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskinporten_operator.model.resources import Kind


MAX_ACTIONS = 20
ACTIONS_WINDOW = 20.0
COOL_DOWN = 5.0
"""Seconds. After `MAX_ACTIONS` passes that changed something within `ACTIONS_WINDOW`, the key's next pass waits: two
that undo each other's changes would otherwise do so without end, and as fast as they can."""


class Key(NamedTuple):
    """Names a resource."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.name} {self.namespace}/{self.name}"


class Priority(IntEnum):
    """The priority of a pass: for a deletion or a lost Secret, a change, a retry, the resync."""

    REPAIR = 0
    CHANGE = 1
    RETRY = 2
    RESYNC = 3


class PassQueue(Protocol):
    """What asks for passes."""

    def is_running(self, key: Key) -> bool:
        """Whether a pass over the key is under way."""

    def add(self, key: Key, priority: Priority = Priority.CHANGE) -> None:
        """Ask for a pass over the key."""

    def forget(self, key: Key) -> None:
        """The resource is gone."""


NEWS = (Priority.REPAIR, Priority.CHANGE)
PATIENT = (Priority.RETRY, Priority.RESYNC)
KEPT_SHARE = 8
"""One worker of so many is kept for namespaces that have no pass under way: passes can be long, and none is broken off
for another."""


class WorkQueue:
    """Keys to work on, now or after a delay. For one event loop; its size is bounded by the number of keys."""

    def __init__(
        self,
        chance: Callable[[], float] = random.random,
        observe_wait: Callable[[Key, float], None] = lambda *_: None,
        *,
        workers: int | None = None,
        closed: bool = False,
    ) -> None:
        """`observe_wait` is called with how long each key waited; a `closed` queue takes nothing until it is opened.

        `workers` is how many take keys; None keeps none for namespaces without a pass under way.
        """
        self._chance = chance
        self._observe_wait = observe_wait
        self._crowded_at = math.inf if workers is None else workers - workers // KEPT_SHARE
        self._turns: dict[Priority, Turns[Key]] = {priority: Turns() for priority in Priority}
        self._turn = asyncio.Lock()  # to take a key
        self._news = asyncio.Event()  # who waits for a key looks again
        self._queued: dict[Key, Priority] = {}
        self._since: dict[Key, float] = {}
        self._running: set[Key] = set()
        self._load: Counter[str] = Counter()  # how many passes of each namespace are under way
        self._again: dict[Key, Priority] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._context = Context()  # of all timers: each would keep what the pass that set it has bound
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
        if waiting is self._queued:
            self._enqueue(key, priority)
        waiting[key] = priority

    def add_after(self, key: Key, delay: float, priority: Priority = Priority.RETRY) -> None:
        """Ask for a pass after `delay` seconds, unless one is due sooner."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if self._closed or (timer and timer.when() <= loop.time() + delay):
            return
        if timer:
            timer.cancel()
        self._timers[key] = loop.call_later(delay, self._ring, key, priority, context=self._context)

    def retry(self, key: Key, *, at_once: bool = False) -> None:
        """Ask for a pass after a delay that grows with the failures in a row; the first may be tried `at_once`."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        waited_for = failures - at_once
        self.add_after(key, backoff(waited_for, self._chance(), len(self._failures)) if waited_for else 0.0)

    def clear_failures(self, key: Key) -> None:
        """The pass went well."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """Take the key that is next; `done` must follow.

        Whatever else is ready runs before it is given, so passes that wait for nothing hold up nobody: thousands of
        them may be due at once.
        """
        async with self._turn:
            await asyncio.sleep(0)
            while (choice := self._choose()) is None:
                self._news.clear()
                await self._news.wait()
            return self._take(*choice)

    def _take(self, priority: Priority, namespace: str) -> Key:
        key = self._turns[priority].take(namespace)
        del self._queued[key]
        self._observe_wait(key, asyncio.get_running_loop().time() - self._since.pop(key))
        self._running.add(key)
        self._load[namespace] += 1
        if timer := self._timers.pop(key, None):
            timer.cancel()  # the pass that begins decides when the next one is due
        return key

    def note_action(self, key: Key) -> None:
        """The pass changed something."""
        self._actions.setdefault(key, deque(maxlen=MAX_ACTIONS)).append(asyncio.get_running_loop().time())

    def done(self, key: Key) -> None:
        """The pass is over."""
        self._running.discard(key)
        self._load[key.namespace] -= 1
        if not self._load[key.namespace]:
            del self._load[key.namespace]
        self._news.set()
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
        for turns in self._turns.values():
            turns.clear()
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

    def _enqueue(self, key: Key, priority: Priority) -> None:
        """Add a key, or move it to a higher priority."""
        if (before := self._queued.get(key)) is not None:
            self._turns[before].discard(key.namespace, key)
        self._turns[priority].add(key.namespace, key)
        self._since.setdefault(key, asyncio.get_running_loop().time())
        self._news.set()

    def _choose(self) -> tuple[Priority, str] | None:
        """Choose priority and namespace of the next key, if there is one that may be taken now."""
        for priorities in (NEWS, PATIENT):
            least: tuple[Priority, str] | None = None
            for priority in priorities:
                for namespace in self._turns[priority]:
                    if namespace not in self._load:
                        return priority, namespace  # so no more namespaces are looked at than there are workers
                    if least is None or self._load[namespace] < self._load[least[1]]:
                        least = priority, namespace
            if least and len(self._running) < self._crowded_at:
                return least
        return None

    def _is_hot(self, key: Key) -> bool:
        """Whether so many passes changed something lately that something else must undo their changes."""
        actions = self._actions.get(key)
        if not actions or len(actions) < MAX_ACTIONS:
            return False
        return asyncio.get_running_loop().time() - actions[0] < ACTIONS_WINDOW

    def _ring(self, key: Key, priority: Priority) -> None:
        self._timers.pop(key, None)
        self.add(key, priority)
