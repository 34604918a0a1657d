"""Passes one after another in virtual time: what the operator would do within its first minutes, at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextvars import ContextVar
from typing import TYPE_CHECKING

from maskinporten_operator.runtime.queue import Key, Priority

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from maskinporten_operator.model.resources import Kind
    from maskinporten_operator.plan.outcomes import Outcome
    from maskinporten_operator.runtime.virtual_clock import VirtualClock
    from maskinporten_operator.runtime.workers import Controller

HORIZON = 120.0
"""Seconds that are planned: enough to prove twice that a client is gone, and for lists that lag behind writes."""
MAX_PASSES = 1000
"""Over one resource: some that undo each other's changes would go on without end."""

CURRENT: ContextVar[Key] = ContextVar("current")
"""The resource of the pass under way."""


def has_failed(outcome: Outcome) -> bool:
    """Whether a pass ended by a fault that may pass, such as one of DigDir's."""
    return outcome.retry is not None and outcome.retry.failed and outcome.retry.delay is None


class DryRunQueue:
    """Keys by when a pass over them is due; takes the place of the `WorkQueue`."""

    def __init__(self, clock: VirtualClock, selects: Callable[[Key], bool] = lambda _: True) -> None:
        """Keys that aren't selected are passed over."""
        self._clock = clock
        self._selects = selects
        self._end = clock.passed + HORIZON
        self._due: dict[Key, float] = {}
        self._running: set[Key] = set()

    def is_running(self, key: Key) -> bool:
        """Whether a pass over the key is under way."""
        return key in self._running

    def add(self, key: Key, priority: Priority = Priority.CHANGE) -> None:  # noqa: ARG002 - as the WorkQueue
        """Ask for a pass over the key."""
        self.add_after(key, 0.0)

    def add_after(self, key: Key, delay: float) -> None:
        """Ask for a pass after `delay` seconds, if that isn't beyond the horizon."""
        due = self._clock.passed + delay
        if self._selects(key) and due <= self._end:
            self._due[key] = min(due, self._due.get(key, due))

    def forget(self, key: Key) -> None:
        """The resource is gone."""
        self._due.pop(key, None)

    def take(self) -> list[Key]:
        """Take all keys that are due next, and let time pass until then; none if nothing is due any more."""
        if not self._due:
            return []
        first = min(self._due.values())
        self._clock.passed = max(self._clock.passed, first)
        keys = [key for key, due in self._due.items() if due <= self._clock.passed]
        for key in keys:
            del self._due[key]
        self._running.update(keys)
        return keys

    def __len__(self) -> int:
        """How many keys are due within the horizon."""
        return len(self._due)

    def done(self, key: Key) -> None:
        """The pass is over."""
        self._running.discard(key)


class DryRun:
    """Runs the passes over what the queue has."""

    def __init__(
        self,
        queue: DryRunQueue,
        controllers: Mapping[Kind, Controller],
        note: Callable[[Key, Outcome], None],
        workers: int,
    ) -> None:
        """`note` is told of the end of every pass."""
        self._queue = queue
        self._controllers = controllers
        self._note = note
        self._slots = asyncio.Semaphore(workers)
        self._passes: Counter[Key] = Counter()

    async def run(self) -> None:
        """Run passes until none is due within the horizon."""
        while keys := self._queue.take():
            await asyncio.gather(*map(self._pass, keys))

    async def _pass(self, key: Key) -> None:
        async with self._slots:
            try:
                controller = self._controllers[key.kind]
                entry = controller.store.find(key)
                if entry is None or self._passes[key] >= MAX_PASSES:
                    return
                self._passes[key] += 1
                CURRENT.set(key)
                began = entry.body
                outcome = await controller.reconcile(began, entry.first_seen)
                self._note(key, outcome)
                controller.settle(key, began)
                self._schedule(key, outcome)
            finally:
                self._queue.done(key)

    def _schedule(self, key: Key, outcome: Outcome) -> None:
        """Ask for the next pass; what failed isn't tried again."""
        if outcome.retry and not has_failed(outcome):
            self._queue.add_after(key, outcome.retry.delay or 0.0)
