"""The reconcile pass, from an observed world to a changed one."""

import copy
import itertools
import json
import logging
from dataclasses import fields, replace
from datetime import timedelta

import pytest
import structlog
from structlog.testing import capture_logs

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import (
    BadRequestError,
    ConflictError,
    OutcomeUnknownError,
    RejectedError,
    TransientError,
    WaitingError,
)
from maskinporten_operator.model.maskinportenclient import (
    DELETE_ANNOTATION,
    FINALIZER,
    PRESERVE_ANNOTATION,
    RESYNC_ANNOTATION,
    ROTATE_ANNOTATION,
)
from maskinporten_operator.plan.backoff import MAX_DELAY
from maskinporten_operator.plan.outcomes import Retry
from maskinporten_operator.plan.secret import build_fingerprint
from tests.unit.fakes import (
    DESCRIPTION,
    OTHER_SCOPE,
    SCOPE,
    SECRET,
    SERVER,
    SETTINGS,
    UID,
    CrashError,
    decode,
    encode,
    owner_reference,
    private_jwk,
    registered,
    resource_body,
)
from tests.unit.world import KS, World

HOUR = 3600.0
DAY = 24 * HOUR
AT_ONCE = Retry(None, failed=False, at_once=True)


@pytest.fixture(autouse=True)
def _plain_structlog():
    yield
    structlog.reset_defaults()


@pytest.fixture
def world():
    return World()


@pytest.fixture
async def converged():
    world = World()
    await world.settle()
    return world


def unavailable():
    return TransientError(Reason.DIGDIR_UNAVAILABLE, "DigDir has a fault")


def rate_limited():
    return WaitingError(Reason.RATE_LIMITED, "DigDir asks for fewer calls", 17.0)


def lost_answer():
    return OutcomeUnknownError(Reason.DIGDIR_UNAVAILABLE, "the answer was lost")


def private_numbers(*jwks):
    """The members that nobody but the Secret may hold."""
    secret = [one.name for one in fields(jwks[0].key) if one.name not in {"n", "e"}]
    return {getattr(jwk.key, name) for jwk in jwks for name in secret}


def fingerprint(world, *scopes):
    return build_fingerprint(world.client.client_id, world.held.kid, scopes, SERVER)


# Creation


async def test_a_creation_marks_intent_then_registers_then_publishes_then_writes_the_secret_then_the_status(world):
    outcome = await world.reconcile()

    assert world.writes == ["add_finalizer", "create_client", "replace_keys", "apply_secret", "write_status"]
    assert outcome.verdicts[0].status == "True"


async def test_a_created_client_has_the_specs_scopes_and_the_mark_of_its_owner(world):
    await world.reconcile()

    assert world.client.scopes == (SCOPE,)
    assert world.client.description == DESCRIPTION


async def test_the_secret_has_the_key_that_is_registered(world):
    await world.reconcile()

    assert world.kids == [world.held.kid]
    assert world.client.keys[0].matches(world.held)
    assert decode(world.secret, "MASKINPORTEN_CLIENT_ID") == world.client.client_id
    assert decode(world.secret, "MASKINPORTEN_SCOPES") == SCOPE


async def test_the_status_tells_what_was_registered(world):
    await world.reconcile()

    assert world.status["clientID"] == world.client.client_id
    assert world.status["keyIDs"] == world.kids
    assert world.status["registeredScopes"] == [SCOPE]
    assert world.status["synchronizationSecretName"] == SECRET
    assert world.status["synchronizationState"] == "Synchronized"
    assert world.status["synchronizationHash"] == fingerprint(world, SCOPE)
    assert world.status["observedGeneration"] == 1


async def test_a_second_pass_writes_nothing(converged):
    outcome = await converged.reconcile()

    assert converged.writes == []
    assert outcome.verdicts[0].status == "True"


async def test_a_pass_after_a_restart_writes_nothing(converged):
    converged.start()

    await converged.reconcile()

    assert converged.writes == []


async def test_a_spec_that_cant_be_parsed_is_said_in_the_status_and_touches_nothing(world):
    world.cluster.edit_spec(secretName="")

    outcome = await world.reconcile()

    assert world.writes == ["write_status"]
    assert (world.condition["reason"], world.ready) == ("InvalidSpec", "False")
    assert "secretName" in world.condition["message"]
    assert outcome.retry.delay == 600.0


async def test_a_name_too_long_for_a_label_is_said_in_the_status_and_touches_nothing():
    world = World(metadata={"name": "x" * 64})

    await world.reconcile()

    assert world.writes == ["write_status"]
    assert world.condition["reason"] == "InvalidSpec"
    assert "metadata.name: must have at most 63 characters" in world.condition["message"]


async def test_of_two_that_name_one_secret_the_younger_does_nothing(world):
    world.resources.rival = "older-app"

    await world.reconcile()

    assert world.writes == ["write_status"]
    assert world.condition["reason"] == "SecretConflict"


async def test_a_secret_that_somebody_makes_during_the_pass_is_not_taken_over(world):
    theirs = {"metadata": {"name": SECRET, "uid": "other"}, "data": {"a": "b"}}
    take = world.key_pool.take

    async def take_slowly(namespace):
        world.cluster.secrets[SECRET] = theirs
        return await take(namespace)

    world.key_pool.take = take_slowly

    first = await world.reconcile()
    await world.reconcile()

    assert first.retry == AT_ONCE
    assert world.cluster.secrets[SECRET] == theirs
    assert world.condition["reason"] == "SecretConflict"


async def test_where_the_crd_prunes_a_status_field_a_second_pass_writes_nothing_nor_one_after_a_restart():
    world = World()
    world.cluster.pruned_status_fields = frozenset({"registeredScopes"})
    await world.settle()
    assert "registeredScopes" not in world.status

    await world.reconcile()
    assert world.writes == []
    world.start()
    await world.reconcile()

    assert world.writes == []


# The fingerprint of the Secret in the status


async def test_two_private_keys_of_one_id_have_one_fingerprint_so_that_it_tells_nothing_of_them():
    one, other = World(), World()
    await one.reconcile()
    other.key_pool._numbers = itertools.count(26)
    other.digdir.create({"description": DESCRIPTION, "client_id": one.client.client_id})
    await other.reconcile()

    assert one.held.kid == other.held.kid
    assert one.held.key != other.held.key
    assert one.status["synchronizationHash"] == other.status["synchronizationHash"]


@pytest.mark.parametrize(
    "change",
    [
        lambda world: world.cluster.edit_spec(clientName="Another name"),
        lambda world: world.cluster.annotate(**{RESYNC_ANNOTATION: "true"}),
        lambda world: world.secret["data"].update(MASKINPORTEN_ISSUER=encode("http://elsewhere.test/")),
        lambda world: world.digdir.set_keys(
            world.digdir.ids[0], [*world.client.keys, registered(private_jwk(7, "by-hand"))]
        ),
    ],
    ids=["another name", "a resync", "an edit that is fixed", "another key at DigDir"],
)
async def test_a_change_that_leaves_the_secret_as_it_was_leaves_its_fingerprint(converged, change):
    before = converged.status["synchronizationHash"]
    change(converged)

    await converged.reconcile()

    assert converged.ready == "True"
    assert converged.status["synchronizationHash"] == before


async def test_a_new_key_and_new_scopes_each_change_the_fingerprint(converged):
    seen = [converged.status["synchronizationHash"]]
    converged.cluster.annotate(**{ROTATE_ANNOTATION: "true"})
    await converged.reconcile()
    seen.append(converged.status["synchronizationHash"])
    converged.cluster.edit_spec(scopes={"consumes": [{"name": OTHER_SCOPE}]})
    await converged.reconcile()
    seen.append(converged.status["synchronizationHash"])

    assert len(set(seen)) == 3
    assert seen[-1] == fingerprint(converged, OTHER_SCOPE)


async def test_a_new_client_changes_the_fingerprint(converged):
    before = converged.status["synchronizationHash"]
    converged.digdir.change(converged.digdir.ids[0], active=False)
    converged.digdir.create({"description": DESCRIPTION, "scopes": [SCOPE]})
    converged.start()

    await converged.reconcile()

    assert converged.status["clientID"] == converged.digdir.ids[1]
    assert converged.status["synchronizationHash"] == fingerprint(converged, SCOPE) != before


async def test_scopes_that_havent_reached_the_secret_havent_changed_its_fingerprint(converged):
    own, others = converged.client.keys, [registered(private_jwk(n, kid=f"by-hand-{n}"), None) for n in range(5)]
    converged.digdir.set_keys(converged.client.client_id, others)
    converged.start()
    before = converged.status["synchronizationHash"]
    converged.cluster.edit_spec(scopes={"consumes": [{"name": OTHER_SCOPE}]})

    await converged.reconcile()
    assert converged.condition["reason"] == "KeyLimitReached"
    assert decode(converged.secret, "MASKINPORTEN_SCOPES") == SCOPE
    assert converged.status["synchronizationHash"] == before
    converged.digdir.set_keys(converged.client.client_id, own)
    converged.start()
    await converged.reconcile()

    assert decode(converged.secret, "MASKINPORTEN_SCOPES") == OTHER_SCOPE
    assert converged.status["synchronizationHash"] == fingerprint(converged, OTHER_SCOPE) != before


async def test_a_secret_that_couldnt_be_written_has_no_fingerprint_yet(world):
    world.trips.trip("apply_secret", lambda: RejectedError(Reason.REFUSED_BY_CLUSTER, "no"))

    await world.reconcile()

    assert world.condition["reason"] == "RefusedByCluster"
    assert "synchronizationHash" not in world.status


# Repair


async def test_a_changed_spec_updates_the_registration_and_the_secret_and_keeps_the_key(converged):
    kid = converged.held.kid
    converged.cluster.edit_spec(scopes={"consumes": [{"name": OTHER_SCOPE}, {"name": SCOPE}]})

    await converged.reconcile()

    assert converged.writes == ["update_client", "apply_secret", "write_status"]
    assert decode(converged.secret, "MASKINPORTEN_SCOPES") == f"{OTHER_SCOPE} {SCOPE}"
    assert converged.held.kid == kid


async def test_an_edited_value_is_repaired_without_a_call_that_changes_digdir(converged):
    converged.secret["data"]["MASKINPORTEN_ISSUER"] = encode("http://elsewhere.test/")

    await converged.reconcile()

    assert converged.writes == ["apply_secret"]
    assert decode(converged.secret, "MASKINPORTEN_ISSUER") == "http://digdir.test/"


async def test_a_deleted_secret_gets_a_new_key_and_the_old_one_stays_for_the_pods_that_use_it(converged):
    old = converged.held.kid
    converged.clock.advance(30 * DAY)
    converged.cluster.secrets.clear()

    await converged.reconcile()

    assert converged.held.kid != old
    assert set(converged.kids) == {old, converged.held.kid}


async def test_the_old_key_is_dropped_after_the_grace(converged):
    converged.clock.advance(30 * DAY)
    converged.cluster.secrets.clear()
    outcome = await converged.reconcile()

    converged.clock.advance(outcome.retry.delay)
    await converged.reconcile()

    assert outcome.retry.delay == pytest.approx(DAY, abs=10)
    assert converged.kids == [converged.held.kid]
    assert converged.writes == ["replace_keys", "write_status"]


async def test_fields_that_others_changed_since_the_list_are_kept_by_an_update(converged):
    converged.digdir.change(converged.client.client_id, authorization_lifetime=60)
    converged.cluster.edit_spec(clientName="Another name")

    await converged.reconcile()

    assert converged.client.fields["authorization_lifetime"] == 60
    assert converged.client.fields["client_name"] == "Another name"


async def test_a_registration_that_was_given_away_since_the_list_is_not_taken_back(converged):
    converged.digdir.change(converged.client.client_id, description="made by hand")
    converged.cluster.edit_spec(clientName="Another name")

    await converged.reconcile()
    assert converged.client.description == "made by hand"
    await converged.reconcile()

    assert converged.client.description == "made by hand"
    assert converged.client.fields["client_name"] == "Some Organisation"
    assert converged.condition["reason"] == "RegistrationReleased"


async def test_a_registration_that_was_deleted_since_the_list_is_not_written_to(converged):
    converged.digdir.change(converged.client.client_id, active=False)
    converged.cluster.edit_spec(clientName="Another name")

    outcome = await converged.reconcile()
    assert outcome.retry == AT_ONCE
    assert converged.writes == []
    await converged.reconcile()

    assert converged.writes == ["write_status"]
    assert (converged.ready, converged.condition["reason"]) == ("Unknown", "RegistrationAbsent")


async def test_a_resource_whose_mark_is_too_long_is_refused_before_any_call():
    world = World(replace(SETTINGS, cluster="c" * 250))

    outcome = await world.reconcile()

    assert world.trips.calls == ["write_status"]
    assert (outcome.verdicts[0].status, outcome.verdicts[0].reason) == ("False", "InvalidSpec")
    assert "would have 269 characters" in outcome.verdicts[0].message


@pytest.mark.parametrize("refuses", [True, False])
async def test_keys_of_others_that_expired_are_left_out_only_when_digdir_refuses_them_and_told(converged, refuses):
    foreign = [registered(private_jwk(number, f"theirs-{number}")) for number in (7, 8)]
    expired = replace(foreign[0], members={**foreign[0].members, "exp": 1})
    converged.digdir.set_keys(converged.client.client_id, [*converged.client.keys, expired, foreign[1]])
    converged.digdir.set(expired_keys_accepted=not refuses)
    converged.cluster.annotate(**{ROTATE_ANNOTATION: "true", RESYNC_ANNOTATION: "true"})

    await converged.reconcile()

    assert ("theirs-7" in converged.kids) is not refuses
    assert "theirs-8" in converged.kids
    assert converged.held.kid in converged.kids
    texts = [message for _, reason, message in converged.announcer.announced if reason == "KeysExpired"]
    assert [("theirs-7" in one, "theirs-8" in one) for one in texts] == [(True, False)] * refuses


async def test_a_refused_key_set_without_expired_keys_is_sent_once(converged):
    converged.cluster.annotate(**{ROTATE_ANNOTATION: "true"})
    converged.trips.trip("replace_keys", lambda: BadRequestError(Reason.REFUSED_BY_DIGDIR, "no"))

    await converged.reconcile()

    assert converged.writes.count("replace_keys") == 1
    assert converged.condition["reason"] == "RefusedByDigDir"


async def test_a_refused_update_under_which_nothing_differs_writes_no_secret_and_tells_of_none(converged):
    converged.cluster.edit_spec(clientName="Another name")
    converged.trips.trip_always("update_client", lambda: RejectedError(Reason.REFUSED_BY_DIGDIR, "no such name"))
    converged.announcer.announced.clear()

    for _ in range(3):
        await converged.reconcile()
        assert "apply_secret" not in converged.writes

    assert [kind for kind, *_ in converged.announcer.announced] == ["Warning"]
    assert converged.condition["reason"] == "RefusedByDigDir"


async def test_an_update_of_what_isnt_in_the_secret_doesnt_write_the_secret(converged):
    converged.cluster.edit_spec(clientName="Another name")

    await converged.reconcile()

    assert converged.writes == ["update_client", "write_status"]


async def test_a_refused_update_still_repairs_the_secret(converged):
    del converged.secret["data"]["MASKINPORTEN_ISSUER"]
    converged.cluster.edit_spec(scopes={"consumes": [{"name": OTHER_SCOPE}]})
    converged.trips.trip_always("update_client", lambda: RejectedError(Reason.REFUSED_BY_DIGDIR, "not now"))

    await converged.reconcile()

    assert decode(converged.secret, "MASKINPORTEN_ISSUER") == "http://digdir.test/"
    assert (converged.ready, converged.condition["reason"]) == ("False", "RefusedByDigDir")
    assert converged.status["registeredScopes"] == [SCOPE]


async def test_a_pass_that_fails_half_way_doesnt_unsay_the_registered_scopes(converged):
    converged.cluster.secrets.clear()
    converged.trips.trip("apply_secret", lambda: RejectedError(Reason.REFUSED_BY_CLUSTER, "no"))

    await converged.reconcile()

    assert converged.condition["reason"] == "RefusedByCluster"
    assert converged.status["registeredScopes"] == [SCOPE]


async def test_one_refused_half_way_through_its_creation_tells_the_scopes_that_are_registered(world):
    world.trips.trip("replace_keys", lambda: RejectedError(Reason.REFUSED_BY_DIGDIR, "no"))

    await world.reconcile()

    assert world.status["clientID"] == world.client.client_id
    assert world.status["registeredScopes"] == [SCOPE]
    assert "synchronizationSecretName" not in world.status


# Keys on their way


async def test_a_key_whose_publication_failed_is_used_by_the_next_pass(world):
    world.trips.trip("replace_keys", unavailable)
    await world.reconcile()
    await world.settle()

    assert len(world.key_pool.taken) == 1
    assert world.kids == [world.held.kid]


async def test_a_key_whose_secret_wasnt_written_is_used_by_the_next_pass(world):
    world.trips.trip("apply_secret", unavailable)
    await world.reconcile()
    await world.settle()

    assert len(world.key_pool.taken) == 1
    assert world.kids == [world.held.kid]


async def test_a_rotation_replaces_the_key_and_its_request_is_cleared_last(converged):
    old = converged.held.kid
    converged.cluster.annotate(**{ROTATE_ANNOTATION: "true"})

    await converged.reconcile()

    assert converged.writes == ["replace_keys", "apply_secret", "clear_annotations", "write_status"]
    assert set(converged.kids) == {old, converged.held.kid}
    assert converged.held.kid != old
    assert converged.cluster.resource["metadata"]["annotations"] == {}


async def test_a_rotation_whose_secret_wasnt_written_is_completed_with_the_same_key_when_no_slot_is_left(converged):
    others = [registered(private_jwk(number, kid=f"by-hand-{number}"), None) for number in range(3)]
    converged.digdir.set_keys(converged.client.client_id, [*converged.client.keys, *others])
    converged.start()
    old = converged.held.kid
    converged.cluster.annotate(**{ROTATE_ANNOTATION: "true"})
    converged.trips.trip("apply_secret", unavailable)
    await converged.reconcile()
    assert len(converged.kids) == 5

    await converged.reconcile()

    assert len(converged.key_pool.taken) == 2
    assert set(converged.kids) == {old, converged.held.kid, "by-hand-0", "by-hand-1", "by-hand-2"}
    assert converged.held.kid != old
    assert converged.cluster.resource["metadata"]["annotations"] == {}


async def test_a_rotation_for_which_there_is_no_slot_leaves_the_key_in_use_and_the_request(converged):
    others = [registered(private_jwk(number, kid=f"by-hand-{number}"), None) for number in range(4)]
    converged.digdir.set_keys(converged.client.client_id, [*converged.client.keys, *others])
    converged.start()
    old = converged.held.kid
    converged.cluster.annotate(**{ROTATE_ANNOTATION: "true"})

    await converged.reconcile()

    assert converged.ready == "True"
    assert converged.find_condition("Rotated")["reason"] == "KeyLimitReached"
    assert converged.writes == ["write_status"]
    assert converged.held.kid == old
    assert old in converged.kids
    assert converged.meta.asks(ROTATE_ANNOTATION)


async def test_a_rotation_makes_a_new_key_also_when_the_answer_to_the_last_secret_was_lost(world):
    world.trips.trip("apply_secret", unavailable, after=True)
    await world.reconcile()
    await world.settle()
    old = world.held.kid
    world.cluster.annotate(**{ROTATE_ANNOTATION: "true"})

    await world.reconcile()

    assert world.held.kid != old


async def test_a_deleted_secret_never_gets_back_the_key_it_had(world):
    world.trips.trip("apply_secret", unavailable, after=True)
    await world.reconcile()
    await world.settle()
    old = world.held.kid
    world.cluster.secrets.clear()

    await world.reconcile()

    assert world.held.kid != old


async def test_five_keys_in_an_hour_are_made_and_no_sixth(converged):
    for _ in range(5):
        converged.cluster.secrets.clear()
        await converged.reconcile()

    assert len(converged.key_pool.taken) == 5
    assert converged.condition["reason"] == "KeyChurn"
    assert SECRET not in converged.cluster.secrets


def recreate(world, number):
    """Delete the resource, which keeps its client and takes its Secret along, and create it again."""
    world.memory.forget(world.cluster.resource["metadata"]["uid"])
    world.cluster.secrets.clear()
    world.cluster.resource = resource_body(metadata={"uid": f"uid-{number}"})


@pytest.mark.parametrize("restarts", [False, True], ids=["by one process", "each time by another"])
async def test_keys_are_counted_by_client_however_often_its_resource_is_created_again(converged, restarts):
    for number in range(54):
        recreate(converged, number)
        if restarts:
            converged.start()
        await converged.reconcile()

    assert len(converged.digdir.active) == 1
    assert len(converged.key_pool.taken) == 5
    assert converged.condition["reason"] == "KeyChurn"


async def test_keys_are_counted_also_where_they_dont_stay_registered_for_an_hour():
    world = World(replace(SETTINGS, key_grace=timedelta(0)))
    await world.settle()
    for number in range(54):
        recreate(world, number)
        await world.reconcile()

    assert len(world.key_pool.taken) == 5
    assert world.condition["reason"] == "KeyChurn"


async def test_a_client_that_was_made_anew_has_its_own_count(converged):
    for number in range(5):
        recreate(converged, number)
        await converged.reconcile()
    converged.digdir.lose_clients()
    converged.start()

    recreate(converged, 5)
    await converged.settle()

    assert converged.ready == "True"


@pytest.mark.parametrize("restarts", [False, True], ids=["by one process", "by another"])
async def test_after_an_hour_a_key_is_made_again(converged, restarts):
    for _ in range(5):
        converged.cluster.secrets.clear()
        await converged.reconcile()
    if restarts:
        converged.start()
    converged.clock.advance(3600)

    await converged.reconcile()

    assert len(converged.key_pool.taken) == 6
    assert converged.ready == "True"


async def test_the_fifth_key_is_still_published_when_its_first_attempt_failed(converged):
    for _ in range(3):
        converged.cluster.secrets.clear()
        await converged.reconcile()
    converged.cluster.secrets.clear()
    converged.trips.trip("replace_keys", unavailable)
    await converged.reconcile()

    await converged.reconcile()

    assert len(converged.key_pool.taken) == 5
    assert converged.ready == "True"


# What belongs to others


async def test_a_secret_of_somebody_else_is_left_alone_and_nothing_is_registered(world):
    world.cluster.secrets[SECRET] = {"metadata": {"name": SECRET, "uid": "other"}, "data": {"a": "b"}}

    await world.reconcile()

    assert world.writes == ["write_status"]
    assert world.condition["reason"] == "SecretConflict"
    assert world.cluster.secrets[SECRET]["data"] == {"a": "b"}


async def test_a_secret_of_an_earlier_resource_of_the_name_is_waited_for(world):
    owner = owner_reference(uid="earlier-uid")
    world.cluster.secrets[SECRET] = {"metadata": {"name": SECRET, "uid": "other", "ownerReferences": [owner]}}

    outcome = await world.reconcile()

    assert world.writes == ["write_status"]
    assert world.condition["reason"] == "AwaitingSecretRemoval"
    assert outcome.retry.delay == 5.0


async def test_a_foreign_key_is_published_again_as_it_was(converged):
    foreign = registered(private_jwk(7, kid="by-hand"), None, exp=1_790_000_000)
    client_id = converged.client.client_id
    converged.digdir.set_keys(client_id, [*converged.client.keys, foreign])
    converged.start()
    converged.cluster.secrets.clear()

    await converged.reconcile()

    kept = next(key for key in converged.client.keys if key.kid == "by-hand")
    assert {name: kept.members[name] for name in foreign.members} == foreign.members


# Registrations found


async def test_a_registration_with_our_description_is_adopted(world):
    existing = world.digdir.create({"description": DESCRIPTION, "scopes": [SCOPE]})

    await world.reconcile()

    assert world.client.client_id == existing.client_id
    assert world.status["clientID"] == existing.client_id


async def test_an_adopted_registration_that_differs_is_updated_and_its_other_fields_kept(world):
    world.digdir.create({"description": DESCRIPTION, "scopes": ["old:scope"], "authorization_lifetime": 42})

    await world.reconcile()

    assert world.client.scopes == (SCOPE,)
    assert world.client.fields["authorization_lifetime"] == 42


async def test_an_inactive_registration_is_never_adopted(world):
    world.digdir.create({"description": DESCRIPTION, "active": False})

    await world.reconcile()

    before, after = world.digdir.ids
    assert world.client.client_id == after
    assert not world.digdir.clients[before].fields["active"]


async def test_of_several_the_secrets_is_chosen_and_the_others_are_named(converged):
    own = converged.client.client_id
    converged.digdir.create({"description": DESCRIPTION})
    converged.digdir.change(converged.digdir.ids[1], created=0)
    converged.start()

    await converged.reconcile()

    (notice,) = (one for one in converged.status["conditions"] if one["type"] == "RegistrationUnique")
    assert converged.status["clientID"] == own
    assert notice["status"] == "False"
    assert converged.digdir.ids[1] in notice["message"]
    assert own not in notice["message"]
    assert converged.ready == "True"


async def start_with_a_list_without(world, client_id):
    """Begin a process whose list doesn't tell of a client that is there, as of one that was listed too early."""
    world.digdir.change(client_id, active=False)
    world.start()
    await world.registrations.ready()
    world.digdir.change(client_id, active=True)


async def test_the_secrets_registration_is_read_before_another_one_is_taken_that_the_list_has(converged):
    converged.digdir.create({"description": DESCRIPTION})
    await start_with_a_list_without(converged, converged.digdir.ids[0])

    await converged.reconcile()

    assert converged.status["clientID"] == converged.digdir.ids[0]
    assert decode(converged.secret, "MASKINPORTEN_CLIENT_ID") == converged.digdir.ids[0]
    assert converged.ready == "True"


async def test_without_a_secret_the_statuss_registration_is_read_before_another_one_is_taken(converged):
    converged.digdir.create({"description": DESCRIPTION})
    await start_with_a_list_without(converged, converged.digdir.ids[0])
    converged.cluster.secrets.clear()

    await converged.reconcile()

    assert decode(converged.secret, "MASKINPORTEN_CLIENT_ID") == converged.digdir.ids[0]


async def test_when_the_known_registration_is_gone_another_one_with_its_description_is_taken_at_once(converged):
    converged.digdir.change(converged.digdir.ids[0], active=False)
    converged.digdir.create({"description": DESCRIPTION, "scopes": [SCOPE]})
    converged.start()

    await converged.reconcile()

    assert converged.status["clientID"] == converged.digdir.ids[1]
    assert decode(converged.secret, "MASKINPORTEN_CLIENT_ID") == converged.digdir.ids[1]
    assert converged.ready == "True"


async def test_when_the_secrets_id_is_forged_the_statuss_registration_is_found(converged):
    converged.digdir.create({"description": "some-cluster:other-team:other-app"})
    converged.secret["data"]["MASKINPORTEN_CLIENT_ID"] = encode(converged.digdir.ids[1])
    await start_with_a_list_without(converged, converged.digdir.ids[0])

    await converged.reconcile()

    assert decode(converged.secret, "MASKINPORTEN_CLIENT_ID") == converged.digdir.ids[0]
    assert converged.digdir.clients[converged.digdir.ids[1]].description == "some-cluster:other-team:other-app"


async def test_an_id_of_another_organisation_in_the_secret_doesnt_keep_it_from_being_mended(converged):
    theirs = converged.digdir.create({"description": DESCRIPTION}, orgno=KS).client_id
    converged.secret["data"]["MASKINPORTEN_CLIENT_ID"] = encode(theirs)

    await converged.reconcile()

    assert "read_client" in converged.trips.calls

    assert decode(converged.secret, "MASKINPORTEN_CLIENT_ID") == converged.digdir.ids[0]
    assert converged.ready == "True"


async def test_an_id_that_cant_be_read_is_told_while_no_registration_is_listed(converged):
    converged.digdir.change(converged.digdir.ids[0], active=False)
    converged.start()
    converged.trips.trip("read_client", lambda: RejectedError(Reason.FORBIDDEN_BY_DIGDIR, "not yours"))

    await converged.reconcile()

    assert (converged.ready, converged.condition["reason"]) == ("False", "ForbiddenByDigDir")
    assert converged.digdir.active == []


@pytest.mark.parametrize("junk", [5, ["some-client"], {"a": 1}, None, ""])
async def test_an_id_in_the_status_that_is_none_is_not_looked_for(world, junk):
    world.cluster.resource["status"] = {"clientID": junk}

    await world.settle()

    assert world.ready == "True"
    assert world.client.client_id == world.digdir.ids[0]


async def test_a_registration_whose_answer_was_lost_is_adopted_once_a_list_can_tell(world):
    world.trips.trip("create_client", lost_answer, after=True)
    await world.reconcile()
    waiting = await world.reconcile()
    assert waiting.verdicts[0].reason == "AwaitingList"
    assert world.writes == ["write_status"]

    world.clock.advance(waiting.retry.delay)
    await world.reconcile()

    assert len(world.digdir.clients) == 1
    assert world.ready == "True"


async def test_a_resource_with_our_mark_waits_after_a_restart_for_a_list_that_shows_the_lost_registration():
    world = World(metadata={"finalizers": [FINALIZER]})

    outcome = await world.reconcile()

    assert outcome.verdicts[0].reason == "AwaitingList"
    assert 9 < outcome.retry.delay <= 10
    assert world.digdir.clients == {}


async def test_a_registration_that_is_gone_is_looked_for_twice_before_a_new_one_is_made(converged):
    converged.digdir.change(converged.digdir.ids[0], active=False)
    converged.start()
    converged.clock.advance(10)
    first = await converged.reconcile()
    assert (first.verdicts[0].reason, first.retry.delay) == ("RegistrationAbsent", 30.0)
    assert converged.writes == ["write_status"]
    at_once = await converged.reconcile()
    assert at_once.verdicts[0].reason == "RegistrationAbsent"

    converged.clock.advance(30)
    await converged.reconcile()

    assert converged.client.client_id == converged.digdir.ids[1]
    assert converged.ready == "True"
    assert converged.client.keys[0].matches(converged.held)


async def test_nothing_is_made_anew_while_many_are_missing_unless_somebody_asks(converged):
    converged.digdir.change(converged.digdir.ids[0], active=False)
    converged.start()
    converged.resources.client_ids = [f"gone-{number}" for number in range(10)]
    converged.clock.advance(10)
    for _ in range(2):
        await converged.reconcile()
        assert (converged.ready, converged.condition["reason"]) == ("Unknown", "MassAbsence")
        converged.clock.advance(300)

    converged.cluster.annotate(**{RESYNC_ANNOTATION: "true"})
    await converged.reconcile()

    assert converged.client.client_id == converged.digdir.ids[1]
    assert converged.cluster.resource["metadata"]["annotations"] == {}


async def test_the_second_look_for_one_that_is_gone_is_at_a_list_newer_than_the_first(converged):
    converged.digdir.change(converged.digdir.ids[0], active=False)
    converged.start()
    converged.clock.advance(10)
    first = await converged.reconcile()
    assert first.verdicts[0].reason == "RegistrationAbsent"
    converged.digdir.create({"description": DESCRIPTION, "scopes": [SCOPE]})

    converged.clock.advance(30)
    await converged.reconcile()

    assert converged.client.client_id == converged.digdir.ids[1]
    assert converged.status["clientID"] == converged.digdir.ids[1]
    assert "create_client" not in converged.writes


async def test_a_registration_that_is_back_at_the_second_look_is_kept(converged):
    converged.digdir.change(converged.digdir.ids[0], active=False)
    converged.start()
    converged.clock.advance(10)
    await converged.reconcile()
    converged.digdir.change(converged.digdir.ids[0], active=True)

    converged.clock.advance(30)
    await converged.reconcile()

    assert converged.client.client_id == converged.digdir.ids[0]
    assert converged.ready == "True"
    assert converged.memory.absent_since(converged.meta.uid) is None


async def test_when_the_list_of_the_second_look_lacks_many_nothing_is_made_anew(converged):
    for number in range(2, 11):
        converged.digdir.create({"description": f"some-cluster:other-team:app-{number}"})
    converged.digdir.change(converged.digdir.ids[0], active=False)
    converged.start()
    converged.resources.client_ids = converged.digdir.ids
    converged.clock.advance(10)
    first = await converged.reconcile()
    assert first.verdicts[0].reason == "RegistrationAbsent"
    for number in range(2, 11):
        converged.digdir.change(converged.digdir.ids[number - 1], active=False)

    converged.clock.advance(30)
    second = await converged.reconcile()

    assert second.verdicts[0].reason == "MassAbsence"
    assert converged.digdir.active == []


async def test_a_new_resource_is_not_registered_while_many_are_missing_unless_somebody_asks(world):
    world.resources.client_ids = [f"gone-{number}" for number in range(10)]
    for _ in range(2):
        outcome = await world.reconcile()
        assert (world.ready, world.condition["reason"]) == ("Unknown", "MassAbsence")
        assert outcome.retry.delay == 300.0
    assert world.digdir.clients == {}

    world.cluster.annotate(**{RESYNC_ANNOTATION: "true"})
    await world.reconcile()

    assert world.ready == "True"
    assert world.cluster.resource["metadata"]["annotations"] == {}


async def test_a_resource_whose_registration_is_found_is_managed_while_many_are_missing(converged):
    converged.resources.client_ids = [f"gone-{number}" for number in range(10)]
    converged.cluster.secrets.clear()

    await converged.reconcile()

    assert converged.ready == "True"
    assert SECRET in converged.cluster.secrets


async def test_ids_that_exist_and_are_somebody_elses_by_now_are_not_missing(world):
    for _ in range(10):
        world.digdir.create({"description": "given away"})
    world.resources.client_ids = world.digdir.ids
    for client_id in world.resources.client_ids:
        await world.registrations.read(client_id)

    await world.reconcile()

    assert world.ready == "True"


async def test_a_resync_request_reads_the_registration_anew(converged):
    converged.digdir.change(converged.digdir.ids[0], scopes=["drifted:scope"])
    await converged.reconcile()
    assert converged.writes == []

    converged.cluster.annotate(**{RESYNC_ANNOTATION: "true"})
    await converged.reconcile()

    assert converged.client.scopes == (SCOPE,)
    assert converged.cluster.resource["metadata"]["annotations"] == {}


# Deletion


async def test_a_deletion_keeps_the_client_without_any_call_of_digdir(converged):
    converged.cluster.touch(deletionTimestamp="2026-03-02T00:00:00Z")

    outcome = await converged.reconcile()

    assert converged.trips.calls == ["remove_finalizers"]
    assert converged.cluster.resource is None
    assert outcome.verdicts == ()
    assert converged.client.fields["active"]


async def test_a_deletion_for_good_takes_keys_then_client_then_finalizer(converged):
    converged.cluster.annotate(**{DELETE_ANNOTATION: "true"})
    converged.cluster.touch(deletionTimestamp="2026-03-02T00:00:00Z")

    await converged.reconcile()

    assert converged.writes == ["delete_keys", "delete_client", "remove_finalizers"]
    assert converged.digdir.active == []


async def test_preserve_wins_over_delete(converged):
    converged.cluster.annotate(**{DELETE_ANNOTATION: "true", PRESERVE_ANNOTATION: "true"})
    converged.cluster.touch(deletionTimestamp="2026-03-02T00:00:00Z")

    await converged.reconcile()

    assert converged.trips.calls == ["remove_finalizers"]
    assert converged.client.fields["active"]


async def test_the_finalizer_stays_while_digdir_doesnt_delete(converged):
    converged.cluster.annotate(**{DELETE_ANNOTATION: "true"})
    converged.cluster.touch(deletionTimestamp="2026-03-02T00:00:00Z")
    converged.trips.trip("delete_client", unavailable)

    await converged.reconcile()
    assert FINALIZER in converged.cluster.resource["metadata"]["finalizers"]
    await converged.reconcile()

    assert converged.cluster.resource is None
    assert converged.digdir.active == []


async def test_a_deletion_for_good_needs_no_valid_spec(converged):
    converged.cluster.annotate(**{DELETE_ANNOTATION: "true"})
    converged.cluster.edit_spec(secretName="")
    converged.cluster.touch(deletionTimestamp="2026-03-02T00:00:00Z")

    await converged.reconcile()

    assert converged.digdir.active == []
    assert converged.cluster.resource is None


async def test_a_deletion_for_good_leaves_a_client_alone_that_has_another_description(converged):
    converged.digdir.change(converged.digdir.ids[0], description="given away")
    converged.start()
    converged.clock.advance(10)
    converged.cluster.annotate(**{DELETE_ANNOTATION: "true"})
    converged.cluster.touch(deletionTimestamp="2026-03-02T00:00:00Z")

    await converged.reconcile()

    assert converged.client.fields["active"]
    assert converged.cluster.resource is None


async def test_a_deletion_for_good_that_finds_nothing_waits_while_many_are_missing_unless_somebody_asks(converged):
    converged.digdir.change(converged.digdir.ids[0], active=False)
    converged.start()
    converged.clock.advance(10)
    converged.resources.client_ids = [f"gone-{number}" for number in range(10)]
    converged.cluster.annotate(**{DELETE_ANNOTATION: "true"})
    converged.cluster.touch(deletionTimestamp="2026-03-02T00:00:00Z")

    outcome = await converged.reconcile()
    assert (outcome.verdicts[0].reason, outcome.retry.delay) == ("MassAbsence", 300.0)
    assert "list_own_scopes" not in converged.trips.calls
    assert FINALIZER in converged.cluster.resource["metadata"]["finalizers"]
    converged.cluster.annotate(**{RESYNC_ANNOTATION: "true"})
    await converged.reconcile()

    assert converged.cluster.resource is None


async def test_a_deletion_for_good_that_finds_its_client_is_done_while_many_are_missing(converged):
    converged.resources.client_ids = [f"gone-{number}" for number in range(10)]
    converged.cluster.annotate(**{DELETE_ANNOTATION: "true"})
    converged.cluster.touch(deletionTimestamp="2026-03-02T00:00:00Z")

    await converged.reconcile()

    assert converged.digdir.active == []
    assert converged.cluster.resource is None


async def test_a_default_deletion_waits_for_nothing_while_many_are_missing(converged):
    converged.resources.client_ids = [f"gone-{number}" for number in range(10)]
    converged.cluster.touch(deletionTimestamp="2026-03-02T00:00:00Z")

    await converged.reconcile()

    assert converged.cluster.resource is None


@pytest.mark.parametrize("junk", [5, ["some-client"], {"a": 1}])
async def test_a_deletion_for_good_is_done_whatever_the_status_says(converged, junk):
    converged.cluster.annotate(**{DELETE_ANNOTATION: "true"})
    converged.cluster.touch(deletionTimestamp="2026-03-02T00:00:00Z")
    converged.cluster.resource["status"]["clientID"] = junk

    await converged.reconcile()

    assert converged.digdir.active == []
    assert converged.cluster.resource is None


async def test_a_deletion_for_good_waits_for_the_list_when_a_registration_may_have_been_lost(world):
    world.trips.trip("create_client", lost_answer, after=True)
    await world.reconcile()
    world.cluster.annotate(**{DELETE_ANNOTATION: "true"})
    world.cluster.touch(deletionTimestamp="2026-03-02T00:00:00Z")

    outcome = await world.reconcile()
    assert outcome.verdicts[0].reason == "AwaitingList"
    assert world.cluster.resource is not None
    world.clock.advance(outcome.retry.delay)
    await world.reconcile()

    assert world.digdir.active == []
    assert world.cluster.resource is None


async def test_a_resource_without_our_mark_is_let_go_without_a_call(world):
    world.cluster.touch(deletionTimestamp="2026-03-02T00:00:00Z", finalizers=["somebody/else"])

    await world.reconcile()

    assert world.trips.calls == []


async def test_one_that_is_created_again_after_a_default_deletion_gets_its_client_back(converged):
    client_id = converged.client.client_id
    again = World(digdir=converged.digdir)
    again.key_pool = converged.key_pool
    again.cluster.touch(uid="another-uid")
    again.start()

    await again.settle()

    assert again.client.client_id == client_id
    assert again.held.kid != converged.held.kid


# Terminating


def resource_is_going(world):
    stale = world.cluster.resource
    world.cluster.touch(deletionTimestamp="2026-03-02T00:00:00Z")
    return stale


def resource_is_gone(world):
    stale, world.cluster.resource = world.cluster.resource, None
    return stale


def resource_is_another(world):
    stale = world.cluster.resource
    world.cluster.touch(uid="another-uid")
    return stale


def namespace_is_going(world):
    world.cluster.namespace_terminating = True
    return world.cluster.resource


@pytest.mark.parametrize("going", [resource_is_going, resource_is_gone, resource_is_another, namespace_is_going])
async def test_nothing_is_minted_for_a_secret_that_vanished_with_its_owner(converged, going):
    converged.cluster.secrets.clear()
    stale = going(converged)
    minted = len(converged.key_pool.taken)

    outcome = await converged.reconcile(stale)

    assert converged.writes == []
    assert len(converged.key_pool.taken) == minted
    assert outcome.verdicts == ()
    assert outcome.retry is None


@pytest.mark.parametrize("going", [resource_is_going, namespace_is_going])
async def test_a_secret_that_the_status_names_is_checked_for_also_when_the_client_has_no_keys(converged, going):
    converged.cluster.secrets.clear()
    converged.digdir.set_keys(converged.client.client_id, ())
    converged.start()
    stale = going(converged)

    outcome = await converged.reconcile(stale)

    assert converged.writes == []
    assert outcome.verdicts == ()


@pytest.mark.parametrize("kid", ["by-hand", "mpo-b9d2f0c1-0000000000000007"])
async def test_a_client_with_any_key_is_given_no_other_for_a_resource_that_is_going(world, kid):
    world.digdir.create({"description": DESCRIPTION}, registered(private_jwk(7, kid=kid)))
    stale = resource_is_going(world)

    outcome = await world.reconcile(stale)

    assert world.writes == []
    assert outcome.verdicts == ()


async def test_nobody_is_asked_whether_a_new_resource_is_still_wanted(world):
    await world.reconcile()

    assert not {"find_maskinportenclient", "is_namespace_terminating"} & set(world.trips.calls)


# Errors


async def test_an_outage_leaves_a_ready_resource_ready_and_its_status_unwritten(converged):
    converged.trips.trip("find_secret", unavailable)

    outcome = await converged.reconcile()

    assert converged.writes == []
    assert converged.ready == "True"
    assert outcome.retry.failed
    assert outcome.retry.delay is None


@pytest.mark.parametrize("error", [unavailable, rate_limited], ids=["fault", "fewer calls"])
@pytest.mark.parametrize("call", ["get_metadata", "read_client", "replace_keys", "apply_secret"])
async def test_an_outage_is_told_when_the_secret_is_missing(converged, call, error):
    converged.cluster.secrets.clear()
    converged.trips.trip(call, error)

    await converged.reconcile()

    assert SECRET not in converged.cluster.secrets
    assert (converged.ready, converged.condition["reason"]) == ("Unknown", error().reason)


async def test_a_call_for_fewer_calls_leaves_a_ready_resource_ready(converged):
    converged.start()
    converged.trips.trip("get_metadata", rate_limited)

    outcome = await converged.reconcile()

    assert converged.writes == []
    assert converged.ready == "True"
    assert outcome.retry == Retry(17.0, failed=False)


async def test_an_outage_is_told_when_the_newest_generation_isnt_ready(converged):
    converged.cluster.edit_spec(clientName="Another name")
    converged.trips.trip("find_secret", unavailable)

    await converged.reconcile()

    assert (converged.ready, converged.condition["reason"]) == ("Unknown", "DigDirUnavailable")


async def test_a_wait_lasts_as_long_as_was_asked_for(world):
    world.trips.trip("create_client", rate_limited)

    outcome = await world.reconcile()

    assert outcome.retry.delay == 17.0
    assert not outcome.retry.failed
    assert world.ready == "Unknown"


async def test_a_status_that_cant_be_written_is_written_by_the_next_pass(world):
    world.trips.trip("write_status", lambda: ConflictError(Reason.CLUSTER_UNAVAILABLE, "changed"))

    outcome = await world.reconcile()
    assert (outcome.verdicts, outcome.retry, outcome.silent) == ((), AT_ONCE, "Conflict")
    assert world.status == {}
    await world.reconcile()

    assert world.writes == ["write_status"]
    assert world.ready == "True"


# Conflicts in a row


DENIED = "admission webhook denied the request"


class Denying:
    """An admission webhook that denies calls of a port with a conflict, while it is there."""

    def __init__(self, cluster, call):
        self.cluster, self.call = cluster, call
        setattr(cluster, call, self.deny)

    async def deny(self, *_, **__):
        raise ConflictError(Reason.REFUSED_BY_CLUSTER, DENIED)

    def leave(self):
        delattr(self.cluster, self.call)


async def test_a_conflict_that_stays_is_told_in_the_api_servers_words_from_the_fifth_on(converged):
    converged.cluster.annotate(**{ROTATE_ANNOTATION: "true"})
    Denying(converged.cluster, "apply")

    quiet = [await converged.reconcile() for _ in range(4)]
    assert {(one.verdicts, one.retry, one.silent) for one in quiet} == {((), AT_ONCE, "Conflict")}
    assert converged.ready == "True"
    outcome = await converged.reconcile()

    assert outcome.retry == Retry(None, failed=True)
    ready = converged.condition
    assert (ready["status"], ready["reason"], ready["message"]) == ("Unknown", "RefusedByCluster", DENIED)
    await converged.reconcile()
    assert "write_status" not in converged.writes


async def test_a_pass_without_a_conflict_ends_a_row_of_them(converged):
    webhook = Denying(converged.cluster, "apply")
    converged.cluster.annotate(**{ROTATE_ANNOTATION: "true"})
    for _ in range(6):
        await converged.reconcile()
    assert converged.ready == "Unknown"

    webhook.leave()
    await converged.reconcile()
    assert converged.ready == "True"
    Denying(converged.cluster, "apply")
    converged.cluster.annotate(**{ROTATE_ANNOTATION: "again"})
    outcome = await converged.reconcile()

    assert (outcome.verdicts, outcome.retry) == ((), AT_ONCE)
    assert converged.ready == "True"


async def test_a_rotation_whose_secret_is_denied_for_an_hour_mints_and_publishes_one_key(converged):
    minted = len(converged.key_pool.taken)
    converged.cluster.annotate(**{ROTATE_ANNOTATION: "true"})
    webhook = Denying(converged.cluster, "apply")
    published = 0
    for _ in range(int(HOUR / MAX_DELAY)):
        await converged.reconcile()
        published += converged.writes.count("replace_keys")
        converged.clock.advance(MAX_DELAY)

    assert (len(converged.key_pool.taken) - minted, published) == (1, 1)
    webhook.leave()
    await converged.reconcile()
    assert converged.held.kid == converged.kids[0]
    assert len(converged.kids) == 2
    assert converged.ready == "True"


async def test_a_published_key_that_vanished_before_it_was_delivered_is_published_again(converged):
    converged.cluster.annotate(**{ROTATE_ANNOTATION: "true"})
    converged.trips.trip("apply_secret", lambda: ConflictError(Reason.REFUSED_BY_CLUSTER, DENIED))
    await converged.reconcile()
    converged.digdir.set_keys(converged.client.client_id, converged.client.keys[1:])

    await converged.reconcile()

    assert converged.writes.count("replace_keys") == 1
    assert converged.held.kid == converged.kids[0]


async def test_a_status_that_always_conflicts_is_told_by_the_log(world):
    Denying(world.cluster, "write_status")
    for _ in range(4):
        await world.reconcile()

    with capture_logs() as logs:
        outcome = await world.reconcile()

    assert outcome.retry == Retry(None, failed=True)
    assert [(one["log_level"], one["message"]) for one in logs] == [("warning", DENIED)]


async def test_a_deletion_that_always_conflicts_says_that_it_waits(converged):
    Denying(converged.cluster, "remove_finalizers")
    converged.cluster.touch(deletionTimestamp="2026-03-01T12:00:00Z")
    for _ in range(5):
        await converged.reconcile()

    assert converged.condition["message"] == f"The deletion waits: {DENIED}"


async def test_conflicts_are_forgotten_with_the_resource(converged):
    for _ in range(3):
        converged.memory.record_conflict(UID)
    converged.memory.forget(UID)

    assert converged.memory.conflicts(UID) == 0


async def test_a_status_of_an_old_version_is_not_written_over_a_newer_one(converged):
    stale = converged.cluster.resource
    converged.cluster.edit_spec(clientName="Another name")
    before = converged.status

    outcome = await converged.reconcile({**stale, "status": {}})

    assert outcome.retry == AT_ONCE
    assert converged.status == before


@pytest.mark.parametrize("where", ["find_secret", "create_client", "take", "apply_secret"])
async def test_an_internal_error_shows_its_place_and_never_its_text(world, where):
    world.trips.trip(where, lambda: ValueError("d=very-private"))

    with capture_logs() as logs:
        outcome = await world.reconcile()

    texts = json.dumps([logs, world.cluster.resource, world.announcer.announced], default=str)
    assert "very-private" not in texts
    assert "ValueError" in texts
    assert "fakes.py" in texts
    assert outcome.verdicts[0].reason == "InternalError"
    assert outcome.retry == Retry(None, failed=True)


async def test_an_internal_error_while_reporting_doesnt_leave_the_pass(world):
    world.trips.trip("write_status", lambda: KeyError("d=very-private"))

    with capture_logs() as logs:
        outcome = await world.reconcile()

    assert outcome.verdicts[0].reason == "InternalError"
    assert outcome.retry.failed
    assert "very-private" not in json.dumps(logs, default=str)


# Crashes


async def calls_of_a_creation():
    world = World()
    await world.reconcile()
    return list(world.trips.calls)


def assert_one_of_everything(world):
    assert len(world.digdir.clients) == 1
    assert world.ready == "True"
    assert world.client.description == DESCRIPTION
    assert any(key.matches(world.held) for key in world.client.keys)
    assert decode(world.secret, "MASKINPORTEN_CLIENT_ID") == world.client.client_id
    assert FINALIZER in world.cluster.resource["metadata"]["finalizers"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_creation_that_crashes_at_any_call_ends_as_one_that_doesnt(after):
    for number, name in enumerate(await calls_of_a_creation()):
        world = World()
        world.trips.trip(number, CrashError, after=after)
        with pytest.raises(CrashError):
            await world.reconcile()
        assert world.trips.calls[number] == name

        world.start()
        await world.settle()

        assert_one_of_everything(world)
        world.clock.advance(DAY + 60)
        await world.settle()
        assert world.kids == [world.held.kid], name


def edit_scopes(world):
    world.cluster.edit_spec(scopes={"consumes": [{"name": OTHER_SCOPE}]})


def lose_secret(world):
    world.cluster.secrets.clear()


@pytest.mark.parametrize("happen", [edit_scopes, lose_secret])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_change_or_a_repair_that_crashes_at_any_call_ends_as_one_that_doesnt(after, happen):
    async def changed():
        world = World()
        await world.settle()
        happen(world)
        return world

    whole = await changed()
    await whole.reconcile()
    for number, name in enumerate(list(whole.trips.calls)):
        world = await changed()
        world.trips.calls.clear()
        world.trips.trip(number, CrashError, after=after)
        with pytest.raises(CrashError):
            await world.reconcile()

        world.start()
        await world.settle()

        assert_one_of_everything(world)
        assert world.client.scopes == ((OTHER_SCOPE,) if happen is edit_scopes else (SCOPE,)), name
        assert decode(world.secret, "MASKINPORTEN_SCOPES") == world.client.scopes[0]
        world.clock.advance(DAY + 60)
        await world.settle()
        assert world.kids == [world.held.kid], name


@pytest.mark.parametrize("error", [unavailable, lost_answer], ids=["fault", "lost answer"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_creation_that_fails_at_any_call_ends_as_one_that_doesnt(after, error):
    for number, name in enumerate(await calls_of_a_creation()):
        if name == "create_client" and after and error is unavailable:
            continue  # a registrations that tells a lost answer from a refusal says so
        world = World()
        world.trips.trip(number, error, after=after)
        await world.reconcile()
        await world.settle()

        assert_one_of_everything(world)
        assert world.kids == [world.held.kid], name
        assert len(world.key_pool.taken) <= 2, name


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_deletion_for_good_that_crashes_at_any_call_leaves_no_active_client(after):
    async def deleting():
        world = World()
        await world.settle()
        world.cluster.annotate(**{DELETE_ANNOTATION: "true"})
        world.cluster.touch(deletionTimestamp="2026-03-02T00:00:00Z")
        return world

    whole = await deleting()
    await whole.reconcile()
    assert whole.writes[-1] == "remove_finalizers"
    for number in range(len(whole.trips.calls)):
        world = await deleting()
        world.trips.calls.clear()
        world.trips.trip(number, CrashError, after=after)
        with pytest.raises(CrashError):
            await world.reconcile()

        world.start()
        for _ in range(2):
            if world.cluster.resource:
                await world.reconcile()
                world.clock.advance(11)

        assert world.cluster.resource is None
        assert world.digdir.active == []


# What is told


async def test_what_was_done_is_announced_once(converged):
    assert [kind for kind, _, _ in converged.announcer.announced] == ["Normal"]
    assert f"egistered client {converged.client.client_id}" in converged.announcer.announced[0][2]

    await converged.reconcile()

    assert len(converged.announcer.announced) == 1


async def test_the_same_refusal_is_announced_once(world):
    world.cluster.edit_spec(secretName="")

    await world.reconcile()
    await world.reconcile()

    assert [kind for kind, _, _ in world.announcer.announced] == ["Warning"]


async def test_no_log_status_or_event_at_debug_holds_a_private_number(caplog):
    caplog.set_level(logging.DEBUG)
    with capture_logs() as logs:
        world = World()
        world.trips.trip("apply_secret", unavailable)
        await world.reconcile()
        await world.settle()
        first = world.held
        world.cluster.annotate(**{ROTATE_ANNOTATION: "true"})
        await world.reconcile()
        second = world.held
        world.trips.trip("replace_keys", lambda: ValueError(repr(second.key.d)))
        world.cluster.secrets.clear()
        await world.reconcile()
        await world.settle()
        third = world.held

    texts = json.dumps([logs, world.cluster.resource, world.announcer.announced, caplog.text], default=str)
    assert first.kid in texts
    assert third.kid in texts
    assert third.key != second.key != first.key
    assert not [number for number in private_numbers(first, second, third) if number in texts]


async def test_logs_name_the_pass_that_the_status_names(world):
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        await world.reconcile()

    assert [line["correlation_id"] for line in logs] == [world.status["correlationID"]]


async def test_a_pass_without_news_says_nothing(converged):
    with capture_logs() as logs:
        await converged.reconcile()

    assert logs == []


# A Secret that hasn't moved since it was read


async def test_a_look_at_what_is_as_it_should_be_reads_no_secret_and_tells_the_same(converged):
    before = copy.deepcopy(converged.status)
    await converged.reconcile()
    await converged.reconcile()

    assert "find_secret" not in converged.trips.calls
    assert converged.writes == []
    assert converged.status == before


@pytest.mark.parametrize("annotation", [ROTATE_ANNOTATION, RESYNC_ANNOTATION])
async def test_what_is_asked_for_is_done_by_the_secret_itself(converged, annotation):
    await converged.reconcile()
    converged.cluster.annotate(**{annotation: "true"})
    await converged.reconcile()

    assert "find_secret" in converged.trips.calls


async def test_a_secret_that_was_edited_while_nothing_told_of_it_yet_is_read_for_what_is_to_be_done(converged):
    """The summary is of an earlier version; by the time that something is to be done, another key is in the Secret."""
    await converged.reconcile()
    converged.cluster.watch_lags = True
    converged.secret["data"]["MASKINPORTEN_CLIENT_JWK"] = encode(private_jwk(7).serialize())
    converged.cluster.edit_spec(clientName="Another")
    await converged.reconcile()

    assert converged.held != private_jwk(7)
    assert any(key.matches(converged.held) for key in converged.client.keys)


class FakeMetadata:
    def __init__(self, server):
        self.server = server

    async def get(self):
        return self.server


async def test_a_secret_is_read_after_a_write_whose_answer_was_lost_though_no_watch_tells_of_it_yet(converged):
    """What is wanted is again what was read before that write."""
    await converged.reconcile()
    before = converged.metadata
    converged.metadata = FakeMetadata(replace(SERVER, issuer="https://another.example/"))
    converged.cluster.watch_lags = True
    converged.trips.trip("apply_secret", lost_answer, after=True)
    await converged.reconcile()
    assert decode(converged.secret, "MASKINPORTEN_ISSUER") == "https://another.example/"

    converged.metadata = before
    await converged.settle()

    assert decode(converged.secret, "MASKINPORTEN_ISSUER") == SERVER.issuer


async def test_where_no_list_tells_of_keys_a_look_reads_them_alone(converged):
    converged.digdir.set(list_includes_jwks=False)
    converged.clock.advance(60)  # what was written last is no longer preferred to a list
    await converged.registrations.refresh()
    since = converged.digdir.sequence
    await converged.reconcile()

    assert [one["operation"] for one in converged.digdir.calls(since=since)] == ["list-keys"]
    assert converged.writes == []
