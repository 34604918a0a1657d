"""The contract of DigDir's API as data, and its checks."""

import re
from pathlib import Path

import pytest

from digdir_contract import Kind, check_answer, check_body, check_path, check_query, load

CONTRACT = load()
CLIENT = {
    "client_name": "NAV",
    "description": "a client",
    "integration_type": "maskinporten",
    "scopes": ["skatt:some.scope"],
    "grant_types": ["urn:ietf:params:oauth:grant-type:jwt-bearer"],
    "token_endpoint_auth_method": "private_key_jwt",
}
SECRET = "very-secret"
ROOT = Path(__file__).parents[2]
ROW = r"^\| `(\w+)` \| ([^|]+) \|"


def of_body(operation: str, document: object) -> set[tuple[Kind, str]]:
    return {(found.kind, found.name) for found in check_body(CONTRACT.operations[operation], document)}


def of_query(operation: str, *query: tuple[str, str]) -> set[tuple[Kind, str]]:
    return {(found.kind, found.name) for found in check_query(CONTRACT.operations[operation], query)}


def of_answer(operation: str, *answer) -> set[tuple[Kind, str]]:
    return {(found.kind, found.name) for found in check_answer(CONTRACT.operations[operation], *answer)}


def test_every_item_names_a_source_that_is_explained():
    used = {source for _, item in CONTRACT.list_items() for source in CONTRACT.find_sources(item)}
    assert used <= CONTRACT.sources.keys()
    assert len(list(CONTRACT.list_items())) > 100


def test_what_rests_on_inference_alone_says_so():
    for place, item in CONTRACT.list_items():
        if CONTRACT.find_sources(item) == ("inference",):
            assert CONTRACT.find_confidence(item) == "inference", place


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/scopes/access/all", "list-accesses-given-to-me"),
        ("PUT", "/scopes/access/889640782", "grant-access"),
        ("GET", "/scopes/all", "list-all-scopes"),
        ("DELETE", "/clients/some-id/jwks", "delete-keys"),
        ("GET", "/clients/some-id/jwks/a.kid", "read-key"),
    ],
)
def test_a_path_has_its_operation(method: str, path: str, name: str):
    match = CONTRACT.match(method, path)
    assert match is not None
    assert match.operation is CONTRACT.operations[name]


@pytest.mark.parametrize(("method", "path"), [("PATCH", "/clients"), ("GET", "/clients/"), ("POST", "/clients/id/key")])
def test_a_path_that_is_not_published_has_no_operation(method: str, path: str):
    assert CONTRACT.match(method, path) is None


def test_an_operation_is_found_in_its_own_version_only():
    match = CONTRACT.match("POST", "/clients/id/key", version="v2")
    assert match is not None
    assert match.parameters == {"client_id": "id"}


def test_a_parameter_of_type_boolean_is_true_or_false_in_any_case():
    assert of_query("list-all-scopes", ("delegated_sources", "TRUE"), ("inactive", "false")) == set()
    wrong = check_query(CONTRACT.operations["list-all-scopes"], [("delegated_sources", "https://www.altinn.no/")])
    assert [(found.kind, found.name, found.refused) for found in wrong] == [(Kind.TYPE, "delegated_sources", True)]


def test_an_unknown_parameter_is_found_and_not_refused():
    (found,) = check_query(CONTRACT.operations["list-clients"], [("page", "2")])
    assert (found.kind, found.refused) == (Kind.UNKNOWN, False)


def test_a_parameter_that_is_needed_or_repeated_is_found():
    assert of_query("read-scope") == {(Kind.MISSING, "scope")}
    assert of_query("read-scope", ("scope", "a:b"), ("scope", "a:c")) == {(Kind.REPEATED, "scope")}


def test_an_integration_type_is_known_in_either_case():
    assert of_query("list-all-scopes", ("integration_type", "MASKINPORTEN")) == set()
    assert of_query("list-all-scopes", ("integration_type", "other")) == {(Kind.UNKNOWN, "integration_type")}


def test_a_consumer_in_a_path_has_nine_digits():
    assert check_path({"consumer_orgno": "889640782"}) == []
    assert [found.kind for found in check_path({"consumer_orgno": "88964078²"})] == [Kind.LIMIT]


def test_a_client_as_documented_breaks_nothing():
    assert of_body("create-client", CLIENT) == set()


def test_null_is_as_good_as_left_out():
    assert of_body("create-client", CLIENT | {"redirect_uris": None}) == set()
    assert of_body("create-client", CLIENT | {"client_name": None}) == {(Kind.MISSING, "client_name")}


@pytest.mark.parametrize(
    ("member", "value", "kind", "name"),
    [
        ("scopes", "skatt:some.scope", Kind.TYPE, "scopes"),
        ("scopes", ["a", 1], Kind.TYPE, "scopes[]"),
        ("access_token_lifetime", True, Kind.TYPE, "access_token_lifetime"),
        ("access_token_lifetime", "120", Kind.TYPE, "access_token_lifetime"),
        ("access_token_lifetime", 2**63, Kind.TYPE, "access_token_lifetime"),
        ("refresh_token_lifetime", 0, Kind.LIMIT, "refresh_token_lifetime"),
        ("authorization_lifetime", 0, Kind.FORM_LIMIT, "authorization_lifetime"),
        ("description", "d" * 256, Kind.FORM_LIMIT, "description"),
        ("integration_type", "other", Kind.ENUM, "integration_type"),
        ("grant_types", ["password"], Kind.ENUM, "grant_types[]"),
        ("created", "2026-01-19T09:40:37Z", Kind.READ_ONLY, "created"),
        ("client_uri", "https://nav.no", Kind.UNKNOWN, "client_uri"),
    ],
)
def test_a_wrong_member_of_a_client_is_found(member: str, value: object, kind: Kind, name: str):
    assert of_body("create-client", CLIENT | {member: value}) == {(kind, name)}


def test_read_only_members_of_which_digdir_says_nothing_may_be_sent_back():
    assert of_body("update-client", CLIENT | {"jwks": {"keys": []}, "onbehalfof": []}) == set()


def test_what_the_api_alone_sets_is_no_part_of_something_new():
    assert of_body("create-client", CLIENT | {"jwks": {"keys": []}}) == {(Kind.READ_ONLY, "jwks")}
    scope = {"prefix": "nav", "subscope": "a", "description": "b", "protected": False}
    assert of_body("create-scope", scope) == {(Kind.READ_ONLY, "protected")}
    assert of_body("update-scope", scope) == set()


def test_members_of_keys_are_named_with_their_place():
    key = {"kty": "EC", "kid": "a key", "use": "sig", "n": "AQAB", "e": "AQAB"}
    assert of_body("replace-keys", {"keys": [key]}) == {(Kind.ENUM, "keys[].kty"), (Kind.LIMIT, "keys[].kid")}
    assert of_body("replace-keys", {"keys": []}) == {(Kind.LIMIT, "keys")}
    assert of_body("replace-keys", {"keys": ["key"]}) == {(Kind.TYPE, "keys[]")}


def test_a_body_where_none_is_taken_is_found():
    assert of_body("grant-access", {}) == {(Kind.UNKNOWN, "")}
    assert check_body(CONTRACT.operations["grant-access"]) == []


def test_a_body_that_is_no_object_is_found():
    assert of_body("create-client", []) == {(Kind.TYPE, "")}
    assert [found.kind for found in check_body(CONTRACT.operations["create-client"])] == [Kind.TYPE]


def test_no_finding_quotes_a_value():
    wrong = {"client_name": [SECRET], "description": SECRET * 50, "integration_type": SECRET, "scopes": [{"d": SECRET}]}
    findings = check_body(CONTRACT.operations["create-client"], wrong)
    findings += check_query(
        CONTRACT.operations["list-all-scopes"], [("inactive", SECRET), ("integration_type", SECRET)]
    )
    assert len(findings) > 5
    assert not [str(found) for found in findings if SECRET in str(found)]


def test_answers_may_hold_instants_in_every_form_that_was_seen():
    instants = ["2026-01-19T09:40:37.258551Z", "2021-01-13T10:53:56.301+01:00", "2018-11-28T14:11:35+01:00"]
    assert of_answer("list-own-scopes", 200, [{"created": instant} for instant in instants]) == set()
    assert of_answer("list-own-scopes", 200, [{"created": "yesterday"}]) == {(Kind.TYPE, "[].created")}


def test_what_is_wrong_with_many_rows_is_told_once():
    rows = [{"at_max_age": "1"}, {"at_max_age": "2"}, "row", {"new_member": 1}]
    kinds = check_answer(CONTRACT.operations["list-own-scopes"], 200, rows)
    assert [(found.kind, found.name) for found in kinds] == [
        (Kind.TYPE, "[].at_max_age"),
        (Kind.TYPE, "[]"),
        (Kind.UNKNOWN, "[].new_member"),
    ]


def test_answers_of_another_form_or_status_are_found():
    assert of_answer("list-clients", 200, {}) == {(Kind.TYPE, "")}
    assert of_answer("read-client", 200) == {(Kind.TYPE, "")}
    assert of_answer("read-client", 202, {"client_id": "id"}) == {(Kind.STATUS, "")}
    assert of_answer("read-client", 418) == {(Kind.STATUS, "")}
    assert of_answer("read-client", 404, {"status": "404"}) == {(Kind.TYPE, "status")}


def test_deletions_may_be_answered_without_a_body():
    assert of_answer("delete-scope", 204) == set()
    assert of_answer("delete-scope", 200) == set()


def test_limits_of_requests_do_not_hold_for_answers():
    assert of_answer("read-client", 200, {"client_id": "id", "refresh_token_lifetime": 0}) == set()


def test_the_documentation_has_a_row_for_each_question_with_its_answers():
    text = (ROOT / "docs" / "simulator.md").read_text().split("### What isn't known")[1]
    rows = {name: set(re.findall("`([^`]+)`", values)) for name, values in re.findall(ROW, text, re.MULTILINE)}
    assert rows == {name: {str(value).lower() for value in one.values} for name, one in CONTRACT.unknown.items()}


@pytest.mark.parametrize("name", ["eyJraWQiOiJzb21lIn0.eyJpc3MiOiJ4In0.c2lnbmF0dXJl", "with spaces", "x" * 41])
def test_of_an_unknown_member_what_may_be_a_value_is_not_told(name):
    (finding,) = check_answer(CONTRACT.operations["read-client"], 200, {name: 1})

    assert str(finding) == "answer … is not known"
