"""How connections to DigDir and Maskinporten are made."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import httpx

from maskinporten_operator.adapters.fence import OPEN

if TYPE_CHECKING:
    from pathlib import Path

    from maskinporten_operator.adapters.fence import Fence

TIMEOUT = httpx.Timeout(15.0, connect=5.0, pool=30.0)
ABOUT_TO_SEND = frozenset({"http11.send_request_headers.started", "http11.send_request_body.started"})
"""What httpcore calls the moments at which a request has its connection, and at which only its body is missing.

A process that is stopped between the two must not send the rest when it goes on.
"""


def open_http(
    ca_bundle: Path | None, *, connections: int, auth: httpx.Auth | None = None, fence: Fence = OPEN
) -> httpx.AsyncClient:
    """Open a client with at most `connections` connections; HTTPS_PROXY and NO_PROXY of the environment hold.

    Every write passes `fence`, so with one that isn't open a request may raise `StandbyError`.
    """
    context = ssl.create_default_context(cafile=str(ca_bundle) if ca_bundle else None)
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    hooks = {"request": [_Gate(fence).pass_through]}
    return httpx.AsyncClient(
        auth=auth, verify=context, timeout=TIMEOUT, limits=limits, follow_redirects=False, event_hooks=hooks
    )


class _Gate:
    """Holds requests against the fence: before they wait for a connection, and when they are sent."""

    def __init__(self, fence: Fence) -> None:
        self._fence = fence

    async def pass_through(self, request: httpx.Request) -> None:
        """Check a request that is authorized, and cut its timeouts to the time that is left."""

        async def look_again(event: str, _: Any) -> None:
            if event in ABOUT_TO_SEND:
                self._check(request)

        self._check(request)
        request.extensions["trace"] = look_again

    def _check(self, request: httpx.Request) -> None:
        left = self._fence.check(request.method)
        timeouts = request.extensions["timeout"]
        timeouts |= {phase: min(seconds, left) for phase, seconds in timeouts.items()}
