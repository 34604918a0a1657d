"""The self-service API through the real HTTP client: what it does, and what each failure becomes."""

import asyncio
import gc
import socket
import ssl
import weakref
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digdir_simulator import jws
from maskinporten_operator.adapters.digdir.calls import SLICE
from maskinporten_operator.adapters.digdir.http_errors import NEVER_SENT, find_detail, parse_retry_after
from maskinporten_operator.adapters.digdir.wire import OwnedClients, read_registration
from maskinporten_operator.model.errors import (
    AlreadyExistsError,
    BadRequestError,
    OperatorError,
    OutcomeUnknownError,
    RejectedError,
    TransientError,
    WaitingError,
)
from maskinporten_operator.model.jwk import PublicJwk
from tests.adapters.conftest import URL, fields
from tests.certificates import rsa_key


def public(jwk, **changes):
    return PublicJwk({"use": "sig", **jws.public_jwk(jwk)} | changes)


def some_key():
    return PublicJwk(jws.as_public_jwk(rsa_key(0).public_key(), "some-kid"))


async def raised(awaitable):
    with pytest.raises(OperatorError) as caught:
        await awaitable
    return caught.value


CALLS = {
    "list clients": lambda client: client.list_clients(),
    "read a client": lambda client: client.find_client("client-1"),
    "list a client's keys": lambda client: client.list_keys("client-1"),
    "register a client": lambda client: client.create_client(fields()),
    "update a client": lambda client: client.update_client("client-1", fields()),
    "replace a client's keys": lambda client: client.replace_keys("client-1", [some_key()]),
    "delete a client": lambda client: client.delete_client("client-1"),
    "delete a client's keys": lambda client: client.delete_keys("client-1"),
}
READS = ["list clients", "read a client", "list a client's keys"]
WRITES = [name for name in CALLS if name not in READS]
every_call = pytest.mark.parametrize("operation", CALLS)
every_write = pytest.mark.parametrize("operation", WRITES)


# What it does


@pytest.mark.parametrize("created_status", [200, 201])
async def test_a_client_is_created_read_updated_and_deleted(digdir, created_status):
    digdir.set(created_status=created_status)
    created = await digdir.client.create_client(fields())
    assert created.usable
    assert created.description == "some-cluster:some-team:some-app"
    assert (await digdir.client.find_client(created.client_id)).fields == created.fields

    updated = await digdir.client.update_client(created.client_id, fields(client_name="Another"))
    assert updated.fields["client_name"] == "Another"

    assert await digdir.client.delete_client(created.client_id) is True
    assert await digdir.client.find_client(created.client_id) is None
    assert not digdir.stored(created.client_id).active


async def test_a_deletion_of_what_isnt_there_is_done(digdir):
    assert await digdir.client.delete_client("unknown") is False
    await digdir.client.delete_keys("unknown")


@pytest.mark.parametrize("deleted_status", [200, 204])
async def test_keys_are_replaced_listed_and_deleted(digdir, jwks, deleted_status):
    digdir.set(deleted_status=deleted_status)
    client_id = (await digdir.client.create_client(fields())).client_id

    published = await digdir.client.replace_keys(client_id, [public(one) for one in jwks])
    assert {key.kid for key in published} == {one["kid"] for one in jwks}
    assert all(key.expires for key in published)
    assert await digdir.client.list_keys(client_id) == published
    await digdir.client.delete_keys(client_id)

    assert await digdir.client.list_keys(client_id) == ()


@pytest.mark.parametrize("empty_jwks", ["keys", "not-found", "empty-object"])
async def test_a_client_without_keys_has_none_however_the_api_says_so(digdir, empty_jwks):
    digdir.set(empty_jwks=empty_jwks)
    client_id = (await digdir.client.create_client(fields())).client_id

    assert await digdir.client.list_keys(client_id) == ()


@pytest.mark.parametrize(("includes", "known"), [(True, True), (False, False)])
async def test_a_list_tells_of_keys_or_doesnt(digdir, jwks, includes, known):
    client_id = (await digdir.client.create_client(fields())).client_id
    await digdir.client.replace_keys(client_id, [public(jwks[0])])
    digdir.set(list_includes_jwks=includes)

    (listed,) = (one for one in await digdir.client.list_clients() if one.client_id == client_id)

    assert (listed.keys is not None) is known
    assert "jwks" not in listed.fields


async def test_an_empty_list_that_is_answered_as_an_error_is_an_empty_list(digdir):
    digdir.fault("empty-list-error", path="/clients$")

    assert await digdir.client.list_clients() == ()


@pytest.mark.parametrize(("status", "is_empty"), [(400, True), (404, True), (401, False), (403, False), (429, False)])
async def test_only_a_status_that_may_be_about_a_list_says_that_it_is_empty(digdir, status, is_empty):
    body = {"error_description": "The organization does not have any clients"}
    client = digdir.answering(lambda _: httpx.Response(status, json=body))

    if is_empty:
        assert await client.list_clients() == ()
    else:
        assert isinstance(await raised(client.list_clients()), RejectedError | WaitingError)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429])
async def test_a_token_without_the_right_is_no_empty_list_whatever_the_status(digdir, status):
    body = {"error_description": "The client does not have any of the required scopes: idporten:dcr.read"}
    client = digdir.answering(lambda _: httpx.Response(status, json=body))

    assert isinstance(await raised(client.list_clients()), RejectedError | WaitingError)


async def test_a_refused_scope_is_told_in_digdirs_words_alone(digdir):
    error = await raised(digdir.client.create_client(fields(scopes=["ks:not.granted"])))

    assert isinstance(error, BadRequestError)
    assert error.words == "Scope ks:not.granted is not accessible for organization 889640782"
    assert error.words in str(error)


async def test_a_400_without_words_is_told_by_what_was_refused(digdir):
    error = await raised(digdir.answering(lambda _: httpx.Response(400, json={})).create_client(fields()))

    assert error.words == str(error)


async def test_a_404_that_doesnt_say_so_is_no_empty_list(digdir):
    digdir.fault("status", status=404, path="/clients$")

    assert isinstance(await raised(digdir.client.list_clients()), RejectedError)


@pytest.mark.parametrize(
    "client_id", ["", "../clients", "a/b", "a b", "a?inactive=true", "å", "x" * 129, ".", "..", "a\n"]
)
async def test_an_id_that_the_api_never_gave_out_is_not_looked_for(digdir, client_id):
    assert await digdir.client.find_client(client_id) is None
    assert digdir.count("read-client") == digdir.count("list-clients") == 0


@pytest.mark.parametrize("client_id", ["a/b", "../x", "a?b", "a%2fb"])
async def test_an_id_never_reaches_into_another_path(digdir, client_id):
    paths = []

    def answer(request):
        paths.append(request.url.raw_path)
        return httpx.Response(404, json={})

    await digdir.answering(answer).delete_client(client_id)

    (path,) = paths
    assert path.startswith(b"/api/v1/clients/")
    assert path.removeprefix(b"/api/v1/clients/").count(b"/") == path.count(b"?") == 0


async def test_every_call_is_observed_with_its_status(digdir):
    await digdir.client.list_clients()
    digdir.fault("status", status=503, path="/clients$")
    await raised(digdir.client.list_clients())
    digdir.fault("drop", path="/clients$")
    await raised(digdir.client.list_clients())

    assert [call[:2] for call in digdir.observed] == [
        ("list clients", "200"),
        ("list clients", "503"),
        ("list clients", "error"),
    ]


async def test_a_call_that_wasnt_sent_for_lack_of_a_token_is_no_fault_of_the_apis(digdir):
    digdir.fault("status", status=400, path="/token$", body={"error": "invalid_client"}, times=None)
    await raised(digdir.client.list_clients())

    assert [call[:2] for call in digdir.observed] == [("list clients", "unsent")]


# What each failure becomes


@every_call
@pytest.mark.parametrize(("status", "kind"), [(400, BadRequestError), (409, AlreadyExistsError), (422, RejectedError)])
async def test_a_refusal_is_told_in_the_apis_words_without_its_ids(digdir, operation, status, kind):
    digdir.fault("status", status=status, path="/api/v1")

    error = await raised(CALLS[operation](digdir.client))

    assert type(error) is kind
    assert error.reason == "RefusedByDigDir"
    assert str(error) == (
        f"DigDir refused to {operation} (HTTP {status}: Simulated fault with status {status}): "
        "correct the spec, or ask the cluster admin if it names nothing of the spec"
    )


@every_call
@pytest.mark.parametrize("status", [401, 403])
async def test_missing_rights_are_said_to_the_cluster_admin(digdir, operation, status):
    digdir.fault("status", status=status, path="/api/v1", times=2)

    error = await raised(CALLS[operation](digdir.client))

    assert type(error) is RejectedError
    assert error.reason == "ForbiddenByDigDir"
    assert f"doesn't allow the operator to {operation} (HTTP {status}" in str(error)
    assert "a cluster admin must check the rights of the operator's own client" in str(error)


@every_call
@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
async def test_a_fault_of_digdir_is_temporary_and_leaves_a_write_unconfirmed(digdir, operation, status):
    digdir.fault("status", status=status, path="/api/v1")

    error = await raised(CALLS[operation](digdir.client))

    assert type(error) is (TransientError if operation in READS else OutcomeUnknownError)
    assert error.reason == "DigDirUnavailable"
    assert f"HTTP {status}" in str(error)


@every_call
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_dropped_answer_is_temporary_and_leaves_a_write_unconfirmed(digdir, operation, when):
    digdir.fault("drop", when=when, path="/api/v1")

    error = await raised(CALLS[operation](digdir.client))

    assert type(error) is (TransientError if operation in READS else OutcomeUnknownError)
    assert "can't be reached" in str(error)


@every_call
@pytest.mark.parametrize("fault", [httpx.ReadTimeout, httpx.WriteTimeout, httpx.ReadError, httpx.RemoteProtocolError])
async def test_a_call_that_was_sent_and_not_answered_leaves_a_write_unconfirmed(digdir, operation, fault):
    def answer(_):
        raise fault("private details")

    error = await raised(CALLS[operation](digdir.answering(answer)))

    assert type(error) is (TransientError if operation in READS else OutcomeUnknownError)
    assert fault.__name__ in str(error)
    assert "private details" not in str(error)


@every_write
@pytest.mark.parametrize("fault", NEVER_SENT)
async def test_a_write_that_was_never_sent_is_not_unconfirmed(digdir, operation, fault):
    def answer(_):
        raise fault("no")

    assert type(await raised(CALLS[operation](digdir.answering(answer)))) is TransientError


@every_call
async def test_a_gateways_error_page_goes_by(digdir, operation):
    digdir.fault("html", path="/api/v1")

    error = await raised(CALLS[operation](digdir.client))

    assert type(error) is (TransientError if operation in READS else OutcomeUnknownError)
    assert "<" not in str(error)


@pytest.mark.parametrize("operation", [name for name in CALLS if not name.startswith("delete")])
@pytest.mark.parametrize(
    "body",
    [b"<html>OK</html>", b"", b"5", b"null", b'"text"', b"[5]", b'[{"a": 1}]', b"\xff", b"[" * 100_000],
    ids=lambda body: body[:12].decode("latin-1"),
)
async def test_a_success_with_another_body_is_not_believed(digdir, operation, body):
    error = await raised(CALLS[operation](digdir.answering(lambda _: httpx.Response(200, content=body))))

    assert type(error) is (TransientError if operation in READS else OutcomeUnknownError)
    assert str(error) == (
        f"DigDir's answer to {operation} can't be read: if it stays so, a cluster admin must check the address"
    )


PAGES = [b"<html>Not found</html>", b"", b"5", b"null", b'"text"', b"[]", b"\xff", b"[" * 100_000]
every_page = pytest.mark.parametrize("body", PAGES, ids=lambda body: body[:12].decode("latin-1"))


@every_call
@every_page
async def test_a_gateways_404_doesnt_say_that_anything_is_absent(digdir, operation, body):
    error = await raised(CALLS[operation](digdir.answering(lambda _: httpx.Response(404, content=body))))

    assert type(error) is (TransientError if operation in READS else OutcomeUnknownError)
    assert "can't be read: if it stays so, a cluster admin must check the address" in str(error)


@pytest.mark.parametrize("operation", ["delete a client", "delete a client's keys"])
@pytest.mark.parametrize("body", [b"<html>OK</html>", b"\xff", b"{"])
async def test_a_deletion_that_is_answered_by_a_page_is_unconfirmed(digdir, operation, body):
    error = await raised(CALLS[operation](digdir.answering(lambda _: httpx.Response(200, content=body))))

    assert type(error) is OutcomeUnknownError
    assert "can't be read" in str(error)


@pytest.mark.parametrize("operation", ["delete a client", "delete a client's keys"])
@pytest.mark.parametrize(("status", "body"), [(200, b""), (204, b""), (200, b"{}"), (404, b"{}")])
async def test_a_deletion_is_done_whatever_the_api_says_on_success_or_absence(digdir, operation, status, body):
    await CALLS[operation](digdir.answering(lambda _: httpx.Response(status, content=body)))


async def test_a_client_that_the_api_says_is_absent_is_absent(digdir):
    client = digdir.answering(lambda _: httpx.Response(404, json={"errors": [{"errorMessage": "no such client"}]}))

    assert await client.find_client("client-1") is None
    assert await client.list_keys("client-1") == ()
    assert await client.delete_client("client-1") is False


@pytest.mark.parametrize(
    "jwks", [{"keys": [{"kty": "RSA"}]}, {"keys": "none"}, {"keys": [None]}, []], ids=["kid", "text", "null", "list"]
)
async def test_one_client_with_keys_that_cant_be_read_doesnt_hide_the_others(digdir, jwks):
    body = [fields(client_id="odd", jwks=jwks), fields(client_id="fine", jwks={"keys": [{"kid": "a"}]})]

    odd, fine = await digdir.answering(lambda _: httpx.Response(200, json=body)).list_clients()

    assert odd.keys is None
    assert [key.kid for key in fine.keys] == ["a"]


@pytest.mark.parametrize(
    "jwks", [{"keys": [{"kty": "RSA"}]}, {"keys": "none"}, {"keys": [None]}, []], ids=["kid", "text", "null", "list"]
)
async def test_of_a_list_of_clients_those_with_a_mark_are_read_whatever_the_others_are_like(digdir, jwks):
    body = [
        fields(client_id="odd", jwks=jwks),
        {"client_id": "nobodys", "description": ["some-cluster:"]},
        {"client_id": "bare"},
        fields(client_id="fine", jwks={"keys": [{"kid": "a"}]}),
        fields(client_id="another's", description="some-cluster-2:some-team:some-app"),
    ]
    client = digdir.answering(lambda _: httpx.Response(200, json=body))

    odd, fine = await client.list_owned_clients(OwnedClients("some-cluster:"))

    assert (odd, fine) == (read_registration(body[0]), read_registration(body[3]))
    assert odd.keys is None
    assert [key.kid for key in fine.keys] == ["a"]


@pytest.mark.parametrize(
    "body",
    [b"<html>OK</html>", b"", b"5", b"null", b'"text"', b"{}", b"[5]", b'[{"a": 1}]', b"\xff", b"[" * 100_000, b"[[]"],
    ids=lambda body: body[:12].decode("latin-1"),
)
async def test_another_body_than_a_list_of_clients_is_not_believed(digdir, body):
    client = digdir.answering(lambda _: httpx.Response(200, content=body))

    assert type(await raised(client.list_owned_clients(OwnedClients("some-cluster:")))) is TransientError


async def test_a_long_answer_goes_from_memory_once_it_was_read(digdir, monkeypatch):
    answers = []

    async def note(response):
        answers.append(weakref.ref(response))

    monkeypatch.setitem(digdir.http.event_hooks, "response", [note])
    await digdir.client.list_owned_clients(OwnedClients("some-cluster:"))
    gc.disable()  # which would come too late
    try:
        await digdir.client.list_owned_clients(OwnedClients("some-cluster:"))
        assert answers[-1]() is None
    finally:
        gc.enable()


async def test_others_get_their_turn_while_a_long_list_is_read(digdir):
    body = [fields(client_id=f"client-{number}") for number in range(5 * SLICE)]
    reading = asyncio.create_task(
        digdir.answering(lambda _: httpx.Response(200, json=body)).list_owned_clients(read := Counting("some-cluster:"))
    )
    seen = set()
    while not reading.done():
        await asyncio.sleep(0)
        seen.add(read.count)

    assert {SLICE, 2 * SLICE, 3 * SLICE, 4 * SLICE} <= seen
    assert len(await reading) == len(body)


class Counting(OwnedClients):
    """Counts what it has read."""

    count = 0

    def read(self, raw):
        self.count += 1
        return super().read(raw)


@every_call
async def test_a_redirect_is_not_followed(digdir, operation):
    asked = []

    def answer(request):
        asked.append(request.url)
        return httpx.Response(302, headers={"location": "http://elsewhere.test/"})

    error = await raised(CALLS[operation](digdir.answering(answer)))

    assert isinstance(error, TransientError)
    assert len(asked) == 1


# Fewer calls


@every_call
async def test_a_429_waits_as_long_as_asked(digdir, operation):
    digdir.fault("status", status=429, retry_after=17, path="/api/v1")

    error = await raised(CALLS[operation](digdir.client))

    assert type(error) is WaitingError
    assert (error.reason, error.retry_after) == ("RateLimited", 17.0)


async def test_a_429_holds_all_calls_back_until_its_time_and_none_longer(digdir):
    digdir.fault("status", status=429, retry_after=17, path="/clients$")
    await raised(digdir.client.list_clients())
    calls = digdir.simulator.ledger.last_sequence
    digdir.advance(7)
    for call in CALLS.values():
        held = await raised(call(digdir.client))
        assert type(held) is WaitingError
        assert held.retry_after == pytest.approx(10)
    assert digdir.simulator.ledger.last_sequence == calls

    digdir.advance(10)
    await digdir.client.list_clients()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("17", 17),
        (" 17 ", 17),
        ("1.5", 1.5),
        ("0", 1),
        ("86400", 600),
        ("1e400", 600),
        ("", 5),
        ("soon", 5),
        ("-5", 5),
        ("nan", 5),
        ("17 s", 5),
        ("²", 5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 5),
        ("Wed, 21 Oct 99999 07:28:00 GMT", 5),
        ("Wed, 21 Oct 2015 07:28:00 +9999999999999999999", 5),
    ],
)
def test_retry_after_is_seconds_or_a_date_within_bounds(text, seconds):
    assert parse_retry_after({"retry-after": text}) == seconds


def test_a_date_to_come_is_waited_for():
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)

    assert parse_retry_after({"retry-after": moment}) == pytest.approx(90, abs=3)


@given(st.text())
def test_any_retry_after_gives_a_wait_within_bounds(text):
    assert 1 <= parse_retry_after({"retry-after": text}) <= 600


# What is told


def refusal(**body):
    return httpx.Response(400, request=httpx.Request("GET", URL), **body)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"errors": [{"errorMessage": "one"}, {"errorMessage": "two"}], "error": ", one, two"}, ": one; two"),
        ({"error": ", joined, text"}, ": joined, text"),
        ({"error": "invalid_grant", "error_description": "Why (trace_id: abc123)"}, ": Why"),
        ({"error_description": "Why (correlation id abc123) and more"}, ": Why"),
        ({"error_description": "a\n\tb"}, ": a b"),
        ({"errors": ["text", None, {"errorMessage": None}], "correlation_id": "abc123"}, ""),
        ({"errors": {"a": 1}}, ""),
        ({"message": "unknown form"}, ""),
        (["a"], ""),
        (None, ""),
    ],
)
def test_a_detail_is_what_the_body_says_on_one_line_without_ids(body, detail):
    assert find_detail(refusal(json=body)) == detail


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"\xff\xfe", b"{", b"[" * 100_000], ids=lambda body: repr(body[:9])
)
def test_a_body_that_is_no_json_gives_no_detail(content):
    assert find_detail(httpx.Response(400, content=content)) == ""


def test_a_detail_is_cut():
    assert len(find_detail(refusal(json={"error": "x" * 9999}))) < 500


@pytest.mark.parametrize(
    "secret", ["eyJraWQiOiJzb21lIn0.eyJpc3MiOiJ4In0.c2lnbmF0dXJl", "an-opaque-token", "eyJraWQiOiJzb21l"]
)
def test_a_detail_hides_what_was_sent_in_confidence(secret):
    refused = refusal(json={"error_description": f"Token {secret} is no good"})
    refused.request.headers["Authorization"] = "Bearer an-opaque-token"

    assert find_detail(refused) == ": Token … is no good"


CAUSES = {
    "the name of the host isn't known": socket.gaierror(-2, "Name or service not known"),
    "the certificate there isn't trusted": ssl.SSLCertVerificationError(1, "certificate verify failed"),
    "nothing listens there": ConnectionRefusedError(111, "refused"),
}


@pytest.mark.parametrize(("explanation", "cause"), CAUSES.items(), ids=CAUSES)
@pytest.mark.parametrize("grouped", [False, True])
async def test_a_connection_that_cant_be_made_is_told_with_its_cause(digdir, explanation, cause, grouped):
    def fail(request):
        error = httpx.ConnectError("All connection attempts failed")
        error.__cause__ = OSError("all")
        error.__cause__.__cause__ = (
            ExceptionGroup("several", [OSError(101, "unreachable"), cause]) if grouped else cause
        )
        raise error

    with pytest.raises(TransientError, match=rf"list clients failed \(ConnectError: {explanation}\)"):
        await digdir.answering(fail).list_clients()


@every_call
@pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
async def test_no_message_has_a_token_or_a_correlation_id(digdir, operation, status):
    await digdir.client.list_clients()
    sent = []

    def answer(request):
        sent.append(request.headers["authorization"])
        return httpx.Response(status, json={"correlation_id": "abc123", "errors": [{"errorMessage": "no"}]})

    async with digdir.authorized(digdir.credentials, transport=httpx.MockTransport(answer)) as http:
        error = await raised(CALLS[operation](digdir.client_over(http)))

    assert sent
    assert "abc123" not in str(error)
    assert not [one for one in sent if one.split()[1] in repr(error)]
    assert error.__cause__ is None
