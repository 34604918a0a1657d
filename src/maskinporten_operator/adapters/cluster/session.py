"""The session with which kopf talks to the API server: the same address, certificates and token as ours."""

from __future__ import annotations

import asyncio
import json
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
from aiohttp import hdrs

from maskinporten_operator.adapters.cluster.bodies import CHANGES, read_at_most, read_event, read_lines, read_list
from maskinporten_operator.adapters.cluster.pages import PageSize

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from kubernetes.aio.client import Configuration

    Take = Callable[[str | None, Mapping[str, Any]], None]
    """Takes in the type of an event, None in a list, and the object."""

CONNECTIONS = 8


class Observer(Protocol):
    """Called with the path of every request, and how it went."""

    def on_request(self, path: str) -> None:
        """One is sent."""

    def on_watch(self, path: str) -> None:
        """A watch was opened."""

    def on_failure(self, path: str, why: str | None) -> None:
        """One failed; `why` is None if it was cancelled."""


class _Response(aiohttp.ClientResponse):
    """An answer, of which a list may have been read within limits already.

    Attributes:
        page: The list, without what was taken in.
    """

    page: Any = None

    async def json(self, **options: Any) -> Any:
        """Give the list, or decode what the answer is otherwise."""
        return await super().json(**options) if self.page is None else self.page


class _Events:
    """The answer to a watch, of which each change is taken in, and only its version left."""

    def __init__(self, content: aiohttp.StreamReader, take: Take) -> None:
        self._content = content
        self._take = take

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        """Give the events, each a line of JSON."""
        async for line in read_lines(self._content):
            event = read_event(line)
            if event["type"] in CHANGES:
                self._take(event["type"], event["object"])
                version = event["object"]["metadata"]["resourceVersion"]
                event = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": version}}}
            yield json.dumps(event).encode() + b"\n"


class _Limits:
    """Reads what is under the paths of `takers` within limits, and gives it to these; only reads are sent at all."""

    def __init__(self, takers: Mapping[str, Take]) -> None:
        self._takers = takers
        self._pages = {path: PageSize() for path in takers}

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if request.method != hdrs.METH_GET:
            raise RuntimeError(f"{request.method} isn't for this session, which only reads")
        path = request.url.path
        take = self._takers.get(path)
        if take is None:
            return await handler(request)
        if "watch" not in request.url.query:
            return await self._read_page(request, handler, take, self._pages[path])
        response = await handler(request)
        if response.ok:
            response.content = _Events(response.content, take)  # type: ignore[assignment]
        return response

    @staticmethod
    async def _read_page(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType, take: Take, pages: PageSize
    ) -> aiohttp.ClientResponse:
        """Read a page of a list; with fewer objects than are asked for, if they are large."""
        data = None
        while data is None:
            request.url = request.url.update_query(limit=pages.limit)
            try:
                response = await handler(request)
                if not response.ok:
                    return response
                data = await read_at_most(response.content, pages.max_bytes)
            except TimeoutError:
                pages.shrink()
                raise
            if data is None:
                response.close()
                pages.shrink()
        pages.grow(len(data))
        assert isinstance(response, _Response)  # the session makes no other
        response.page = {**read_list(data, partial(take, None)), "items": []}
        return response


def build_context(configuration: Configuration) -> ssl.SSLContext:
    """Build what the API server is known by, and what it knows us by if that is a certificate."""
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.disable_strict_ssl_verification:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context


def open_session(configuration: Configuration, observer: Observer, takers: Mapping[str, Take]) -> aiohttp.ClientSession:
    """Open a session that only reads; the token is read for every request, so a rotated one needs no new login.

    What it lists or watches under a path in `takers` is read within limits, and given to what stands there, object by
    object and in order. kopf is told only of versions, by bookmarks, so that it goes on from where the watch ended.
    """

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

    connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=build_context(configuration))
    middlewares = (observe, _Limits(takers), authorize)
    return aiohttp.ClientSession(
        connector=connector, middlewares=middlewares, response_class=_Response, trust_env=False
    )
