"""When this process may work: always without leader election, else while it holds the Lease."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskinporten_operator.runtime.elector import Elector

RELEASE_SECONDS = 2.0
log = structlog.get_logger()


class Leadership:
    """Whether this process works, stands by, or lacks something to do either.

    Attributes:
        begun: Set when the process begins to work.
    """

    def __init__(
        self,
        elector: Elector | None,
        list_lag: float,
        monotonic: Callable[[], float],
        take_over: Callable[[float, float], None],
    ) -> None:
        """Work at once if there is no `elector`.

        `take_over` is called when the Lease has been acquired, with when other processes stopped writing, and when
        DigDir's lists have what they wrote, `list_lag` seconds later; both in monotonic seconds.
        """
        self.begun = asyncio.Event()
        self._elector = elector
        self._list_lag = list_lag
        self._monotonic = monotonic
        self._take_over = take_over

    @property
    def may_work(self) -> bool:
        """Whether this process surely leads, or there is no leader election."""
        return self._elector is None or self._elector.time_left() > 0

    async def acquire(self) -> None:
        """Return when this process may begin to work."""
        if self._elector:
            await self._elector.leading.wait()
            self._take_over(self._elector.alone_since, self._find_provable_at(self._elector))
        self.begun.set()

    def find_missing(self) -> list[str]:
        """Name what this process lacks to stand by, or to work without new resources waiting for it."""
        if self._elector is None:
            return []
        if not self.begun.is_set():
            return [] if self._elector.stands_by else ["the Lease"]
        # One that takes over from another was ready before, and stays so.
        if self._elector.made_lease and self._monotonic() < self._find_provable_at(self._elector):
            return ["LIST_LAG to pass, before which no list proves that a resource has no client"]
        return []

    async def release(self) -> None:
        """Release the Lease, so that another process needn't wait until it expires."""
        if self._elector is None:
            return
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self._elector.release()
        except TimeoutError:
            log.warning("the Lease couldn't be released in time and expires instead")

    def _find_provable_at(self, elector: Elector) -> float:
        return elector.alone_since + self._list_lag
