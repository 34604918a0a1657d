"""The scopes that a client consumes: which it may register, and what is told of the others."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.model.scopes import Granted
from maskinporten_operator.plan.consumed_scopes import (
    Consumption,
    ScopeChoice,
    check_consumption,
    check_forbidden,
    choose_scopes,
    find_earlier_refusal,
    judge_consumption,
    sort_consumed,
    spread_tries,
)
from maskinporten_operator.plan.status import MAX_MESSAGE_LENGTH
from tests.unit.fakes import SETTINGS, resource

A, B, C, D, OWN = "skatt:a", "skatt:b", "krr:c", "udir:d", "nav:own"
DEFAULT = "some:default"


def sort(*written, granted=(), registered=(), withdrawn=(), own=(), due=0.0, unread=(), **more):
    granted = Granted(
        frozenset(granted) | frozenset(own),
        more.pop("orgno", None),
        due,
        frozenset(own),
        frozenset(withdrawn),
        unread,
    )
    return sort_consumed(written, granted, registered, prefix="nav", **more)


def test_scopes_are_told_apart_in_the_order_of_the_spec():
    consumption = sort(
        D, C, B, A, OWN, granted=[A, D], registered=[A, B, C], withdrawn=[C], own=[OWN], orgno="889640782"
    )

    assert consumption == Consumption((D, A, OWN), kept=(B,), lost=(C,), own=(OWN,), orgno="889640782")


def test_what_no_list_tells_of_is_left_out_and_tried():
    consumption = sort(D, B, A, granted=[A], withdrawn=[D])

    assert consumption.missing == consumption.tries == (D, B)


def test_what_was_refused_lately_isnt_tried_nor_what_a_list_tells_of():
    consumption = sort(A, B, C, granted=[C], refused={B: "no", C: "no"})

    assert (consumption.registrable, consumption.missing, consumption.tries) == ((), (A, B, C), (A,))
    assert consumption.denied == (C,)
    assert consumption.refused == {B: "no", C: "no"}


def test_what_is_registered_is_kept_though_it_was_refused_once():
    consumption = sort(A, B, granted=[A], registered=[A, B], refused={A: "no", B: "no"})

    assert (consumption.registrable, consumption.kept, consumption.missing) == ((A,), (B,), ())
    assert consumption.refused == {}


def test_nothing_is_tried_before_the_lists_are_newer_than_the_question():
    assert sort(A, due=3.0).tries == ()
    assert sort(A, due=3.0).missing == (A,)


@pytest.mark.parametrize(("unread", "tried"), [((), ()), (("open scopes",), ()), (("own scopes",), (OWN,))])
def test_one_of_the_own_prefix_that_isnt_listed_doesnt_exist_unless_the_list_couldnt_be_read(unread, tried):
    assert sort(OWN, unread=unread).tries == tried


def test_while_newer_lists_are_due_nothing_is_told_to_be_refused():
    verdict = judge_consumption(sort(A, B, granted=[B], due=3.0))

    assert (verdict.status, verdict.reason) == ("Unknown", "AwaitingList")
    assert judge_consumption(sort(B, granted=[B], due=3.0)).status == "True"


MESSAGE = f"Not granted, and left out: {A} (DigDir: no), {B}."


@pytest.mark.parametrize(
    ("written", "tried", "message"),
    [((A, B), (), MESSAGE), ((A,), (), MESSAGE), ((A, C), (C,), None), ((C,), (C,), None)],
)
def test_what_the_status_tells_of_is_told_so_until_it_is_tried_again(written, tried, message):
    consumption = sort(*written, earlier_refusal=MESSAGE)

    assert (consumption.tries, consumption.earlier_refusal) == (tried, message)
    assert (check_consumption(consumption) is not None and check_consumption(consumption).message == MESSAGE) is bool(
        message
    )


def test_a_scope_that_is_part_of_one_the_status_tells_of_is_tried():
    message = f"Not granted, and left out: {A}.b (DigDir: no), x{A}. The owner must grant access"

    assert sort(A, f"{A}.b", f"x{A}", earlier_refusal=message).tries == (A,)


@pytest.mark.parametrize("words", ["no", "no, since " + "it is so " * 50])
def test_where_the_status_names_the_first_of_many_alone_none_of_them_is_tried(words):
    many = tuple(f"skatt:a.scope.with.a.name.of.some.length.{number}" for number in range(40))
    message = check_consumption(sort(*many, refused=dict.fromkeys(many, words))).message[:MAX_MESSAGE_LENGTH]

    assert many[-1] not in message
    consumption = sort(*many, earlier_refusal=message)
    assert (consumption.tries, consumption.earlier_refusal) == ((), message)


def condition(**changes):
    message = {
        "type": "ScopesGranted",
        "status": "False",
        "reason": "ScopesNotGranted",
        "message": MESSAGE,
        "observedGeneration": 1,
    }
    return resource(status={"conditions": [message | changes]})


def test_a_status_is_believed_of_the_spec_that_it_was_written_for():
    assert find_earlier_refusal(condition()) == MESSAGE
    assert find_earlier_refusal(condition(observedGeneration=2)) is None
    assert find_earlier_refusal(condition(reason="Synchronized", status="True")) is None
    assert find_earlier_refusal(condition(status="Unknown")) is None
    assert find_earlier_refusal(condition(message=5)) is None
    assert find_earlier_refusal(resource()) is None


def test_tries_are_spread_by_the_resource_over_ten_minutes():
    delays = [spread_tries(f"uid-{number}") for number in range(200)]

    assert 0 <= min(delays) < 30
    assert 570 < max(delays) < 600
    assert spread_tries("uid-1") == delays[1]


def choose(consumption, written, registered=None, default=None):
    choice = choose_scopes(consumption, written, registered, default)
    return choice and (choice.wanted, *choice.fallbacks)


def test_granted_scopes_are_registered_and_the_others_left_out():
    choice = choose_scopes(sort(B, A, C, granted=[A, B]), (B, A, C), None, None)

    assert choice == ScopeChoice((B, A), ((B,), (A,)))


def test_one_that_lost_its_grant_stays_at_its_place_until_it_is_refused():
    consumption = sort(A, B, C, granted=[A, C], registered=[B], withdrawn=[B])

    assert choose(consumption, (A, B, C), (B,)) == ((A, B, C), (B,))


def test_the_less_sure_a_scope_is_the_sooner_it_is_left_out():
    consumption = sort(A, B, C, D, OWN, granted=[A, B], registered=[A, C, D], withdrawn=[D], own=[OWN])

    assert choose(consumption, (A, B, C, D, OWN), (A, C, D), DEFAULT) == (
        (A, B, C, D, OWN),
        (A, B, C, D),
        (A, C, D),
        (A,),
    )


def test_one_that_left_the_spec_goes_whether_granted_or_not():
    assert choose(sort(A, granted=[A], registered=[A, B]), (A,), (A, B)) == ((A,),)


@pytest.mark.parametrize("registered", [None, (), (A,)])
@pytest.mark.parametrize(("default", "chosen"), [(DEFAULT, (DEFAULT,)), (None, ())])
def test_a_client_that_consumes_nothing_has_the_default_scope_or_none(registered, default, chosen):
    assert choose_scopes(Consumption(), (), registered, default) == ScopeChoice(chosen)


@pytest.mark.parametrize(
    ("registered", "default", "chosen"),
    [
        (None, None, None),
        (None, DEFAULT, ((DEFAULT,),)),
        ((B,), DEFAULT, ((DEFAULT,),)),
        ((B,), None, ((B,),)),
        ((), None, ((),)),
    ],
)
def test_without_any_grant_a_client_takes_the_default_or_keeps_what_it_has_or_waits(registered, default, chosen):
    assert choose(sort(A, registered=registered or (), refused={A: "no"}), (A,), registered, default) == chosen


def test_without_any_grant_and_default_each_that_no_list_tells_of_is_tried_by_itself():
    consumption = sort(A, OWN, B, own=[OWN])

    choice = choose_scopes(consumption, (A, OWN, B), None, None)

    assert choice == ScopeChoice((OWN,), ((A,), (B,)), tentative=True)


def test_a_client_whose_own_scopes_are_refused_takes_the_default():
    choice = choose_scopes(sort(OWN, A, own=[OWN]), (OWN, A), None, DEFAULT)

    assert choice == ScopeChoice((OWN,), ((DEFAULT,),))


def test_nothing_is_told_of_a_resource_that_consumes_nothing():
    assert judge_consumption(Consumption()) is None
    assert check_consumption(Consumption()) is None


def test_that_all_are_granted_is_told():
    verdict = judge_consumption(sort(A, B, granted=[A, B]))

    assert (verdict.type, verdict.status, verdict.reason) == ("ScopesGranted", "True", "Synchronized")
    assert check_consumption(sort(A, B, granted=[A, B])) is None


@pytest.mark.parametrize(
    ("withdrawn", "message"), [((), "Not granted, and left out: skatt:b."), ((B,), "No longer granted: skatt:b.")]
)
def test_each_that_isnt_granted_is_named_with_whom_it_must_be_granted_to(withdrawn, message):
    consumption = sort(A, B, granted=[A], registered=withdrawn, withdrawn=withdrawn, orgno="889640782")

    verdict, error = judge_consumption(consumption), check_consumption(consumption)

    assert (verdict.type, verdict.status, verdict.reason) == ("ScopesGranted", "False", "ScopesNotGranted")
    assert error.reason == "ScopesNotGranted"
    assert error.message == verdict.message
    assert message in verdict.message
    assert "organisation 889640782" in verdict.message
    assert A not in verdict.message


def test_those_left_out_and_those_that_lost_their_grant_are_told_apart():
    message = judge_consumption(sort(A, B, registered=[B], withdrawn=[B])).message

    assert message.index("left out: skatt:a") < message.index("No longer granted: skatt:b")


def test_while_the_organisations_number_isnt_known_it_is_told_whose_organisation_is_meant():
    assert "the operator's organisation" in judge_consumption(sort(A)).message


def test_what_digdir_said_is_told_with_each_scope_and_cut():
    message = judge_consumption(sort(A, B, refused={A: "no such scope", B: "x" * 500})).message

    assert f"{A} (DigDir: no such scope), {B} (DigDir: {'x' * 150})" in message


def test_of_an_own_scope_it_is_told_who_must_list_whom():
    message = judge_consumption(sort(OWN, own=[OWN], refused={OWN: "no access"}, orgno="889640782")).message

    assert f"{OWN} (DigDir: no access). The resource that exposes it must list 889640782 among its consumers" in message
    assert "Not granted" not in message


def test_of_one_that_digdir_refuses_though_its_lists_allow_it_nobody_is_told_to_grant_it():
    message = judge_consumption(sort(A, granted=[A], refused={A: "another type"})).message

    assert message == f"Granted, and left out since DigDir refuses it all the same: {A} (DigDir: another type)"


def test_what_no_list_tells_of_and_is_registered_is_no_fault():
    assert judge_consumption(sort(A, registered=[A])).status == "True"


def test_lists_that_couldnt_be_read_are_told_only_where_something_is_missing():
    unread = ("open scopes", "granted scopes")

    assert "open scopes, granted scopes couldn't be read" in judge_consumption(sort(A, unread=unread)).message
    assert judge_consumption(sort(A, granted=[A], unread=unread)).status == "True"


scopes = st.lists(st.sampled_from([A, B, C, D]), unique=True)


@given(scopes, scopes, scopes, scopes, scopes)
def test_every_written_scope_is_in_exactly_one_list(written, granted, registered, withdrawn, refused):
    consumption = sort(
        *written,
        granted=granted,
        registered=registered,
        withdrawn=[one for one in withdrawn if one not in granted],
        refused=dict.fromkeys(refused, "no"),
    )

    lists = (consumption.registrable, consumption.kept, consumption.lost, consumption.missing)
    assert sorted(name for one in lists for name in one) == sorted(written)
    assert set(consumption.registrable) <= set(granted)
    assert {*consumption.kept, *consumption.lost} <= set(registered) - set(granted)
    assert set(consumption.tries) <= set(consumption.missing) - set(refused)


@given(scopes, scopes, st.none() | scopes, st.sampled_from([None, DEFAULT]))
def test_nothing_that_isnt_granted_is_sent_together_with_another(written, granted, registered, default):
    consumption = sort(*written, granted=granted, registered=registered or ())

    for sent in choose(consumption, written, registered, default) or ():
        assert set(sent) <= {*granted, *(registered or ()), default} or len(sent) == 1


@given(scopes, scopes, scopes, st.sampled_from([None, DEFAULT]))
def test_no_fallback_leaves_out_what_is_registered_and_listed(written, granted, registered, default):
    consumption = sort(*written, granted=granted, registered=registered)

    for sent in choose(consumption, written, registered, default):
        assert set(sent) >= set(written) & set(granted) & set(registered)


@given(scopes, scopes, scopes, st.sampled_from([None, DEFAULT]))
def test_a_choice_that_was_registered_is_chosen_again(written, granted, registered, default):
    first = choose(sort(*written, granted=granted, registered=registered), written, registered, default)[0]

    assert choose(sort(*written, granted=granted, registered=first), written, first, default)[0] == first


@pytest.mark.parametrize("name", ["ks:fiks", "KS:Fiks", "skatt:secret.read", "skatt:a/secret.read/b"])
def test_what_matches_a_forbidden_scope_in_any_case_of_letters_cant_be_consumed(name):
    settings = replace(SETTINGS, forbidden_scopes=("ks:fiks", "Skatt:*secret.read*"))

    refusal = check_forbidden([A, name], settings)

    assert refusal
    assert refusal.startswith(f"spec.scopes.consumes: {name} can't be consumed")


@pytest.mark.parametrize("name", [A, "ks:fiks.read", "xks:fiks"])
def test_what_is_merely_like_a_forbidden_scope_can_be_consumed(name):
    assert check_forbidden([name], replace(SETTINGS, forbidden_scopes=("ks:fiks", "krr:*"))) is None
