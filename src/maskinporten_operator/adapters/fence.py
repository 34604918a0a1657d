"""What every write passes: only the process that leads may write, and only with time to spare."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import StandbyError

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST_TO_SPARE = 3.0
"""Seconds for which this process must surely lead when a write begins."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Fence:
    """Lets writes through while this process leads; a read needs no leave."""

    def __init__(self, time_left: Callable[[], float] = lambda: math.inf) -> None:
        """`time_left` gives the seconds for which this process surely leads."""
        self._time_left = time_left
        self._closed = False

    def close(self) -> None:
        """Let no write through any more."""
        self._closed = True

    def check(self, method: str) -> float:
        """Give the seconds within which a request must have ended.

        Raises:
            StandbyError: It is a write, and this process doesn't surely lead for long enough.
        """
        if method in SAFE_METHODS:
            return math.inf
        left = -math.inf if self._closed else self._time_left()
        if left < LEAST_TO_SPARE:
            raise StandbyError(Reason.CLUSTER_UNAVAILABLE, "Another replica may lead by now: nothing is written")
        return left


OPEN = Fence()
"""For a process that nobody contends with."""
