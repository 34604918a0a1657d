"""How requests to DigDir are sent, seen by a server that notes every byte: once, and told rightly when they fail."""

import asyncio
import contextlib
import gzip
import json
import ssl
import time

import httpx
import pytest
import trustme

from maskinporten_operator.adapters.clock import boottime
from maskinporten_operator.adapters.digdir import http as digdir_http
from maskinporten_operator.adapters.digdir import transport
from maskinporten_operator.adapters.digdir.http import open_http
from maskinporten_operator.adapters.digdir.http_errors import NEVER_SENT, find_cause
from maskinporten_operator.adapters.fence import Fence
from maskinporten_operator.adapters.tripwire import Tripwire
from tests.adapters.conftest import DEADLINE

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
LARGE = b"x" * 50_000_000
"""More than the buffers between the two sides take."""
every_method = pytest.mark.parametrize("method", METHODS)


def build_answer(body=b"{}", status="200 OK", **headers):
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Server:
    """Answers each request by what `answer` gives for its number, from 1; None hangs, and b"" hangs up."""

    def __init__(self, answer=lambda _: build_answer(), tls=None):
        self.heads = []
        self.received = 0
        self.open = self.most_open = 0
        self.reads = asyncio.Event()
        self.reads.set()
        self._answer = answer
        self._tls = tls
        self.writers = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self.writers:
            writer.transport.abort()

    @property
    def lines(self):
        return [head.split("\r\n")[0] for head in self.heads]

    async def _serve(self, reader, writer):
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        self.writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                await self._read_body(reader, head)
                answer = self._answer(len(self.heads))
                if answer is None:
                    await asyncio.Event().wait()
                writer.write(answer)
                if not answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _read_body(self, reader, head):
        fields = dict(line.split(": ", 1) for line in head.lower().split("\r\n")[1:] if line)
        left = int(fields.get("content-length", 0))
        while left:
            await self.reads.wait()
            if not (data := await reader.read(min(left, 2**20))):
                raise asyncio.IncompleteReadError(data, left)
            self.received += len(data)
            left -= len(data)


@pytest.fixture
async def http(monkeypatch):
    """Makes clients, by default of ten connections; `timeout` gives the seconds of the phases that are named."""
    opened = []

    def make(ca_bundle=None, *, connections=10, fence=None, **timeout):
        patience = {"connect": DEADLINE, "read": DEADLINE, "write": DEADLINE, "pool": DEADLINE} | timeout
        monkeypatch.setattr(digdir_http, "TIMEOUT", httpx.Timeout(**patience))
        client = open_http(ca_bundle, connections=connections, **({"fence": fence} if fence else {}))
        opened.append(client)
        return client

    yield make
    for client in opened:
        await client.aclose()


@pytest.fixture
def authority(tmp_path):
    """An authority whose certificate is a CA bundle, and a server's side of TLS."""
    authority = trustme.CA()
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return bundle, context


async def until(condition):
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.01)


async def fail(request):
    with pytest.raises(httpx.TransportError) as caught:
        await request
    return caught.value


# Once


@every_method
async def test_a_request_that_a_used_connection_ends_under_is_not_sent_again(http, method):
    """Libraries like to: to a server that hangs up on an idempotent request, and even on others."""
    async with Server(lambda number: build_answer() if number == 1 else b"") as server:
        client = http()
        await client.get(server.url)
        error = await fail(client.request(method, server.url))

        assert server.lines == ["GET / HTTP/1.1", f"{method} / HTTP/1.1"]
        assert not isinstance(error, NEVER_SENT)


@every_method
async def test_a_connection_that_was_closed_while_nobody_looked_is_not_used_again(http, method):
    async with Server() as server:
        client = http()
        await client.get(server.url)
        server.writers[0].transport.get_extra_info("socket").shutdown(2)  # the event loop doesn't get to see it
        answer = await client.request(method, server.url, content=b"" if method == "GET" else b"{}")

        assert answer.status_code == httpx.codes.OK
        assert server.lines == ["GET / HTTP/1.1", f"{method} / HTTP/1.1"]


async def test_a_connection_is_used_again(http):
    async with Server() as server:
        client = http()
        for _ in range(5):
            await client.post(server.url, json={})

        assert server.most_open == 1


async def test_no_more_connections_are_opened_than_there_may_be(http):
    async with Server() as server:
        client = http(connections=3)
        await asyncio.gather(*(client.post(server.url, json={}) for _ in range(20)))

        assert server.most_open <= 3
        assert len(server.lines) == 20


@every_method
async def test_a_redirect_is_an_answer_like_others(http, method):
    async with Server(lambda _: build_answer(status="307 Temporary Redirect", location="/elsewhere")) as server:
        answer = await http().request(method, server.url)

        assert answer.status_code == httpx.codes.TEMPORARY_REDIRECT
        assert server.lines == [f"{method} / HTTP/1.1"]


@every_method
async def test_a_request_is_sent_as_it_was_built(http, method):
    async with Server() as server:
        await http().request(method, f"{server.url}/a%2Fb%20c?d=e%26f", headers={"Authorization": "Bearer some-token"})

        (head,) = server.heads
        assert head.startswith(f"{method} /a%2Fb%20c?d=e%26f HTTP/1.1\r\n")
        assert "\r\nauthorization: bearer some-token\r\n" in head.lower()
        names = [line.split(":")[0].lower() for line in head.split("\r\n")[1:]]
        assert len(set(names) - {""}) == len([name for name in names if name])


async def test_a_machines_netrc_is_not_used(http, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password some-password\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with Server() as server:
        await http().get(server.url)

        assert "authorization" not in server.heads[0].lower()


# Whether it may have been sent


async def test_where_nothing_listens_nothing_was_sent(http):
    async with Server() as server:
        pass
    error = await fail(http().post(server.url, json={}))

    assert isinstance(error, NEVER_SENT)
    assert find_cause(error) == ": nothing listens there"


async def test_where_the_name_is_unknown_nothing_was_sent(http):
    error = await fail(http().post("http://name.invalid", json={}))

    assert isinstance(error, NEVER_SENT)
    assert find_cause(error) == ": the name of the host isn't known"


async def test_where_the_certificate_is_another_authoritys_nothing_was_sent(http, authority):
    async with Server(tls=authority[1]) as server:
        error = await fail(http().post(server.url, json={}))

        assert isinstance(error, NEVER_SENT)
        assert find_cause(error) == ": the certificate there isn't trusted"
        assert server.lines == []


async def test_a_ca_bundle_is_trusted(http, authority):
    async with Server(tls=authority[1]) as server:
        assert (await http(authority[0]).post(server.url, json={})).status_code == httpx.codes.OK


async def test_where_there_is_no_tls_nothing_was_sent(http):
    async with Server() as server:
        error = await fail(http(connect=0.2).post(f"https://127.0.0.1:{server.port}", json={}))

        assert isinstance(error, NEVER_SENT)


async def test_one_that_waited_too_long_for_a_connection_was_not_sent(http):
    async with Server(lambda _: None) as server:
        client = http(connections=1, pool=0.1, connect=0.1)
        first = asyncio.create_task(client.get(server.url))
        await until(lambda: server.lines)
        error = await fail(client.post(server.url, json={}))
        first.cancel()

        assert isinstance(error, NEVER_SENT)
        assert server.lines == ["GET / HTTP/1.1"]


@every_method
async def test_one_that_is_not_answered_in_time_may_have_arrived(http, method):
    async with Server(lambda _: None) as server:
        assert type(await fail(http(read=0.1).request(method, server.url))) is httpx.ReadTimeout


async def test_one_that_is_not_taken_in_time_may_have_arrived(http):
    async with Server() as server:
        server.reads.clear()

        assert type(await fail(http(write=0.1).post(server.url, content=LARGE))) is httpx.WriteTimeout


@pytest.mark.parametrize(
    "answer",
    [b"", b"nothing like it\r\n\r\n", build_answer(b"[1, 2]")[:-3], b"HTTP/1.1 200 OK\r\ncontent-le"],
    ids=["none", "no HTTP", "half a body", "half a head"],
)
async def test_one_whose_answer_is_broken_off_or_no_http_may_have_arrived(http, answer):
    async with Server(lambda _: answer) as server:
        request = asyncio.create_task(http().post(server.url, json={}))
        await until(lambda: server.lines)
        await asyncio.sleep(0.05)
        server.writers[0].close()

        assert type(await fail(request)) is httpx.RemoteProtocolError


async def test_a_reset_in_the_middle_of_an_answer_leaves_it_open_whether_it_arrived(http):
    async with Server(lambda _: build_answer(b"[1, 2]")[:-3]) as server:
        request = asyncio.create_task(http().post(server.url, json={}))
        await until(lambda: server.lines)
        await asyncio.sleep(0.05)
        server.writers[0].transport.abort()

        assert not isinstance(await fail(request), NEVER_SENT)


async def test_a_token_that_is_no_header_is_not_sent(http):
    async with Server() as server:
        error = await fail(http().post(server.url, json={}, headers={"Authorization": "Bearer a\r\nInjected: b"}))

        assert type(error) is httpx.LocalProtocolError
        assert server.lines == []


async def test_an_address_without_a_host_is_told(http):
    assert isinstance(await fail(http().post("https://", json={})), NEVER_SENT)


# What is read


async def test_what_is_compressed_is_read(http):
    body = gzip.compress(json.dumps(["a"] * 1000).encode())
    async with Server(lambda _: build_answer(body, content_encoding="gzip")) as server:
        assert (await http().get(server.url)).json() == ["a"] * 1000


@pytest.mark.parametrize("pack", [gzip.compress, bytes], ids=["compressed", "plain"])
async def test_no_more_is_read_than_memory_is_for(http, monkeypatch, pack):
    monkeypatch.setattr(transport, "MAX_BYTES", 1_000_000)
    body = pack(b"\0" * 20_000_000)
    encoding = {"content_encoding": "gzip"} if len(body) < 1_000_000 else {}
    async with Server(lambda _: build_answer(body, **encoding)) as server:
        started = time.process_time()
        assert type(await fail(http().get(server.url))) is transport.TooLargeError
        assert time.process_time() - started < 1


# While it is sent


@pytest.fixture
def at_once(monkeypatch):
    """Lets asyncio be given a body as a whole, as is usual, and not in parts: much of this one stays in its buffers."""
    monkeypatch.setattr(transport, "LARGE", len(LARGE))
    with pytest.warns(ResourceWarning, match="Sending a large body"):
        yield


@pytest.fixture
def tripwires(monkeypatch):
    made = []

    def make():
        made.append(Tripwire())
        return made[-1]

    monkeypatch.setattr("maskinporten_operator.adapters.fence.Tripwire", make)
    return made


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
async def test_the_end_of_the_process_is_due_until_the_kernel_has_taken_all_of_a_write(
    http, tripwires, authority, encrypted, at_once
):
    async with Server(tls=authority[1] if encrypted else None) as server:
        server.reads.clear()
        client = http(authority[0], fence=Fence(lambda: 100.0))
        call = asyncio.create_task(client.post(server.url, content=LARGE))
        await until(lambda: server.lines)
        for _ in range(10):
            await asyncio.sleep(0)
        assert tripwires[0].due > boottime()
        server.reads.set()

        assert (await call).status_code == httpx.codes.OK
        assert tripwires[0].due is None


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
async def test_nothing_more_is_sent_of_a_write_that_is_cancelled(http, authority, encrypted, at_once):
    async with Server(tls=authority[1] if encrypted else None) as server:
        server.reads.clear()
        call = asyncio.create_task(http(authority[0]).post(server.url, content=LARGE))
        await until(lambda: server.lines)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        server.reads.set()
        await until(lambda: not server.open or server.received == len(LARGE))

        assert server.received < len(LARGE)


async def test_a_cancelled_call_gives_its_place_to_another(http):
    async with Server(lambda number: None if number == 1 else build_answer()) as server:
        client = http(connections=1)
        call = asyncio.create_task(client.post(server.url, json={}))
        await until(lambda: server.lines)
        call.cancel()

        assert (await client.post(server.url, json={})).status_code == httpx.codes.OK


# By a proxy


async def test_a_proxy_of_the_environment_is_used_and_told_who_asks(http, monkeypatch):
    async with Server() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//somebody:some%20word@"))
        await http().post("http://digdir.test/clients", json={})

        assert proxy.lines == ["POST http://digdir.test/clients HTTP/1.1"]
        assert "proxy-authorization: basic c29tzwjvzhk6c29tzsb3b3jk" in proxy.heads[0].lower()


async def test_by_a_proxy_tls_goes_to_the_server(http, monkeypatch):
    async with Server(lambda _: build_answer(status="403 Forbidden")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//somebody:some%20word@"))
        error = await fail(http().post("https://digdir.test/clients", json={}))

        assert proxy.lines == ["CONNECT digdir.test:443 HTTP/1.1"]
        assert "proxy-authorization: basic c29tzwjvzhk6c29tzsb3b3jk" in proxy.heads[0].lower()
        assert isinstance(error, NEVER_SENT)


async def test_a_tunnel_by_a_proxy_is_used_as_a_connection_is(http, monkeypatch, authority):
    async with Server(tls=authority[1]) as server:

        async def pipe(reader, writer):
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65536):
                    writer.write(data)
            writer.close()

        async def tunnel(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            upstream = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await asyncio.gather(pipe(reader, upstream[1]), pipe(upstream[0], writer))

        proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        client = http(authority[0])
        for _ in range(2):
            await client.post(server.url, json={})
        await client.aclose()
        proxy.close()

        assert server.lines == ["POST / HTTP/1.1"] * 2
        assert server.most_open == 1
        assert "proxy-authorization" not in server.heads[0].lower()


async def test_no_proxy_is_used_where_the_environment_says_so(http, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with Server() as server:
        assert (await http().get(server.url)).status_code == httpx.codes.OK


async def test_a_proxy_that_isnt_there_is_told(http, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")

    assert type(await fail(http().post("https://digdir.test", json={}))) is httpx.ProxyError


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
async def test_a_proxy_of_a_kind_that_cant_be_used_is_told_at_the_start(http, monkeypatch, name):
    monkeypatch.setenv(name, "socks5://proxy.test:1080")

    with pytest.raises(ValueError, match="only HTTP proxies can be used, and not socks5"):
        http()
