"""What only one resource can have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.model.claims import claim_scope, claim_secret, find_claims
from maskinporten_operator.model.maskinportenclient import ExposedScope, parse
from maskinporten_operator.model.resources import InvalidSpec
from tests.specs import ACCEPTED, exposed, exposing
from tests.unit.fakes import NAMESPACE, SECRET, resource_body

OWN = claim_secret(NAMESPACE, SECRET)


def claims(spec):
    return find_claims(resource_body(spec=spec))


def test_a_secret_is_claimed_in_its_namespace_and_a_scope_in_all():
    assert claims(exposing(exposed())) == {OWN, claim_scope("arbeid:some.scope.read")}
    assert claim_secret("a", "x") != claim_secret("b", "x")


def test_a_disabled_scope_is_not_claimed():
    assert claims(exposing(exposed(enabled=False))) == {OWN}


@pytest.mark.parametrize("enabled", [True, False])
def test_of_a_scope_that_is_written_twice_the_last_tells_whether_it_is_claimed(enabled):
    found = claims(exposing(exposed(enabled=not enabled), exposed(separator=":", enabled=enabled)))

    assert found == ({OWN, claim_scope("arbeid:some.scope.read")} if enabled else {OWN})


def test_a_secret_and_a_scope_of_one_name_are_two_claims():
    assert claim_secret("a", "b") != claim_scope("a/b")


def test_what_is_gone_claims_nothing():
    assert find_claims({}) == frozenset()


@pytest.mark.parametrize("spec", ACCEPTED.values(), ids=ACCEPTED)
def test_every_enabled_scope_of_a_valid_spec_is_claimed_by_its_subscope(spec):
    parsed = parse(resource_body(spec=spec)).spec
    assert not isinstance(parsed, InvalidSpec)

    enabled = {claim_scope(scope.subscope) for scope in parsed.exposed_scopes.values() if scope.enabled}

    assert claims(spec) == enabled | {claim_secret(NAMESPACE, parsed.secret_name)}


@pytest.mark.parametrize(
    ("name", "separator"),
    [(name, separator) for name in ("ab", "ab.cd") for separator in (None, ":", "/", ".")]
    + [("ab/cd", None), ("ab/cd", "/")],
)
def test_a_claim_takes_the_separator_that_the_scope_has(name, separator):
    fields = {"separator": separator} if separator else {}

    subscope = ExposedScope.model_validate(exposed(name, **fields)).subscope

    assert claim_scope(subscope) in claims(exposing(exposed(name, **fields)))


@pytest.mark.parametrize("junk", [None, 5, "x", [], {}, [None], [5], ["x"], [[]], [{}], [{"enabled": True}]])
def test_a_spec_that_isnt_valid_claims_what_can_be_read_of_it(junk):
    assert claims({"secretName": SECRET, "scopes": {"exposes": junk}}) == {OWN}
    assert claims({"secretName": SECRET, "scopes": junk}) == {OWN}


def test_one_wrong_scope_doesnt_take_the_others_claims():
    spec = exposing({"enabled": True, "product": 5, "name": "x"}, exposed(separator=["/"]), exposed("other"))

    assert claims(spec) == {OWN, claim_scope("arbeid:other")}


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["exposes", "enabled", "name", "product", "separator", "x"]), inner, max_size=4
        )
    ),
)


@given(json, json)
def test_no_spec_that_somebody_can_write_makes_it_fail(secret, scopes):
    assert all(isinstance(claim.name, str) for claim in claims({"secretName": secret, "scopes": scopes}))
