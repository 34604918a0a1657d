"""The end of a process that was stopped in the middle of a write, before it goes on with it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

TOLD = b'{"event": "it stood still in the middle of a write until another may lead, and ends", "level": "error"}\n'


class Tripwire:
    """An alarm of the kernel's over everything that must be done by a moment.

    A process that stands still (SIGSTOP, a container that is frozen, a debugger) can't look at a clock; but an alarm
    that became due meanwhile comes before anything else that it does when it goes on. Only the time in which the
    machine itself is suspended isn't counted, as ITIMER_REAL doesn't.
    """

    def __init__(self) -> None:
        """Take SIGALRM; to be called by the main thread."""
        self._deadlines: list[float] = []
        signal.signal(signal.SIGALRM, _end)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """End the process, unless what is done here is done within so many seconds."""
        deadline = time.monotonic() + seconds
        self._deadlines.append(deadline)
        self._set()
        try:
            yield
        finally:
            self._deadlines.remove(deadline)
            self._set()

    def _set(self) -> None:
        left = max(min(self._deadlines) - time.monotonic(), 1e-6) if self._deadlines else 0.0  # 0 takes the alarm away
        signal.setitimer(signal.ITIMER_REAL, left)


def _end(_: int, __: FrameType | None) -> None:
    os.write(2, TOLD)
    os._exit(1)
