"""Time that passes when it is told to."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

TICK = 1e-6
"""Seconds between two looks at the clock: what is asked for after an instant comes after it."""


@dataclass(slots=True)
class VirtualClock:
    """A `Clock` that begins now."""

    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    passed: float = 0.0

    def now(self) -> datetime:
        """Give the time, UTC."""
        return self.began + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        """Give seconds that only go forward; no two looks give the same."""
        self.passed += TICK
        return self.passed

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.passed += max(seconds, 0.0)
