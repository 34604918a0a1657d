"""What happens in the simulator, as server-sent events for its page.

Nothing is queued for a listener: it has the number of the last change that it was told, and is told what is newest
when it can take more. So one that is slow costs as little as one that is quick, and one that comes back goes on
where it was.
"""

import asyncio
from contextlib import suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from digdir_simulator.connections import disconnected, find_abort
from digdir_simulator.errors import to_json
from digdir_simulator.overview import show_call
from digdir_simulator.simulator import Simulator

MAX_LISTENERS = 32
"""How many may listen at once; a browser has six connections to a simulator at most."""

INTERVAL_SECONDS = 0.2
"""Least time between two messages to one listener; what happens meanwhile is told in one."""

QUIET_SECONDS = 15.0
"""After so long without a message an empty one is sent, which shows whether the listener is still there."""

PATIENCE_SECONDS = 10.0
"""A listener that takes nothing for so long is dropped."""

_LAST_WORD_SECONDS = 0.3

_RETRY_MS = 1000

_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Follower:
    """Knows what one listener was told."""

    def __init__(self, simulator: Simulator, last_event_id: str | None) -> None:
        """Go on after the event with that id, if it is this simulator's; else begin with the newest calls."""
        self._simulator = simulator
        self._reported: tuple[Any, ...] | None = None
        self._change = -1
        instance, _, change = (last_event_id or "").rpartition("-")
        if instance == simulator.instance and change.isdecimal() and len(change) < 20:
            self._change = min(int(change), simulator.ledger.changes)

    def _versions(self) -> tuple[Any, ...]:
        simulator = self._simulator
        return simulator.ledger.changes, simulator.state_version, simulator.control_changes

    @property
    def has_news(self) -> bool:
        """Whether there is something that it wasn't told."""
        return self._versions() != self._reported

    def tell(self) -> bytes:
        """Return an event with all that is new."""
        simulator, ledger = self._simulator, self._simulator.ledger
        entries, missing = ledger.changed_after(self._change)
        anew = bool(missing) or self._change < ledger.cleared_by
        if anew:
            entries, _ = ledger.changed_after(ledger.cleared_by)
        self._reported = self._versions()
        self._change = ledger.changes
        news = {
            "anew": anew,
            "calls": [show_call(simulator.state, entry) for entry in entries],
            "count": ledger.count,
            "violations": ledger.violation_count,
            "state": f"{simulator.instance}.{simulator.state_version}",
            "control": f"{simulator.instance}.{simulator.control_changes}",
        }
        return b"id: %b-%d\ndata: %b\n\n" % (simulator.instance.encode(), self._change, to_json(news))


class EventStream(Response):
    """An answer that goes on until the listener is gone, takes nothing any more, or the simulator stops."""

    def __init__(self, simulator: Simulator, last_event_id: str | None) -> None:
        """Tell what is new in `simulator` since that event."""
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._simulator = simulator
        self._follower = Follower(simulator, last_event_id)

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one listener."""
        simulator = self._simulator
        simulator.listeners += 1
        streaming = asyncio.create_task(self._stream(send))
        gone = asyncio.create_task(disconnected(receive))
        stopping = asyncio.create_task(simulator.stopping.wait())
        tasks = (streaming, gone, stopping)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            left = gone.done()
        finally:
            simulator.listeners -= 1
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not left:
            await self._end(_scope, receive, send, streaming)

    async def _stream(self, send: Send) -> None:
        """Tell what is new, again and again.

        Raises:
            TimeoutError: the listener takes nothing.
        """
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        text = b"retry: %d\n\n" % _RETRY_MS
        while True:
            text += self._follower.tell() if self._follower.has_news else b":\n\n"
            async with asyncio.timeout(PATIENCE_SECONDS):
                await send({"type": "http.response.body", "body": text, "more_body": True})
            text = b""
            await asyncio.sleep(INTERVAL_SECONDS)
            if not self._follower.has_news:
                with suppress(TimeoutError):
                    async with asyncio.timeout(QUIET_SECONDS):
                        await self._simulator.changed.wait()

    async def _end(self, scope: Scope, receive: Receive, send: Send, streaming: asyncio.Task[None]) -> None:
        """End the answer properly if the listener takes that, else abort its connection."""
        if streaming.cancelled():
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORD_SECONDS):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
        elif not isinstance(streaming.exception(), TimeoutError | OSError):
            streaming.result()
        abort = find_abort(scope)
        if abort is not None:
            abort()
            await disconnected(receive)
