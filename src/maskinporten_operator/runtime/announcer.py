"""Events for people, posted behind the passes: news is worth less than work, and is dropped before it delays any."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

import structlog

from maskinporten_operator.model.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maskinporten_operator.model.resources import ObjectMeta

    Post = Callable[[ObjectMeta, str, str, str], Awaitable[None]]

MOST_WAITING = 5000
LONGEST_COURTESY = 15.0
"""Seconds that an Event waits while passes run."""
log = structlog.get_logger()


class EventAnnouncer:
    """A bounded queue of Events and the one task that posts them."""

    def __init__(
        self,
        post: Post,
        is_busy: Callable[[], bool] = lambda: False,
        count_dropped: Callable[[], None] = lambda: None,
    ) -> None:
        """`count_dropped` is told of each Event that is given up."""
        self._post = post
        self._is_busy = is_busy
        self._waiting: asyncio.Queue[tuple[ObjectMeta, str, str, str]] = asyncio.Queue(MOST_WAITING)
        self._count_dropped = count_dropped

    def announce(self, meta: ObjectMeta, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Tell of something that happened to a resource; neither waits nor fails."""
        try:
            self._waiting.put_nowait((meta, kind, reason, message))
        except asyncio.QueueFull:
            self._count_dropped()

    async def run(self) -> None:
        """Post what is announced until cancelled."""
        while True:
            events = [await self._waiting.get()]
            await self._let_work_go_first()
            while not self._waiting.empty():
                events.append(self._waiting.get_nowait())
            for event in events:
                try:
                    await self._post(*event)
                except OperatorError as error:
                    self._count_dropped()
                    log.debug("event not posted", reason=str(error.reason), message=str(error))

    async def _let_work_go_first(self) -> None:
        waited = 0.0
        while self._is_busy() and waited < LONGEST_COURTESY:
            await asyncio.sleep(0.1)
            waited += 0.1
