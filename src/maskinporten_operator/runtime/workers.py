"""Workers: a bounded number of passes at once."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from maskinporten_operator.runtime.queue import Key, Priority, WorkQueue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from maskinporten_operator.model.resources import Kind
    from maskinporten_operator.plan.outcomes import Outcome
    from maskinporten_operator.reconcile.ports import FirstSeen
    from maskinporten_operator.runtime.metrics import Metrics
    from maskinporten_operator.runtime.store import WatchedResourceStore

    Reconcile = Callable[[Mapping[str, Any], FirstSeen], Awaitable[Outcome]]


STUCK = 50.0
"""Seconds for which keys wait and nothing gets on; longer than any one call may take."""


class Run:
    """A pass under way: when it began, and its last sign of life (monotonic seconds)."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.began = self.alive_at = monotonic()

    def mark_alive(self) -> None:
        """A call of the pass ended."""
        self.alive_at = self._monotonic()


_RUN: ContextVar[Run | None] = ContextVar("run", default=None)


def mark_alive() -> None:
    """A call ended: if a pass made it, that pass isn't stuck."""
    if run := _RUN.get():
        run.mark_alive()


@dataclass(frozen=True, slots=True)
class Controller:
    """What the workers need to work on one kind.

    Attributes:
        settle: Called at the end of each pass with what it began on; queues the passes that follow.
    """

    store: WatchedResourceStore
    reconcile: Reconcile
    settle: Callable[[Key, Mapping[str, Any]], None]


class Workers:
    """Takes keys off the queue, runs passes, and puts keys back for what comes next."""

    def __init__(
        self,
        count: int,
        queue: WorkQueue,
        controllers: Mapping[Kind, Controller],
        metrics: Metrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count = count
        self._queue = queue
        self._controllers = controllers
        self._metrics = metrics
        self._monotonic = monotonic
        self._runs: set[Run] = set()
        self._last_taken = monotonic()

    async def run(self) -> None:
        """Work until cancelled."""
        self._last_taken = self._monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._work(), name=f"worker-{number}")

    async def drain(self, within: float) -> None:
        """Start nothing more, and wait up to `within` seconds for what runs."""
        self._queue.close()
        deadline = asyncio.get_running_loop().time() + within
        while self._queue.running and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)

    @property
    def longest_run(self) -> float:
        """How many seconds the pass takes so far that began first; 0 if there is none."""
        return self._monotonic() - min(run.began for run in self._runs) if self._runs else 0.0

    @property
    def count(self) -> int:
        """How many passes may be under way at once."""
        return self._count

    @property
    def active(self) -> int:
        """How many passes are under way."""
        return len(self._runs)

    def check_stuck(self) -> str | None:
        """Say so if keys wait for workers, and no pass gave a sign of life for `STUCK` seconds."""
        latest = max([self._last_taken, *(run.alive_at for run in self._runs)])
        idle = min(self._monotonic() - latest, self._queue.longest_wait)
        return f"the queue is stuck for {idle:.0f} s" if idle > STUCK else None

    @contextmanager
    def _note_run(self) -> Iterator[None]:
        run = Run(self._monotonic)
        self._last_taken = run.began
        self._runs.add(run)
        token = _RUN.set(run)
        try:
            yield
        finally:
            _RUN.reset(token)
            self._runs.discard(run)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                with self._note_run():
                    await self._pass(key)
            finally:
                self._queue.done(key)

    async def _pass(self, key: Key) -> None:
        controller = self._controllers[key.kind]
        entry = controller.store.find(key)
        if entry is None:
            self._queue.forget(key)
            return
        began = entry.body
        with (
            structlog.contextvars.bound_contextvars(kind=key.kind.name, namespace=key.namespace, name=key.name),
            self._metrics.time_pass(key.kind),
        ):
            outcome = await controller.reconcile(began, entry.first_seen)
        self._metrics.count_pass(key.kind, outcome)
        if outcome.acted and controller.store.find(key):  # nothing is kept of what vanished during the pass
            self._queue.note_action(key)
        controller.settle(key, began)
        self._schedule(key, outcome)

    def _schedule(self, key: Key, outcome: Outcome) -> None:
        self._metrics.count_retry(key.kind, outcome)
        if outcome.retry is None:
            self._queue.clear_failures(key)
        elif outcome.retry.delay is None:
            self._queue.retry(key, at_once=outcome.retry.at_once)
        else:
            if not outcome.retry.failed:
                self._queue.clear_failures(key)
            priority = Priority.RESYNC if outcome.retry.patient else Priority.RETRY
            self._queue.add_after(key, outcome.retry.delay, priority)
