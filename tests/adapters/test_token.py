"""The operator's own token: one for all calls, renewed in time, and nothing of the key shown."""

import asyncio
import contextlib
import json

import httpx
import pytest

from digdir_simulator.in_process import InProcessTransport
from maskinporten_operator.adapters.digdir.auth import JwtGrantAuth
from maskinporten_operator.adapters.digdir.credentials import AdminCredentials, JwkFile
from maskinporten_operator.adapters.digdir.shared_failure import REMEMBERED
from maskinporten_operator.model.errors import RejectedError, TransientError, WaitingError
from tests.adapters.conftest import ADMIN_SCOPES, URL

LIFETIME = 120
"""Of the admin client's tokens."""


async def test_many_calls_at_once_share_one_token(digdir):
    await asyncio.gather(*(digdir.client.list_clients() for _ in range(25)))

    assert digdir.count("list-clients") == 25
    assert digdir.count("token") == 1


async def test_a_token_is_used_until_shortly_before_its_end_and_then_renewed_once(digdir):
    await digdir.client.list_clients()
    digdir.advance(LIFETIME - 11)
    await digdir.client.list_clients()
    assert digdir.count("token") == 1

    digdir.advance(1)
    await asyncio.gather(*(digdir.client.list_clients() for _ in range(5)))

    assert digdir.count("token") == 2
    assert digdir.simulator.ledger.summary(operation="list-clients")["operations"] == {"list-clients": {"200": 7}}


async def test_each_request_for_a_token_is_told_and_so_is_its_age(digdir):
    statuses = []
    auth = JwtGrantAuth(
        digdir.plain, digdir.metadata, digdir.credentials, ADMIN_SCOPES, digdir.wall, statuses.append, digdir.monotonic
    )
    assert auth.token_age is None
    digdir.fault("drop", path="/token$")
    for _ in range(2):
        async with httpx.AsyncClient(transport=InProcessTransport(digdir.app), base_url=URL, auth=auth) as http:
            with contextlib.suppress(TransientError):
                await digdir.client_over(http).list_clients()
        digdir.advance(REMEMBERED)

    assert statuses == ["error", "200"]
    assert auth.token_age == REMEMBERED


async def test_a_token_that_is_refused_is_renewed_once_and_the_call_repeated(digdir):
    await digdir.client.list_clients()
    digdir.fault("status", status=401, path="/clients$")

    await digdir.client.list_clients()

    assert digdir.count("token") == 2
    assert digdir.simulator.ledger.summary()["operations"]["list-clients"] == {"200": 2, "401": 1}


async def test_calls_that_are_refused_at_once_share_the_renewal(digdir):
    seen = []
    together = asyncio.Barrier(5)

    async def answer(request):
        seen.append(request.headers["authorization"])
        if seen[-1] != seen[0]:
            return httpx.Response(200, json=[])
        async with asyncio.timeout(5):
            await together.wait()
        return httpx.Response(401)

    async with digdir.authorized(digdir.credentials, transport=httpx.MockTransport(answer)) as http:
        client = digdir.client_over(http)
        await asyncio.gather(*(client.list_clients() for _ in range(5)))

    assert len(set(seen)) == 2
    assert digdir.count("token") == 2


async def test_a_401_that_stays_is_a_refusal_and_no_loop(digdir):
    await digdir.client.list_clients()
    digdir.fault("status", status=401, path="/clients$", times=None)

    with pytest.raises(RejectedError, match="a cluster admin must check the rights") as caught:
        await digdir.client.list_clients()

    assert caught.value.reason == "ForbiddenByDigDir"
    assert digdir.simulator.ledger.summary()["operations"] == {
        "list-clients": {"200": 1, "401": 2},
        "token": {"200": 2},
    }


async def test_a_key_that_maskinporten_doesnt_know_is_said_to_the_cluster_admin(digdir, tmp_path, jwks):
    path = tmp_path / "other.jwk"
    path.write_text(json.dumps(jwks[0]))
    async with digdir.authorized(AdminCredentials("admin-client", JwkFile(path))) as http:
        with pytest.raises(TransientError) as caught:
            await digdir.client_over(http).list_clients()

    assert type(caught.value) is TransientError  # it isn't about any resource, and may be fixed without an edit
    assert caught.value.reason == "ForbiddenByDigDir"
    assert "a cluster admin must check its client id, key and scopes" in str(caught.value)
    assert "trace_id" not in str(caught.value)
    assert digdir.count("list-clients") == 0


async def test_scopes_that_the_operators_client_lacks_are_said(digdir):
    async with digdir.authorized(digdir.credentials, ["not:registered"]) as http:
        with pytest.raises(TransientError, match="not:registered"):
            await digdir.client_over(http).list_clients()


@pytest.mark.parametrize("kind", ["html", "drop"])
async def test_a_token_endpoint_that_is_down_is_a_fault_that_goes_by(digdir, kind):
    digdir.fault(kind, path="^/token$")

    with pytest.raises(TransientError) as caught:
        await digdir.client.create_client({})

    assert type(caught.value) is TransientError  # nothing was sent to the API, so nothing is unconfirmed
    assert digdir.count("create-client") == 0
    digdir.advance(REMEMBERED)
    await digdir.client.list_clients()


async def test_all_that_wait_for_a_token_take_the_failure_of_the_one_attempt(digdir):
    digdir.fault("status", status=503, path="^/token$", times=None)

    outcomes = await asyncio.gather(*(digdir.client.list_clients() for _ in range(25)), return_exceptions=True)

    assert [type(one) for one in outcomes] == [TransientError] * 25
    assert digdir.count("token") == 1


async def test_a_token_that_was_refused_is_asked_for_again_after_two_seconds_and_not_sooner(digdir):
    digdir.fault("status", status=400, path="^/token$")
    for seconds in (0, REMEMBERED - 0.5):
        digdir.advance(seconds)
        with pytest.raises(TransientError):
            await digdir.client.list_clients()
    assert digdir.count("token") == 1

    digdir.advance(0.5)
    await digdir.client.list_clients()

    assert digdir.count("token") == 2


async def test_a_token_endpoint_that_asks_for_fewer_calls_is_not_asked_again_before_its_time(digdir):
    digdir.fault("status", status=429, retry_after=20, path="^/token$")

    with pytest.raises(WaitingError) as caught:
        await digdir.client.list_clients()
    assert (caught.value.reason, caught.value.retry_after) == ("RateLimited", 20.0)
    with pytest.raises(WaitingError):
        await digdir.client.list_clients()
    assert digdir.count("token") == 1

    digdir.advance(20)
    await digdir.client.list_clients()


@pytest.mark.parametrize(
    "body", ["[]", "{}", '{"access_token": "a"}', '{"access_token": "a", "expires_in": "soon"}', "<"]
)
async def test_an_answer_without_a_token_is_a_fault_that_goes_by(digdir, body):
    digdir.fault("status", status=500, body=body, path="^/token$")

    with pytest.raises(TransientError, match="gave no token"):
        await digdir.client.list_clients()


async def test_a_cancelled_wait_for_the_token_leaves_the_others_theirs(digdir):
    hold = digdir.fault("hold", path="^/token$")
    first = asyncio.create_task(digdir.client.list_clients())
    async with asyncio.timeout(5):
        while not hold.held:
            await asyncio.sleep(0)
    second = asyncio.create_task(digdir.client.list_clients())
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    hold.release()

    await asyncio.wait_for(second, 5)
    assert digdir.count("list-clients") == 1


@pytest.mark.parametrize("seconds", [-600, 600])
async def test_a_wall_clock_that_is_set_keeps_no_failure_alive_and_no_token(digdir, seconds):
    digdir.fault("status", status=503, path="^/token$")
    with pytest.raises(TransientError):
        await digdir.client.list_clients()
    digdir.monotonic.advance(REMEMBERED)
    digdir.wall.advance(seconds)

    await digdir.client.list_clients()
    assert digdir.count("token") == 2
    digdir.monotonic.advance(LIFETIME - 10)
    await digdir.client.list_clients()

    assert digdir.count("token") == 3


async def test_a_scope_for_which_a_token_is_refused_is_named_and_no_other(digdir):
    async with digdir.authorized(digdir.credentials, ["idporten:dcr.write", "not:registered"]) as http:
        with pytest.raises(TransientError) as caught:
            await digdir.client_over(http).list_clients()

    assert "that DigDir has given it not:registered, or leave that out of ADMIN_SCOPES" in str(caught.value)


async def test_where_a_refusal_names_no_scope_all_that_were_asked_for_are_named(digdir):
    digdir.fault("status", status=400, body={"error": "invalid_scope"}, path="^/token$")

    with pytest.raises(TransientError, match=", ".join(ADMIN_SCOPES)):
        await digdir.client.list_clients()
