"""A proxy before the API server: holds a write before or after it is carried out, or answers for a server in need."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import re
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import aiohttp
import yaml
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from yarl import URL

from tools.kube import wait_for

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

ADDRESS = "127.0.0.1"
PER_HOP = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade"})
"""Headers that belong to one connection, in small letters."""


@dataclass(eq=False)
class Hold:
    """A write to be held: the first one whose `METHOD path` the pattern matches as a whole."""

    pattern: re.Pattern[str]
    when: Literal["before", "after"]
    reached: threading.Event = field(default_factory=threading.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)


class ApiServerProxy:
    """Forwards everything, the bearer token included, over TLS with a certificate of its own.

    Attributes:
        kubeconfig: Path of a kubeconfig that leads here, otherwise like the one given.
    """

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._config = yaml.safe_load(kubeconfig.read_text())
        self._cluster = self._config["clusters"][0]["cluster"]
        self._upstream = self._cluster["server"]
        self._upstream_tls = ssl.create_default_context(cafile=self._cluster["certificate-authority"])
        self._certificate = folder / "proxy.pem"
        self._certificate.write_bytes(make_certificate())
        self.kubeconfig = folder / "proxy-kubeconfig"
        self._holds: list[Hold] = []
        self._refusal: int | None = None
        self._is_cut = False
        self._open: set[asyncio.Transport] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="api-server-proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        port = self._do(self._start())
        self._cluster |= {"server": f"https://{ADDRESS}:{port}", "certificate-authority": str(self._certificate)}
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(yaml.safe_dump(self._config))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def hold(self, pattern: str, when: Literal["before", "after"]) -> Hold:
        """Hold the next write that matches, for as long as its sender has patience."""
        hold = Hold(re.compile(pattern), when)
        self._do(self._call(self._holds.append, hold))
        return hold

    def release(self) -> None:
        """Let all go on that is held, and hold nothing more."""
        self._do(self._call(self._release))

    def refuse(self, status: int | None) -> None:
        """Answer everything with a status from now on and cut what is open; None forwards again."""
        self._do(self._call(self._refuse, status))

    def cut(self, *, off: bool) -> None:
        """Break every connection and refuse new ones from now on, as a server that is down; or let them in again."""
        self._do(self._cut(off))

    @staticmethod
    def wait_for(hold: Hold) -> None:
        """Wait until a write is held."""
        wait_for(hold.reached.is_set, 60, "the held write")

    def _do(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    @staticmethod
    async def _call(function: Any, *arguments: Any) -> None:
        function(*arguments)

    def _release(self) -> None:
        for hold in self._holds:
            hold.released.set()
        self._holds.clear()

    def _refuse(self, status: int | None) -> None:
        self._refusal = status
        for transport in self._open if status else ():
            transport.abort()

    async def _cut(self, off: bool) -> None:
        self._is_cut = off  # also for connections that are open and have no request under way
        if not off:
            await self._listen(self._port)
            return
        await self._site.stop()
        for transport in tuple(self._open):
            transport.abort()

    async def _start(self) -> int:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._upstream_tls),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            trust_env=False,
        )
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._forward)
        # When its sender is gone, a held write goes nowhere.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await self._listen(0)
        port: int = self._runner.addresses[0][1]
        self._port = port
        return port

    async def _listen(self, port: int) -> None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(self._certificate)
        self._site = web.TCPSite(self._runner, ADDRESS, port, ssl_context=tls)
        await self._site.start()

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()
        await asyncio.sleep(0.1)  # connections end a little after the session

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        if transport and self._is_cut:
            transport.abort()
        if transport is None or self._refusal or self._is_cut:
            return web.Response(status=self._refusal or 503)
        self._open.add(transport)
        try:
            return await self._pass_on(request)
        except aiohttp.ClientError:
            transport.abort()
            return web.Response(status=502)
        finally:
            self._open.discard(transport)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        hold = self._find_hold(f"{request.method} {request.path}")
        body = await request.read()
        if hold and hold.when == "before":
            await self._wait(hold)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in PER_HOP}
        url = URL(self._upstream + request.raw_path, encoded=True)
        async with self._session.request(request.method, url, headers=headers, data=body or None) as answer:
            if hold and hold.when == "after":
                await answer.read()
                await self._wait(hold)
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in PER_HOP}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):
                if hold:
                    await response.write(await answer.read())
                else:
                    async for chunk in answer.content.iter_any():
                        await response.write(chunk)
                await response.write_eof()
            return response

    def _find_hold(self, line: str) -> Hold | None:
        found = next((hold for hold in self._holds if hold.pattern.fullmatch(line)), None)
        if found:
            self._holds.remove(found)
        return found

    @staticmethod
    async def _wait(hold: Hold) -> None:
        hold.reached.set()
        await hold.released.wait()


def make_certificate() -> bytes:
    """Make a key and a certificate for this machine that signs itself, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "api-server-proxy")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ADDRESS))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + certificate.public_bytes(pem)
