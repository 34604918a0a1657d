"""The operations on scopes through the real HTTP client: what they do, and what each failure becomes."""

import httpx
import pytest

from maskinporten_operator.adapters.digdir.wire import Grant
from maskinporten_operator.model.errors import (
    AlreadyExistsError,
    BadRequestError,
    OperatorError,
    OutcomeUnknownError,
    RejectedError,
    TransientError,
    WaitingError,
)
from tests.adapters.conftest import scope_fields

NAME = "nav:arbeid:some.scope.read"
KOMMUNE, SKATT, OWN = "123456789", "974761076", "889640782"
ALTINN = "https://www.altinn.no/"
ODD_NAMES = [
    "nav:a/b",
    "nav:a?b",
    "nav:a#b",
    "nav:a%b",
    "nav:a%2Fb",
    "nav:æøå",
    "nav:a&scope=x",
    "nav:a+b",
    "nav:a;b=c",
]

CALLS = {
    "list own scopes": lambda api: api.list_own(),
    "read a scope": lambda api: api.find(NAME),
    "list a scope's accesses": lambda api: api.list_accesses(NAME),
    "list granted scopes": lambda api: api.list_granted(),
    "list open scopes": lambda api: api.list_open(),
    "list delegated scopes": lambda api: api.list_delegated(),
    "list delegation sources": lambda api: api.list_delegation_sources(),
    "create a scope": lambda api: api.create(scope_fields()),
    "update a scope": lambda api: api.update(NAME, scope_fields()),
    "deactivate a scope": lambda api: api.deactivate(NAME),
    "grant access to a scope": lambda api: api.grant(NAME, KOMMUNE),
    "revoke access to a scope": lambda api: api.revoke(NAME, KOMMUNE),
}
READS = [name for name in CALLS if name.startswith(("list", "read"))]
every_call = pytest.mark.parametrize("operation", CALLS)


async def raised(awaitable):
    with pytest.raises(OperatorError) as caught:
        await awaitable
    return caught.value


def answering(digdir, *args, **kwargs):
    return digdir.scopes_answering(lambda _: httpx.Response(*args, **kwargs))


# What it does


@pytest.mark.parametrize("created_status", [200, 201])
@pytest.mark.parametrize("deleted_status", [200, 204])
async def test_a_scope_is_created_read_updated_and_deactivated(digdir, created_status, deleted_status):
    digdir.set(created_status=created_status, deleted_status=deleted_status)
    created = await digdir.scopes.create(scope_fields())
    assert (created.name, created.active) == (NAME, True)
    assert (await digdir.scopes.find(NAME)).fields == created.fields

    updated = await digdir.scopes.update(NAME, scope_fields(at_max_age=120))
    assert updated.fields["at_max_age"] == 120
    assert updated.active

    await digdir.scopes.deactivate(NAME)
    assert not (await digdir.scopes.find(NAME)).active


async def test_an_inactive_scope_is_activated_by_an_update(digdir):
    await digdir.scopes.create(scope_fields())
    await digdir.scopes.deactivate(NAME)

    assert (await digdir.scopes.update(NAME, scope_fields())).active


async def test_the_own_scopes_have_private_and_inactive_ones_among_them(digdir):
    digdir.seed("nav:inactive", active=False)

    listed = {one.name: one for one in await digdir.scopes.list_own()}

    assert set(listed) == {"nav:some/other/scope", "nav:private/scope", "nav:inactive"}
    assert not listed["nav:inactive"].active


@pytest.mark.parametrize("deleted_status", [200, 204])
async def test_access_is_granted_listed_and_revoked(digdir, deleted_status):
    digdir.set(deleted_status=deleted_status, access_list_includes_denied=True)
    await digdir.scopes.create(scope_fields())
    await digdir.scopes.grant(NAME, KOMMUNE)
    await digdir.scopes.grant(NAME, KOMMUNE)
    await digdir.scopes.grant(NAME, SKATT)
    await digdir.scopes.revoke(NAME, SKATT)

    listed = await digdir.scopes.list_accesses(NAME)

    assert set(listed) == {Grant(NAME, KOMMUNE, approved=True), Grant(NAME, SKATT, approved=False)}


async def test_what_isnt_there_is_read_as_nothing_and_deactivated_and_revoked_without_a_fault(digdir):
    assert await digdir.scopes.find(NAME) is None
    await digdir.scopes.deactivate(NAME)
    await digdir.scopes.create(scope_fields())
    await digdir.scopes.revoke(NAME, KOMMUNE)


async def test_what_the_organisation_was_granted_is_listed_and_what_is_merely_asked_for_isnt_approved(digdir):
    digdir.access("ks:not.granted", state="REQUESTED")

    listed = {one.scope: one.approved for one in await digdir.scopes.list_granted()}

    assert listed["skatt:some.scope"]
    assert not listed["ks:not.granted"]


async def test_open_scopes_and_those_that_may_be_delegated_are_listed(digdir):
    assert [one.name for one in await digdir.scopes.list_open()] == ["udir:some.open.scope"]
    (delegated,) = await digdir.scopes.list_delegated()
    assert (delegated.name, delegated.fields["delegation_source"]) == ("skatt:delegated.scope", ALTINN)


async def test_delegation_sources_are_known_by_their_names_in_small_letters(digdir):
    assert await digdir.scopes.list_delegation_sources() == {"altinn": ALTINN}


# Names and numbers


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_a_name_reaches_digdir_as_it_is_whatever_is_in_it(digdir, name):
    digdir.seed(name)

    assert (await digdir.scopes.find(name)).name == name
    await digdir.scopes.grant(name, KOMMUNE)
    assert [one.scope for one in await digdir.scopes.list_accesses(name)] == [name]
    await digdir.scopes.revoke(name, KOMMUNE)
    assert digdir.consumers(name) == set()
    await digdir.scopes.deactivate(name)
    assert not digdir.simulator.state.scope(name).active


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_a_scope_of_any_name_is_updated_and_no_other(digdir, name):
    digdir.seed(name)
    sent = []

    def answer(request):
        sent.append(request.url.params.multi_items())
        return httpx.Response(200, json={**scope_fields(name), "name": name})

    await digdir.scopes_answering(answer).update(name, scope_fields(name))

    assert sent == [[("scope", name)]]


@pytest.mark.parametrize(
    "orgno",
    ["..", ".", "", "a", "12345678", "1234567890", "12345678a", "١٢٣٤٥٦٧٨٩", "all", "../x", "123456789\n", "%2e%2e"],
)
async def test_what_is_no_organisation_number_makes_no_call(digdir, orgno):
    since = digdir.simulator.ledger.last_sequence

    for write in (digdir.scopes.grant, digdir.scopes.revoke):
        assert isinstance(await raised(write(NAME, orgno)), RejectedError)

    assert digdir.simulator.ledger.entries(since=since)["entries"] == []
    assert digdir.observed == []


async def test_a_name_longer_than_any_makes_no_call(digdir):
    assert await digdir.scopes.find("nav:" + "a" * 600) is None
    assert digdir.observed == []


# Failures


async def test_a_scope_of_another_organisation_is_forbidden_and_not_absent(digdir):
    assert (await raised(digdir.scopes.find("skatt:some.scope"))).reason == "ForbiddenByDigDir"


async def test_a_scope_that_exists_is_not_created_again_even_if_it_is_inactive(digdir):
    await digdir.scopes.create(scope_fields())
    await digdir.scopes.deactivate(NAME)

    error = await raised(digdir.scopes.create(scope_fields()))

    assert type(error) is AlreadyExistsError
    assert "already exists" in str(error)


async def test_a_consumer_with_a_wrong_number_is_refused_with_digdirs_words(digdir):
    digdir.set(orgno_check="checksum")
    await digdir.scopes.create(scope_fields())

    error = await raised(digdir.scopes.grant(NAME, KOMMUNE))

    assert type(error) is BadRequestError
    assert error.reason == "RefusedByDigDir"
    assert "wrong check digit" in str(error)


@pytest.mark.parametrize("operation", ["list own scopes", "list a scope's accesses", "list granted scopes"])
async def test_that_there_isnt_any_is_an_empty_list(digdir, operation):
    await digdir.scopes.create(scope_fields())
    digdir.fault("empty-list-error", path="/scopes")

    assert await CALLS[operation](digdir.scopes) == ()


@pytest.mark.parametrize("status", [400, 404])
async def test_another_refusal_of_a_list_is_no_empty_list(digdir, status):
    digdir.fault("status", status=status, path="/scopes$")

    assert isinstance(await raised(digdir.scopes.list_own()), RejectedError)


@every_call
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, RejectedError),
        (403, RejectedError),
        (409, AlreadyExistsError),
        (422, RejectedError),
    ],
)
async def test_a_refusal_is_told_as_one(digdir, operation, status, kind):
    error = await raised(CALLS[operation](answering(digdir, status, json={"error": "no"})))

    assert type(error) is kind
    assert isinstance(error, RejectedError)
    assert f"HTTP {status}" in str(error)


@every_call
async def test_a_call_for_fewer_calls_holds_all_back(digdir, operation):
    api = answering(digdir, 429, headers={"retry-after": "7"})

    assert (await raised(CALLS[operation](api))).retry_after == 7
    assert isinstance(await raised(api.list_own()), WaitingError)
    assert len(digdir.observed) == 1


@every_call
@pytest.mark.parametrize("status", [500, 502, 503])
async def test_after_a_fault_a_write_may_have_happened(digdir, operation, status):
    error = await raised(CALLS[operation](answering(digdir, status)))

    assert type(error) is (TransientError if operation in READS else OutcomeUnknownError)


@every_call
async def test_a_gateways_page_is_no_answer(digdir, operation):
    error = await raised(CALLS[operation](answering(digdir, 200, html="<html>hello</html>")))

    assert type(error) is (TransientError if operation in READS else OutcomeUnknownError)


@every_call
async def test_a_gateways_404_says_nothing_of_absence(digdir, operation):
    error = await raised(CALLS[operation](answering(digdir, 404, html="<html>not found</html>")))

    assert isinstance(error, TransientError)


@pytest.mark.parametrize("operation", [name for name in READS if name != "list delegation sources"])
@pytest.mark.parametrize("body", [5, "x", None, {"name": 5}], ids=str)
async def test_a_body_of_another_form_is_a_fault(digdir, operation, body):
    error = await raised(CALLS[operation](answering(digdir, 200, json=body)))

    assert type(error) is TransientError


@pytest.mark.parametrize("body", [[5], [None], [{}], [{"name": 5}], []], ids=str)
async def test_a_list_is_no_scope(digdir, body):
    assert type(await raised(answering(digdir, 200, json=body).find(NAME))) is TransientError


SCOPE_LISTS = ["list own scopes", "list open scopes", "list delegated scopes"]
ACCESS_LISTS = ["list a scope's accesses", "list granted scopes"]
ODD_ROWS = [5, None, "x", [], {}, {"name": 5}, {"prefix": "nav"}, {"scope": NAME}, {"consumer_orgno": KOMMUNE}]


def test_every_list_of_rows_is_told_apart():
    assert {*SCOPE_LISTS, *ACCESS_LISTS} == {*READS} - {"read a scope", "list delegation sources"}


@pytest.mark.parametrize("operation", SCOPE_LISTS)
@pytest.mark.parametrize("odd", ODD_ROWS, ids=str)
async def test_a_scope_in_a_list_that_cant_be_read_hides_no_other(digdir, operation, odd):
    rows = [{"name": "nav:first"}, odd, {"prefix": "nav", "subscope": "last"}]

    listed = await CALLS[operation](answering(digdir, 200, json=rows))

    assert [one.name for one in listed] == ["nav:first", "nav:last"]


@pytest.mark.parametrize("odd", [5, None, {}, {"name": "x"}, {"issuer": "x"}, {"name": 5, "issuer": "x"}], ids=str)
async def test_a_delegation_source_that_cant_be_read_hides_no_other(digdir, odd):
    rows = [{"name": "Altinn", "issuer": ALTINN}, odd, {"name": "other", "issuer": "https://other.test/"}]

    listed = await answering(digdir, 200, json=rows).list_delegation_sources()

    assert listed == {"altinn": ALTINN, "other": "https://other.test/"}


@pytest.mark.parametrize(("source", "kept"), [("", False), (ALTINN, True)])
async def test_an_empty_delegation_source_is_none(digdir, source, kept):
    body = scope_fields() | {"name": NAME, "delegation_source": source}

    read = await answering(digdir, 200, json=body).find(NAME)

    assert ("delegation_source" in read.fields) is kept


@pytest.mark.parametrize("operation", ACCESS_LISTS)
@pytest.mark.parametrize("odd", [*ODD_ROWS, {"scope": NAME, "consumer_orgno": 5}], ids=str)
async def test_an_access_in_a_list_that_cant_be_read_hides_no_other(digdir, operation, odd):
    rows = [
        {"scope": NAME, "consumer_orgno": KOMMUNE, "state": "APPROVED"},
        odd,
        {"scope": NAME, "consumer_orgno": SKATT, "state": 5},
    ]

    listed = await CALLS[operation](answering(digdir, 200, json=rows))

    assert listed == (Grant(NAME, KOMMUNE, approved=True), Grant(NAME, SKATT, approved=False))


@every_call
async def test_every_call_is_observed_by_its_operation(digdir, operation):
    await raised(CALLS[operation](answering(digdir, 418)))

    assert [(name, status) for name, status, _ in digdir.observed] == [(operation, "418")]
