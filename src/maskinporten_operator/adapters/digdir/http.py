"""How connections to DigDir and Maskinporten are made."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT = httpx.Timeout(15.0, connect=5.0, pool=30.0)


def open_http(ca_bundle: Path | None, *, connections: int, auth: httpx.Auth | None = None) -> httpx.AsyncClient:
    """Open a client with at most `connections` connections; HTTPS_PROXY and NO_PROXY of the environment hold."""
    context = ssl.create_default_context(cafile=str(ca_bundle) if ca_bundle else None)
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    return httpx.AsyncClient(auth=auth, verify=context, timeout=TIMEOUT, limits=limits, follow_redirects=False)
