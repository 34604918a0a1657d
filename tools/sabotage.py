"""An operator that does to itself, on a signal or from the start, what only a restart fixes, or not even that.

As a program, `python -m tools.sabotage …` is `maskinporten-operator …`, and with a fault before it, that is there from
the start.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

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
    "a failing watch": signal.SIGWINCH,
    "a failing watch of Secrets": signal.SIGIO,
    "no new keys": signal.SIGURG,
}
SECRET = "eyJhbGciOiJSUzI1NiJ9"  # noqa: S105 - it must show up nowhere
"""What the exceptions of failing watches quote."""


class SabotagedOperator(Operator):
    """One that runs until a fault is asked for."""

    program = (sys.executable, "-m", "tools.sabotage")

    @classmethod
    def of(cls, fault: str) -> type[SabotagedOperator]:
        """Give the kind that has a fault from the start."""
        return type(cls.__name__, (cls,), {"program": (*cls.program, fault)})

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
    from maskinporten_operator.runtime.workers import Workers  # noqa: PLC0415 - heavy

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    Workers._pass = hang  # type: ignore[assignment] # noqa: SLF001


def _break_watch(_: int, __: FrameType | None) -> None:
    """Let kopf's watch end by an exception whenever it is opened, after a list that works."""
    from kopf._cogs.clients import watching  # noqa: PLC0415 - heavy

    watching.watch_objs = _fail


def _break_metadata_watch(_: int, __: FrameType | None) -> None:
    """Let our own watches end so."""
    from maskinporten_operator.adapters.cluster import watch  # noqa: PLC0415 - heavy

    watch._watch = _fail  # noqa: SLF001


def _stop_minting(_: int, __: FrameType | None) -> None:
    """Let no process be started that mints keys."""
    from maskinporten_operator.adapters import key_pool  # noqa: PLC0415 - heavy

    key_pool.PROGRAM = ("/nonexistent",)


def _fail(*_: object, **__: object) -> Any:
    raise KeyError(SECRET)


STRIKES = (_stick_loop, _kill_watch, _stick_queue, _break_watch, _break_metadata_watch, _stop_minting)


if __name__ == "__main__":
    strikes = dict(zip(FAULTS, STRIKES, strict=True))
    for fault, strike in strikes.items():
        signal.signal(FAULTS[fault], strike)
    if sys.argv[1] in FAULTS:
        strikes[sys.argv.pop(1)](0, None)
    main()
