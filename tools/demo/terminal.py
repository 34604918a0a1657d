"""What the demo prints: headings, and lines with the time since the start. Colours only for people at a terminal."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BOLD, DIM, GREEN, RED, CYAN = "1", "2", "32", "31", "36"


class UnexpectedError(Exception):
    """Something is not as the demo says it is."""

    def __init__(self, expected: str, seen: object) -> None:
        super().__init__(f"expected {expected}, saw {seen}")
        self.expected = expected
        self.seen = str(seen)


def expect(holds: object, expected: str, seen: object) -> None:
    """Go on if it holds.

    Raises:
        UnexpectedError: It doesn't.
    """
    if not holds:
        raise UnexpectedError(expected, seen)


class Terminal:
    """Writes the demo's lines."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Time starts now."""
        self._stream = stream or sys.stdout
        # https://no-color.org: any value that isn't empty
        self._colours = self._stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._started = time.monotonic()
        self._step = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def step(self, text: str) -> None:
        """Begin a step."""
        self._step += 1
        self._write(f"\n{self._paint(f'{self._step}. {text}', BOLD)}")

    def heading(self, text: str) -> None:
        """Begin a part without a number."""
        self._write(f"\n{self._paint(text, BOLD)}")

    def say(self, text: str) -> None:
        """Tell what happened, and when."""
        self._write(f"{self._time()}  {text}")

    def succeed(self, text: str) -> None:
        """Tell what was asserted."""
        self._write(f"{self._time()}  {self._paint('✓', GREEN)} {text}")

    def show(self, lines: Iterable[str]) -> None:
        """Show lines of a file or of another program."""
        for line in lines:
            self._write(f"           {self._paint(line, DIM)}")

    def tabulate(self, rows: Mapping[str, str]) -> None:
        """Show names and values."""
        width = max(map(len, rows), default=0)
        for name, value in rows.items():
            self._write(f"           {self._paint(f'{name:<{width}}', CYAN)}  {value}")

    def fail(self, text: str) -> None:
        """Tell what went wrong."""
        self._write(f"\n{self._paint('✗', RED)} {text}")

    def plain(self, text: str) -> None:
        """Write a line as it is."""
        self._write(text)

    def _time(self) -> str:
        return self._paint(f"{self.elapsed:7.2f} s", DIM)

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours else text

    def _write(self, line: str) -> None:
        print(line, file=self._stream, flush=True)
