"""The session with which kopf talks to the API server: the same address, certificates and token as ours."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubernetes.aio.client import Configuration

CONNECTIONS = 8


def open_session(configuration: Configuration, note_request: Callable[[str], None]) -> aiohttp.ClientSession:
    """Open a session; the token is read anew for every request, so that a rotated one needs no new login.

    `note_request` is told the path of every request.
    """
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)

    async def authorize(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        note_request(request.url.path)
        if token := await configuration.get_api_key_with_prefix("BearerToken"):
            request.headers["Authorization"] = token
        return await handler(request)

    connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=context)
    return aiohttp.ClientSession(connector=connector, middlewares=(authorize,), trust_env=False)
