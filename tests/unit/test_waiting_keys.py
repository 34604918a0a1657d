"""A key that works is replaced only by one that is known to work."""

from datetime import timedelta

import pytest

from maskinporten_operator.model.jwk import KEY_LIMIT
from maskinporten_operator.plan.key_set import plan_keys
from maskinporten_operator.plan.verification import NO_SCOPES_WAIT, PendingKey
from tests.unit.fakes import NOW, private_jwk, registered

HELD, NEW = private_jwk(2), private_jwk(3)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
IN_USE = registered(HELD, NOW - DAY)


def plan(
    *keys,
    held=HELD,
    pending=None,
    rotate="a new key was asked for",
    verifies=True,
    undelivered=frozenset(),
    superseded=(),
    grace=DAY,
):
    return plan_keys(
        keys,
        held,
        superseded=superseded,
        pending=pending,
        rotate=rotate,
        verifies=verifies,
        undelivered=undelivered,
        recent_mints=frozenset(),
        grace=grace,
        now=NOW,
    )


def test_a_new_key_is_published_beside_the_one_in_use_and_waits():
    keys = plan(IN_USE)

    assert (keys.publish.mint, keys.publish.delivers) == (True, False)
    assert [key.kid for key in keys.publish.keep] == [HELD.kid]
    assert keys.is_waiting


def test_a_published_key_isnt_published_again_while_it_waits():
    keys = plan(IN_USE, registered(NEW), pending=PendingKey(NEW.kid, 30.0))

    assert keys.publish is None
    assert keys.is_waiting
    assert keys.next_look == 30.0


def test_a_key_that_waits_stays_registered_however_short_the_grace_is():
    waiting = registered(NEW, NOW - HOUR)

    assert plan(IN_USE, waiting, pending=PendingKey(NEW.kid, 30.0), grace=timedelta(0)).publish is None


def test_a_key_that_is_known_to_work_is_delivered():
    keys = plan(IN_USE, registered(NEW), pending=PendingKey(NEW.kid))

    assert (keys.publish.mint, keys.publish.delivers) == (True, True)
    assert not keys.is_waiting


def test_a_key_whose_publication_was_lost_is_published_again():
    assert plan(IN_USE, pending=PendingKey(NEW.kid)).publish.mint


@pytest.mark.parametrize(
    ("keys", "changes"),
    [((), {"held": None}), ((), {}), ((IN_USE,), {"verifies": False})],
    ids=["no key in the Secret", "its key isn't registered", "nobody asks for proofs"],
)
def test_where_no_key_works_or_nobody_asks_for_proofs_it_is_delivered_at_once(keys, changes):
    planned = plan(*keys, **changes)

    assert planned.publish.delivers
    assert not planned.is_waiting


def test_a_request_that_is_withdrawn_leaves_the_key_as_an_orphan():
    keys = plan(IN_USE, registered(NEW), pending=PendingKey(NEW.kid, 30.0), rotate=None)

    assert keys.publish is None
    assert not keys.is_waiting


def test_what_a_restart_left_undelivered_is_replaced_and_not_added_to():
    left = registered(NEW, NOW - HOUR)

    keys = plan(IN_USE, left, undelivered={left.kid})

    assert [key.kid for key in keys.publish.keep] == [HELD.kid]


def test_a_newer_key_may_be_in_use_if_the_secret_was_put_back():
    newer = registered(NEW, NOW - HOUR)

    keys = plan(IN_USE, newer)

    assert {key.kid for key in keys.publish.keep} == {HELD.kid, NEW.kid}


def test_a_newer_key_is_in_use_if_a_secret_of_an_earlier_name_holds_it():
    keys = plan(IN_USE, registered(NEW), undelivered=frozenset({NEW.kid}), superseded=[NEW])

    assert keys.publish.mint
    assert {key.kid for key in keys.publish.keep} == {HELD.kid, NEW.kid}


def test_a_key_that_waits_takes_the_place_of_one_whose_grace_is_over_when_all_are_taken():
    old = [registered(private_jwk(10 + number), NOW - 2 * DAY + HOUR * number) for number in range(KEY_LIMIT - 1)]
    in_use = registered(HELD, NOW - HOUR)

    keys = plan(*old, in_use)

    assert {key.kid for key in keys.publish.keep} == {HELD.kid, old[-1].kid}


def test_a_key_that_waits_isnt_published_while_all_places_are_taken():
    old = [registered(private_jwk(10 + number), NOW - DAY + HOUR * number) for number in range(KEY_LIMIT - 1)]

    keys = plan(*old, registered(HELD, NOW - HOUR))

    assert (keys.publish, keys.is_waiting, keys.refusal.reason) == (None, False, "KeysInUse")


def test_the_next_look_is_when_a_key_is_known_without_a_token():
    assert plan(IN_USE).next_look == NO_SCOPES_WAIT
