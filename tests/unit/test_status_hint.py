"""What is read of a status, whatever somebody wrote into it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.model.status_hint import ConditionHint, ScopeHint, StatusHint, read_status

SCOPE = {"name": "nav:a", "state": "Active", "consumers": 2}
READY = {
    "type": "Ready",
    "status": "True",
    "reason": "Synchronized",
    "message": "m",
    "lastTransitionTime": "2026-03-01T12:00:00Z",
    "observedGeneration": 3,
}


def test_a_whole_status_is_read():
    hint = StatusHint(
        {
            "clientID": "client-1",
            "synchronizationSecretName": "some-secret",
            "synchronizationHash": "0123",
            "exposedScopes": [SCOPE],
            "conditions": [READY],
        }
    )

    assert (hint.client_id, hint.secret_name, hint.fingerprint) == ("client-1", "some-secret", "0123")
    assert hint.exposed_scopes == (ScopeHint("nav:a", "Active", 2),)
    ready = hint.find_condition("Ready")
    assert (ready.status, ready.reason, ready.message, ready.since) == (
        "True",
        "Synchronized",
        "m",
        "2026-03-01T12:00:00Z",
    )
    assert ready.is_of(3)
    assert not ready.is_of(4)


@pytest.mark.parametrize("junk", [None, 5, "x", [], ["client-1"], {"a": 1}], ids=str)
def test_what_is_of_another_shape_is_as_if_it_wasnt_there(junk):
    hint = StatusHint({"clientID": junk, "synchronizationSecretName": junk, "exposedScopes": junk, "conditions": junk})

    assert hint.client_id in {None, "x"}
    assert hint.scope_names == hint.conditions == ()
    assert hint.find_condition("Ready") is None
    assert read_status({"status": junk}).client_id is None
    assert read_status({}).fields == {}


@pytest.mark.parametrize("junk", [None, 5, {}, {"name": 5}, {"name": None}], ids=str)
def test_a_scope_that_cant_be_read_is_counted_and_not_named(junk):
    hint = StatusHint({"exposedScopes": [junk, SCOPE]})

    assert hint.exposed_scopes == (ScopeHint(None, None), ScopeHint("nav:a", "Active", 2))
    assert hint.scope_names == ("nav:a",)


@pytest.mark.parametrize("status", [None, "true", "Maybe", 1, ["True"]], ids=str)
def test_a_conditions_status_is_one_of_three(status):
    assert ConditionHint({"status": status}).status == "Unknown"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*READY, *SCOPE]), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["clientID", "exposedScopes", "conditions", "synchronizationHash"]), ANYTHING))
def test_no_status_makes_it_fail(fields):
    hint = StatusHint(fields)

    assert hint.client_id is None or hint.client_id == fields["clientID"]
    assert set(hint.scope_names) <= {one.name for one in hint.exposed_scopes}
    assert all(one.status in {"True", "False", "Unknown"} for one in hint.conditions)
    assert (hint.find_condition("Ready") is None) == all(one.type != "Ready" for one in hint.conditions)
