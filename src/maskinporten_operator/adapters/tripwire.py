"""The end of a process that was stopped in the middle of a write, before it goes on with it."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from maskinporten_operator.adapters.clock import boottime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

TOLD = b'{"event": "it stood still in the middle of a write until another may lead, and ends", "level": "error"}\n'
log = structlog.get_logger()


class Tripwire:
    """An alarm of the kernel's over everything that must be done by a moment.

    A process that stands still (SIGSTOP, a frozen container, a suspended machine) can't look at a clock; but an alarm
    that became due meanwhile comes before anything else that its thread does when it goes on. Where there is no such
    alarm, the log says so, and the process runs without.
    """

    def __init__(self) -> None:
        """Take SIGALRM; to be called by the main thread, which then is the one that is watched."""
        self._deadlines: list[float] = []
        self._timer: _Timer | None = None
        signal.signal(signal.SIGALRM, _end)
        try:
            self._timer = _Timer(signal.SIGALRM)
        except (OSError, AttributeError) as error:  # not Linux, an old libc, or a seccomp profile
            log.warning("a process that is stopped in the middle of a write can't be ended in time", error=str(error))

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """End the process, unless what is done here is done within so many seconds."""
        deadline = boottime() + seconds
        self._deadlines.append(deadline)
        self._set()
        try:
            yield
        finally:
            self._deadlines.remove(deadline)
            self._set()

    @property
    def due(self) -> float | None:
        """When the process ends if nothing is done by then, as `boottime` counts; None if nothing must be done."""
        return min(self._deadlines, default=None)

    def _set(self) -> None:
        if self._timer:
            self._timer.set(self.due)


def _end(_: int, __: FrameType | None) -> None:
    os.write(2, TOLD)
    os._exit(1)


class _Timer:
    """A timer of POSIX that gives a signal to the thread that made it, see timer_create(2).

    Python has only setitimer(2), whose signal any thread may take. A main thread that goes on after a stop is then
    free to run while another one is about to take it.
    """

    def __init__(self, number: signal.Signals) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._id = ctypes.c_void_p()
        event = _SignalEvent(signo=number, notify=_SIGEV_THREAD_ID, thread_id=threading.get_native_id())
        self._call("timer_create", _CLOCK_BOOTTIME, ctypes.byref(event), ctypes.byref(self._id))

    def set(self, moment: float | None) -> None:
        """Let it strike at a moment, as `boottime` counts, or not at all; at once if that is past."""
        seconds, rest = divmod(max(moment, 1e-9), 1) if moment is not None else (0, 0)  # 0 takes it back
        setting = _TimerSetting(value=_TimeSpec(int(seconds), int(rest * 1e9)))
        self._call("timer_settime", self._id, _TIMER_ABSTIME, ctypes.byref(setting), None)

    def _call(self, name: str, *arguments: object) -> None:
        if getattr(self._libc, name)(*arguments):
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")


_CLOCK_BOOTTIME = 7
_SIGEV_THREAD_ID = 4
_TIMER_ABSTIME = 1


class _SignalEvent(ctypes.Structure):
    """`struct sigevent` of Linux, which has 64 bytes."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("thread_id", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSetting(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))
