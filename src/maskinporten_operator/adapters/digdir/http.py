"""How connections to DigDir and Maskinporten are made."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING

import httpx
from httpx._utils import get_environment_proxies

from maskinporten_operator.adapters.digdir.transport import AiohttpTransport
from maskinporten_operator.adapters.fence import OPEN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from maskinporten_operator.adapters.fence import Fence

TIMEOUT = httpx.Timeout(15.0, connect=5.0, pool=30.0)


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
    mounts: dict[str, httpx.AsyncBaseTransport | None] = {}
    if transport is None:
        context = ssl.create_default_context(cafile=str(ca_bundle) if ca_bundle else None)
        build = partial(AiohttpTransport, context, connections=connections, fence=fence)
        transport = build()
        # What httpx does by itself for its own transport alone.
        mounts = {
            pattern: build(proxy=httpx.Proxy(url)) if url else None
            for pattern, url in get_environment_proxies().items()
        }
    return httpx.AsyncClient(
        auth=auth,
        timeout=TIMEOUT,
        follow_redirects=False,
        event_hooks={"response": [observe] if observe else []},
        transport=transport,
        mounts=mounts,
    )
