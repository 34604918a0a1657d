"""Maskinporten's published metadata (RFC 8414)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from maskinporten_operator.adapters.digdir.http_errors import translate_exception, translate_response
from maskinporten_operator.adapters.digdir.shared_failure import SharedFailure
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import OperatorError, TransientError
from maskinporten_operator.model.registrations import AuthorizationServer

if TYPE_CHECKING:
    from collections.abc import Callable

REREAD_SECONDS = 3600.0
"""Seconds; endpoints move about once in a decade."""
RETRY_SECONDS = 30.0


class MaskinportenMetadata:
    """Maskinporten's metadata, read hourly; the last one is used during an outage."""

    def __init__(self, http: httpx.AsyncClient, well_known_url: str, now: Callable[[], float] = time.monotonic) -> None:
        self._http = http
        self._url = well_known_url
        self._now = now
        self._server: AuthorizationServer | None = None
        self._due = 0.0
        self._lock = asyncio.Lock()
        self._failure = SharedFailure(now)

    async def get(self) -> AuthorizationServer:
        """Give the metadata.

        Raises:
            TransientError: It was never read and can't be now.
        """
        async with self._lock:
            if self._server and self._now() < self._due:
                return self._server
            try:
                return await self._read_again()
            except OperatorError:
                if self._server is None:
                    raise
                self._due = self._now() + RETRY_SECONDS
                return self._server

    async def _read_again(self) -> AuthorizationServer:
        self._server = await self._failure.guard(self._read)
        self._due = self._now() + REREAD_SECONDS
        return self._server

    async def _read(self) -> AuthorizationServer:
        operation = "read Maskinporten's metadata"
        try:
            response = await self._http.get(self._url)
        except httpx.HTTPError as error:
            raise translate_exception(error, operation, writes=False) from None
        if response.is_server_error or response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise translate_response(response, operation, writes=False)
        try:
            body = response.json()
            values = [body[name] for name in ("issuer", "jwks_uri", "token_endpoint")]
            is_usable = all(map(is_address, values))
        except (ValueError, KeyError, TypeError):
            is_usable = False
        if not is_usable:
            raise TransientError(
                Reason.DIGDIR_UNAVAILABLE,
                f"{self._url} is no metadata of an authorization server: a cluster admin must check the address",
            )
        return AuthorizationServer(self._url, *values)


def is_address(value: object) -> bool:
    """Whether a value is an address that can be asked."""
    try:
        return isinstance(value, str) and bool(httpx.URL(value).host and urlsplit(value).hostname)
    except (ValueError, httpx.InvalidURL):
        return False
