"""State of the parts for /livez and /readyz: when each last gave a sign of life, and whether each watch works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SILENCE = 50.0
"""Seconds without a sign after which a part counts as dead.

A watch asks the API server for more, or tries to, more often than that, whether or not the server answers.
"""
log = structlog.get_logger()


class WatchSigns:
    """The signs of life of one watch; may be called from any thread.

    Attributes:
        name: What the log and the endpoints call it.
        seen: When it last gave a sign of life (monotonic seconds).
        works: Whether it has listed everything and would receive a change now.
    """

    def __init__(self, name: str, monotonic: Callable[[], float]) -> None:
        self.name = name
        self._monotonic = monotonic
        self.seen = monotonic()
        self.works = False

    def note(self) -> None:
        """It sends a request, or received something."""
        self.seen = self._monotonic()

    def begin(self) -> None:
        """It has listed everything, and receives changes from now on."""
        self.works = True

    def fail(self) -> None:
        """It wasn't answered, or not as it should be."""
        self.works = False


class Vitals:
    """The parts that must give signs of life, and further health checks."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._parts: list[WatchSigns] = []
        self._checks: list[Callable[[], str | None]] = []

    def expect(self, name: str) -> WatchSigns:
        """Expect signs of life of a part from now on, given by means of the result."""
        part = WatchSigns(name, self._monotonic)
        self._parts.append(part)
        return part

    def expect_paths(self, paths: Iterable[str]) -> SessionSigns:
        """Expect signs of watches that are known by the paths that they ask for."""
        return SessionSigns({path: self.expect(path) for path in paths})

    def add_check(self, check: Callable[[], str | None]) -> None:
        """Add a check that gives what is wrong, or None."""
        self._checks.append(check)

    def find_faults(self) -> list[str]:
        """Say what only a restart fixes."""
        now = self._monotonic()
        silent = [
            f"no sign of {part.name} for {now - part.seen:.0f} s"
            for part in tuple(self._parts)
            if now - part.seen > SILENCE
        ]
        return silent + [fault for check in self._checks if (fault := check())]

    def find_idle(self) -> list[str]:
        """Name the watches that don't work, or not yet."""
        return [part.name for part in tuple(self._parts) if not part.works]


class SessionSigns:
    """The signs of life of watches that share a session, by the paths of its requests."""

    def __init__(self, parts: dict[str, WatchSigns]) -> None:
        self._parts = parts

    def on_request(self, path: str) -> None:
        """A sign of life of the watch of this path; of all, if the path is none of theirs."""
        part = self._parts.get(path)
        for one in [part] if part else self._parts.values():
            one.note()

    def on_watch(self, path: str) -> None:
        """A watch was opened, which follows a list."""
        if part := self._parts.get(path):
            part.begin()

    def on_failure(self, path: str, why: str | None) -> None:
        """A request wasn't answered, or not as it should be; without a reason, it was given up."""
        if why:
            log.warning("watch failed", path=path, message=why)
        if part := self._parts.get(path):
            part.fail()

    def on_end(self) -> None:
        """None of them is left."""
        for part in self._parts.values():
            part.fail()
