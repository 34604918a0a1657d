"""What Maskinporten's answers say of a client's credentials."""

import json
import math
from base64 import urlsafe_b64decode

import httpx
import pytest

from maskinporten_operator.adapters.digdir.token_requests import TokenRequests
from maskinporten_operator.model.errors import OperatorError
from maskinporten_operator.model.jwk import PrivateJwk
from maskinporten_operator.model.tokens import TokenRequest
from tests.adapters.conftest import URL, fields
from tests.unit.fakes import encode_number

SCOPE = "skatt:some.scope"


@pytest.fixture(scope="module")
def keys(jwks):
    return [PrivateJwk.find(json.dumps(jwk)) for jwk in jwks]


@pytest.fixture
def key(keys):
    return keys[0]


@pytest.fixture
async def client(digdir, key):
    """A client with a key, and a scope that it has access to."""
    digdir.seed(SCOPE, owner_orgno="974761076", accessible_for_all=True)
    registration = await digdir.client.create_client(fields(scopes=[SCOPE]))
    await digdir.client.replace_keys(registration.client_id, [key.public()])
    return registration


def ask(digdir, client, key, *scopes, http=None):
    requests = TokenRequests(http or digdir.plain, digdir.metadata, digdir.wall)
    return requests.ask(TokenRequest(client.client_id, key, scopes or (SCOPE,)))


async def test_a_token_is_issued_by_a_key_that_maskinporten_knows(digdir, client, key):
    answer = await ask(digdir, client, key)

    assert (answer.outcome, answer.proves_key) == ("Issued", True)


async def test_a_key_that_hasnt_arrived_yet_is_refused_and_proven_when_it_has(digdir, client, keys):
    digdir.set(propagation_delay_seconds=60)
    digdir.advance(60)
    await digdir.client.replace_keys(client.client_id, [key.public() for key in keys])
    digdir.advance(30)
    answer = await ask(digdir, client, keys[1])

    assert (answer.outcome, answer.proves_key) == ("KeyRefused", False)
    assert "Unknown key identifier" in answer.words

    digdir.advance(31)
    assert (await ask(digdir, client, keys[1])).outcome == "Issued"


async def test_a_client_that_hasnt_arrived_yet_is_refused_likewise(digdir, client, key):
    digdir.set(propagation_delay_seconds=60)

    assert (await ask(digdir, client, key)).outcome == "KeyRefused"


async def test_a_scope_that_isnt_granted_proves_the_key(digdir, client, key):
    digdir.seed("ks:fiks", owner_orgno="971032146")
    digdir.access("ks:fiks")
    await digdir.client.update_client(client.client_id, fields(scopes=[SCOPE, "ks:fiks"]))
    digdir.access("ks:fiks", state="DENIED")
    answer = await ask(digdir, client, key, SCOPE, "ks:fiks")

    assert (answer.outcome, answer.proves_key) == ("ScopeRefused", True)
    assert "ks:fiks" in answer.words


async def test_a_scope_that_isnt_registered_proves_the_key(digdir, client, key):
    assert (await ask(digdir, client, key, "nav:other")).outcome == "ScopeRefused"


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (400, {"error": "invalid_grant", "error_description": "Expired key"}, "KeyRefused"),
        (401, {"error": "invalid_client"}, "KeyRefused"),
        (400, {"error": "invalid_request"}, "Refused"),
        (403, {"error": "forbidden"}, "ScopeRefused"),
        (400, {}, "Refused"),
    ],
)
async def test_a_refusal_is_told_by_its_code(digdir, client, key, status, body, outcome):
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(status, json=body)), base_url=URL)

    assert (await ask(digdir, client, key, http=http)).outcome == outcome


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(503, json={"error": "temporarily_unavailable"}),
        httpx.Response(429, json={}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"access_token": None}),
        httpx.Response(404, json={"error": "not_found"}),
        httpx.ConnectError("refused"),
    ],
    ids=["fault", "too many", "page", "list", "no token", "not found", "no connection"],
)
async def test_what_says_nothing_of_the_client_is_no_answer(digdir, client, key, response):
    def handle(_):
        if isinstance(response, Exception):
            raise response
        return response

    http = httpx.AsyncClient(transport=httpx.MockTransport(handle), base_url=URL)

    with pytest.raises(OperatorError):
        await ask(digdir, client, key, http=http)


def build_jwk(p, q):
    """A key of two factors, as whoever may write the Secret may write it; both may be no primes."""
    e = 65537 if p > 65537 else 17
    d = pow(e, -1, math.lcm(p - 1, q - 1))
    numbers = {"n": p * q, "e": e, "d": d, "p": p, "q": q, "dp": d % (p - 1), "dq": d % (q - 1), "qi": pow(q, -1, p)}
    found = PrivateJwk.find(json.dumps({"kid": "made"} | {one: encode_number(numbers[one]) for one in numbers}))
    assert found
    return found


async def test_a_key_that_cant_sign_is_refused_without_a_request(digdir, client):
    before = digdir.count("token")

    answer = await ask(digdir, client, build_jwk(61, 53))

    assert (answer.outcome, answer.proves_key) == ("Refused", False)
    assert digdir.count("token") == before


@pytest.mark.parametrize(("factor", "outcome", "asked"), [(9, "KeyRefused", 1), (2, "Refused", 0)], ids=["odd", "even"])
async def test_a_key_of_factors_that_are_no_primes_is_refused(digdir, client, key, factor, outcome, asked):
    """Maskinporten finds that, if OpenSSL can use it at all: testing for primes would hold up everything else."""
    begin = (1 << 1024) // factor
    p = next(factor * one for one in range(begin, begin + 10_000) if math.gcd(factor * one - 1, 65537) == 1)
    wrong = build_jwk(p, int.from_bytes(urlsafe_b64decode(key.key.q + "==")))
    await digdir.client.replace_keys(client.client_id, [wrong.public()])
    before = digdir.count("token")

    assert (await ask(digdir, client, wrong)).outcome == outcome
    assert digdir.count("token") == before + asked


async def test_neither_the_key_nor_the_assertion_is_told(digdir, client, key):
    sent = []

    def handle(request):
        sent.append(dict(httpx.QueryParams(request.content.decode()))["assertion"])
        return httpx.Response(400, json={"error": "invalid_grant", "error_description": f"Invalid: {sent[0]}"})

    http = httpx.AsyncClient(transport=httpx.MockTransport(handle), base_url=URL)
    answer = await ask(digdir, client, key, http=http)

    assert sent[0] not in answer.words
    assert key.key.d not in repr(TokenRequest(client.client_id, key, (SCOPE,)))
