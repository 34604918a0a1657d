"""What of a manifest differs from the object at the API server."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.plan.comparison import find_difference

NAMES = st.text("abcxyz", min_size=1, max_size=4)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text("abc1", max_size=3))
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=12
)
MANIFESTS = st.dictionaries(NAMES, VALUES, max_size=4)


def resources(**quantities):
    return {"spec": {"resources": {"limits": quantities}}}


def add_keys(value, data):
    """The value with further keys in any of its objects; the elements of its lists stay as many as they are."""
    if isinstance(value, dict):
        more = data.draw(st.dictionaries(NAMES.map(lambda name: f"more-{name}"), VALUES, max_size=2))
        return more | {name: add_keys(one, data) for name, one in value.items()}
    if isinstance(value, list):
        return [add_keys(one, data) for one in value]
    return value


def find_leaves(value, path=()):
    """The places of everything that is neither an object nor a list with something in it."""
    if isinstance(value, dict) and value:
        return [leaf for name, one in value.items() for leaf in find_leaves(one, (*path, name))]
    if isinstance(value, list) and value:
        return [leaf for number, one in enumerate(value) for leaf in find_leaves(one, (*path, number))]
    return [path]


def replace(value, path, new):
    changed = copy.deepcopy(value)
    *way, last = path
    place = changed
    for step in way:
        place = place[step]
    place[last] = new
    return changed


@given(MANIFESTS, st.booleans(), st.data())
def test_what_others_added_to_objects_is_no_difference(manifest, shared, data):
    assert find_difference(manifest, add_keys(manifest, data), shared_lists=shared) is None


@given(MANIFESTS.filter(bool), st.booleans(), st.data())
def test_every_changed_value_is_found(manifest, shared, data):
    path = data.draw(st.sampled_from(find_leaves(manifest)))
    changed = replace(manifest, path, "another")
    found = find_difference(manifest, changed, shared_lists=shared)
    assert found
    assert found.startswith(path[0])


@given(MANIFESTS.filter(bool), st.data())
def test_every_value_that_is_no_longer_there_is_found_unless_it_says_nothing(manifest, data):
    name = data.draw(st.sampled_from(sorted(manifest)))
    left = {one: value for one, value in manifest.items() if one != name}
    says_nothing = not manifest[name] and manifest[name] is not False
    assert find_difference(manifest, left) == (None if says_nothing else find_difference(manifest[name], None, name))


@pytest.mark.parametrize("left_out", [None, "", 0, [], {}])
def test_what_the_server_leaves_out_is_no_difference(left_out):
    assert find_difference({"a": left_out}, {}) is None


def test_a_false_that_is_missing_is_a_difference():
    """As `allowPrivilegeEscalation`, which is true where it isn't said."""
    assert find_difference({"a": False}, {}) == "a"


@pytest.mark.parametrize("left_out", ["", 0, [], {}])
def test_nothing_is_not_the_same_as_something(left_out):
    assert find_difference({"a": left_out}, {"a": "b"}) == "a"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1", 1),
        ("0.1Gi", "107374182400m"),
        ("1024Mi", "1Gi"),
        ("1e3", "1k"),
        ("1E", "1000P"),
        ("2000000n", "2m"),
        ("2000u", "2m"),
    ],
)
def test_one_quantity_in_two_notations_is_no_difference(written, shown):
    assert find_difference(resources(cpu=written), resources(cpu=shown)) is None


@pytest.mark.parametrize(
    ("written", "shown"),
    [("1", "2"), ("1Gi", "1G"), ("1", "1m"), ("many", "more"), ("1", ""), ("1e9999999", "1"), ("1x", "1"), ("NaN", 1)],
)
def test_two_quantities_are_a_difference(written, shown):
    assert find_difference(resources(cpu=written), resources(cpu=shown)) == "spec.resources.limits.cpu"


def test_a_number_elsewhere_is_compared_as_it_is_written():
    assert find_difference({"annotations": {"a": "1000m"}}, {"annotations": {"a": "1"}}) == "annotations.a"


def test_elements_with_names_are_found_in_any_order_and_others_are_left_alone():
    desired = {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
    observed = {"env": [{"name": "C"}, {"name": "B", "value": "2"}, {"name": "A", "value": "1"}]}
    assert find_difference(desired, observed) is None
    assert find_difference(desired, {"env": observed["env"][:2]}) == "env[A]"


def test_two_mounts_of_one_volume_are_told_apart_by_their_paths():
    mount = {"name": "credentials", "mountPath": "/a"}
    added = {"name": "credentials", "mountPath": "/b"}
    assert find_difference({"volumeMounts": [mount]}, {"volumeMounts": [mount, added]}) is None


def test_an_added_element_is_a_difference_where_a_list_is_one_value():
    desired = {"scopes": [{"name": "a"}]}
    observed = {"scopes": [{"name": "a"}, {"name": "b"}]}
    assert find_difference(desired, observed, shared_lists=False) == "scopes"
    assert find_difference({"scopes": []}, observed, shared_lists=False) == "scopes"


@pytest.mark.parametrize("shared", [True, False])
def test_another_owner_is_no_difference_though_it_has_the_same_name(shared):
    ours, theirs = {"name": "app", "uid": "1"}, {"name": "app", "uid": "2"}
    assert (
        find_difference({"ownerReferences": [ours]}, {"ownerReferences": [ours, theirs]}, shared_lists=shared) is None
    )
    assert find_difference({"ownerReferences": [ours]}, {"ownerReferences": [theirs]}, shared_lists=shared)


@pytest.mark.parametrize("observed", [["a"], ["b", "a"], ["a", "b", "c"], "ab", {"a": "b"}, None])
def test_the_order_and_number_of_plain_elements_count(observed):
    assert find_difference({"command": ["a", "b"]}, {"command": observed}).startswith("command")
