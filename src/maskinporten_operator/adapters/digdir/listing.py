"""A list that is shared by all who wait for it, and read at most once a second."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from maskinporten_operator.model.errors import RejectedError, TransientError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MIN_LIST_INTERVAL = 1.0
T = TypeVar("T")


class SharedListing(Generic[T]):
    """Reads a list anew for whoever needs one that was started after an instant."""

    def __init__(
        self,
        read: Callable[[], Awaitable[T]],
        take: Callable[[T, float], None],
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`read` reads the list; `take` takes in what it gave, and when it was started (monotonic seconds)."""
        self._read = read
        self._take = take
        self._monotonic = monotonic
        self._sleep = sleep
        self.created = self.alone_since = monotonic()
        self._listed = -float("inf")  # when the newest list was started
        self._tried = -float("inf")  # when the newest attempt at one was
        self._listing: asyncio.Task[None] | None = None

    def begin(self, alone_since: float) -> None:
        """Begin anew as the leader: another process may have written until `alone_since` (monotonic seconds)."""
        self.created, self.alone_since = self._monotonic(), alone_since
        self._listed = -float("inf")

    @property
    def is_listed(self) -> bool:
        """Whether a list has been read since the start of the process."""
        return self._listed >= self.created - 1

    async def ready(self) -> None:
        """Return when a list has been read since the start of the process.

        Raises:
            OperatorError: The list failed.
        """
        await self.listed_after(self.created - 1)

    async def listed_after(self, instant: float) -> None:
        """Return when a list that was started after `instant` has been read: one for all that wait.

        Raises:
            OperatorError: The list failed.
        """
        while self._listed <= instant:
            if self._listing is None or self._listing.done():
                self._listing = asyncio.create_task(self._list())
            # One that waits and is cancelled must not take the list from the others.
            await asyncio.shield(self._listing)

    async def refresh(self) -> None:
        """Read a new list.

        Raises:
            OperatorError: The list failed.
        """
        await self.listed_after(self._monotonic())

    async def _list(self) -> None:
        wait = self._tried + MIN_LIST_INTERVAL - self._monotonic()
        if wait > 0:
            await self._sleep(wait)
        started = self._tried = self._monotonic()
        try:
            listed = await self._read()
        except RejectedError as error:  # it isn't about any resource, and may pass without one being edited
            raise TransientError(error.reason, str(error)) from None
        self._take(listed, started)
        self._listed = started
