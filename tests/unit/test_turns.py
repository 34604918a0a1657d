"""Lines of what waits: namespaces take turns, and within one who came first goes first."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.model.turns import Turns

ITEMS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), unique=True)


def fill(items):
    turns = Turns()
    for namespace, number in items:
        turns.add(namespace, (namespace, number))
    return turns


def take_all(turns):
    return [turns.take() for _ in range(len(turns))]


def test_namespaces_take_turns_however_much_one_of_them_has():
    turns = fill([("a", 1), ("a", 2), ("a", 3), ("b", 1), ("c", 1), ("b", 2)])

    assert take_all(turns) == [("a", 1), ("b", 1), ("c", 1), ("a", 2), ("b", 2), ("a", 3)]


def test_a_namespace_that_comes_later_waits_for_one_turn_of_each_other_at_most():
    turns = fill([("a", number) for number in range(100)])
    turns.take()
    turns.add("b", "late")

    assert [turns.take(), turns.take()] == [("a", 1), "late"]


def test_an_item_that_is_added_again_keeps_its_place():
    turns = fill([("a", 1), ("a", 2)])
    turns.add("a", ("a", 1))

    assert take_all(turns) == [("a", 1), ("a", 2)]


def test_an_item_that_is_given_up_leaves_nothing_behind():
    turns = fill([("a", 1)])
    turns.discard("a", ("a", 1))
    turns.discard("a", ("a", 1))

    assert not turns
    assert list(turns) == []


@given(ITEMS)
def test_everything_is_taken_once_and_in_the_order_of_its_own_namespace(items):
    turns = fill(items)
    taken = take_all(turns)

    for namespace in "abc":
        assert [one for one in taken if one[0] == namespace] == [one for one in items if one[0] == namespace]
    assert not turns
    assert list(turns) == []


@given(ITEMS)
def test_nobody_is_served_twice_while_another_waits(items):
    turns = fill(items)
    served = Counter()
    while turns:
        fewest = min(served[one] for one in turns)
        namespace, _ = turns.take()
        assert served[namespace] == fewest
        served[namespace] += 1
