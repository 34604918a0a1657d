"""Ends a process that was stopped in the middle of a write, before it resumes it."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterator

EXIT_CODE = int(signal.SIGALRM)
log = structlog.get_logger()


class Tripwire:
    """A kernel timer for everything that must be done by a deadline.

    A process that stands still (SIGSTOP, a frozen container, a suspended machine) can't look at a clock; but an alarm
    that became due meanwhile comes before anything else that its thread does when it goes on. The process ends with
    `EXIT_CODE`, and without a word: Python would run a handler of its own later, and send first. Where there is no such
    alarm, the log says so, and the process runs without.
    """

    def __init__(self) -> None:
        """Take SIGALRM; to be called by the main thread, which then is the one that is watched."""
        self._deadlines: list[float] = []
        self._timer: _Timer | None = None
        try:
            self._timer = _Timer()
        except (OSError, AttributeError) as error:  # not Linux, an old libc, or a seccomp profile
            log.warning("a process that is stopped in the middle of a write can't be ended in time", error=str(error))

    @contextmanager
    def until(self, deadline: float) -> Iterator[None]:
        """End the process unless this block ends by `deadline` (`boottime`)."""
        self._deadlines.append(deadline)
        self._set()
        try:
            yield
        finally:
            self._deadlines.remove(deadline)
            self._set()

    @property
    def due(self) -> float | None:
        """The earliest deadline (`boottime`); None if there is none."""
        return min(self._deadlines, default=None)

    def _set(self) -> None:
        if self._timer:
            self._timer.set(self.due)


class _Timer:
    """A timer of POSIX that ends the process, by a signal to the thread that made it; see timer_create(2).

    Python has only setitimer(2), whose signal any thread may take. A main thread that goes on after a stop is then
    free to run while another one is about to take it.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._id = ctypes.c_void_p()
        event = _SignalEvent(signo=signal.SIGALRM, notify=_SIGEV_THREAD_ID, thread_id=threading.get_native_id())
        self._call("timer_create", _CLOCK_BOOTTIME, ctypes.byref(event), ctypes.byref(self._id))
        # A handler, since the first process of a container gets no signal without one. It is _exit(2) itself, so the
        # exit code is the signal's number.
        handler = ctypes.cast(self._libc._exit, ctypes.c_void_p)  # noqa: SLF001 - its name in C
        self._libc.signal.restype = ctypes.c_void_p
        self._libc.signal(ctypes.c_int(signal.SIGALRM), handler)

    def set(self, moment: float | None) -> None:
        """Arm the timer for an instant of `boottime`, at once if that is past; None disarms it."""
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
