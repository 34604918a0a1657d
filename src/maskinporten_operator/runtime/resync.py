"""The resync: a periodic comparison of everything with DigDir and the API server."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import structlog

from maskinporten_operator.model.errors import OperatorError
from maskinporten_operator.runtime.queue import Priority, WorkQueue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from maskinporten_operator.model.resources import Kind
    from maskinporten_operator.runtime.store import WatchedResourceStore

JITTER = 0.1
SPREAD = 0.1
"""The part of an interval over which a resync's passes are spread, with the calls that they make."""
RETRY_SECONDS = 10.0
AFTER_GAP = 2.0
"""Seconds between a watch's new list and the look at what vanished meanwhile, so that one look serves a whole list."""
log = structlog.get_logger()


class Resync:
    """Finds remote drift, and resources that vanished in a gap of the watch."""

    def __init__(
        self,
        interval: float,
        stores: Sequence[WatchedResourceStore],
        queue: WorkQueue,
        list_uids: Callable[[Kind], Awaitable[Iterable[str]]],
        refresh: Callable[[], Awaitable[None]],
        compare_secrets: Callable[[], Awaitable[None]],
    ) -> None:
        """`list_uids` lists the uids of a kind's resources at the API server; `refresh` reads DigDir's list anew.

        `compare_secrets` compares the versions of Secrets with those at the API server: passes don't read what hasn't
        moved.
        """
        self._interval = interval
        self._stores = stores
        self._queue = queue
        self._list_uids = list_uids
        self._refresh = refresh
        self._compare_secrets = compare_secrets
        self._gap = asyncio.Event()

    def note_gap(self) -> None:
        """The watch was interrupted: deletions may have been missed."""
        self._gap.set()

    async def run(self, leading: asyncio.Event | None = None) -> None:
        """Resync on schedule, and look for missed deletions after gaps, until cancelled.

        DigDir isn't asked for anything before `leading` is set.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_schedule(leading))
            group.create_task(self._watch_gaps())

    async def _run_schedule(self, leading: asyncio.Event | None) -> None:
        if leading:
            await leading.wait()
        while not await self._attempt("first list", self._refresh):
            await asyncio.sleep(RETRY_SECONDS)
        while True:
            await asyncio.sleep(self._interval * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - spreads load
            while not await self._attempt("resync", self._resync):
                await asyncio.sleep(RETRY_SECONDS)

    async def _watch_gaps(self) -> None:
        while True:
            await self._gap.wait()
            await asyncio.sleep(AFTER_GAP)
            self._gap.clear()
            while not await self._attempt("look for missed deletions", self._drop_missing):
                await asyncio.sleep(RETRY_SECONDS)

    async def _attempt(self, what: str, act: Callable[[], Awaitable[None]]) -> bool:
        try:
            await act()
        except OperatorError as error:
            log.warning("failed", what=what, reason=str(error.reason), message=str(error))
            return False
        return True

    async def _resync(self) -> None:
        await self._drop_missing()
        await self._compare_secrets()
        await self._refresh()
        for store in self._stores:
            for key in store:
                delay = random.uniform(0, SPREAD * self._interval)  # noqa: S311 - as above
                self._queue.add_after(key, delay, Priority.RESYNC)
        log.info("resync", resources=sum(len(store) for store in self._stores))

    async def _drop_missing(self) -> None:
        for store in self._stores:
            before = _uids(store)
            listed = set(await self._list_uids(store.kind))
            gone = store.keep_only(listed | (_uids(store) - before))  # what came while listing isn't missing
            if gone:
                log.info("resources vanished while nobody watched", resources=[str(key) for key in gone])


def _uids(store: WatchedResourceStore) -> set[str]:
    return {entry.uid for key in store if (entry := store.find(key))}
