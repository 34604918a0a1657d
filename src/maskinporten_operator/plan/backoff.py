"""How long to wait before a pass is tried again."""

from __future__ import annotations

FIRST_DELAY = 1.0
MAX_DELAY = 20.0
"""Seconds. With the jitter, what waits for an outage's end goes on within half a minute."""
JITTER = 0.25


def backoff(failures: int, chance: float) -> float:
    """Give the delay in seconds after `failures` (≥ 1) in a row; `chance`, 0 to 1, spreads it by a quarter each way."""
    delay: float = min(FIRST_DELAY * 2.0 ** min(failures - 1, 16), MAX_DELAY)
    return delay * (1 + JITTER * (2 * chance - 1))
