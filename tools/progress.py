"""One running line that says what is being waited for, and since when."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

SECONDS_BETWEEN_LINES = 30.0
CLEAR_LINE = "\r\x1b[2K"


def elapsed(seconds: float) -> str:
    """Minutes and seconds, as a clock shows them."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"


class Progress:
    """A line rewritten in place on a terminal; elsewhere one line per step and half minute."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._started = time.monotonic()
        self._text = ""
        self._next_line = 0.0
        self._writing = threading.Lock()

    def step(self, text: str) -> None:
        """Say what is going on from now on."""
        if text != self._text:
            self._text = text
            self._next_line = 0.0
        self.tick()

    def tick(self) -> None:
        """Show that it still goes on."""
        if not self._text:
            return
        with self._writing:
            now = time.monotonic()
            line = f"{self._text} … {elapsed(now - self._started)}"
            if self._terminal:
                self._stream.write(CLEAR_LINE + line)
            elif now >= self._next_line:
                self._next_line = now + SECONDS_BETWEEN_LINES
                self._stream.write(line + "\n")
            self._stream.flush()

    def clear(self) -> None:
        """Give the line back to whoever writes next."""
        if self._terminal and self._text:
            self._stream.write(CLEAR_LINE)
            self._stream.flush()


@contextmanager
def progress() -> Iterator[Progress]:
    """A line that runs on by itself during the block, and is cleared however that ends."""
    line = Progress()
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(timeout=1):
            line.tick()

    clock = threading.Thread(target=run, daemon=True)
    clock.start()
    try:
        yield line
    finally:
        ended.set()
        clock.join()
        line.clear()
