"""What `doctor` concludes, without asking anybody."""

import pytest

from maskinporten_operator.model.registrations import Registration
from maskinporten_operator.model.scopes import RegisteredScope
from maskinporten_operator.plan.findings import (
    MAX_RUN_SECONDS,
    CheckState,
    Environments,
    advise,
    build_trial_description,
    check_addresses,
    check_expiry,
    choose_trial_scopes,
    describe_shape,
    find_leftovers,
    find_missing_members,
    show_url,
)
from tests.unit.fakes import registration_fields

DAY = 86400.0
ENVIRONMENTS = Environments(
    {"production": "https://api.prod.example", "test": "https://api.test.example"},
    {"production": "https://issuer.prod.example/", "test": "https://issuer.test.example/"},
)


@pytest.mark.parametrize(
    ("document", "shape"),
    [
        ({"a": 1, "b": "x", "c": None, "d": True, "e": 1.5}, dict(zip("abcde", WORDS := (
            "integer", "string", "null", "boolean", "number"), strict=True))),
        ([{"a": 1}, {"a": "x", "b": 1}], [{"a": "integer or string", "b?": "integer"}]),
        ([{"a": ["x"]}, {"a": []}], [{"a": ["string"]}]),
        ([1, {"a": 1}, []], ["array or integer or object"]),
        ([], []),
        ({"some secret value": 1, "a": 1}, {"a": "integer", "…": "members that aren't named here"}),
        ({"a" * 41: 1}, {"…": "members that aren't named here"}),
    ],
    ids=["members", "rows that differ", "empty arrays", "a mixture", "no rows", "a value as a name", "a long name"],
)  # fmt: skip
def test_of_a_document_only_the_types_are_told(document, shape):
    assert describe_shape(document) == shape


def test_a_document_that_is_nested_deeply_is_cut():
    document = []
    for _ in range(500):
        document = [document]

    assert str(describe_shape(document)).count("[") < 20


@pytest.mark.parametrize(
    ("expires", "state"),
    [(None, "passed"), (100 * DAY, "passed"), (29 * DAY, "warning"), (0.0, "failed"), (-DAY, "failed")],
)
def test_credentials_that_end_are_told(expires, state):
    now = 1_760_000_000.0

    assert check_expiry(None if expires is None else now + expires, now).state == state


@pytest.mark.parametrize(
    ("base_url", "well_known_url", "state"),
    [
        ("https://api.test.example/api/v1", "https://issuer.test.example/x", CheckState.PASSED),
        ("https://api.test.example/api/v1", "https://issuer.prod.example/x", CheckState.FAILED),
        ("https://issuer.test.example/api/v1", "https://api.prod.example/x", CheckState.FAILED),
        ("https://api.test.example/api/v1", "https://elsewhere.example/x", CheckState.WARNING),
        ("http://simulator/api/v1", "http://simulator/x", CheckState.PASSED),
    ],
)
def test_addresses_of_different_environments_are_told_apart(base_url, well_known_url, state):
    assert check_addresses(base_url, well_known_url, ENVIRONMENTS).state == state


def test_no_password_in_an_address_is_shown():
    url = "https://user:very-secret@api.test.example:8443/api/v1"

    assert show_url(url) == "https://api.test.example:8443/api/v1"
    assert "very-secret" not in check_addresses(url, url, ENVIRONMENTS).message


@pytest.mark.parametrize(
    ("answer", "who"),
    [
        ((None, False), "A cluster admin must check the address, DNS"),
        ((503, True), "Try again later"),
        ((429, True), "Try again later"),
        ((302, False), "a web page, a gateway or a proxy"),
        ((404, False), "a web page, a gateway or a proxy"),
        ((401, True), "both addresses are of the same environment"),
        ((409, True), "whoever maintains the operator"),
    ],
)
def test_who_can_mend_a_failed_call_is_told_by_its_answer(answer, who):
    status, is_json = answer

    assert who in advise(status, is_json=is_json)


def test_a_right_that_is_missing_is_named_and_one_that_is_there_is_not():
    needed = ("a.read",)

    assert advise(403, is_json=True, needed=needed, granted=()).endswith("must give the operator's client a.read")
    assert "a.read" not in advise(403, is_json=True, needed=needed, granted=needed)


@pytest.mark.parametrize(
    ("schema", "document", "missing"),
    [
        ("Client", {"client_id": "x", "description": "", "integration_type": "", "scopes": []}, ()),
        ("Client", {"client_id": "x", "description": None, "integration_type": ""}, ("description", "scopes")),
        ("Access", {"scope": "x"}, ("consumer_orgno", "state")),
        ("Access", "x", ()),
        ("Unknown", {}, ()),
        (None, {}, ()),
    ],
)
def test_members_that_the_operator_relies_on_are_missed(schema, document, missing):
    assert find_missing_members(schema, document) == missing


def scope(name, **fields):
    return RegisteredScope(name, fields)


def test_scopes_for_the_trial_concern_as_few_as_possible():
    opened = [scope("open:one"), scope("open:api", allowed_integration_types=["api_klient"])]
    own = [scope("own:one"), scope("own:gone", active=False)]

    assert choose_trial_scopes("some:default", opened, ["granted:one", "open:one"], own) == (
        "some:default",
        "open:one",
        "granted:one",
        "own:one",
    )
    assert len(choose_trial_scopes(None, [], [f"granted:{n}" for n in range(100)], [])) == 5


def client(client_id, description, **fields):
    return Registration(client_id, registration_fields(client_id=client_id, description=description, **fields), ())


def describe(cluster, begun, run="a" * 16):
    return build_trial_description(cluster, run, begun)


def test_what_runs_left_behind_is_known_by_description_and_age():
    now = 1_760_000_000.0
    long_ago = now - MAX_RUN_SECONDS - 1
    clients = [
        client("own", describe("some-cluster", long_ago)),
        client("of an earlier version", "maskinporten-operator doctor of cluster some-cluster; made to be deleted"),
        client("odd", describe("some-cluster", long_ago).replace("2025-10", "2025-99")),
        client("running", describe("some-cluster", now - MAX_RUN_SECONDS + 1)),
        client("of a clock that is ahead", describe("some-cluster", now + 60)),
        client("gone", describe("some-cluster", long_ago), active=False),
        client("other", describe("other-cluster", long_ago)),
        client("of a longer name", describe("some-cluster-2", now)),
        client("by hand", "maskinporten-operator doctor"),
        client("a resource's", "some-cluster:maskinporten-operator:doctor"),
    ]

    leftovers = find_leftovers(clients, "some-cluster", now)
    assert [one.client_id for one in leftovers.own] == ["own", "of an earlier version", "odd"]
    assert [one.client_id for one in leftovers.running] == ["running", "of a clock that is ahead"]
    assert [one.client_id for one in leftovers.others] == ["other", "of a longer name"]


def test_no_two_runs_describe_their_clients_alike():
    assert describe("some-cluster", 0.0, "a" * 16) != describe("some-cluster", 0.0, "b" * 16)
