"""How long to wait before a pass is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.plan.backoff import MAX_DELAY, MAX_RETRIES_PER_SECOND, backoff

EVEN = 0.5
"""The chance that neither adds nor takes away."""

failures = st.integers(1, 10**9)
chances = st.floats(0, 1)


@pytest.mark.parametrize(("count", "delay"), [(1, 1), (2, 2), (3, 4), (5, 16), (6, 20), (7, 20), (10**6, 20)])
def test_the_delay_doubles_up_to_its_cap(count, delay):
    assert backoff(count, EVEN) == delay


@pytest.mark.parametrize(("chance", "delay"), [(0.0, 3.0), (1.0, 5.0)])
def test_chance_spreads_the_delay_by_a_quarter_each_way(chance, delay):
    assert backoff(3, chance) == delay


@given(failures, chances)
def test_the_delay_is_never_long_and_never_nothing(count, chance):
    assert 0.75 <= backoff(count, chance) <= 1.25 * MAX_DELAY


@pytest.mark.parametrize(("failing", "delay"), [(1, 20), (400, 20), (401, 20.05), (1000, 50), (10_000, 500)])
def test_the_more_fail_together_the_longer_each_waits_in_the_end(failing, delay):
    assert backoff(20, EVEN, failing) == delay
    assert failing / delay <= MAX_RETRIES_PER_SECOND


def test_the_first_delays_are_the_same_however_many_fail():
    assert [backoff(count, EVEN, 10_000) for count in (1, 2, 5)] == [1, 2, 16]


@given(failures, chances)
def test_another_failure_never_shortens_the_delay(count, chance):
    assert backoff(count, chance) <= backoff(count + 1, chance)
