"""How httpx's requests are sent: by aiohttp, each once, and each write through the fence.

Why not httpx's own transport, and what is expected of one: docs/decisions/0028-httpx-on-aiohttp.md.
"""

from __future__ import annotations

import asyncio
import math
import select
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakSet

import aiohttp
import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection

    from maskinporten_operator.adapters.fence import Fence

T = TypeVar("T")
KEEP_ALIVE = 5.0
"""Seconds for which an idle connection is kept, as httpx keeps them."""
MAX_BYTES = 128 * 1024 * 1024
"""Of an answer, decompressed: some 50,000 clients with their keys have less."""
LARGE = 2**20
"""Bytes of a body above which aiohttp wants a file, to write it in parts."""
FLUSH_EVERY = 0.01


class TooLargeError(httpx.ReadError):
    """An answer has more than `MAX_BYTES`."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends requests by aiohttp. Nothing is sent again, no redirect followed, and no cookie kept here."""

    def __init__(
        self, context: ssl.SSLContext, *, connections: int, fence: Fence, proxy: httpx.Proxy | None = None
    ) -> None:
        """At most `connections` are open at once; every write passes `fence`."""
        if proxy and proxy.url.scheme not in {"http", "https"}:
            raise ValueError(f"only HTTP proxies can be used, and not {proxy.url.scheme}")
        self._context = context
        self._connections = connections
        self._fence = fence
        self._proxy_url = str(proxy.url) if proxy else None
        self._proxy_headers = _build_proxy_headers(proxy) if proxy else {}
        self._session: aiohttp.ClientSession | None = None
        self._used: WeakSet[ResponseHandler] = WeakSet()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and give the answer with its body yet to be read.

        Raises:
            StandbyError: It is a write, and another process may lead by now.
            httpx.TransportError: It failed; one of `http_errors.NEVER_SENT` only if no byte can have been sent.
        """
        sending = _Sending(self._fence, dict(request.extensions["timeout"]), self._used)
        sending.limit(self._fence.check(request.method))
        body, timeouts = await request.aread(), sending.timeouts
        # A proxy is told who asks by the request for a tunnel, or by this request if there is none.
        for_proxy = self._proxy_headers if request.url.scheme == "http" else {}
        try:
            response = await self._open_session().request(
                request.method,
                str(request.url),
                headers=[*request.headers.multi_items(), *for_proxy.items()],
                data=(body if len(body) <= LARGE else BytesIO(body)) or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    connect=timeouts["pool"] + timeouts["connect"],
                    sock_connect=timeouts["connect"],
                    sock_read=timeouts["read"],
                    ceil_threshold=math.inf,
                ),
                proxy=self._proxy_url,
                proxy_headers=self._proxy_headers,
                middlewares=(sending.follow,),
            )
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise httpx.UnsupportedProtocol(str(error)) from error
        # What is compressed comes here as it was before that.
        headers = [one for one in response.raw_headers if one[0].lower() != b"content-encoding"]
        return httpx.Response(response.status, headers=headers, stream=_Body(response), request=request)

    async def aclose(self) -> None:
        """End the connections."""
        if self._session:
            await self._session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:  # no sooner, since it takes a running event loop
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections, keepalive_timeout=KEEP_ALIVE, ssl=self._context
                ),
                request_class=_Request,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,  # httpx handles proxies, and .netrc isn't read
            )
        return self._session


class _StaleError(Exception):
    """A connection that was to be used again has been closed. Nothing was sent."""


class _Sending:
    """One request on its way.

    Attributes:
        timeouts: Of its phases, in seconds.
        began: Whether a byte of it may have been sent.
    """

    def __init__(self, fence: Fence, timeouts: dict[str, float], used: WeakSet[ResponseHandler]) -> None:
        """`used` are the connections that have been used before."""
        self.timeouts = timeouts
        self.began = False
        self._fence = fence
        self._used = used

    def limit(self, seconds: float) -> None:
        """Let no phase take longer."""
        self.timeouts = {phase: min(timeout, seconds) for phase, timeout in self.timeouts.items()}

    async def follow(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Send it as aiohttp does, and be told of its connection.

        What fails raises no error of aiohttp's: it would send some requests again by itself.
        """
        cast("_Request", request).sending = self
        while True:
            try:
                return await send(request)
            except _StaleError:
                continue  # by another connection
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise _translate(error, began=self.began) from error
            except asyncio.CancelledError:
                await request.close()  # what writes ends first
                raise

    def check_open(self, protocol: ResponseHandler) -> None:
        """Look whether a connection that is used again is still open; the event loop may not have noticed yet.

        A write to one that was closed never arrives, and leaves its outcome unknown all the same.

        Raises:
            _StaleError: It was closed.
        """
        assert protocol.transport
        if protocol in self._used and _is_readable(protocol.transport.get_extra_info("socket").fileno()):
            raise _StaleError
        self._used.add(protocol)

    async def write(self, method: str, protocol: ResponseHandler, write: Callable[[], Awaitable[T]]) -> T:
        """Do what writes to a connection within the fence, until the kernel has taken all of it.

        Raises:
            StandbyError: Another process may lead by now; nothing was sent.
            httpx.WriteTimeout: It took too long.
        """
        transport = protocol.transport
        assert transport
        with self._fence.hold(method) as left:
            self.limit(left)
            protocol.read_timeout = self.timeouts["read"]
            self.began = True
            try:
                async with asyncio.timeout(self.timeouts["write"]):
                    result = await write()
                    await _flush(transport)
            except BaseException as error:
                transport.abort()  # one that is merely closed goes on sending what it has
                if isinstance(error, TimeoutError):
                    raise httpx.WriteTimeout("") from None
                raise
            return result


class _Request(aiohttp.ClientRequest):
    """A request that tells when it is written: with a body by `write_bytes`, in a task of its own, else by `send`."""

    sending: _Sending

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        assert conn.protocol is not None
        self.sending.check_open(conn.protocol)
        if self.body:
            return await super().send(conn)
        send = super().send
        return await self.sending.write(self.method, conn.protocol, lambda: send(conn))

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        protocol, write = conn.protocol, super().write_bytes
        assert protocol is not None
        try:
            await self.sending.write(self.method, protocol, lambda: write(writer, conn, content_length))
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
            protocol.set_exception(error)


class _Body(httpx.AsyncByteStream):
    """The body of an answer, decompressed."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for data in self._response.content.iter_any():
                size += len(data)
                if size > MAX_BYTES:
                    raise TooLargeError("")
                yield data
        except (aiohttp.ClientError, OSError) as error:
            raise _translate(error, began=True) from error

    async def aclose(self) -> None:
        """Give the connection back, or end it if something is left to read."""
        self._response.release()


def _translate(error: Exception, *, began: bool) -> httpx.TransportError:
    """Translate what aiohttp raised, by whether anything may have been sent: its types don't tell."""
    if not isinstance(error, aiohttp.ClientError | OSError):
        return httpx.LocalProtocolError("")
    if not began:
        if isinstance(error, TimeoutError):
            return httpx.ConnectTimeout("")
        is_of_proxy = isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError)
        return httpx.ProxyError("") if is_of_proxy else httpx.ConnectError("")
    if isinstance(error, TimeoutError):
        return httpx.ReadTimeout("")
    is_of_http = isinstance(
        error, aiohttp.ServerDisconnectedError | aiohttp.ClientResponseError | aiohttp.ClientPayloadError
    )
    return httpx.RemoteProtocolError("") if is_of_http else httpx.ReadError("")


def _build_proxy_headers(proxy: httpx.Proxy) -> dict[str, str]:
    return {"Proxy-Authorization": aiohttp.encode_basic_auth(*proxy.auth)} if proxy.auth else {}


def _is_readable(descriptor: int) -> bool:
    """Whether something has come, or the end: nothing that is to come by an idle connection is any good."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


async def _flush(transport: asyncio.Transport) -> None:
    """Return when the kernel has taken what was written; a buffer is rarely left, since most that we send is small."""
    lowest: Any = transport
    while (tls := getattr(lowest, "_ssl_protocol", None)) is not None:
        lowest = tls._transport  # noqa: SLF001 - a buffer of TLS tells nothing of the one below, and names no other way
    while lowest is not None and lowest.get_write_buffer_size():
        await asyncio.sleep(FLUSH_EVERY)
