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


class SystemRandomness:
    """The operating system's source of chance."""

    def hex(self, digits: int) -> str:
        """Give random hexadecimal digits."""
        return secrets.token_hex((digits + 1) // 2)[:digits]
