"""Faults of the operator itself or of where it runs: reported, and not retried indefinitely."""

from __future__ import annotations

import asyncio
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

STEADY = 30.0
"""Seconds after which what was started again counts as fixed."""
GIVE_UP_AFTER = 20.0
"""Seconds from the first of several faults in a row after which the next one is the last.

With `STEADY`, so little that what fails again and again from the start has ended the process within a minute.
"""
log = structlog.get_logger()


class FaultError(Exception):
    """The operator can't work, and a retry doesn't help: the process must end."""


def describe_fault(error: BaseException) -> str:
    """Say what happened, and where. The text of an arbitrary exception may quote what it worked on, such as a key."""
    cause = find_cause(error)
    where = ""
    for frame, line in traceback.walk_tb(cause.__traceback__):
        where = f" in {frame.f_code.co_name} ({Path(frame.f_code.co_filename).name}:{line})"
    return f"{type(cause).__name__}{where}"


def find_cause(error: BaseException) -> BaseException:
    """Find the exception that caused another one."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif error.__cause__:
            error = error.__cause__
        else:
            return error


def explain_fault(part: str, error: BaseException) -> FaultError:
    """Log where a fault is, and build the error that ends the process."""
    place = "".join(traceback.format_tb(find_cause(error).__traceback__))
    log.error("internal error", part=part, error=type(find_cause(error)).__name__, exception=place)
    return FaultError(
        f"{part} can't work ({describe_fault(error)}): this is a fault of the operator or of where it runs, and no "
        "outage of the API server; the log tells where"
    )


def log_unawaited(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log, as an event loop's exception handler, an error that nobody awaited, without its text."""
    if loop.is_closed():
        return  # why it ended is told already, and as the last line where the process ends with it
    error = context.get("exception")
    log.warning("a task's error was never waited for", error=describe_fault(error) if error else None)


class Restarts:
    """Restarts something whenever it ends by an exception, unless faults recur."""

    def __init__(self, part: str, is_outage: Callable[[BaseException], bool], delays: Iterable[float]) -> None:
        """`part` names it in messages; `is_outage` says what isn't a fault; `delays` is infinite."""
        self._part = part
        self._is_outage = is_outage
        self._delays = iter(delays)
        self._began = 0.0
        self._first_fault: float | None = None

    @property
    def is_unsteady(self) -> bool:
        """Whether it ended by a fault within the last `STEADY` seconds."""
        return self._first_fault is not None and asyncio.get_running_loop().time() - self._began < STEADY

    async def run(self, run: Callable[[], Awaitable[None]], on_end: Callable[[], Awaitable[None]]) -> None:
        """Run it until it ends by itself. `on_end` is called after each exception, and ends this by one of its own.

        Raises:
            FaultError: Faults recurred for `GIVE_UP_AFTER` seconds.
        """
        loop = asyncio.get_running_loop()
        while True:
            self._began = loop.time()
            try:
                await run()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told of, and counted
                await on_end()
                if loop.time() - self._began >= STEADY:
                    self._first_fault = None  # it was fixed meanwhile
                if not self._is_outage(error):
                    self._count(error, loop.time())
                log.warning("it ended and is started again", part=self._part, error=describe_fault(error))
                await asyncio.sleep(next(self._delays))
            else:
                return

    def _count(self, error: Exception, now: float) -> None:
        if self._first_fault is None:
            self._first_fault = now
        elif now - self._first_fault >= GIVE_UP_AFTER:
            raise explain_fault(self._part, error) from None
