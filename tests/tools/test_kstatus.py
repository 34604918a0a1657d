"""What those are told who wait by kstatus, as Flux does: neither too early that all is well, nor to wait in vain."""

import pytest

from tests.lifecycles import CYCLES, record
from tools.kstatus import judge


@pytest.fixture(scope="module")
def moments():
    return record()


def test_every_moment_of_a_life_cycle_is_judged_as_it_is(moments):
    judged = judge([one.body for one in moments])

    expected = {(one.cycle, one.what): one.expected for one in moments}
    assert len(moments) == len(judged)
    assert {(one.cycle, one.what): it["status"] for one, it in zip(moments, judged, strict=True)} == expected
    assert len({one.cycle for one in moments}) == len(CYCLES) >= 10


def test_a_resource_without_a_status_would_be_taken_for_current_but_for_the_default_of_the_crd(moments):
    body = moments[0].body

    bare, defaulted = judge([{**body, "status": {}}, body])

    assert (bare["status"], defaulted["status"]) == ("Current", "InProgress")
