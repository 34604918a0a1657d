"""Time and chance, as parameters for everything that needs them."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Give the wall-clock time, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Give seconds that only go forward."""
        return time.monotonic()


def boottime() -> float:
    """Give seconds that go forward while the machine is suspended too, where its system tells them."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class SystemRandomness:
    """The operating system's source of chance."""

    def hex(self, digits: int) -> str:
        """Give random hexadecimal digits."""
        return secrets.token_hex((digits + 1) // 2)[:digits]
