"""The fence that every write passes: only the leading process may write, with enough of its Lease left."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

from maskinporten_operator.adapters.clock import boottime
from maskinporten_operator.adapters.tripwire import Tripwire
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import StandbyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIN_TIME_LEFT = 3.0
"""Seconds for which this process must surely lead when a write begins."""
GRACE = 2.0
"""Seconds past its time after which a process that is still about to write ends.

More than the clients take to give a request up, less than the 5 s for which nobody leads then (`runtime.elector`).
"""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Fence:
    """Lets writes pass while this process leads; reads always pass."""

    def __init__(self, time_left: Callable[[], float] | None = None) -> None:
        """`time_left` gives the seconds for which this process surely leads; None if there is no leader election.

        With it, to be called by the main thread.
        """
        self._time_left = time_left or (lambda: math.inf)
        self._tripwire = Tripwire() if time_left else None
        self._closed = False

    def close(self) -> None:
        """Let no more writes pass."""
        self._closed = True

    def check(self, method: str) -> float:
        """Give the seconds within which a request must have ended.

        Raises:
            StandbyError: It is a write, and this process doesn't surely lead for long enough.
        """
        if method in SAFE_METHODS:
            return math.inf
        left = -math.inf if self._closed else self._time_left()
        if left < MIN_TIME_LEFT:
            raise StandbyError(Reason.CLUSTER_UNAVAILABLE, "Another replica may lead by now: nothing is written")
        return left

    @contextmanager
    def hold(self, method: str) -> Iterator[float]:
        """Check as `check` does, and let nothing be sent within this block when the time is over.

        A process that was stopped after the check doesn't go on.

        Raises:
            StandbyError: As `check` does.
        """
        moment = boottime()  # before the check: a stop right after it counts too
        left = self.check(method)
        if self._tripwire is None or left == math.inf:
            yield left
            return
        with self._tripwire.until(moment + left + GRACE):
            yield left


OPEN = Fence()
