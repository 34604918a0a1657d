"""An event loop whose clock stands still while something can run, and else jumps to what is due next."""

from __future__ import annotations

import asyncio
import selectors


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self, look=lambda: None):
        """`look` is called before each step and at each jump of the clock."""
        self.now = 0.0
        self._look = look
        super().__init__(_Selector(self))

    def time(self):
        return self.now

    def advance(self, seconds):
        self._look()
        self.now += seconds
        self._look()


class _Selector(selectors.SelectSelector):
    def __init__(self, loop):
        super().__init__()
        self._loop = loop

    def select(self, timeout=None):
        assert timeout is not None, "everybody waits for nothing"
        self._loop.advance(max(timeout, 0.0))
        return super().select(0)


def run_in_virtual_time(main, look=lambda: None):
    """Run a coroutine function, given the loop's clock, to its end."""
    loop = VirtualTimeLoop(look)
    try:
        return loop.run_until_complete(main(loop.time))
    finally:
        loop.close()
