"""How connections to DigDir and Maskinporten are made."""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx

from maskinporten_operator.adapters.fence import OPEN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from maskinporten_operator.adapters.fence import Fence

TIMEOUT = httpx.Timeout(15.0, connect=5.0, pool=30.0)
SENDS = ("http11.send_request_headers", "http11.send_request_body")
"""What httpcore calls the two parts of a request, each sent as soon as it may be."""


def open_http(
    ca_bundle: Path | None,
    *,
    connections: int,
    auth: httpx.Auth | None = None,
    fence: Fence = OPEN,
    observe: Callable[[httpx.Response], Awaitable[None]] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """Open a client with at most `connections` connections; HTTPS_PROXY and NO_PROXY of the environment hold.

    Every write passes `fence`, so with one that isn't open a request may raise `StandbyError`. `observe` is told of
    every answer; `transport` takes the network's place.
    """
    trusted = str(ca_bundle) if ca_bundle else None
    context = ssl.create_default_context(cafile=trusted) if transport is None else False
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    return httpx.AsyncClient(
        auth=auth,
        verify=context,
        timeout=TIMEOUT,
        limits=limits,
        follow_redirects=False,
        event_hooks={"request": [_Gate(fence).pass_through], "response": [observe] if observe else []},
        transport=transport,
    )


class _Gate:
    """Holds requests against the fence: before they wait for a connection, and while each part of them is sent."""

    def __init__(self, fence: Fence) -> None:
        self._fence = fence

    async def pass_through(self, request: httpx.Request) -> None:
        """Check a request that is authorized, and cut its timeouts to the time that is left."""
        sending = ExitStack()

        async def follow(event: str, _: Any) -> None:
            part, _, moment = event.rpartition(".")
            if part not in SENDS:
                return
            if moment == "started":
                _limit(request, sending.enter_context(self._fence.hold(request.method)))
            else:  # complete, or failed, as it also is when cancelled
                sending.close()

        _limit(request, self._fence.check(request.method))
        request.extensions["trace"] = follow


def _limit(request: httpx.Request, seconds: float) -> None:
    timeouts = request.extensions["timeout"]
    timeouts |= {phase: min(timeout, seconds) for phase, timeout in timeouts.items()}
