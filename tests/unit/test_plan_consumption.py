"""The scopes that a client consumes: which it may register, and what is told of the others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.model.scopes import Granted
from maskinporten_operator.plan.consumption import (
    Consumption,
    check_consumption,
    choose_scopes,
    judge_consumption,
    sort_consumed,
)

A, B, C, D = "skatt:a", "skatt:b", "krr:c", "udir:d"
DEFAULT = "some:default"


def sort(*written, granted=(), registered=(), orgno=None):
    return sort_consumed(written, Granted(frozenset(granted), orgno), registered)


def test_scopes_are_told_apart_in_the_order_of_the_spec():
    consumption = sort(D, C, B, A, granted=[A, D], registered=[A, C], orgno="889640782")

    assert consumption == Consumption((D, A), lost=(C,), missing=(B,), orgno="889640782")


def test_granted_scopes_are_registered_and_the_others_left_out():
    assert choose_scopes(sort(B, A, C, granted=[A, B]), (B, A, C), None, DEFAULT) == (B, A)


def test_one_that_lost_its_grant_stays_at_its_place():
    assert choose_scopes(sort(A, B, C, granted=[A, C], registered=[B]), (A, B, C), (B,), None) == (A, B, C)


def test_one_that_left_the_spec_goes_whether_granted_or_not():
    assert choose_scopes(sort(A, granted=[A], registered=[A, B]), (A,), (A, B), None) == (A,)


@pytest.mark.parametrize("registered", [None, (), (A,)])
@pytest.mark.parametrize(("default", "chosen"), [(DEFAULT, (DEFAULT,)), (None, ())])
def test_a_client_that_consumes_nothing_has_the_default_scope_or_none(registered, default, chosen):
    assert choose_scopes(Consumption(), (), registered, default) == chosen


@pytest.mark.parametrize(
    ("registered", "default", "chosen"),
    [
        (None, None, None),
        (None, DEFAULT, (DEFAULT,)),
        ((B,), DEFAULT, (DEFAULT,)),
        ((B,), None, (B,)),
        ((), None, ()),
    ],
)
def test_without_any_grant_a_client_takes_the_default_or_keeps_what_it_has_or_waits(registered, default, chosen):
    assert choose_scopes(sort(A, registered=registered or ()), (A,), registered, default) == chosen


def test_nothing_is_told_of_a_resource_that_consumes_nothing():
    assert judge_consumption(Consumption()) is None
    assert check_consumption(Consumption()) is None


def test_that_all_are_granted_is_told():
    verdict = judge_consumption(sort(A, B, granted=[A, B]))

    assert (verdict.type, verdict.status, verdict.reason) == ("ScopesGranted", "True", "Synchronized")
    assert check_consumption(sort(A, B, granted=[A, B])) is None


@pytest.mark.parametrize(
    ("registered", "told"), [((), "Not granted, and left out: skatt:b."), ((B,), "No longer granted: skatt:b.")]
)
def test_each_that_isnt_granted_is_named_with_whom_it_must_be_granted_to(registered, told):
    consumption = sort(A, B, granted=[A], registered=registered, orgno="889640782")

    verdict, error = judge_consumption(consumption), check_consumption(consumption)

    assert (verdict.type, verdict.status, verdict.reason) == ("ScopesGranted", "False", "ScopesNotGranted")
    assert error.reason == "ScopesNotGranted"
    assert str(error) == verdict.message
    assert told in verdict.message
    assert "organisation 889640782" in verdict.message
    assert A not in verdict.message


def test_those_left_out_and_those_that_lost_their_grant_are_told_apart():
    message = judge_consumption(sort(A, B, registered=[B])).message

    assert message.index("left out: skatt:a") < message.index("No longer granted: skatt:b")


def test_while_the_organisations_number_isnt_known_it_is_told_whose_organisation_is_meant():
    assert "the operator's organisation" in judge_consumption(sort(A)).message


scopes = st.lists(st.sampled_from([A, B, C, D]), unique=True)


@given(scopes, scopes, scopes)
def test_every_written_scope_is_in_exactly_one_list(written, granted, registered):
    consumption = sort(*written, granted=granted, registered=registered)

    assert sorted((*consumption.registrable, *consumption.lost, *consumption.missing)) == sorted(written)
    assert set(consumption.registrable) <= set(granted)
    assert set(consumption.lost) <= set(registered) - set(granted)


@given(scopes, scopes, st.none() | scopes, st.sampled_from([None, DEFAULT]))
def test_nothing_is_ever_added_that_isnt_granted(written, granted, registered, default):
    consumption = sort(*written, granted=granted, registered=registered or ())

    chosen = choose_scopes(consumption, written, registered, default)

    assert set(chosen or ()) <= {*granted, *(registered or ()), default}


@given(scopes, scopes, scopes, st.sampled_from([None, DEFAULT]))
def test_a_choice_that_was_registered_is_chosen_again(written, granted, registered, default):
    first = choose_scopes(sort(*written, granted=granted, registered=registered), written, registered, default)

    assert choose_scopes(sort(*written, granted=granted, registered=first), written, first, default) == first
