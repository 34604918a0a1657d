"""An operator that does to itself, on a signal, what only a restart mends.

As a program, `python -m tools.sabotage …` is `maskinporten-operator …`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

from maskinporten_operator.cli import main
from tools.stack import Operator

if TYPE_CHECKING:
    from types import FrameType

LONG = 1000.0
"""Seconds; longer than anybody waits for a sign of life."""
FAULTS = {
    "a stuck loop": signal.SIGUSR1,
    "a dead watch": signal.SIGUSR2,
    "a stuck queue": signal.SIGHUP,
}


class SabotagedOperator(Operator):
    """One that runs until a fault is asked for."""

    program = (sys.executable, "-m", "tools.sabotage")

    def strike(self, fault: str) -> None:
        """Let one of `FAULTS` happen."""
        os.kill(self.popen.pid, FAULTS[fault])


def _stick_loop(_: int, __: FrameType | None) -> None:
    time.sleep(LONG)


def _kill_watch(_: int, __: FrameType | None) -> None:
    """Block the loop in which kopf watches, a thread's of its own."""
    main = threading.main_thread().ident
    loops = [one for one in gc.get_objects() if isinstance(one, asyncio.BaseEventLoop) and one.is_running()]
    (other,) = [one for one in loops if one._thread_id != main]  # type: ignore[attr-defined] # noqa: SLF001
    other.call_soon_threadsafe(time.sleep, LONG)


def _stick_queue(_: int, __: FrameType | None) -> None:
    """Let no pass come to an end."""
    from maskinporten_operator.runtime.workers import Workers  # noqa: PLC0415 - heavy, and not for workers that mint

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    Workers._pass = hang  # type: ignore[assignment] # noqa: SLF001


if __name__ == "__main__":
    for number, strike in zip(FAULTS.values(), (_stick_loop, _kill_watch, _stick_queue), strict=True):
        signal.signal(number, strike)
    main()
