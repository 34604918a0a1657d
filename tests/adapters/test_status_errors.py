"""What the API server's answers become."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.adapters.cluster.status_errors import (
    MAX_DETAIL_LENGTH,
    SCHEMA_MISMATCH,
    AbsentError,
    ExpiredError,
    translate_exception,
    translate_response,
    translate_status,
)
from maskinporten_operator.model.errors import (
    ConflictError,
    ForbiddenError,
    OperatorError,
    RejectedError,
    TerminatingError,
    TransientError,
    WaitingError,
)
from maskinporten_operator.plan.outcomes import not_ready


def translate(code, body=None, **headers):
    data = body if isinstance(body, bytes) else json.dumps(body or {"kind": "Status", "message": "why"}).encode()
    return translate_response(code, data, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (400, RejectedError, "RefusedByCluster"),
        (401, WaitingError, "RefusedByCluster"),
        (403, ForbiddenError, "RefusedByCluster"),
        (404, AbsentError, "RefusedByCluster"),
        (405, RejectedError, "RefusedByCluster"),
        (409, ConflictError, "RefusedByCluster"),
        (410, ExpiredError, "ClusterUnavailable"),
        (413, RejectedError, "RefusedByCluster"),
        (422, RejectedError, "RefusedByCluster"),
        (429, WaitingError, "ClusterUnavailable"),
        (302, TransientError, "ClusterUnavailable"),
        (500, TransientError, "ClusterUnavailable"),
        (503, TransientError, "ClusterUnavailable"),
        (504, TransientError, "ClusterUnavailable"),
    ],
)
def test_each_status_becomes_what_happens_next(code, kind, reason):
    error = translate(code)

    assert (type(error), error.reason) == (kind, reason)


@pytest.mark.parametrize("code", [401, 403])
def test_missing_rights_are_said_to_the_cluster_admin_and_looked_at_again_after_a_minute(code):
    error = translate(code, {"message": "exceeded quota: secrets"})

    assert error.retry_after == 60.0
    assert "a cluster admin must check rights and quotas (exceeded quota: secrets)" in str(error)


def test_a_refusal_says_who_can_mend_it_and_quotes_the_server():
    assert str(translate(422, {"message": "data: Too long"})) == (
        "The API server refused it: correct the spec, or tell a cluster admin (data: Too long)"
    )


def test_an_absent_object_nobody_expected_is_a_fault_that_goes_by():
    assert isinstance(AbsentError("gone"), TransientError)
    assert not_ready(translate(404).blocker).retry.delay is None


def test_a_served_crd_with_another_schema_is_said_to_the_cluster_admin():
    what = "(some-team/some-app; nais.io/v1, Kind=MaskinportenClient)"
    error = translate(500, {"message": f"{SCHEMA_MISMATCH} {what}: .status.x: field not declared in schema"})

    assert type(error) is RejectedError
    assert "install the operator's" in str(error)


def test_a_field_that_kubernetes_doesnt_know_is_told_by_what_the_api_server_said_of_it():
    what = "(some-team/some-app; apps/v1, Kind=Deployment)"
    where = '.spec.template.spec.containers[name="some-app"].env[name="X"].valueFrom.nais.io/v1'

    error = translate(500, {"message": f"{SCHEMA_MISMATCH} {what}: {where}: field not declared in schema"})

    assert type(error) is RejectedError
    assert "correct the spec" in str(error)
    assert f"{where}: field not declared in schema" in str(error)
    assert "install the operator's" not in str(error)


def test_a_namespace_that_is_being_deleted_is_known_by_the_cause_whatever_the_status():
    details = {"causes": [{"reason": "FieldValueInvalid"}, {"reason": "NamespaceTerminating"}]}

    for code in (403, 409):
        assert type(translate(code, {"details": details})) is TerminatingError


def test_the_http_status_wins_over_the_code_in_the_body():
    assert type(translate(503, {"code": 404})) is TransientError
    assert type(translate(404, {"code": 200})) is AbsentError
    assert type(translate(403, {"code": "junk"})) is ForbiddenError


def test_an_error_in_a_watch_is_known_by_its_code():
    assert type(translate_status({"code": 410, "message": "too old resource version"})) is ExpiredError
    assert type(translate_status({"code": 500})) is TransientError


@pytest.mark.parametrize("status", [{}, {"code": None}, {"code": "410"}, {"code": [410]}, {"code": {}}])
def test_an_error_in_a_watch_without_a_usable_code_is_a_fault_that_goes_by(status):
    assert type(translate_status(status)) is TransientError


@pytest.mark.parametrize(
    ("text", "seconds"), [("17", 17.0), ("0", 0.0), ("", 1.0), ("soon", 1.0), ("-5", 1.0), ("²", 1.0), ("٣", 1.0)]
)
def test_retry_after_is_a_number_of_seconds_or_one_second(text, seconds):
    assert translate(429, Retry_After=text).retry_after == seconds


def test_a_429_without_a_retry_after_waits_a_second():
    assert translate(429).retry_after == 1.0


def test_a_long_message_is_cut():
    assert len(str(translate(422, {"message": "x" * 9999}))) < MAX_DETAIL_LENGTH + 200


ODD = [
    b"",
    b"<html>Bad gateway</html>",
    b"\xff\xfe",
    b"5",
    b"null",
    b"[]",
    b"[" * 100_000,
    b'{"message": 5}',
    b'{"message": null, "details": null}',
    b'{"details": 5}',
    b'{"details": []}',
    b'{"details": {"causes": 5}}',
    b'{"details": {"causes": true}}',
    b'{"details": {"causes": "NamespaceTerminating"}}',
    b'{"details": {"causes": {"reason": "NamespaceTerminating"}}}',
    b'{"details": {"causes": [null, 5, [], "text"]}}',
]


@pytest.mark.parametrize("body", ODD, ids=lambda body: repr(body[:40]))
@pytest.mark.parametrize("code", [403, 404, 422, 429, 500])
def test_an_odd_body_changes_nothing_of_what_the_status_says(code, body):
    assert type(translate(code, body)) is type(translate(code))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["code", "message", "details", "causes", "reason"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(json_values, st.integers(300, 599), st.text())
def test_no_answer_makes_translating_raise(body, code, retry_after):
    error = translate(code, json.dumps(body).encode(), Retry_After=retry_after)

    assert isinstance(error, OperatorError)
    if isinstance(body, dict):
        assert isinstance(translate_status(body), OperatorError)


def test_an_exchange_that_failed_goes_by_and_its_text_isnt_shown():
    error = translate_exception(OSError("private details"))

    assert (type(error), error.reason) == (TransientError, "ClusterUnavailable")
    assert str(error) == "The API server can't be reached (OSError)"
