"""Maskinporten's metadata: read once in a while, and an old copy outlives an outage."""

import asyncio
import json

import httpx
import pytest

from maskinporten_operator.adapters.digdir.metadata import REREAD_SECONDS, RETRY_SECONDS, MaskinportenMetadata
from maskinporten_operator.adapters.digdir.shared_failure import REMEMBERED
from maskinporten_operator.model.errors import OperatorError, TransientError, WaitingError
from maskinporten_operator.model.registrations import AuthorizationServer
from tests.adapters.conftest import WELL_KNOWN, ManualClock

DOCUMENT = {"issuer": "http://m.test/", "jwks_uri": "http://m.test/jwk", "token_endpoint": "http://m.test/token"}


class Server:
    def __init__(self):
        self.clock = ManualClock(0.0)
        self.answer = httpx.Response(200, json=DOCUMENT)
        self.calls = 0
        http = httpx.AsyncClient(transport=httpx.MockTransport(self.handle))
        self.reader = MaskinportenMetadata(http, WELL_KNOWN, self.clock)

    async def handle(self, _):
        self.calls += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
async def server():
    return Server()


async def test_the_metadata_are_the_documents_byte_for_byte(server):
    assert await server.reader.get() == AuthorizationServer(
        WELL_KNOWN, "http://m.test/", "http://m.test/jwk", "http://m.test/token"
    )


async def test_the_simulators_document_is_read(digdir):
    assert (await digdir.metadata.get()).token_endpoint == "http://digdir.test/token"


async def test_many_at_once_share_one_reading(server):
    await asyncio.gather(*(server.reader.get() for _ in range(20)))

    assert server.calls == 1


async def test_the_document_is_read_again_after_an_hour(server):
    await server.reader.get()
    server.clock.advance(REREAD_SECONDS - 1)
    await server.reader.get()
    assert server.calls == 1
    server.answer = httpx.Response(200, json=DOCUMENT | {"issuer": "http://moved.test/"})

    server.clock.advance(1)

    assert (await server.reader.get()).issuer == "http://moved.test/"


@pytest.mark.parametrize(
    "answer",
    [httpx.ConnectError("no"), httpx.ReadTimeout("no"), httpx.Response(503), httpx.Response(200, text="<html>")],
    ids=str,
)
async def test_an_old_copy_outlives_an_outage_which_is_looked_at_now_and_then(server, answer):
    before = await server.reader.get()
    server.clock.advance(REREAD_SECONDS)
    server.answer = answer
    for _ in range(5):
        assert await server.reader.get() == before
    assert server.calls == 2

    server.clock.advance(RETRY_SECONDS)
    await server.reader.get()

    assert server.calls == 3


BAD_BODIES = [
    "<html>",
    "[]",
    "null",
    "{}",
    json.dumps(DOCUMENT | {"issuer": None}),
    json.dumps(DOCUMENT | {"jwks_uri": ["a"]}),
    json.dumps(DOCUMENT | {"token_endpoint": ""}),
]


@pytest.mark.parametrize("body", BAD_BODIES)
async def test_another_document_is_said_to_the_cluster_admin(server, body):
    server.answer = httpx.Response(200, text=body)

    with pytest.raises(TransientError, match="a cluster admin must check the address") as caught:
        await server.reader.get()

    assert WELL_KNOWN in str(caught.value)


@pytest.mark.parametrize("answer", [httpx.ConnectError("no"), httpx.Response(503), httpx.Response(302)], ids=str)
async def test_without_any_copy_an_outage_is_a_fault_that_goes_by(server, answer):
    server.answer = answer

    with pytest.raises(OperatorError) as caught:
        await server.reader.get()
    assert type(caught.value) is TransientError

    server.answer = httpx.Response(200, json=DOCUMENT)
    server.clock.advance(REMEMBERED)
    assert (await server.reader.get()).issuer == "http://m.test/"


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 410])
async def test_an_address_that_refuses_is_a_wrong_address_and_a_fault_that_goes_by(server, status):
    server.answer = httpx.Response(status, json={"error": "no"})

    with pytest.raises(TransientError, match="a cluster admin must check the address") as caught:
        await server.reader.get()

    assert type(caught.value) is TransientError
    assert WELL_KNOWN in str(caught.value)


async def test_a_server_that_asks_for_fewer_calls_is_waited_for(server):
    server.answer = httpx.Response(429, headers={"retry-after": "17"})

    with pytest.raises(WaitingError) as caught:
        await server.reader.get()

    assert caught.value.retry_after == 17.0


async def test_all_that_wait_take_the_failure_of_the_one_attempt(server):
    server.answer = httpx.ConnectError("no")

    outcomes = await asyncio.gather(*(server.reader.get() for _ in range(20)), return_exceptions=True)

    assert [type(one) for one in outcomes] == [TransientError] * 20
    assert server.calls == 1


async def test_a_failure_is_remembered_for_two_seconds_and_no_longer(server):
    server.answer = httpx.ConnectError("no")
    for seconds in (0, REMEMBERED - 0.1, 0.1):
        server.clock.advance(seconds)
        with pytest.raises(TransientError):
            await server.reader.get()

    assert server.calls == 2


async def test_a_success_is_not_followed_by_an_earlier_failure(server):
    server.answer = httpx.ConnectError("no")
    with pytest.raises(TransientError):
        await server.reader.get()
    server.clock.advance(REMEMBERED)
    server.answer = httpx.Response(200, json=DOCUMENT)

    assert [(await server.reader.get()).issuer for _ in range(3)] == ["http://m.test/"] * 3
    assert server.calls == 2
