"""Graceful shutdown on a signal, with a hard time limit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

SHUTDOWN_SECONDS = 9.5
FORCED_END_LINE = b'{"event": "it did not end in time and is ended by force", "level": "error"}\n'


def end_on_signals(stopping: asyncio.Event) -> None:
    """Set `stopping` on SIGTERM and Ctrl-C, and end the process by force if it hasn't ended soon after.

    Not by the loop's own handlers: where the loop is stuck these would never run.
    """
    loop = asyncio.get_running_loop()

    def begin(_: int, __: FrameType | None) -> None:
        limit_end()
        with contextlib.suppress(RuntimeError):  # the loop ended before
            loop.call_soon_threadsafe(stopping.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, begin)


def limit_end() -> None:
    """End the process by force if it hasn't ended soon; its worker processes end with it."""
    timer = threading.Timer(SHUTDOWN_SECONDS, _end)
    timer.daemon = True
    timer.start()


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _end() -> None:
    try:
        os.write(2, FORCED_END_LINE)  # not by the log: whoever hangs may hold its lock
    finally:
        os._exit(1)
