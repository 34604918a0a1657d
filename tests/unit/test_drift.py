"""Which members of a thing at DigDir differ from what they should be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.plan.drift import find_drift

members = st.dictionaries(
    st.sampled_from(["a", "b", "c"]), st.none() | st.booleans() | st.integers(0, 3) | st.lists(st.sampled_from("xyz"))
)


def test_what_differs_is_named_in_the_order_of_what_is_desired():
    assert find_drift({"a": 1, "b": 2, "c": 3}, {"c": 4, "b": 2, "a": 5}) == ["c", "a"]


def test_what_nobody_desires_is_no_drift():
    assert find_drift({"a": 1, "theirs": 2}, {"a": 1}) == []


def test_what_the_api_leaves_out_is_null():
    assert find_drift({}, {"a": None}) == []
    assert find_drift({"a": None}, {"a": 1}) == ["a"]
    assert find_drift({"a": 1}, {"a": None}) == ["a"]


def test_lists_have_no_order():
    assert find_drift({"a": ["y", "x"]}, {"a": ["x", "y"]}) == []
    assert find_drift({"a": ["x"]}, {"a": ["x", "y"]}) == ["a"]


@pytest.mark.parametrize("read", [[None, "x"], [5], [{}], "x", 5, {"x": 1}, None])
def test_a_value_of_another_form_is_drift_and_no_fault(read):
    assert find_drift({"a": read}, {"a": ["x"]}) == ["a"]


@given(members, members)
def test_what_is_put_in_place_has_not_drifted(read, desired):
    assert find_drift(read | desired, desired) == []
    assert set(find_drift(read, desired)) <= desired.keys()
