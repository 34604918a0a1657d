"""What keeps a process that may not lead any more from writing: to DigDir and to the API server."""

import asyncio
import math
from contextlib import contextmanager

import httpx
import pytest
from kubernetes.aio.client import Configuration

from maskinporten_operator.adapters.clock import boottime
from maskinporten_operator.adapters.cluster.api import ClusterApi
from maskinporten_operator.adapters.digdir.calls import Calls
from maskinporten_operator.adapters.digdir.http import open_http
from maskinporten_operator.adapters.fence import GRACE, MIN_TIME_LEFT, Fence
from maskinporten_operator.adapters.tripwire import Tripwire
from maskinporten_operator.model.errors import OutcomeUnknownError, StandbyError, TransientError
from tests.adapters.conftest import DEADLINE

WRITES = ["POST", "PUT", "PATCH", "DELETE"]
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Server:
    """Notes the first line of each request, and each body, and answers unless it is to hang."""

    def __init__(self):
        self.lines = []
        self.bodies = []
        self.hangs = False
        self.reads = True

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.lines.append(head.split(b"\r\n")[0].decode())
                for line in head.lower().split(b"\r\n"):
                    if self.reads and line.startswith(b"content-length:"):
                        self.bodies.append(await reader.readexactly(int(line.split(b":")[1])))
                if not self.reads:
                    await asyncio.Event().wait()
                if self.hangs:
                    await reader.read()
                writer.write(ANSWER)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


async def until(condition):
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def tripwires(monkeypatch):
    """Notes the tripwires that are made."""
    made = []

    def make():
        made.append(Tripwire())
        return made[-1]

    monkeypatch.setattr("maskinporten_operator.adapters.fence.Tripwire", make)
    return made


@pytest.fixture
async def server():
    async with Server() as server:
        yield server


@pytest.fixture
async def http():
    """Makes clients whose leadership lasts as long as a function says."""
    opened = []

    def make(time_left):
        client = open_http(None, connections=1, fence=Fence(time_left))
        opened.append(client)
        return client

    yield make
    for client in opened:
        await client.aclose()


@pytest.fixture
async def cluster(server):
    """Makes clients of an API server likewise."""
    opened = []

    def make(time_left):
        configuration = Configuration(host=server.url)
        configuration.api_key = {}
        api = ClusterApi(configuration, Fence(time_left))
        opened.append(api)
        return api

    yield make
    for api in opened:
        await api.close()


def test_reads_need_no_leave_and_writes_need_time_to_spare():
    fence = Fence(lambda: MIN_TIME_LEFT - 0.1)

    assert fence.check("GET") == math.inf
    for method in WRITES:
        with pytest.raises(StandbyError):
            fence.check(method)


def test_a_closed_fence_lets_no_write_through():
    fence = Fence()
    assert fence.check("POST") == math.inf
    fence.close()

    with pytest.raises(StandbyError):
        fence.check("POST")


def test_the_end_of_the_process_is_due_only_within_a_write_and_only_where_one_contends(tripwires):
    contending = Fence(lambda: 10.0)
    with contending.hold("POST") as left:
        assert left == 10.0
        assert 10.0 < tripwires[0].due - boottime() <= 10.0 + GRACE
    assert tripwires[0].due is None
    with contending.hold("GET"):
        assert tripwires[0].due is None
    with Fence().hold("POST"):
        assert len(tripwires) == 1


async def test_the_end_of_the_process_is_due_while_a_write_to_digdir_is_sent_and_not_while_its_answer_comes(
    server, http, tripwires, monkeypatch
):
    held = []
    hold = Fence.hold

    @contextmanager
    def note(fence, method):
        with hold(fence, method) as left:
            held.append(tripwires[0].due is not None)
            yield left
        held.append(tripwires[0].due is not None)

    monkeypatch.setattr(Fence, "hold", note)
    server.hangs = True
    call = asyncio.create_task(http(lambda: 10.0).post(server.url, json={}))
    await until(lambda: server.bodies)
    call.cancel()

    assert held == [True, False]


async def test_a_write_that_is_cancelled_while_it_is_sent_leaves_no_end_due(server, http, tripwires):
    body = b"x" * 50_000_000  # more than the buffers between the two take
    server.reads = False
    call = asyncio.create_task(http(lambda: 10.0).post(server.url, content=body))
    await until(lambda: server.lines and tripwires[0].due)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert tripwires[0].due is None


@pytest.mark.parametrize("method", WRITES)
async def test_no_byte_of_a_write_to_digdir_is_sent_by_one_that_doesnt_lead(server, http, method):
    with pytest.raises(StandbyError):
        await http(lambda: 0.0).request(method, server.url)
    await http(lambda: 0.0).get(server.url)

    assert server.lines == ["GET / HTTP/1.1"]


async def test_it_is_asked_again_when_the_connection_is_there(server, http):
    answers = iter([10.0, 0.0])
    client = http(lambda: next(answers))
    with pytest.raises(StandbyError):
        await client.post(server.url, json={})
    await client.get(server.url)

    assert server.lines == ["GET / HTTP/1.1"]


async def test_a_write_that_waited_for_a_connection_is_asked_after_the_wait(server, http):
    left = 10.0
    client = http(lambda: left)
    server.hangs = True
    first = asyncio.create_task(client.get(server.url))
    while not server.lines:
        await asyncio.sleep(0.01)
    waiting = asyncio.create_task(client.post(server.url, json={}))
    await asyncio.sleep(0.05)
    left = 0.0
    first.cancel()

    with pytest.raises(StandbyError):
        await waiting
    assert server.lines == ["GET / HTTP/1.1"]


async def test_a_write_to_digdir_has_the_time_that_is_left_and_its_outcome_is_then_unknown(server, http):
    server.hangs = True
    calls = Calls(http(lambda: MIN_TIME_LEFT), server.url, lambda *_: None)

    async with asyncio.timeout(MIN_TIME_LEFT + 5):
        with pytest.raises(OutcomeUnknownError):
            await calls.send("POST", "/clients", "register a client", body={})


async def test_a_call_that_is_held_back_is_no_wait_for_the_others(server, http):
    left = 0.0
    calls = Calls(http(lambda: left), server.url, lambda *_: None)
    with pytest.raises(StandbyError):
        await calls.send("POST", "/clients", "register a client", body={})
    left = 10.0

    assert (await calls.send("POST", "/clients", "register a client", body={})).status_code == httpx.codes.OK


@pytest.mark.parametrize("method", WRITES)
async def test_no_write_to_the_api_server_is_sent_by_one_that_doesnt_lead(server, cluster, method):
    with pytest.raises(StandbyError):
        await cluster(lambda: 0.0).request(method, "/apis", body={})
    await cluster(lambda: 0.0).request("GET", "/apis")

    assert server.lines == ["GET /apis HTTP/1.1"]


async def test_a_write_to_the_api_server_has_the_time_that_is_left(server, cluster):
    server.hangs = True

    async with asyncio.timeout(MIN_TIME_LEFT + 5):
        with pytest.raises(TransientError):
            await cluster(lambda: MIN_TIME_LEFT).request("PATCH", "/apis", body={})


async def test_the_end_of_the_process_is_due_until_a_write_to_the_api_server_has_its_answer(server, cluster, tripwires):
    server.hangs = True
    call = asyncio.create_task(cluster(lambda: 10.0).request("PATCH", "/apis", body={}))
    await until(lambda: server.bodies)
    assert tripwires[0].due
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert tripwires[0].due is None
