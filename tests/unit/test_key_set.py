"""Which keys a client should have: every rule by a case, then all of them by properties."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from maskinporten_operator.model.jwk import KEY_LIMIT, PublicJwk, build_kid
from maskinporten_operator.plan.key_set import REFUSED_RECHECK_SECONDS, KeyPlan, plan_keys
from maskinporten_operator.plan.verification import PendingKey
from tests.unit.fakes import NOW, UID, encode_number, iso, private_jwk, registered, rsa_key

GRACE = timedelta(hours=24)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)

OLD, IN_SECRET, NEWER = private_jwk(1), private_jwk(2), private_jwk(3)


ASKED = "a new key was asked for"


def plan(*keys, in_secret=IN_SECRET, pending=None, rotate=None, recent_mints=0, holders=None, grace=GRACE, now=NOW):
    pending = PendingKey(pending) if pending else None
    made = dropped(recent_mints)
    return plan_keys(
        keys, in_secret, pending=pending, rotate=rotate, recent_mints=made, holders=holders, grace=grace, now=now
    )


def dropped(number):
    """The ids of so many keys that were made, and that DigDir doesn't have any more."""
    return frozenset(build_kid(UID, f"{one:016x}") for one in range(100, 100 + number))


def foreign(number, created=NOW, **more):
    return registered(private_jwk(number, kid=f"foreign-{number}"), created, **more)


def own(number, created=NOW):
    return registered(private_jwk(number), created)


def kept(key_plan):
    return [key.kid for key in key_plan.publish.keep]


def kids(*keys):
    return [key.kid for key in keys]


# The key in the Secret


def test_a_registered_key_in_the_secret_is_kept_and_nothing_published():
    assert plan(registered(IN_SECRET)).publish is None


def test_without_a_usable_key_in_the_secret_one_is_minted():
    published = plan(in_secret=None).publish

    assert published.mint
    assert published.reason == "the Secret holds no usable key"


def test_a_key_in_the_secret_that_isnt_registered_is_replaced():
    published = plan().publish

    assert published.mint
    assert published.reason == "the key in the Secret isn't registered"


@pytest.mark.parametrize("number", ["n", "e"])
def test_a_key_in_the_secret_whose_numbers_arent_the_registered_ones_is_replaced(number):
    other = replace(IN_SECRET, key=replace(IN_SECRET.key, **{number: OLD.key.d}))

    assert plan(registered(other)).publish.mint


def test_a_key_of_another_kid_with_the_same_numbers_is_not_the_one_in_the_secret():
    assert plan(registered(replace(IN_SECRET, kid="mpo-b9d2f0c1-other"))).publish.mint


def test_a_foreign_key_that_the_secret_holds_is_kept_and_not_replaced():
    in_secret = private_jwk(4, kid="made-by-another-operator")

    assert plan(registered(in_secret), in_secret=in_secret) == KeyPlan(next_look=pytest.approx(335 * 24 * 3600 + 1))


def test_a_rotation_mints_and_keeps_the_key_that_pods_use():
    published = plan(registered(IN_SECRET), rotate=ASKED).publish

    assert published.mint
    assert published.reason == "a new key was asked for"
    assert [key.kid for key in published.keep] == [IN_SECRET.kid]


# Foreign keys


def test_a_foreign_key_is_sent_as_read_with_use_added_and_the_same_exp():
    read = PublicJwk(
        {"kid": "by-hand", "kty": "RSA", "n": "abc", "e": "AQAB", "exp": 1_900_000_000, "x5t#S256": "kept"}
    )

    (sent,) = plan(read, in_secret=None).publish.keep

    assert sent.members == {**read.members, "use": "sig"}


def test_what_only_answers_have_is_not_sent():
    (sent,) = plan(foreign(1, last_updated=iso(NOW)), in_secret=None).publish.keep

    assert not {"created", "last_updated"} & set(sent.members)


@pytest.mark.parametrize("age", [timedelta(0), 2 * GRACE, timedelta(days=364)])
def test_a_foreign_key_is_never_dropped_for_its_age(age):
    key_plan = plan(foreign(1, NOW - age), own(5, NOW - age), registered(IN_SECRET, NOW - age))

    assert key_plan.publish is None or "foreign-1" in kept(key_plan)
    assert "foreign-1" in kept(plan(foreign(1, NOW - age), in_secret=None))


def test_the_foreign_keys_and_a_new_one_fill_the_slots_before_an_old_one_of_ours():
    others = [foreign(number) for number in range(10, 14)]

    published = plan(*others, own(1), in_secret=None).publish

    assert published.mint
    assert [key.kid for key in published.keep] == kids(*others)


def test_five_foreign_keys_leave_no_slot_and_the_message_names_them():
    others = [foreign(number) for number in range(10, 15)]

    blocker = plan(*others, in_secret=None).blocker

    assert blocker.reason == "KeyLimitReached"
    assert "remove one of them at DigDir" in blocker.message
    assert all(key.kid in blocker.message for key in others)


def test_a_rotation_never_takes_the_slot_of_a_foreign_key_that_the_secret_holds():
    others = [foreign(number) for number in range(10, 15)]

    key_plan = plan(*others, in_secret=private_jwk(10, kid="foreign-10"), rotate=ASKED)

    assert (key_plan.publish, key_plan.blocker) == (None, None)
    assert key_plan.refusal.reason == "KeyLimitReached"


def test_a_rotation_never_drops_the_key_in_use_for_want_of_a_slot():
    others = [foreign(number) for number in range(10, 14)]

    key_plan = plan(*others, registered(IN_SECRET), rotate=ASKED)

    assert (key_plan.publish, key_plan.blocker) == (None, None)
    assert key_plan.refusal.reason == "KeyLimitReached"
    assert "4 keys that this operator didn't make" in key_plan.refusal.message
    assert IN_SECRET.kid not in key_plan.refusal.message


def test_three_foreign_keys_leave_a_slot_beside_the_key_in_use():
    others = [foreign(number) for number in range(10, 13)]

    past = NOW - 2 * DAY

    published = plan(*others, own(5, past), registered(IN_SECRET, past), rotate=ASKED).publish

    assert published.mint
    assert [key.kid for key in published.keep] == [IN_SECRET.kid, *kids(*others)]


def test_a_key_that_is_no_longer_in_use_takes_no_slot_from_a_new_one():
    others = [foreign(number) for number in range(10, 14)]

    key_plan = plan(*others, registered(IN_SECRET), in_secret=None)

    assert key_plan.blocker is None
    assert key_plan.publish.mint
    assert kept(key_plan) == kids(*others)


def test_five_foreign_keys_hold_nothing_back_while_no_key_is_needed():
    others = [foreign(number) for number in range(10, 15)]

    key_plan = plan(*others, in_secret=private_jwk(10, kid="foreign-10"))

    assert (key_plan.publish, key_plan.blocker) == (None, None)


# A key on its way to the Secret


def test_a_pending_key_that_was_published_takes_no_second_slot():
    others = [foreign(number) for number in range(10, 13)]

    published = plan(*others, registered(IN_SECRET), registered(NEWER), pending=NEWER.kid, rotate=ASKED).publish

    assert published.mint
    assert [key.kid for key in published.keep] == [IN_SECRET.kid, *kids(*others)]


def test_four_foreign_keys_and_a_pending_one_leave_the_pending_one_its_slot():
    others = [foreign(number) for number in range(10, 14)]

    key_plan = plan(*others, registered(NEWER), in_secret=None, pending=NEWER.kid)

    assert key_plan.blocker is None
    assert key_plan.publish.mint
    assert kept(key_plan) == kids(*others)


def test_a_pending_key_that_is_in_the_secret_by_now_is_kept_by_a_rotation():
    published = plan(registered(IN_SECRET), pending=IN_SECRET.kid, rotate=ASKED).publish

    assert published.mint
    assert [key.kid for key in published.keep] == [IN_SECRET.kid]


def test_a_pending_key_stays_while_no_key_is_needed():
    keys = registered(IN_SECRET, NOW - DAY), registered(NEWER, NOW - HOUR)

    assert plan(*keys, pending=NEWER.kid).publish is None


# Own keys that the Secret doesn't blocker


def test_a_superseded_key_stays_until_the_grace_since_its_successor_is_over():
    keys = own(1, NOW - 100 * DAY), registered(IN_SECRET, NOW - GRACE)

    assert plan(*keys).publish is None
    assert kept(plan(*keys, now=NOW + SECOND)) == [IN_SECRET.kid]


def test_a_dropped_key_is_named():
    published = plan(own(1, NOW - 100 * DAY), registered(IN_SECRET, NOW - 2 * GRACE)).publish

    assert not published.mint
    assert published.reason == f"dropped {OLD.kid}"


def test_each_superseded_key_counts_from_its_own_successor():
    keys = own(5, NOW - 9 * DAY), own(6, NOW - 8 * DAY), registered(IN_SECRET, NOW - HOUR)

    assert kept(plan(*keys)) == [IN_SECRET.kid, private_jwk(6).kid]


def test_an_orphan_newer_than_the_secrets_key_is_dropped_after_the_grace_since_its_own_publication():
    keys = registered(IN_SECRET, NOW - 30 * DAY), own(3, NOW - GRACE)

    assert plan(*keys).publish is None
    assert kept(plan(*keys, now=NOW + SECOND)) == [IN_SECRET.kid]


def test_an_old_key_whose_secret_vanished_is_kept_for_a_grace_beside_the_new_one():
    assert kept(plan(own(1, NOW - 100 * DAY), in_secret=None)) == [OLD.kid]


def test_of_old_keys_whose_secret_vanished_only_the_newest_may_be_in_use():
    assert kept(plan(own(1, NOW - 9 * DAY), own(2, NOW - 8 * DAY), in_secret=None)) == [IN_SECRET.kid]


def test_a_key_of_unknown_age_stays_until_its_slot_is_needed():
    unknown = registered(NEWER, None)

    assert plan(unknown, registered(IN_SECRET, None), now=NOW + 900 * DAY).publish is None
    assert NEWER.kid not in kept(plan(unknown, *(foreign(n) for n in range(10, 14)), in_secret=None))


@pytest.mark.parametrize("created", ["", "yesterday", "2026-01-01T00:00:00"])
def test_a_time_that_cant_be_read_or_has_no_zone_is_no_time(created):
    unreadable = PublicJwk({**registered(OLD, None).members, "created": created})

    assert plan(unreadable, registered(IN_SECRET, None), now=NOW + 900 * DAY).publish is None


@pytest.mark.parametrize("created", [None, NOW - 20 * DAY])
def test_a_key_of_ours_that_has_expired_is_dropped_whatever_the_grace(created):
    expired = registered(OLD, created, exp=int(NOW.timestamp()))
    keys = expired, registered(IN_SECRET, NOW - HOUR)

    assert kept(plan(*keys, grace=30 * DAY)) == [IN_SECRET.kid]
    assert plan(*keys, grace=30 * DAY, now=NOW - SECOND).publish is None


def test_a_key_that_has_expired_supersedes_no_other_since_the_next_look_wont_find_it():
    keys = own(1, NOW - 9 * DAY), registered(NEWER, NOW - HOUR, exp=int(NOW.timestamp()))

    assert kept(plan(*keys, registered(IN_SECRET, NOW - 10 * DAY))) == [IN_SECRET.kid]


def test_the_key_in_the_secret_is_renewed_and_not_dropped_when_it_has_expired():
    published = plan(registered(IN_SECRET, NOW - 400 * DAY, lives=365 * DAY)).publish

    assert not published.mint
    assert [key.kid for key in published.keep] == [IN_SECRET.kid]


def test_a_foreign_key_that_has_expired_is_not_dropped():
    key_plan = plan(foreign(10, NOW - 400 * DAY), own(5, NOW - 9 * DAY), registered(IN_SECRET, NOW - 8 * DAY))

    assert kept(key_plan) == [IN_SECRET.kid, "foreign-10"]


def test_where_no_key_works_and_all_slots_are_taken_the_oldest_goes_first():
    keys = [own(number, NOW - number * HOUR) for number in (5, 6, 7, 8, 9)]  # 9 is the oldest

    assert kept(plan(*keys, in_secret=None)) == kids(*keys[:4])


# What pods may have


def test_a_key_that_a_pod_may_have_stays_after_the_grace_and_is_looked_at_again():
    keys = own(1, NOW - 100 * DAY), registered(IN_SECRET, NOW - 2 * GRACE)

    key_plan = plan(*keys, holders={OLD.kid: ("my-app-1",)})

    assert (key_plan.publish, key_plan.asks_for_holders) == (None, False)
    assert key_plan.next_look == 3600 + 1


def test_before_a_key_goes_it_is_asked_who_has_it_and_before_nothing_else():
    over = own(1, NOW - 100 * DAY), registered(IN_SECRET, NOW - 2 * GRACE)
    within = own(1, NOW - 100 * DAY), registered(IN_SECRET, NOW - HOUR)

    assert plan(*over).asks_for_holders
    assert not plan(*over, holders={}).asks_for_holders
    assert not plan(*within).asks_for_holders
    assert not plan(*within, rotate=ASKED).asks_for_holders


def test_a_rotation_waits_while_all_places_are_taken_and_names_the_pods():
    keys = [own(number, NOW - number * HOUR) for number in (2, 3, 4)]
    holders = {keys[2].kid: tuple(f"pod-{number}" for number in range(12))}

    key_plan = plan(foreign(10), *keys, registered(IN_SECRET), rotate=ASKED, holders=holders)

    assert (key_plan.publish, key_plan.refusal.reason) == (None, "KeysInUse")
    assert "restart pod-0, pod-1" in key_plan.refusal.message
    assert "more in whose" in key_plan.refusal.message
    assert "2026-03-02 10:00 UTC, by KEY_GRACE" in key_plan.refusal.message


def test_a_key_of_unknown_age_that_no_pod_has_holds_no_rotation_back():
    keys = [registered(private_jwk(number), None) for number in (5, 6, 7, 8)]

    assert plan(*keys, registered(IN_SECRET, None), rotate=ASKED, holders={}).publish.mint
    assert plan(*keys, registered(IN_SECRET, None), rotate=ASKED, holders=dict.fromkeys(kids(*keys), ("a",))).refusal


def test_where_no_key_works_one_that_no_pod_has_gives_its_place_first():
    keys = [own(number, NOW - number * HOUR) for number in (5, 6, 7, 8, 9)]
    oldest, youngest = keys[4], keys[0]

    key_plan = plan(*keys, in_secret=None, holders={oldest.kid: ("my-app-1",)})

    assert oldest.kid in kept(key_plan)
    assert keys[3].kid not in kept(key_plan)
    assert youngest.kid in kept(key_plan)


# Churn


def test_five_keys_an_hour_are_made_and_no_sixth():
    assert plan(in_secret=None, recent_mints=4).publish.mint

    blocker = plan(in_secret=None, recent_mints=5).blocker
    assert blocker.reason == "KeyChurn"
    assert "5 keys were made for the client within an hour" in blocker.message
    assert "5 because the Secret held none that worked" in blocker.message
    assert "find out what else writes to the Secret" in blocker.message


def test_a_rotation_beyond_five_keys_an_hour_is_held_back_and_the_key_that_works_stays_as_it_is():
    key_plan = plan(own(1, NOW - HOUR), registered(IN_SECRET), rotate=ASKED, recent_mints=5)

    assert (key_plan.publish, key_plan.blocker) == (None, None)
    assert key_plan.refusal.reason == "KeyChurn"
    assert key_plan.next_look == REFUSED_RECHECK_SECONDS


def test_a_rotation_that_is_held_back_doesnt_give_up_the_key_that_waits_for_it():
    waiting = registered(NEWER)

    assert plan(registered(IN_SECRET), waiting, rotate=ASKED, pending=NEWER.kid, recent_mints=5).publish is None


def test_too_many_keys_are_told_by_what_they_were_made_for():
    for_requests = [build_kid(UID, f"{number:016x}", f"2026-03-0{number}") for number in (1, 2)]
    repaired = [build_kid(UID, f"{number:016x}", "2026-03-01") for number in (3, 4)]
    made = frozenset([*for_requests, *repaired, OLD.kid])

    message = plan_keys((), None, rotate=None, recent_mints=made, grace=GRACE, now=NOW).blocker.message

    assert "2 for rotation requests and 3 because the Secret held none that worked" in message
    assert "the annotation that asks for new keys" in message


def test_keys_that_digdir_has_and_those_that_it_dropped_count_together():
    young = [own(number) for number in (5, 6)]

    assert plan(*young, in_secret=None, recent_mints=2).publish.mint
    assert plan(*young, in_secret=None, recent_mints=3).blocker.reason == "KeyChurn"


def test_keys_that_an_earlier_process_made_count_by_what_digdir_tells_of_them():
    young = [own(number, NOW - HOUR + SECOND) for number in range(5, 10)]

    assert plan(*young, in_secret=None).blocker.reason == "KeyChurn"
    assert plan(*young, in_secret=None, now=NOW + SECOND).publish.mint


@pytest.mark.parametrize(
    "fifth", [own(9, NOW - HOUR), own(9, None), foreign(9)], ids=["old", "of unknown age", "foreign"]
)
def test_only_our_own_young_keys_count(fifth):
    young = [own(number) for number in range(5, 9)]

    assert plan(*young, fifth, in_secret=None).publish.mint


def test_a_pending_key_isnt_counted_as_published():
    young = [own(number) for number in range(5, 9)]

    assert plan(*young, registered(NEWER), in_secret=None, pending=NEWER.kid).publish.mint


def test_churn_blocks_only_what_needs_a_new_key():
    old = own(1, NOW - 9 * DAY), registered(IN_SECRET, NOW - 8 * DAY)

    assert kept(plan(*old, recent_mints=5)) == [IN_SECRET.kid]


# Renewal


def test_a_key_that_expires_within_thirty_days_is_posted_again_without_exp_and_none_minted():
    key = registered(IN_SECRET, NOW - 300 * DAY, lives=330 * DAY - SECOND)

    published = plan(key).publish

    assert not published.mint
    assert published.reason == "a key expires soon"
    assert [key.kid for key in published.keep] == [IN_SECRET.kid]
    assert "exp" not in published.keep[0].members


def test_a_key_that_expires_in_thirty_days_or_more_is_left_alone():
    assert plan(registered(IN_SECRET, NOW - 300 * DAY, lives=330 * DAY)).publish is None


def test_a_renewal_leaves_the_exp_of_all_other_keys_as_read():
    others = foreign(10, lives=5 * DAY), own(5, NOW - 300 * DAY)

    published = plan(registered(IN_SECRET, NOW - HOUR, lives=DAY), *others).publish

    assert [key.members["exp"] for key in published.keep[1:]] == [one.members["exp"] for one in reversed(others)]


def test_a_key_that_a_pod_may_still_have_is_renewed_as_well():
    old = own(5, NOW - 340 * DAY)

    published = plan(registered(IN_SECRET, NOW - 300 * DAY), old, holders={old.kid: ("my-app-1",)}).publish

    assert [key.kid for key in published.keep] == [IN_SECRET.kid, old.kid]
    assert "exp" not in published.keep[1].members


def test_a_foreign_key_in_the_secret_that_expires_soon_is_followed_by_a_new_one_and_not_renewed():
    in_secret = private_jwk(10, kid="foreign-10")
    ending = foreign(10, NOW - 360 * DAY)

    published = plan(ending, in_secret=in_secret).publish

    (sent,) = published.keep
    assert published.mint
    assert published.reason == "the key in the Secret expires soon, and isn't ours to renew"
    assert sent.members["exp"] == ending.members["exp"]


def test_a_foreign_key_in_the_secret_that_expires_soon_waits_for_a_slot():
    others = [foreign(number) for number in range(11, 15)]

    key_plan = plan(foreign(10, NOW - 360 * DAY), *others, in_secret=private_jwk(10, kid="foreign-10"))

    assert key_plan.publish is None
    assert key_plan.blocker.reason == "KeyLimitReached"


def test_a_key_that_has_no_exp_needs_no_renewal():
    assert plan(registered(IN_SECRET, None), now=NOW + 900 * DAY) == KeyPlan()


# When to look again


def test_the_next_look_is_when_the_grace_is_over():
    assert plan(own(1, NOW - DAY), registered(IN_SECRET, NOW - HOUR)).next_look == 23 * 3600 + 1


def test_the_next_look_is_when_the_key_must_be_renewed():
    assert plan(registered(IN_SECRET, NOW)).next_look == 335 * 24 * 3600 + 1


def test_at_the_very_end_of_the_grace_there_is_another_look_soon():
    assert plan(own(1, NOW - 2 * DAY), registered(IN_SECRET, NOW - GRACE)).next_look == 1


def test_at_the_very_time_of_a_renewal_there_is_another_look_soon():
    assert plan(registered(IN_SECRET, NOW - 300 * DAY, lives=330 * DAY)).next_look == 1


def test_what_was_dropped_needs_no_next_look():
    assert plan(
        own(1, NOW - 9 * DAY), registered(IN_SECRET, NOW - 2 * DAY, lives=900 * DAY)
    ).next_look == pytest.approx(868 * 24 * 3600 + 1)


# Properties

ages = st.one_of(st.none(), st.integers(0, 400 * 24).map(lambda hours: NOW - hours * HOUR))
graces = st.sampled_from([timedelta(0), HOUR, GRACE, 30 * DAY])


@st.composite
def situations(draw):
    """Up to five registered keys, ours and others', and a Secret that holds one of them, another one, or none."""
    privates = []
    for number in range(draw(st.integers(0, KEY_LIMIT))):
        kid = f"mpo-b9d2f0c1-{number:016x}" if draw(st.booleans()) else f"foreign-{number}"
        privates.append(private_jwk(number, kid))
    keys = []
    for private in privates:
        lives = draw(st.sampled_from([20, 40, 365])) * DAY
        keys.append(registered(private, draw(ages), lives=lives))
    in_secret = draw(st.sampled_from([None, private_jwk(9), *privates]))
    return {
        "registered": draw(st.permutations(keys)),
        "in_secret": in_secret,
        "pending": draw(st.sampled_from([None, *(PendingKey(one.kid) for one in privates if one.public().ours)])),
        "rotate": draw(st.sampled_from([None, ASKED])),
        "holders": draw(st.sampled_from([None, {}, *({one.kid: ("pod",)} for one in privates)])),
        "recent_mints": dropped(draw(st.sampled_from([0, 1, 5, 6, 9]))),
        "grace": draw(graces),
    }


def decide(situation, now=NOW):
    arguments = dict(situation)
    return plan_keys(arguments.pop("registered"), arguments.pop("in_secret"), now=now, **arguments)


def publish(key_plan, before, new, now):
    """What the API has after the plan: a kept key keeps its `created`, one without `exp` lives for a year."""
    known = {key.kid: key.members for key in before}
    sent = [*([new.public()] if key_plan.mint else []), *key_plan.keep]
    after = []
    for key in sent:
        members = {"exp": int((now + 365 * DAY).timestamp()), **key.members}
        created = known[key.kid].get("created") if key.kid in known else iso(now)
        after.append(PublicJwk(members | ({"created": created} if created else {})))
    return after


@given(situations())
def test_never_are_there_more_than_five_keys(situation):
    published = decide(situation).publish

    assert published is None or 1 <= len(published.keep) + published.mint <= KEY_LIMIT


@given(situations())
def test_a_foreign_key_is_never_lost(situation):
    key_plan = decide(situation)
    others = {key.kid for key in situation["registered"] if not key.ours}

    assert key_plan.publish is None or others <= set(kept(key_plan))


@given(situations())
def test_the_key_in_the_secret_is_never_dropped(situation):
    key_plan = decide(situation)
    current = [
        key.kid for key in situation["registered"] if situation["in_secret"] and key.matches(situation["in_secret"])
    ]

    assert key_plan.publish is None or set(current) <= set(kept(key_plan))


@settings(max_examples=400)  # about one in six has what this is about
@given(situations())
def test_a_rotation_never_drops_a_key_that_a_pod_may_have(situation):
    key_plan = decide(situation)
    current = [key for key in situation["registered"] if situation["in_secret"] and key.matches(situation["in_secret"])]
    pending = {situation["pending"].kid} if situation["pending"] else set()
    expired = {key.kid for key in situation["registered"] if key.expires and key.expires <= NOW.timestamp()}
    held = situation["holders"] or {}
    may_be_read = {key.kid for key in situation["registered"] if key.ours} - pending - expired
    if not (current and held.keys() <= may_be_read):
        return

    assert key_plan.publish is None or held.keys() <= set(kept(key_plan)) or not current[0].ours


@given(situations())
def test_a_foreign_key_is_never_renewed(situation):
    key_plan = decide(situation)
    ends = {key.kid: key.members.get("exp") for key in situation["registered"] if not key.ours}

    for key in key_plan.publish.keep if key_plan.publish else ():
        assert key.ours or key.members.get("exp") == ends[key.kid]


@given(situations())
def test_kids_are_unique_and_nothing_is_sent_that_wasnt_read(situation):
    key_plan = decide(situation)
    if key_plan.publish is None:
        return

    read = {key.kid: dict(key.members) for key in situation["registered"]}
    assert len(set(kept(key_plan))) == len(kept(key_plan))
    for sent in key_plan.publish.keep:
        as_read = {name: value for name, value in read[sent.kid].items() if name not in {"created", "exp"}}
        assert {name: value for name, value in sent.members.items() if name != "exp"} == as_read | {"use": "sig"}
        assert sent.members.get("exp") in {None, read[sent.kid].get("exp")}


@given(situations())
def test_there_is_a_key_to_use_after_the_plan_or_a_reason_why_not(situation):
    key_plan = decide(situation)
    in_secret = situation["in_secret"]
    registered_already = any(in_secret and key.matches(in_secret) for key in situation["registered"])

    assert registered_already or key_plan.blocker or key_plan.publish.mint


@settings(max_examples=300)
@given(situations(), st.integers(0, 3599))  # what isn't over yet ends in an hour or later
def test_a_published_plan_needs_no_further_publication(situation, seconds_later):
    first = decide(situation)
    # Keys of unknown age are placed by their neighbours: one that goes may make another's successor known.
    assume(first.publish and all("created" in key.members for key in situation["registered"] if key.ours))
    # A key that was never used counts as a successor too, so a rotation may find the old key's grace already running.
    assume(not situation["rotate"] or sum(key.ours for key in situation["registered"]) < 2)
    new = private_jwk(11)
    after = publish(first.publish, situation["registered"], new, NOW)
    in_secret = new if first.publish.mint else situation["in_secret"]
    settled = situation | {"registered": after, "in_secret": in_secret, "pending": None, "rotate": None}
    now = NOW + min(timedelta(seconds=seconds_later), situation["grace"])
    if first.next_look:
        now = min(now, NOW + timedelta(seconds=max(first.next_look - 2, 0)))

    second = decide(settled, now)

    assert second.publish is None
    assert second.blocker is None


@given(situations())
def test_following_the_next_looks_ends_with_the_secrets_key_and_the_foreign_ones(situation):
    now, keys, in_secret = NOW, list(situation["registered"]), situation["in_secret"]
    rotate = situation["rotate"]
    others = {key.kid for key in keys if not key.ours}
    timeless = {key.kid for key in keys if "created" not in key.members}
    for number in range(12):
        changes = {
            "registered": keys,
            "in_secret": in_secret,
            "pending": None,
            "rotate": rotate,
            "recent_mints": frozenset(),
            "holders": {},
        }
        key_plan = decide(situation | changes, now)
        if key_plan.blocker and key_plan.blocker.reason == "KeyChurn":
            assert rotate or not any(in_secret and key.matches(in_secret) for key in keys)
            return
        if key_plan.blocker:
            in_use = any(key.ours and in_secret and key.matches(in_secret) for key in keys)
            assert len(others) + in_use == KEY_LIMIT
            return
        if key_plan.publish:
            new = private_jwk(12 + number)
            keys = publish(key_plan.publish, keys, new, now)
            in_secret = new if key_plan.publish.mint else in_secret
        rotate = None
        current = next(key for key in keys if key.matches(in_secret))
        if {key.kid for key in keys} - timeless <= {current.kid} | others:
            return
        assert key_plan.next_look is not None or key_plan.publish
        now += timedelta(seconds=key_plan.next_look or 1)
    raise AssertionError(f"{[key.kid for key in keys]} are still there")


def test_a_kid_names_its_resource_and_is_known_as_ours():
    kid = build_kid(UID, "0123456789abcdef")

    assert kid == "mpo-b9d2f0c1-0123456789abcdef"
    assert PublicJwk({"kid": kid}).ours
    assert not PublicJwk({"kid": "by-hand"}).ours
    assert encode_number(65537) == rsa_key(1).e
