"""How those who follow what happens are woken."""

import asyncio


class Signal:
    """Wakes all that wait for it. Giving it costs next to nothing while nobody does."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._event: asyncio.Event | None = None

    def give(self) -> None:
        """Wake those that wait now."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        """Return when it is given next. Whoever looks before waiting, without a pause between, misses nothing."""
        if self._event is None:
            self._event = asyncio.Event()
        await self._event.wait()
