"""How long to wait before a pass is tried again."""

from __future__ import annotations

FIRST_DELAY = 1.0
MAX_DELAY = 20.0
"""Seconds, as long as few fail. With the jitter, what waits for an outage's end goes on within half a minute."""
MAX_RETRIES_PER_SECOND = 20
"""Of all that fail together: a thousand that always fail must not cost those that don't their turn."""
JITTER = 0.25


def backoff(failures: int, chance: float, failing: int = 1) -> float:
    """Give the delay in seconds after `failures` (≥ 1) in a row, while `failing` resources wait for another attempt.

    `chance`, 0 to 1, spreads it by a quarter each way.
    """
    longest = max(MAX_DELAY, failing / MAX_RETRIES_PER_SECOND)
    delay: float = min(FIRST_DELAY * 2.0 ** min(failures - 1, 16), longest)
    return delay * (1 + JITTER * (2 * chance - 1))
