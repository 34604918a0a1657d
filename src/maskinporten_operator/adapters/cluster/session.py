"""The session with which kopf talks to the API server: the same address, certificates and token as ours."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Protocol

import aiohttp

if TYPE_CHECKING:
    from kubernetes.aio.client import Configuration

CONNECTIONS = 8


class Observer(Protocol):
    """Told, by its path, of every request and how it went."""

    def on_request(self, path: str) -> None:
        """One is sent."""

    def on_watch(self, path: str) -> None:
        """A watch was granted; its events are about to come."""

    def on_failure(self, path: str, why: str | None) -> None:
        """One wasn't answered, or not with what was asked for; without a reason, it was given up."""


def open_session(configuration: Configuration, observer: Observer) -> aiohttp.ClientSession:
    """Open a session; the token is read anew for every request, so that a rotated one needs no new login."""
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)

    async def authorize(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if token := await configuration.get_api_key_with_prefix("BearerToken"):
            request.headers["Authorization"] = token
        return await handler(request)

    async def observe(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        path = request.url.path
        observer.on_request(path)
        try:
            response = await handler(request)
        except asyncio.CancelledError:
            observer.on_failure(path, None)
            raise
        except Exception as error:
            observer.on_failure(path, type(error).__name__)
            raise
        if not response.ok:
            observer.on_failure(path, f"HTTP {response.status}")
        elif "watch" in request.url.query:
            observer.on_watch(path)
        return response

    connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=context)
    return aiohttp.ClientSession(connector=connector, middlewares=(observe, authorize), trust_env=False)
