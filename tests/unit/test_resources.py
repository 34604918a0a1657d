import itertools
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.model.maskinportenclient import SUBSCOPE_PATTERN, MaskinportenClientSpec, parse
from maskinporten_operator.model.resources import MAX_NAME_LENGTH, InvalidSpec
from tests.specs import ACCEPTED, EVERY_FIELD, MAX_EXPOSED, REFUSED, exposed, exposing


def parse_spec(spec, name="some-app"):
    metadata = {
        "namespace": "some-team",
        "name": name,
        "uid": "b9d2",
        "resourceVersion": "12",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    return parse({"metadata": metadata, "spec": spec}).spec


@pytest.mark.parametrize("spec", ACCEPTED.values(), ids=ACCEPTED)
def test_the_model_accepts(spec):
    assert isinstance(parse_spec(spec), MaskinportenClientSpec)


@pytest.mark.parametrize(("spec", "fault"), REFUSED.values(), ids=REFUSED)
def test_the_model_refuses_and_says_where(spec, fault):
    began = time.process_time()
    outcome = parse_spec(spec)

    assert isinstance(outcome, InvalidSpec)
    assert fault in outcome.message
    assert time.process_time() - began < 5.0


def test_a_name_has_at_most_as_many_characters_as_a_labels_value():
    assert isinstance(parse_spec(EVERY_FIELD, "a" * MAX_NAME_LENGTH), MaskinportenClientSpec)

    outcome = parse_spec(EVERY_FIELD, "a" * (MAX_NAME_LENGTH + 1))

    assert outcome == InvalidSpec("metadata.name: must have at most 63 characters")


def test_every_written_field_is_read():
    spec = parse_spec(EVERY_FIELD)

    assert spec.model_dump(mode="json", by_alias=True, exclude_unset=True) == EVERY_FIELD


def test_what_is_left_out_has_its_documented_default():
    (scope,) = parse_spec(exposing(exposed())).scopes.exposes

    assert scope.at_max_age == 30
    assert scope.allowed_integrations == ("maskinporten",)
    assert scope.visibility == "public"
    assert not scope.accessible_for_all
    assert scope.consumers == ()
    assert scope.delegation_source is None


@pytest.mark.parametrize(
    ("scope", "subscope"),
    [
        (exposed("some.scope"), "arbeid:some.scope"),
        (exposed("some/scope"), "arbeid/some/scope"),
        (exposed("some.scope", separator="/"), "arbeid/some.scope"),
        (exposed("some.scope", separator="."), "arbeid.some.scope"),
    ],
)
def test_the_separator_is_the_one_written_or_the_one_that_the_name_implies(scope, subscope):
    assert parse_spec(exposing(scope)).scopes.exposes[0].subscope == subscope


def test_a_message_is_short_however_wrong_and_long_the_spec_is():
    outcome = parse_spec(exposing(*(exposed("!" * 10_000) for _ in range(MAX_EXPOSED))))

    assert isinstance(outcome, InvalidSpec)
    assert len(outcome.message) < 2_000
    assert outcome.message.endswith("and 495 more")


@pytest.mark.parametrize("spec", [None, {}, {"secretName": None}, {"secretName": 7}, {"secretName": "a", "scopes": []}])
def test_a_spec_of_another_shape_is_an_outcome_and_no_exception(spec):
    assert isinstance(parse_spec(spec), InvalidSpec)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["secretName", "scopes", "consumes", "exposes", "name", "product", "consumers", "orgno"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    )
)
def test_no_document_makes_parsing_raise(document):
    assert parse_spec(document) is not None


def test_the_linear_matcher_knows_the_same_language_as_the_backtracking_one():
    for length in range(1, 6):
        for letters in itertools.product("aæ0/:.A", repeat=length):
            name = "".join(letters)
            matches = re.fullmatch(SUBSCOPE_PATTERN, name) is not None
            outcome = parse_spec(exposing(exposed(name, separator="/")))
            assert isinstance(outcome, MaskinportenClientSpec) == matches, name
