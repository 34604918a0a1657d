"""The status as it is written, and when it is."""

import logging
from datetime import timedelta

import pytest

from maskinporten_operator.model.conditions import READY, REGISTRATION_UNIQUE, Reason, Verdict
from maskinporten_operator.model.errors import (
    ConflictError,
    OutcomeUnknownError,
    RejectedError,
    TerminatingError,
    TransientError,
    WaitingError,
)
from maskinporten_operator.model.status_hint import StatusHint
from maskinporten_operator.plan.outcomes import UNRELATED_REASONS, Outcome, Retry, not_ready, synchronized
from maskinporten_operator.plan.status import (
    BEYOND_NAIS,
    MAX_MESSAGE_LENGTH,
    MOVED_BY_CHANGES,
    build_status,
    build_synchronization_state,
    check_status,
    stays_ready,
)
from maskinporten_operator.reconcile.progress import ClientProgress
from tests.unit.fakes import NOW, SCOPE, private_jwk, registered, registration, resource

LATER = NOW + timedelta(hours=1)
DUPLICATES = Verdict(REGISTRATION_UNIQUE, "False", Reason.DUPLICATE_REGISTRATIONS, "client-2")


def build(outcome, status=None, *, generation=1, now=NOW, correlation_id="first", **progress):
    body = resource(metadata={"generation": generation}, status=status or {})
    return build_of(outcome, ClientProgress(body, **progress), now, correlation_id)


def build_of(outcome, progress, now=NOW, correlation_id="first"):
    facts = progress.build_facts()
    return build_status(outcome, progress.resource.status, facts, progress.generation, now, correlation_id)


def still_ready(outcome, one, *, impaired=False):
    return stays_ready(outcome, one.meta, one.status, impaired=impaired)


def refused(message="no"):
    return not_ready(RejectedError(Reason.REFUSED_BY_DIGDIR, message).blocker)


READY_STATUS = build(
    synchronized((), None),
    registration=registration(registered(private_jwk(1))),
    secret_name="some-secret",
    fingerprint="0123456789abcdef",
)


def ready_of(status):
    return StatusHint(status).find_condition(READY).fields


# Times


def test_the_transition_time_is_when_the_status_changed():
    assert ready_of(READY_STATUS)["lastTransitionTime"] == "2026-03-01T12:00:00Z"
    assert ready_of(build(refused(), READY_STATUS, now=LATER))["lastTransitionTime"] == "2026-03-01T13:00:00Z"


def test_the_transition_time_stays_when_only_reason_message_and_generation_change():
    before = build(refused("first"))

    after = ready_of(
        build(not_ready(RejectedError(Reason.KEY_CHURN, "second").blocker), before, now=LATER, generation=2)
    )

    assert (after["reason"], after["message"], after["observedGeneration"]) == ("KeyChurn", "second", 2)
    assert after["lastTransitionTime"] == "2026-03-01T12:00:00Z"


@pytest.mark.parametrize("moment", [None, ""])
def test_a_lost_transition_time_is_set_anew(moment):
    broken = READY_STATUS | {"conditions": [ready_of(READY_STATUS) | {"lastTransitionTime": moment}]}

    assert ready_of(build(synchronized((), None), broken, now=LATER))["lastTransitionTime"] == "2026-03-01T13:00:00Z"


def test_a_pass_without_news_is_no_reason_to_write():
    again = build(synchronized((), None), READY_STATUS, now=LATER, correlation_id="second")

    assert again["correlationID"] == "second"
    assert again["synchronizationTime"] == "2026-03-01T13:00:00Z"
    assert check_status(READY_STATUS, again) is None


def test_what_differs_is_named_and_takes_time_and_correlation_id_along():
    again = build(refused(), READY_STATUS, now=LATER, correlation_id="second")

    assert check_status(READY_STATUS, again) == "conditions, synchronizationState"
    assert again["correlationID"] == "second"


def test_a_field_that_the_platforms_own_schema_prunes_is_not_missed_in_a_status_that_was_written():
    pruned = {name: value for name, value in READY_STATUS.items() if name != "registeredScopes"}

    assert check_status(pruned, READY_STATUS) is None


def test_registered_scopes_that_differ_are_written():
    old = READY_STATUS | {"registeredScopes": ["old:scope"]}

    assert check_status(old, READY_STATUS) == "registeredScopes"


def test_a_status_that_has_no_conditions_yet_is_written_whole():
    assert "registeredScopes" in check_status({}, READY_STATUS)
    assert check_status({"clientID": "client-1"}, READY_STATUS)


@pytest.mark.parametrize("name", sorted(set(READY_STATUS) - BEYOND_NAIS - MOVED_BY_CHANGES))
def test_any_other_field_that_is_missing_is_written(name):
    cut = {one: value for one, value in READY_STATUS.items() if one != name}

    assert check_status(cut, READY_STATUS)


def test_the_first_client_id_is_written_although_a_schema_may_prune_it():
    # Under a condition that stays as it is, it is the key ids, which come with it, that differ.
    before = build(refused())
    after = build(refused(), before, registration=registration())

    assert "keyIDs" in check_status(before, after)


def test_a_client_id_that_differs_is_written():
    assert check_status(READY_STATUS | {"clientID": "client-9"}, READY_STATUS) == "clientID"


# Facts


def test_facts_that_a_pass_didnt_establish_stay():
    after = build(refused(), READY_STATUS | {"theirs": "kept"})

    kept = ("clientID", "keyIDs", "registeredScopes", "synchronizationSecretName", "synchronizationHash")
    assert {name: after[name] for name in kept} == {name: READY_STATUS[name] for name in kept}
    assert after["theirs"] == "kept"


def test_a_fingerprint_of_the_secret_replaces_what_stood_there():
    after = build(synchronized((), None), READY_STATUS | {"synchronizationHash": "theirs"}, fingerprint="new")

    assert after["synchronizationHash"] == "new"
    assert check_status(READY_STATUS, READY_STATUS | {"synchronizationHash": "new"}) == "synchronizationHash"


def test_facts_are_those_of_the_registration():
    keys = registered(private_jwk(2)), registered(private_jwk(1))

    status = build(synchronized((), None), registration=registration(*keys, scopes=["z:z", SCOPE]))

    assert status["clientID"] == "client-1"
    assert status["keyIDs"] == sorted(key.kid for key in keys)
    assert status["registeredScopes"] == [SCOPE, "z:z"]


def test_a_failed_pass_tells_what_it_registered():
    status = build(refused(), registration=registration())

    assert (status["clientID"], status["registeredScopes"], status["keyIDs"]) == ("client-1", [SCOPE], [])
    assert "synchronizationSecretName" not in status
    assert "synchronizationHash" not in status


@pytest.mark.parametrize("spec", [{"secretName": "!"}, {}])
def test_a_status_can_be_built_for_a_spec_that_cant_be_parsed(spec):
    progress = ClientProgress(resource(spec=spec), registration=registration())

    assert build_of(refused(), progress)["registeredScopes"] == [SCOPE]


# Conditions


def test_ready_comes_first():
    status = build(synchronized((DUPLICATES,), None))

    assert [one["type"] for one in status["conditions"]] == [READY, REGISTRATION_UNIQUE]
    assert status["synchronizationState"] == "Synchronized"


def test_conditions_of_others_are_kept_after_ours():
    foreign = {"type": "Theirs", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "x"}

    status = build(synchronized((), None), {"conditions": [foreign]})

    assert [one["type"] for one in status["conditions"]] == [READY, "Theirs"]
    assert status["conditions"][1] == foreign


def test_a_condition_of_ours_that_holds_no_more_is_dropped():
    before = build(synchronized((DUPLICATES,), None))

    assert [one["type"] for one in build(synchronized((), None), before)["conditions"]] == [READY]


def test_a_long_message_is_cut():
    message = ready_of(build(refused("x" * 5000)))["message"]

    assert message == "x" * MAX_MESSAGE_LENGTH
    assert len(message) <= 32768


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ({"Ready": "True"}, "Synchronized"),
        ({"Ready": "False"}, "FailedSynchronization"),
        ({"Ready": "Unknown"}, "Retrying"),
        ({"Ready": "Unknown", "Synchronized": "True"}, "Synchronized"),
        ({"Ready": "False", "Synchronized": "True"}, "Synchronized"),
        ({"Ready": "True", "Synchronized": "True"}, "RolloutComplete"),
        ({"Ready": "False", "Synchronized": "False"}, "FailedSynchronization"),
    ],
)
def test_ready_in_the_words_of_earlier_tools(states, words):
    assert build_synchronization_state(states) == words


# A fault not_the_resources_fault

FAULTS = [
    TransientError(Reason.DIGDIR_UNAVAILABLE, "DigDir has a fault"),
    OutcomeUnknownError(Reason.DIGDIR_UNAVAILABLE, "the answer was lost"),
    TransientError(Reason.INTERNAL_ERROR, "a fault in the operator"),
    TransientError(Reason.FORBIDDEN_BY_DIGDIR, "no token for the operator's own client"),
    WaitingError(Reason.RATE_LIMITED, "fewer calls", 7.0),
    WaitingError(Reason.CLUSTER_UNAVAILABLE, "fewer calls to the API server", 1.0),
]


def test_a_pass_that_failed_before_it_judged_anything_else_leaves_the_other_conditions_as_they_are():
    before = build(synchronized((Verdict(REGISTRATION_UNIQUE, "False", Reason.DUPLICATE_REGISTRATIONS, "two"),), None))
    kept = {one["type"]: one for one in before["conditions"]}[REGISTRATION_UNIQUE]

    failed = build(not_ready(TransientError(Reason.DIGDIR_UNAVAILABLE, "m").blocker), before)
    judged = build(not_ready(RejectedError(Reason.KEY_CHURN, "m").blocker, ()), before)

    assert kept in failed["conditions"]
    assert [one["type"] for one in judged["conditions"]] == ["Ready", "Stalled"]


@pytest.mark.parametrize(
    ("outcome", "kinds"),
    [
        (synchronized((), None), []),
        (refused("m"), ["Stalled"]),
        (not_ready(TransientError(Reason.DIGDIR_UNAVAILABLE, "m").blocker), ["Reconciling"]),
        (not_ready(WaitingError(Reason.AWAITING_LIST, "m", 1.0).blocker), ["Reconciling"]),
    ],
)
def test_what_takes_time_is_reconciling_and_what_somebody_must_mend_is_stalled_and_else_neither_is_there(
    outcome, kinds
):
    for before in (
        READY_STATUS,
        build(refused()),
        build(not_ready(WaitingError(Reason.AWAITING_LIST, "", 1.0).blocker)),
    ):
        found = [one for one in build(outcome, before)["conditions"] if one["type"] in {"Reconciling", "Stalled"}]
        assert [one["type"] for one in found] == kinds
        assert all((one["status"], one["message"]) == ("True", "m") for one in found)


def ready_resource(**changes):
    return resource(status=READY_STATUS, **changes)


def name_fault(error):
    return f"{type(error).__name__}-{error.reason}"


@pytest.mark.parametrize("error", FAULTS, ids=name_fault)
def test_a_resource_that_was_ready_stays_so_through_a_fault_elsewhere(error):
    assert still_ready(not_ready(error.blocker), ready_resource())


@pytest.mark.parametrize("error", FAULTS, ids=name_fault)
def test_a_resource_without_its_secret_doesnt_stay_ready_through_a_fault_elsewhere(error):
    assert not still_ready(not_ready(error.blocker), ready_resource(), impaired=True)


@pytest.mark.parametrize("reason", sorted(Reason))
def test_a_resource_doesnt_stay_ready_when_it_is_refused(reason):
    assert not still_ready(not_ready(RejectedError(reason, "no").blocker), ready_resource())


@pytest.mark.parametrize("reason", [Reason.RATE_LIMITED, Reason.CLUSTER_UNAVAILABLE, Reason.SCOPES_PENDING])
def test_a_resource_that_was_ready_stays_so_while_a_pass_couldnt_get_to_know_all(reason):
    assert still_ready(not_ready(WaitingError(reason, "waiting", 5.0).blocker), ready_resource())


@pytest.mark.parametrize("reason", sorted(set(Reason) - UNRELATED_REASONS))
def test_a_resource_doesnt_stay_ready_while_it_waits_for_something_of_its_own(reason):
    assert not still_ready(not_ready(WaitingError(reason, "waiting", 5.0).blocker), ready_resource())


def test_success_is_reported_and_not_passed_over():
    assert not still_ready(synchronized((), None), ready_resource())


@pytest.mark.parametrize("error", FAULTS, ids=name_fault)
def test_a_resource_that_wasnt_ready_at_its_generation_doesnt_stay_so(error):
    fault = not_ready(error.blocker)

    assert not still_ready(fault, ready_resource(metadata={"generation": 2}))
    assert not still_ready(fault, resource(status=build(refused())))
    assert not still_ready(fault, resource())


# From error to outcome


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (TransientError(Reason.DIGDIR_UNAVAILABLE, "m"), "Unknown", Retry(None, failed=True)),
        (WaitingError(Reason.RATE_LIMITED, "m", 7.0), "Unknown", Retry(7.0, failed=False)),
        (RejectedError(Reason.REFUSED_BY_DIGDIR, "m"), "False", Retry(600.0, failed=True)),
    ],
)
def test_what_happens_next_follows_from_the_kind_of_error(error, status, retry):
    outcome = not_ready(error.blocker, (DUPLICATES,))

    assert outcome.verdicts == (Verdict(READY, status, error.reason, "m"), DUPLICATES)
    assert outcome.retry == retry


def test_one_that_is_going_away_is_not_reported_on():
    outcome = not_ready(TerminatingError(Reason.TERMINATING, "m").blocker, (DUPLICATES,))

    assert (outcome.verdicts, outcome.retry) == ((), None)


def test_a_conflict_says_nothing_and_is_tried_again_at_once():
    outcome = not_ready(ConflictError(Reason.CLUSTER_UNAVAILABLE, "m").blocker, (DUPLICATES,))

    assert outcome.verdicts == ()
    assert outcome.retry == Retry(None, failed=False, at_once=True)
    assert outcome.level == logging.DEBUG


def test_success_looks_again_when_the_plan_says():
    assert synchronized((), 5.0).retry == Retry(5.0, failed=False)
    assert synchronized((), None).retry is None
    assert isinstance(synchronized((), None), Outcome)
