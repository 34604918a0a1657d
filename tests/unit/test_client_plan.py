"""The plan for one MaskinportenClient."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.model.blockers import Blocker
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.maskinportenclient import (
    FINALIZER,
    RESYNC_ANNOTATION,
    ROTATE_ANNOTATION,
    ExposedScope,
)
from maskinporten_operator.model.scopes import Granted
from maskinporten_operator.plan.client_plan import (
    Snapshot,
    check_rival,
    check_secret_owner,
    judge_maskinportenclient,
    plan_maskinportenclient,
)
from maskinporten_operator.plan.decisions import (
    AddFinalizer,
    ClearAnnotations,
    CreateScope,
    GrantAccess,
    Plan,
    PublishKeys,
    RegisterClient,
    TryScopes,
    UpdateRegistration,
    WriteSecret,
)
from maskinporten_operator.plan.exposed_scopes import Exposure
from maskinporten_operator.plan.search import Absent, Found, Missing, Released, check_search
from maskinporten_operator.plan.secret import ObservedSecret, build_secret
from maskinporten_operator.plan.secret_uses import SecretUse
from tests.specs import exposed
from tests.unit.fakes import (
    NOW,
    SCOPE,
    SECRET,
    SERVER,
    SETTINGS,
    as_read,
    owner_reference,
    private_jwk,
    registered,
    registration,
    resource,
)

HELD = private_jwk(1)
FIVE = frozenset(map(str, range(5)))
"""The ids of as many keys as are made in an hour."""
KEY = registered(HELD, NOW - timedelta(days=1))
GRANTED = Granted(frozenset({SCOPE}))
OTHERS_SCOPES = registration(KEY, scopes=["udir:b"])
ORDER = (AddFinalizer, (RegisterClient, UpdateRegistration), PublishKeys, WriteSecret, ClearAnnotations)


def resource_with(*, has_finalizer=True, **annotations):
    finalizers = [FINALIZER] if has_finalizer else []
    return resource(metadata={"finalizers": finalizers, "annotations": annotations})


def secret_with(jwk=HELD, client_id="client-1", scopes=(SCOPE,)):
    built = build_secret(resource().meta, SECRET, client_id=client_id, jwk=jwk, scopes=scopes, server=SERVER)
    return as_read(built)


def secret_of(*owners):
    return ObservedSecret({"metadata": {"name": SECRET, "uid": "other", "ownerReferences": list(owners)}})


def snapshot(**changes):
    """Everything as desired, but for the changes."""
    body = changes.pop("resource", resource_with())
    return Snapshot(
        **{
            "resource": body,
            "spec": body.spec,
            "secret": secret_with(),
            "server": SERVER,
            "recent_mints": frozenset(),
            "pending_key": None,
            "found": Found(registration(KEY)),
            "granted": GRANTED,
        }
        | changes
    )


def plan(*, rival=None, search=None, **changes):
    """What a pass decides: first what keeps it waiting, then what differs."""
    if search:
        changes["found"] = search if isinstance(search, Found) else None
    seen = snapshot(**changes)
    meta, search = seen.resource.meta, search or seen.found or Absent()
    blocker = check_secret_owner(seen.secret, meta) or check_rival(rival, seen.secret) or check_search(search, meta)
    return Plan(blocker=blocker) if blocker else plan_maskinportenclient(seen, SETTINGS, NOW)


def judge(**changes):
    """The blocker and the notices of a snapshot."""
    seen = snapshot(**changes)
    return judge_maskinportenclient(seen, plan_maskinportenclient(seen, SETTINGS, NOW), SETTINGS)


def kinds(one):
    return [type(step) for step in one.steps]


NEW = {"secret": None, "found": None, "resource": resource_with(has_finalizer=False)}
FEW, MANY = Missing(1, 100), Missing(6, 100)
NEVER_HAD = Absent(None, passes=0, missing=FEW)
ABSENT = Absent("client-1", passes=1, missing=FEW)
MASS = Absent("client-1", passes=9, missing=MANY)


# What there is to do


def test_a_converged_snapshot_has_no_steps():
    blocker, notices = judge()

    assert plan().steps == ()
    assert blocker is None
    assert [(notice.type, notice.status) for notice in notices] == [("ScopesGranted", "True")]


def test_a_resource_without_scopes_has_nothing_to_be_told():
    spec = {"secretName": SECRET}
    bare = resource(metadata={"finalizers": [FINALIZER]}, spec=spec)

    assert judge(resource=bare, granted=Granted(frozenset()), found=Found(registration(KEY, scopes=[]))) == (None, ())


def test_a_new_resource_takes_every_step_in_order():
    assert kinds(plan(**NEW)) == [AddFinalizer, RegisterClient, PublishKeys, WriteSecret]


def test_a_marked_resource_isnt_marked_again():
    assert kinds(plan(**NEW | {"resource": resource_with()})) == [RegisterClient, PublishKeys, WriteSecret]


def test_an_adopted_client_is_marked_first():
    assert kinds(plan(resource=resource_with(has_finalizer=False))) == [AddFinalizer]


def test_a_drifted_registration_is_updated_and_the_secret_written():
    one = plan(found=Found(registration(KEY, scopes=["other:scope"])))

    assert kinds(one) == [UpdateRegistration, WriteSecret]
    assert one.steps[1].reason == "the registration changes"


def test_a_secret_that_differs_is_written_alone():
    one = plan(secret=secret_with(scopes=["other:scope"]))

    assert one.steps == (WriteSecret("MASKINPORTEN_SCOPES differ"),)


def test_an_absent_secret_gets_a_new_key():
    one = plan(secret=None)

    assert kinds(one) == [PublishKeys, WriteSecret]
    assert one.steps[0].mint


def test_a_secret_with_another_registrations_key_and_id_gets_a_new_key_before_it_is_written():
    one = plan(secret=secret_with(private_jwk(2), client_id="client-2"))

    assert kinds(one) == [PublishKeys, WriteSecret]
    assert one.steps[0].mint


def test_a_renewal_doesnt_touch_the_secret():
    ending = registered(HELD, NOW - timedelta(days=350))

    assert kinds(plan(found=Found(registration(ending)))) == [PublishKeys]


def test_a_request_is_cleared_last():
    one = plan(resource=resource_with(**{ROTATE_ANNOTATION: "true", RESYNC_ANNOTATION: "true"}))

    assert kinds(one) == [PublishKeys, WriteSecret, ClearAnnotations]
    assert set(one.steps[-1].names) == {ROTATE_ANNOTATION, RESYNC_ANNOTATION}


@pytest.mark.parametrize("value", ["True", "yes", "1", ""])
def test_a_request_to_look_anew_is_exactly_true(value):
    assert plan(resource=resource_with(**{RESYNC_ANNOTATION: value})).steps == ()


def test_a_key_that_cant_be_made_blocks_the_secret_and_the_requests_but_not_the_registration():
    one = plan(**NEW | {"recent_mints": FIVE, "resource": resource_with(**{RESYNC_ANNOTATION: "true"})})

    assert kinds(one) == [RegisterClient]
    assert one.blocker.reason == "KeyChurn"


def test_other_registrations_are_named_and_dont_keep_it_from_being_ready():
    blocker, notices = judge(
        found=Found(registration(KEY), others=tuple(f"client-{number}" for number in range(2, 14)))
    )

    notice = notices[-1]
    assert [one.status for one in notices] == ["True", "False"]
    assert (notice.type, notice.status) == ("RegistrationUnique", "False")
    assert "client-2, client-3" in notice.message
    assert "and 2 more" in notice.message
    assert blocker is None


EXPOSING = {"secretName": SECRET, "scopes": {"consumes": [{"name": SCOPE}], "exposes": [exposed()]}}
EXPOSED = ExposedScope.model_validate(exposed(consumers=[{"orgno": "123456789"}]))
NEW_SCOPE = Exposure("nav:arbeid:some.scope.read", EXPOSED, None)


def test_an_exposed_scope_is_acted_on_and_nothing_says_otherwise():
    body = resource(metadata={"finalizers": [FINALIZER]}, spec=EXPOSING)

    blocker, notices = judge(resource=body, exposures=(NEW_SCOPE,))

    assert kinds(plan(resource=body, exposures=(NEW_SCOPE,))) == [CreateScope, GrantAccess]
    assert blocker is None
    assert "AllFieldsSupported" not in {notice.type for notice in notices}


def test_the_scopes_come_between_the_credentials_and_the_requests():
    asking = resource_with(**{RESYNC_ANNOTATION: "true"})

    one = plan(**NEW | {"resource": asking, "exposures": (NEW_SCOPE,)})

    assert kinds(one) == [RegisterClient, PublishKeys, WriteSecret, CreateScope, GrantAccess, ClearAnnotations]


def test_scopes_are_exposed_also_while_the_client_waits_for_its_own():
    waiting = {"granted": Granted(frozenset()), "refused": {SCOPE: "no"}, "exposures": (NEW_SCOPE,)}
    one = plan(**NEW | {"resource": resource_with()} | waiting)

    assert kinds(one) == [CreateScope, GrantAccess]


def test_a_scope_that_no_list_knows_is_tried_after_everything_else_and_before_the_requests():
    asking = resource_with(**{RESYNC_ANNOTATION: "true"})

    one = plan(
        resource=asking,
        granted=Granted(frozenset()),
        found=Found(OTHERS_SCOPES),
        secret=secret_with(scopes=["udir:b"]),
        exposures=(NEW_SCOPE,),
    )

    assert kinds(one) == [CreateScope, GrantAccess, TryScopes, ClearAnnotations]
    assert one.steps[2].names == (SCOPE,)


EARLIER = registered(private_jwk(5), NOW - timedelta(days=90))
RENAMED = {
    "found": Found(registration(EARLIER, registered(HELD, NOW - timedelta(days=30)))),
    "superseded": (
        as_read(
            build_secret(
                resource().meta, "earlier", client_id="client-1", jwk=private_jwk(5), scopes=(SCOPE,), server=SERVER
            )
        ),
    ),
}


def test_the_key_in_a_secret_of_an_earlier_name_stays_while_a_pod_uses_that_however_late_it_was_started():
    used = {"earlier": (SecretUse("my-app-1", NOW),)}

    assert kinds(plan(**RENAMED, uses=used)) == []
    assert kinds(plan(**RENAMED, uses={})) == [PublishKeys]
    assert plan(**RENAMED).asks_for_uses


def test_while_no_key_can_be_made_nothing_is_tried():
    blocked = {"recent_mints": FIVE, "granted": Granted(frozenset())}

    assert TryScopes not in kinds(plan(**NEW | {"resource": resource_with()} | blocked))


def test_what_is_known_goes_on_while_the_lists_are_about_to_be_read():
    one = plan(granted=Granted(frozenset(), due=7.0), found=Found(OTHERS_SCOPES), secret=None)
    blocker, _ = judge(granted=Granted(frozenset(), due=7.0), found=Found(OTHERS_SCOPES))

    assert kinds(one) == [PublishKeys, WriteSecret]
    assert (blocker.reason, blocker.retry_after) == ("AwaitingList", 7.0)


def test_what_couldnt_be_read_of_the_exposed_scopes_is_told_and_nothing_of_them_judged():
    fault = Blocker("Transient", Reason.DIGDIR_UNAVAILABLE, "a fault")
    body = resource(metadata={"finalizers": [FINALIZER]}, spec=EXPOSING)

    blocker, notices = judge(resource=body, unread=fault)

    assert blocker is fault
    assert {one.type for one in notices} == {"ScopesGranted"}


def test_scopes_are_exposed_also_while_no_key_can_be_made():
    one = plan(**NEW | {"resource": resource_with(), "recent_mints": FIVE, "exposures": (NEW_SCOPE,)})

    assert kinds(one) == [RegisterClient, CreateScope, GrantAccess]
    assert one.blocker.reason == "KeyChurn"


@pytest.mark.parametrize("search", [Released("client-1"), ABSENT, Absent(list_due=7.5)], ids=str)
def test_a_resource_that_waits_exposes_nothing_meanwhile(search):
    assert plan(**NEW | {"exposures": (NEW_SCOPE,)}, search=search).steps == ()


def test_the_next_look_is_the_keys():
    assert plan().next_look == pytest.approx(334 * 24 * 3600, abs=5)


# What keeps it waiting


def test_a_secret_of_another_resource_is_a_conflict_that_names_it():
    one = plan(secret=secret_of(owner_reference(uid="other", name="other-app")))

    assert one.steps == ()
    assert one.blocker.reason == "SecretConflict"
    assert "other-app" in one.blocker.message


def test_a_secret_that_another_resource_controls_is_a_conflict_that_names_only_that_one():
    ours = owner_reference() | {"controller": False}
    one = plan(secret=secret_of(ours, owner_reference(uid="other", name="other-app")))

    assert one.steps == ()
    assert "belongs to MaskinportenClient other-app:" in str(one.blocker)


def test_a_secret_of_nobody_is_a_conflict():
    assert "was not made for a MaskinportenClient" in plan(secret=secret_of()).blocker.message


def test_a_secret_of_a_namesake_is_waited_for():
    blocker = plan(secret=secret_of(owner_reference(uid="earlier"))).blocker

    assert (blocker.reason, blocker.retry_after) == ("AwaitingSecretRemoval", 5.0)


def test_of_two_that_name_one_secret_the_younger_waits():
    one = plan(**NEW | {"rival": "older-app"})

    assert one.steps == ()
    assert "older-app" in one.blocker.message


def test_the_owner_of_the_secret_wins_over_an_older_rival():
    assert plan(rival="older-app").blocker is None


def test_a_released_registration_is_left_alone_and_not_replaced():
    one = plan(search=Released("client-1"))

    assert one.steps == ()
    assert one.blocker.reason == "RegistrationReleased"
    assert "client-1" in one.blocker.message


def test_the_first_pass_that_finds_a_registration_gone_waits():
    blocker = plan(search=ABSENT).blocker

    assert (blocker.reason, blocker.retry_after) == ("RegistrationAbsent", 30.0)


def test_the_second_pass_that_finds_it_gone_registers_a_new_one():
    one = plan(search=replace(ABSENT, passes=2))

    assert kinds(one) == [RegisterClient, PublishKeys, WriteSecret]


def test_one_that_never_had_a_registration_isnt_looked_for_twice():
    assert kinds(plan(**NEW | {"search": NEVER_HAD})) == [AddFinalizer, RegisterClient, PublishKeys, WriteSecret]


def test_one_that_never_had_a_registration_gets_none_while_many_are_missing():
    one = plan(**NEW | {"search": replace(NEVER_HAD, missing=MANY)})

    assert one.steps == ()
    assert (one.blocker.reason, one.blocker.retry_after) == ("MassAbsence", 300.0)


@pytest.mark.parametrize(
    ("client_id", "passes", "needs_second_look"),
    [(None, 0, False), (None, 1, False), ("client-1", 1, True), ("client-1", 2, False)],
)
def test_only_a_registration_that_was_known_is_looked_for_once_more(client_id, passes, needs_second_look):
    assert Absent(client_id, passes, FEW).needs_second_look is needs_second_look


def test_a_mass_absence_holds_however_often_it_was_seen_and_says_what_to_do():
    blocker = plan(search=MASS).blocker

    assert blocker.reason == "MassAbsence"
    assert "6 of 100" in blocker.message
    assert f"{RESYNC_ANNOTATION}=true" in blocker.message
    assert "DigDir address" in blocker.message


def test_a_resync_request_overrides_a_mass_absence_and_is_then_cleared():
    asking = resource_with(**{RESYNC_ANNOTATION: "true"})

    one = plan(search=MASS, resource=asking)

    assert kinds(one) == [RegisterClient, PublishKeys, WriteSecret, ClearAnnotations]


def test_a_resync_request_doesnt_replace_the_second_look():
    asking = resource_with(**{RESYNC_ANNOTATION: "true"})

    one = plan(search=replace(MASS, passes=1), resource=asking)

    assert one.blocker.reason == "RegistrationAbsent"
    assert one.steps == ()


@pytest.mark.parametrize(
    ("missing", "known", "is_mass"),
    [(1, 1, False), (5, 5, False), (6, 6, True), (6, 300, False), (7, 300, True), (20, 1000, False), (21, 1000, True)],
)
def test_more_than_five_and_two_percent_are_a_mass(missing, known, is_mass):
    assert Missing(missing, known).is_mass is is_mass


def test_nothing_is_registered_before_a_list_can_tell():
    one = plan(**NEW | {"search": Absent(list_due=7.5)})

    assert one.steps == ()
    assert (one.blocker.reason, one.blocker.retry_after) == ("AwaitingList", 7.5)


def test_a_registration_that_was_found_keeps_nothing_waiting():
    assert check_search(Found(registration(KEY)), resource_with().meta) is None


def test_a_scope_that_isnt_known_keeps_all_waiting_until_the_lists_are_newer_than_the_question():
    one = plan(**NEW | {"granted": Granted(frozenset(), due=7.5), "exposures": (NEW_SCOPE,)})

    assert one.steps == ()
    assert (one.blocker.reason, one.blocker.retry_after) == ("AwaitingList", 7.5)
    assert SCOPE in one.blocker.message


@pytest.mark.parametrize("granted", [GRANTED.names, frozenset()], ids=["granted", "lost"])
def test_scopes_that_are_granted_or_registered_wait_for_no_lists(granted):
    one = plan(secret=None, granted=Granted(granted, due=7.5))

    assert kinds(one) == [PublishKeys, WriteSecret]
    assert one.blocker is None or one.blocker.reason != "AwaitingList"


def test_what_else_keeps_a_resource_waiting_is_told_before_the_lists():
    one = plan(**NEW | {"rival": "older-app", "granted": Granted(frozenset(), due=7.5)})

    assert one.blocker.reason == "SecretConflict"


NOT_OURS = secret_of(owner_reference(uid="other", name="other-app"))


@pytest.mark.parametrize(
    ("secret", "rival", "search", "reason", "names"),
    [
        (NOT_OURS, "older-app", Released("client-1"), "SecretConflict", "other-app"),
        (None, "older-app", Released("client-1"), "SecretConflict", "older-app"),
        (None, None, Released("client-1"), "RegistrationReleased", "client-1"),
        (None, None, replace(MASS, passes=1, list_due=7.5), "MassAbsence", "6 of 100"),
        (None, None, replace(ABSENT, list_due=7.5), "RegistrationAbsent", "client-1"),
        (None, None, Absent(list_due=7.5), "AwaitingList", "list"),
    ],
)
def test_the_holds_come_in_the_order_of_who_can_mend_them(secret, rival, search, reason, names):
    blocker = plan(secret=secret, rival=rival, search=search).blocker

    assert blocker.reason == reason
    assert names in blocker.message


# Properties


@st.composite
def snapshots(draw):
    body = resource_with(
        has_finalizer=draw(st.booleans()),
        **draw(st.dictionaries(st.sampled_from([ROTATE_ANNOTATION, RESYNC_ANNOTATION]), st.just("true"))),
    )
    privates = [private_jwk(number) for number in range(draw(st.integers(0, 3)))]
    privates += [private_jwk(10 + number, f"foreign-{number}") for number in range(draw(st.integers(0, 2)))]
    ages = st.integers(0, 400).map(lambda days: NOW - timedelta(days=days))
    keys = [registered(one, draw(ages)) for one in privates]
    own = registration(*keys, scopes=draw(st.sampled_from([[SCOPE], [], ["other:scope"]])))
    secret = draw(
        st.sampled_from(
            [
                None,
                secret_of(),
                secret_of(owner_reference(uid="earlier")),
                secret_with(private_jwk(5)),
                ObservedSecret({"metadata": secret_with().manifest["metadata"], "data": None}),
                *(secret_with(one) for one in privates),
            ]
        )
    )
    absent = st.sampled_from([NEVER_HAD, ABSENT, replace(ABSENT, passes=2), MASS])
    return {
        "resource": body,
        "secret": secret,
        "rival": draw(st.sampled_from([None, "older-app"])),
        "recent_mints": draw(st.sampled_from([frozenset(), FIVE])),
        "search": draw(
            st.one_of(
                st.sampled_from([Found(own), Found(own, others=("client-2",)), Released("client-9")]),
                st.builds(replace, absent, list_due=st.sampled_from([0.0, 5.0])),
            )
        ),
    }


@given(snapshots())
def test_steps_come_in_the_one_order_each_at_most_once(seen):
    places = [next(place for place, kind in enumerate(ORDER) if isinstance(step, kind)) for step in plan(**seen).steps]

    assert places == sorted(set(places))


@given(snapshots())
def test_a_secret_never_gets_a_key_that_is_not_registered_or_published_by_the_same_plan(seen):
    steps = plan(**seen).steps
    if not any(isinstance(step, WriteSecret) for step in steps):
        return

    publish = next((step for step in steps if isinstance(step, PublishKeys)), None)
    if publish and publish.mint:
        return
    assert seen["secret"].jwk
    assert seen["search"].registration
    after = publish.keep if publish else seen["search"].registration.keys
    assert any(key.matches(seen["secret"].jwk) for key in after)


@given(snapshots())
def test_nothing_remote_is_written_before_the_mark(seen):
    one = plan(**seen)

    assert seen["resource"].has_finalizer or not one.steps or isinstance(one.steps[0], AddFinalizer)


@given(snapshots())
def test_nothing_is_done_to_a_secret_that_isnt_ours(seen):
    one = plan(**seen)

    owned = seen["secret"] is None or seen["secret"].is_owned_by(seen["resource"].meta)
    assert owned or (one.steps == () and one.blocker)


@given(snapshots())
def test_a_second_client_is_never_registered_beside_a_found_one(seen):
    steps, search = kinds(plan(**seen)), seen["search"]

    assert (RegisterClient in steps) <= (isinstance(search, Absent) and search.list_due <= 0)
    assert (UpdateRegistration in steps) <= isinstance(search, Found)


@given(snapshots())
def test_nothing_is_registered_while_many_are_missing_unless_somebody_asks(seen):
    registers = RegisterClient in kinds(plan(**seen))

    mass = isinstance(seen["search"], Absent) and seen["search"].missing.is_mass
    assert not registers or not mass or seen["resource"].meta.asks(RESYNC_ANNOTATION)


@given(snapshots())
def test_a_plan_without_a_hold_ends_with_a_written_secret_or_one_that_is_right(seen):
    one = plan(**seen)
    if one.blocker or WriteSecret in kinds(one):
        return

    assert seen["secret"].client_id == seen["search"].registration.client_id
    assert seen["secret"].manifest["data"] == secret_with(seen["secret"].jwk).manifest["data"]
