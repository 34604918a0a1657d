"""Kubernetes Events, posted after the passes' own calls, and dropped if too many wait."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import structlog

from maskinporten_operator.model.errors import OperatorError
from maskinporten_operator.model.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maskinporten_operator.model.resources import ObjectMeta

    Post = Callable[[ObjectMeta, str, str, str], Awaitable[None]]

MAX_WAITING = 5000
MAX_POST_DELAY = 15.0
log = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False)
class _Event:
    meta: ObjectMeta
    kind: str
    reason: str
    message: str


class EventAnnouncer:
    """A bounded queue of Events, round-robin by namespace, and the task that posts them."""

    def __init__(
        self,
        post: Post,
        is_busy: Callable[[], bool] = lambda: False,
        count_dropped: Callable[[], None] = lambda: None,
    ) -> None:
        """`count_dropped` is called for each Event that is dropped."""
        self._post = post
        self._is_busy = is_busy
        self._waiting: Turns[_Event] = Turns()
        self._news = asyncio.Event()
        self._count_dropped = count_dropped

    def announce(self, meta: ObjectMeta, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Queue an Event about a resource; neither waits nor fails.

        When too many wait, the newest of the namespace with the most is dropped.
        """
        self._waiting.add(meta.namespace, _Event(meta, kind, reason, message))
        if len(self._waiting) > MAX_WAITING:
            self._waiting.drop_newest(max(self._waiting, key=self._waiting.count))
            self._count_dropped()
        self._news.set()

    async def run(self) -> None:
        """Post what is announced until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self._let_work_go_first()
            while self._waiting:
                event = self._waiting.take()
                try:
                    await self._post(event.meta, event.kind, event.reason, event.message)
                except OperatorError as error:
                    self._count_dropped()
                    log.debug("event not posted", reason=str(error.reason), message=str(error))

    async def _let_work_go_first(self) -> None:
        waited = 0.0
        while self._is_busy() and waited < MAX_POST_DELAY:
            await asyncio.sleep(0.1)
            waited += 0.1
