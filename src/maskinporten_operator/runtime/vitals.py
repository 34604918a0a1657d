"""Signs of life, by which /livez goes: of what should give one again and again, and of what may be stuck."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SILENCE = 50.0
"""Seconds without a sign after which a part counts as dead.

A watch asks the API server for more, or tries to, more often than that, whether or not the server answers.
"""


class Vitals:
    """When each part last gave a sign. Signs may come from any thread."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._signs: dict[str, float] = {}
        self._checks: list[Callable[[], str | None]] = []

    def expect(self, part: str) -> None:
        """Expect signs of a part from now on."""
        self._signs[part] = self._monotonic()

    def note(self, part: str) -> None:
        """Take a sign of one part."""
        if part in self._signs:
            self._signs[part] = self._monotonic()

    def note_request(self, path: str, watched: frozenset[str]) -> None:
        """Take a request as a sign: of the watch that it is for, or of all `watched` that are still being prepared."""
        for part in {path} & watched or watched:
            self.note(part)

    def add_check(self, check: Callable[[], str | None]) -> None:
        """Ask this too: what is wrong, or None."""
        self._checks.append(check)

    def find_faults(self) -> list[str]:
        """Say what only a restart mends."""
        now = self._monotonic()
        silent = [
            f"no sign of {part} for {now - seen:.0f} s"
            for part, seen in tuple(self._signs.items())
            if now - seen > SILENCE
        ]
        return silent + [fault for check in self._checks if (fault := check())]
