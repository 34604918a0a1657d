"""Whole passes over resources that expose and consume scopes, and their deletion for good."""

import copy
import itertools
from contextlib import suppress
from dataclasses import replace

import pytest

from digdir_simulator.seed import ALTINN
from maskinporten_operator.adapters.digdir.grant_index import MIN_LOOK_INTERVAL as BETWEEN_LOOKS
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import (
    AlreadyExistsError,
    BadRequestError,
    OutcomeUnknownError,
    RejectedError,
    TransientError,
)
from maskinporten_operator.model.maskinportenclient import (
    DELETE_ANNOTATION,
    DIGDIRATOR_FINALIZERS,
    FINALIZER,
    PRESERVE_ANNOTATION,
    RESYNC_ANNOTATION,
)
from maskinporten_operator.plan.consumed_scopes import (
    MAX_TRIES,
    REFUSAL_RECHECK_SECONDS,
    TRIES_RECHECK_SECONDS,
    spread_tries,
)
from maskinporten_operator.plan.outcomes import Retry
from tests.specs import exposed
from tests.unit.fakes import DEFAULT, DESCRIPTION, ORGNO, SCOPE, SECRET, SETTINGS, UID, CrashError, decode
from tests.unit.world import GRANT_MAX_AGE, World

SUBSCOPE = "arbeid:some.scope.read"
NAME = f"nav:{SUBSCOPE}"
OTHER = "nav:arbeid/some/scope"
OURS = f"{DESCRIPTION}.{SUBSCOPE}"
KOMMUNE, SKATT, KS = "123456789", "974761076", "971032146"
REFUSED_TOO = "123456780"
REFUSED = {"orgno_check": "checksum"}
"""How DigDir is where it refuses access to `KOMMUNE` and `REFUSED_TOO`, whose check digits are wrong."""
WRITES_OF_SCOPES = {"create_scope", "update_scope", "delete_scope", "grant_access", "revoke_access"}
DELETING = replace(SETTINGS, deletion_policy="Delete")
DEACTIVATING = replace(SETTINGS, withdrawn_scopes="Deactivate")
WITH_DEFAULT = replace(SETTINGS, default_scope=DEFAULT)
TAKING_OVER = replace(SETTINGS, takes_over=True)


def of(*orgnos):
    return [{"orgno": orgno} for orgno in orgnos]


def first(*orgnos, **fields):
    return exposed(consumers=of(*orgnos), **fields)


def second(*orgnos, **fields):
    return exposed("some/scope", consumers=of(*orgnos), delegationSource="altinn", **fields)


def spec(*scopes, consumes=(SCOPE,)):
    return {"secretName": SECRET, "scopes": {"consumes": [{"name": one} for one in consumes], "exposes": list(scopes)}}


def edit(world, *scopes, consumes=(SCOPE,)):
    world.cluster.edit_spec(**spec(*scopes, consumes=consumes))


def world_of(*scopes, settings=SETTINGS, **changes):
    return World(settings, spec=spec(*scopes), **changes)


async def settled(*scopes, settings=SETTINGS):
    world = world_of(*scopes, settings=settings)
    await world.settle()
    world.announcer.announced.clear()
    return world


@pytest.fixture
def world():
    return world_of(first(KOMMUNE, SKATT), second(KS))


@pytest.fixture
async def converged():
    return await settled(first(KOMMUNE, SKATT), second(KS))


def unavailable():
    return TransientError(Reason.DIGDIR_UNAVAILABLE, "DigDir has a fault")


def lost_answer():
    return OutcomeUnknownError(Reason.DIGDIR_UNAVAILABLE, "the answer was lost")


def refused():
    return RejectedError(Reason.REFUSED_BY_DIGDIR, "DigDir refused it")


def forbidden():
    return RejectedError(Reason.FORBIDDEN_BY_DIGDIR, "DigDir doesn't allow it")


def written(world):
    """The writes that concern scopes."""
    return [call for call in world.writes if call in WRITES_OF_SCOPES]


def active(world):
    return {name for name, fields in world.digdir.scopes.items() if fields["active"]}


def announced(world, kind="Normal"):
    return [reason for what, reason, _ in world.announcer.announced if what == kind]


def message(world, reason):
    (text,) = (text for _, told_reason, text in world.announcer.announced if told_reason == reason)
    return text


def states(world):
    return {one["name"]: (one["state"], one["consumers"]) for one in world.status["exposedScopes"]}


def going(world, **annotations):
    world.cluster.annotate(**annotations)
    world.cluster.touch(deletionTimestamp="2026-03-02T00:00:00Z")


def is_gone(world):
    return world.cluster.resource is None


async def let_go(world, most=6):
    """Run passes until the resource is gone."""
    for _ in range(most):
        if is_gone(world):
            return
        outcome = await world.reconcile()
        delay = outcome.retry.delay if outcome.retry and outcome.retry.delay is not None else 1.0
        world.clock.advance(delay + 0.1)
    assert is_gone(world), world.cluster.resource


# Creation


async def test_the_exposed_scopes_are_created_after_the_credentials_and_granted_to_their_consumers(world):
    outcome = await world.reconcile()

    assert world.writes == [
        *("add_finalizer", "create_client", "replace_keys", "apply_secret"),
        *("create_scope", "grant_access", "grant_access", "create_scope", "grant_access"),
        "write_status",
    ]
    assert outcome.verdicts[0].status == "True"
    assert active(world) == {NAME, OTHER}
    assert world.digdir.consumers(NAME) == {KOMMUNE, SKATT}
    assert world.digdir.consumers(OTHER) == {KS}


async def test_a_created_scope_has_the_specs_values_and_the_mark_of_its_owner(world):
    await world.reconcile()

    made = world.digdir.scopes[OTHER]
    assert made["description"] == f"{DESCRIPTION}.arbeid/some/scope"
    assert made["delegation_source"] == ALTINN
    assert made["allowed_integration_types"] == ["maskinporten"]
    assert (made["at_max_age"], made["visibility"], made["accessible_for_all"]) == (30, "PUBLIC", False)


async def test_the_status_tells_of_each_exposed_scope(world):
    await world.reconcile()

    assert states(world) == {NAME: ("Active", 2), OTHER: ("Active", 1)}
    assert world.find_condition("ConsumersValid")["status"] == "True"
    assert world.find_condition("ScopesGranted")["status"] == "True"
    assert world.find_condition("ScopesDeclared") is None


async def test_what_was_done_is_told_once_for_each_kind_of_action(world):
    await world.reconcile()

    assert sorted(announced(world)) == ["AccessGranted", "ScopeCreated", "Synchronized"]
    assert NAME in message(world, "ScopeCreated")
    assert OTHER in message(world, "ScopeCreated")
    assert all(orgno in message(world, "AccessGranted") for orgno in (KOMMUNE, SKATT, KS))
    await world.reconcile()
    assert len(world.announcer.announced) == 3


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_second_pass_writes_nothing(converged, restarts):
    if restarts:
        converged.start()

    await converged.reconcile()

    assert converged.writes == []
    assert converged.announcer.announced == []


async def test_a_pass_after_a_resync_writes_nothing(converged):
    await converged.resync()

    await converged.reconcile()

    assert converged.writes == []


async def test_a_resource_that_consumes_nothing_exposes_its_scopes_too():
    world = World(WITH_DEFAULT, spec=spec(first(SKATT), consumes=()))

    await world.settle()

    assert active(world) == {NAME}
    assert world.find_condition("ScopesGranted") is None


async def test_a_scope_that_is_written_twice_is_consumed_once_and_exposed_as_the_last_says():
    repeated = first(SKATT, atMaxAge=40), first(KOMMUNE, separator=":", atMaxAge=60)
    world = World(spec=spec(*repeated, consumes=(SCOPE, SCOPE)))
    await world.settle()

    assert list(world.client.scopes) == [SCOPE]
    assert decode(world.secret, "MASKINPORTEN_SCOPES") == SCOPE
    assert world.digdir.scopes[NAME]["at_max_age"] == 60
    assert world.digdir.consumers(NAME) == {KOMMUNE}
    assert world.ready == "True"
    condition = world.find_condition("ScopesUnique")
    assert (condition["status"], condition["reason"]) == ("False", "DuplicateScopes")
    assert SCOPE in condition["message"]
    assert SUBSCOPE in condition["message"]

    edit(world, first(KOMMUNE))
    await world.settle()
    assert world.find_condition("ScopesUnique") is None


async def test_where_the_crd_prunes_the_exposed_scopes_a_second_pass_writes_nothing(world):
    world.cluster.pruned_status_fields = frozenset({"exposedScopes"})
    await world.settle()

    world.start()
    await world.reconcile()

    assert world.writes == []


# Update


async def test_a_changed_spec_updates_that_scope_alone_and_is_told_once(converged):
    edit(converged, first(KOMMUNE, SKATT, atMaxAge=120), second(KS))

    await converged.reconcile()

    assert written(converged) == ["update_scope"]
    assert converged.digdir.scopes[NAME]["at_max_age"] == 120
    assert converged.digdir.scopes[NAME]["active"] is True
    assert announced(converged) == ["ScopeUpdated"]
    assert "at_max_age" in message(converged, "ScopeUpdated")
    await converged.reconcile()
    assert converged.writes == []
    assert announced(converged) == ["ScopeUpdated"]


async def test_members_that_others_changed_since_the_list_are_kept_by_an_update(converged):
    converged.digdir.change_scope(NAME, token_type="OPAQUE", long_description="theirs")
    edit(converged, first(KOMMUNE, SKATT, atMaxAge=120), second(KS))

    await converged.reconcile()

    assert converged.digdir.scopes[NAME]["token_type"] == "OPAQUE"
    assert converged.digdir.scopes[NAME]["long_description"] == "theirs"
    assert converged.digdir.scopes[NAME]["at_max_age"] == 120


async def test_a_scope_that_was_given_away_since_the_list_is_not_taken_back(converged):
    converged.digdir.change_scope(NAME, description="made by hand")
    before = dict(converged.digdir.scopes[NAME])
    edit(converged, first(atMaxAge=120), second(KS))

    await converged.reconcile()

    assert written(converged) == []
    assert converged.digdir.scopes[NAME] == before
    assert converged.digdir.consumers(NAME) == {KOMMUNE, SKATT}
    assert converged.condition["reason"] == "ScopeConflict"


async def test_what_somebody_changed_by_hand_is_mended_after_a_resync(converged):
    converged.digdir.change_scope(NAME, at_max_age=999)
    converged.digdir.set_consumers(NAME, KS, SKATT)
    await converged.resync()

    await converged.reconcile()

    assert written(converged) == ["revoke_access", "update_scope", "grant_access"]
    assert converged.digdir.scopes[NAME]["at_max_age"] == 30
    assert converged.digdir.consumers(NAME) == {KOMMUNE, SKATT}


async def test_consumers_that_left_the_spec_lose_access_and_new_ones_get_it(converged):
    edit(converged, first(SKATT, KS), second())

    await converged.reconcile()

    assert written(converged) == ["revoke_access", "grant_access", "revoke_access"]
    assert converged.digdir.consumers(NAME) == {SKATT, KS}
    assert converged.digdir.consumers(OTHER) == set()
    assert sorted(announced(converged)) == ["AccessGranted", "AccessRevoked"]
    assert states(converged) == {NAME: ("Active", 2), OTHER: ("Active", 0)}


async def test_a_scope_that_somebody_deactivated_by_hand_is_activated_after_a_resync(converged):
    converged.digdir.change_scope(NAME, active=False)
    await converged.resync()

    await converged.reconcile()

    assert written(converged) == ["update_scope"]
    assert active(converged) == {NAME, OTHER}
    assert announced(converged) == ["ScopeActivated"]


# Disabled and enabled again


async def test_a_disabled_scope_is_deactivated_and_its_consumers_stay(converged):
    edit(converged, first(enabled=False), second(KS))

    await converged.reconcile()

    assert written(converged) == ["delete_scope"]
    assert active(converged) == {OTHER}
    assert converged.digdir.consumers(NAME) == {KOMMUNE, SKATT}
    assert announced(converged) == ["ScopeDeactivated"]
    assert states(converged)[NAME] == ("Inactive", 2)
    assert converged.ready == "True"
    await converged.reconcile()
    assert converged.writes == []


async def test_an_enabled_scope_is_activated_after_who_lost_access_is_revoked(converged):
    edit(converged, first(enabled=False), second(KS))
    await converged.reconcile()
    converged.announcer.announced.clear()
    edit(converged, first(SKATT, KS, atMaxAge=60), second(KS))

    await converged.reconcile()

    assert written(converged) == ["revoke_access", "update_scope", "grant_access"]
    assert active(converged) == {NAME, OTHER}
    assert converged.digdir.consumers(NAME) == {SKATT, KS}
    assert converged.digdir.scopes[NAME]["at_max_age"] == 60
    assert sorted(announced(converged)) == ["AccessGranted", "AccessRevoked", "ScopeActivated"]
    await converged.reconcile()
    assert converged.writes == []


async def test_before_a_scope_is_activated_its_access_list_is_read_anew(converged):
    edit(converged, first(enabled=False), second(KS))
    await converged.reconcile()
    converged.digdir.set_consumers(NAME, KOMMUNE, SKATT, KS)  # by hand, since the list was read
    edit(converged, first(KOMMUNE, SKATT), second(KS))

    await converged.reconcile()

    calls = converged.trips.calls
    assert calls.index("list_accesses") < calls.index("revoke_access") < calls.index("update_scope")
    assert written(converged) == ["revoke_access", "update_scope"]
    assert converged.digdir.consumers(NAME) == {KOMMUNE, SKATT}


async def test_before_an_active_scope_is_updated_its_access_list_isnt_read_anew(converged):
    edit(converged, first(KOMMUNE, SKATT, atMaxAge=60), second(KS))

    await converged.reconcile()

    assert written(converged) == ["update_scope"]
    assert "list_accesses" not in converged.trips.calls


async def test_a_revocation_that_an_inactive_scope_doesnt_take_is_asked_for_again_once_it_is_active(converged):
    edit(converged, first(enabled=False), second(KS))
    await converged.reconcile()
    edit(converged, first(SKATT, KS), second(KS, SKATT))
    converged.trips.trip("revoke_access", refused)

    await converged.reconcile()

    assert written(converged) == ["revoke_access", "update_scope", "revoke_access", "grant_access", "grant_access"]
    assert active(converged) == {NAME, OTHER}
    assert converged.digdir.consumers(NAME) == {SKATT, KS}
    assert converged.ready == "True"


async def test_a_revocation_that_is_refused_of_the_active_scope_too_is_told_and_asked_for_again(converged):
    edit(converged, first(enabled=False), second(KS))
    await converged.reconcile()
    edit(converged, first(SKATT, KS), second(KS))
    revoke, asked = converged.scopes.revoke, []

    async def refuse(name, orgno):
        asked.append(orgno)
        raise refused()

    converged.scopes.revoke = refuse
    await converged.reconcile()

    assert asked == [KOMMUNE, KOMMUNE]
    assert active(converged) == {NAME, OTHER}
    assert converged.condition["reason"] == "RefusedByDigDir"
    converged.scopes.revoke = revoke
    await converged.reconcile()
    assert converged.digdir.consumers(NAME) == {SKATT, KS}
    assert converged.ready == "True"


async def test_a_scope_whose_activation_is_refused_after_a_revocation_is_left_as_it_is(converged):
    edit(converged, first(enabled=False), second(KS))
    await converged.reconcile()
    edit(converged, first(SKATT, KS), second(KS))
    converged.trips.trip("revoke_access", refused)
    update = converged.scopes.update

    async def refuse(name, fields):
        raise refused()

    converged.scopes.update = refuse
    await converged.reconcile()

    assert written(converged) == ["revoke_access"]
    assert active(converged) == {OTHER}
    assert converged.condition["reason"] == "RefusedByDigDir"
    converged.scopes.update = update
    await converged.reconcile()
    assert converged.digdir.consumers(NAME) == {SKATT, KS}


async def test_a_refused_revocation_of_an_active_scope_doesnt_keep_others_from_access(converged):
    edit(converged, first(SKATT, KS), second(KS))
    converged.trips.trip("revoke_access", refused)

    await converged.reconcile()

    assert converged.digdir.consumers(NAME) == {KOMMUNE, SKATT, KS}
    assert converged.ready == "False"
    await converged.reconcile()
    assert converged.digdir.consumers(NAME) == {SKATT, KS}
    assert converged.ready == "True"


# Withdrawn


async def test_a_scope_that_leaves_the_spec_stays_with_its_consumers_and_is_named(converged):
    edit(converged, second(KS))

    await converged.reconcile()

    assert written(converged) == []
    assert converged.digdir.consumers(NAME) == {KOMMUNE, SKATT}
    declared = converged.find_condition("ScopesDeclared")
    assert (declared["status"], declared["reason"]) == ("False", "ScopesWithdrawn")
    assert NAME in declared["message"]
    assert "enabled: false" in declared["message"]
    assert states(converged) == {OTHER: ("Active", 1), NAME: ("Withdrawn", 2)}
    assert converged.ready == "True"
    assert announced(converged, "Warning") == ["ScopesWithdrawn"]
    await converged.reconcile()
    assert converged.writes == []
    assert len(converged.announcer.announced) == 1


@pytest.mark.parametrize("pruned", [frozenset(), frozenset({"exposedScopes"})], ids=["NAIS knows it", "pruned"])
@pytest.mark.parametrize("consumes", [(SCOPE,), ()], ids=["consuming", "not consuming"])
async def test_a_spec_that_was_emptied_while_the_operator_was_away_withdraws_every_scope(consumes, pruned):
    world = World(WITH_DEFAULT, spec=spec(first(SKATT), consumes=consumes))
    world.cluster.pruned_status_fields = pruned
    await world.settle()
    edit(world, consumes=consumes)
    world.start()

    await world.reconcile()

    assert active(world) == {NAME}
    assert NAME in world.find_condition("ScopesDeclared")["message"]


async def test_a_withdrawn_scope_that_comes_back_disabled_is_deactivated_and_named_no_more(converged):
    edit(converged, second(KS))
    await converged.reconcile()
    edit(converged, first(enabled=False), second(KS))

    await converged.reconcile()

    assert active(converged) == {OTHER}
    assert converged.find_condition("ScopesDeclared") is None


async def test_the_last_of_the_scopes_that_was_disabled_and_then_left_the_spec_leaves_the_status_too(converged):
    edit(converged, first(enabled=False), second(enabled=False))
    await converged.reconcile()
    edit(converged)

    await converged.reconcile()

    assert converged.status["exposedScopes"] == []
    assert converged.find_condition("ScopesDeclared") is None
    await converged.reconcile()
    assert converged.writes == []


async def test_where_the_cluster_says_so_a_scope_that_leaves_the_spec_is_deactivated():
    world = await settled(first(SKATT), second(KS), settings=DEACTIVATING)
    edit(world, second(KS))

    await world.reconcile()

    assert written(world) == ["delete_scope"]
    assert active(world) == {OTHER}
    assert world.digdir.consumers(NAME) == {SKATT}
    assert world.find_condition("ScopesDeclared") is None
    assert announced(world) == ["ScopeDeactivated"]
    assert states(world) == {OTHER: ("Active", 1)}
    await world.reconcile()
    assert world.writes == []


@pytest.mark.parametrize("prefix", ["navy", "na", "other"])
async def test_scopes_of_an_earlier_prefix_are_never_deactivated_and_stay_named(prefix):
    world = await settled(first(SKATT), second(KS), settings=DEACTIVATING)
    world.settings = replace(DEACTIVATING, scope_prefix=prefix)
    edit(world)

    await world.reconcile()

    assert written(world) == []
    assert active(world) == {NAME, OTHER}
    assert NAME in world.find_condition("ScopesDeclared")["message"]


# Whose it is


@pytest.mark.parametrize(
    "description",
    [
        "made by hand",
        f"{DESCRIPTION}2.{SUBSCOPE}",
        f"{DESCRIPTION[:-1]}.{SUBSCOPE}",
        f"other-cluster:some-team:some-app.{SUBSCOPE}",
        DESCRIPTION,
        f"{OURS} ",
    ],
)
async def test_a_scope_of_somebody_else_is_never_touched_and_the_others_are_exposed(world, description):
    world.digdir.add_scope(NAME, description, KS, active=False)
    before = dict(world.digdir.scopes[NAME])

    await world.reconcile()

    assert world.digdir.scopes[NAME] == before
    assert world.digdir.consumers(NAME) == {KS}
    assert written(world) == ["create_scope", "grant_access"]
    assert (world.ready, world.condition["reason"]) == ("False", "ScopeConflict")
    assert all(part in world.condition["message"] for part in (NAME, description, OURS))
    assert states(world) == {NAME: ("Conflict", 0), OTHER: ("Active", 1)}
    assert decode(world.secret, "MASKINPORTEN_SCOPES") == SCOPE


async def test_a_resource_never_touches_a_scope_of_one_whose_name_begins_with_its_own():
    world = world_of(settings=DEACTIVATING, metadata={"name": "a"})
    theirs = "some-cluster:some-team:a.b.arbeid:x"
    world.digdir.add_scope("nav:arbeid:x", theirs, SKATT)
    await world.settle()
    going(world, **{DELETE_ANNOTATION: "true"})
    await let_go(world)

    assert world.digdir.scopes["nav:arbeid:x"]["active"]
    assert world.digdir.consumers("nav:arbeid:x") == {SKATT}


async def test_a_conflict_ends_when_the_scope_is_handed_over(world):
    world.digdir.add_scope(NAME, "made by hand", KS)
    await world.reconcile()
    world.digdir.change_scope(NAME, description=OURS)
    await world.resync()

    await world.reconcile()

    assert world.ready == "True"
    assert world.digdir.consumers(NAME) == {KOMMUNE, SKATT}


async def test_of_two_that_expose_a_scope_that_isnt_there_the_younger_waits_with_that_alone(world):
    world.resources.exposer = ("other-team", "older-app")
    world.digdir.add_scope(OTHER, f"{DESCRIPTION}.arbeid/some/scope", KS)

    await world.reconcile()

    assert NAME not in world.digdir.scopes
    assert (world.ready, world.condition["reason"]) == ("False", "ScopeConflict")
    assert "other-team/older-app" in world.condition["message"]
    assert states(world)[NAME] == ("Absent", 0)
    world.resources.exposer = None
    await world.reconcile()
    assert active(world) == {NAME, OTHER}
    assert world.ready == "True"


async def test_of_a_scope_whose_description_is_too_long_nothing_is_asked_and_the_others_are_exposed():
    world = world_of(exposed("x" * 240, consumers=of(KS)), second(KS))

    await world.reconcile()

    assert active(world) == {OTHER}
    assert (world.ready, world.condition["reason"]) == ("False", "InvalidSpec")
    world.cluster.annotate(**{RESYNC_ANNOTATION: "true"})  # which has everything read anew
    await world.reconcile()
    assert world.trips.calls.count("list_accesses") == 1


@pytest.mark.parametrize("is_active", [True, False])
async def test_a_scope_of_digdirator_is_adopted_and_its_description_rewritten(is_active):
    world = world_of(first(SKATT))
    world.digdir.add_scope(
        NAME, f"arbeid - {DESCRIPTION}", SKATT, KS, active=is_active, token_type="OPAQUE", at_max_age=99
    )

    await world.settle()

    assert world.digdir.scopes[NAME]["description"] == OURS
    assert world.digdir.scopes[NAME]["token_type"] == "OPAQUE"
    assert world.digdir.scopes[NAME]["at_max_age"] == 30
    assert active(world) == {NAME}
    assert world.digdir.consumers(NAME) == {SKATT}
    assert world.ready == "True"


async def test_a_scope_of_this_operator_is_adopted_by_a_resource_that_is_created_again():
    world = world_of(first(SKATT))
    world.digdir.add_scope(NAME, OURS, KS, active=False)

    await world.settle()

    assert active(world) == {NAME}
    assert world.digdir.consumers(NAME) == {SKATT}


async def test_a_scope_of_another_product_in_digdirators_words_is_nobodys():
    world = world_of(first(SKATT))
    world.digdir.add_scope(NAME, f"arbei - {DESCRIPTION}", KS)

    await world.reconcile()

    assert written(world) == []
    assert world.condition["reason"] == "ScopeConflict"


async def test_a_delegation_source_that_digdir_doesnt_list_is_told_and_the_others_are_exposed(world):
    async def find_issuer(source):
        return None

    world.scopes.find_issuer = find_issuer

    await world.reconcile()

    assert active(world) == {NAME}
    assert world.condition["reason"] == "DelegationSourceUnknown"


# Refusals


async def test_a_refused_consumer_is_named_and_doesnt_stop_the_others_nor_is_it_tried_again(world):
    world.digdir.set(**REFUSED)

    await world.reconcile()

    assert world.digdir.consumers(NAME) == {SKATT}
    assert world.digdir.consumers(OTHER) == {KS}
    valid = world.find_condition("ConsumersValid")
    assert (valid["status"], valid["reason"]) == ("False", "ConsumersRefused")
    assert KOMMUNE in valid["message"]
    assert world.ready == "True"
    assert announced(world, "Warning") == ["ConsumersRefused"]
    await world.reconcile()
    assert world.writes == []
    assert announced(world, "Warning") == ["ConsumersRefused"]


async def test_a_refused_consumer_is_tried_again_once_the_list_is_read_again(world):
    world.digdir.set(**REFUSED)
    await world.settle()
    world.digdir.set(orgno_check="digits")
    await world.resync()

    await world.reconcile()

    assert world.digdir.consumers(NAME) == {KOMMUNE, SKATT}
    assert world.find_condition("ConsumersValid")["status"] == "True"


async def test_a_refused_consumer_that_leaves_the_spec_is_named_no_more(world):
    world.digdir.set(**REFUSED)
    await world.settle()
    edit(world, first(SKATT), second(KS))

    await world.reconcile()

    assert written(world) == []
    assert world.find_condition("ConsumersValid")["status"] == "True"


@pytest.mark.parametrize("kind", [RejectedError, AlreadyExistsError])
async def test_a_grant_that_is_refused_for_another_reason_says_nothing_of_the_consumer(world, kind):
    world.trips.trip("grant_access", lambda: kind(Reason.REFUSED_BY_DIGDIR, "not now"))

    await world.reconcile()

    assert (world.ready, world.condition["reason"]) == ("False", "RefusedByDigDir")
    assert world.find_condition("ConsumersValid")["status"] == "True"
    assert world.digdir.consumers(NAME) == {SKATT}
    assert world.digdir.consumers(OTHER) == {KS}
    await world.reconcile()
    assert world.digdir.consumers(NAME) == {KOMMUNE, SKATT}
    assert world.ready == "True"


@pytest.mark.parametrize("kind", [RejectedError, BadRequestError])
async def test_a_creation_that_is_refused_is_no_conflict_though_somebody_made_the_scope_meanwhile(world, kind):
    await world.scopes.ready()
    world.digdir.add_scope(NAME, "made by hand", KS)
    world.trips.trip("create_scope", lambda: kind(Reason.REFUSED_BY_DIGDIR, "not like that"))

    await world.reconcile()

    assert world.condition["reason"] == "RefusedByDigDir"
    assert active(world) == {NAME, OTHER}
    assert world.digdir.consumers(NAME) == {KS}


async def test_access_that_the_operator_may_not_give_is_told_as_ready_and_the_other_scopes_go_on(world):
    world.trips.trip("grant_access", forbidden)

    await world.reconcile()

    assert (world.ready, world.condition["reason"]) == ("False", "ForbiddenByDigDir")
    assert world.digdir.consumers(NAME) == {SKATT}
    assert world.digdir.consumers(OTHER) == {KS}
    await world.reconcile()
    assert world.digdir.consumers(NAME) == {KOMMUNE, SKATT}
    assert world.ready == "True"


@pytest.mark.parametrize("call", ["create_client", "replace_keys", "apply_secret"])
async def test_a_client_that_is_refused_doesnt_keep_the_scopes_from_being_exposed(world, call):
    world.trips.trip(call, refused)

    await world.reconcile()

    assert active(world) == {NAME, OTHER}
    assert world.digdir.consumers(NAME) == {KOMMUNE, SKATT}
    assert (world.ready, world.condition["reason"]) == ("False", "RefusedByDigDir")
    assert "synchronizationSecretName" not in world.status
    assert states(world) == {NAME: ("Active", 2), OTHER: ("Active", 1)}


async def test_a_scope_that_is_refused_takes_its_consumers_and_nothing_else(world):
    world.trips.trip("create_scope", refused)

    await world.reconcile()

    assert active(world) == {OTHER}
    assert written(world) == ["create_scope", "create_scope", "grant_access"]
    assert (world.ready, world.condition["reason"]) == ("False", "RefusedByDigDir")
    assert decode(world.secret, "MASKINPORTEN_CLIENT_ID") == world.client.client_id
    assert world.status["synchronizationSecretName"] == SECRET
    assert "synchronizationHash" in world.status
    assert states(world) == {NAME: ("Absent", 0), OTHER: ("Active", 1)}
    assert "ScopeCreated" in announced(world)
    await world.reconcile()
    assert world.ready == "True"


async def test_an_update_that_is_refused_keeps_nobody_from_losing_or_getting_access(converged):
    edit(converged, first(KS, atMaxAge=60), second(SKATT))
    converged.trips.trip("update_scope", refused)

    await converged.reconcile()

    assert written(converged) == [
        "revoke_access",
        "revoke_access",
        "update_scope",
        "grant_access",
        "revoke_access",
        "grant_access",
    ]
    assert converged.digdir.consumers(NAME) == {KS}
    assert converged.digdir.consumers(OTHER) == {SKATT}
    assert converged.digdir.scopes[NAME]["at_max_age"] == 30
    assert converged.condition["reason"] == "RefusedByDigDir"
    await converged.reconcile()
    assert written(converged) == ["update_scope"]
    assert converged.ready == "True"


async def test_an_activation_that_is_refused_takes_that_scopes_new_consumers_and_nothing_else(converged):
    edit(converged, first(enabled=False), second(KS))
    await converged.reconcile()
    edit(converged, first(SKATT, KS), second(SKATT))
    converged.trips.trip("update_scope", refused)

    await converged.reconcile()

    assert written(converged) == ["revoke_access", "update_scope", "revoke_access", "grant_access"]
    assert active(converged) == {OTHER}
    assert converged.digdir.consumers(NAME) == {SKATT}
    assert converged.digdir.consumers(OTHER) == {SKATT}
    assert converged.condition["reason"] == "RefusedByDigDir"


@pytest.mark.parametrize("call", ["read", "read_access"])
async def test_a_scope_that_may_not_be_read_before_its_activation_keeps_no_other_from_being_changed(converged, call):
    edit(converged, first(enabled=False), second(KS))
    await converged.reconcile()
    edit(converged, first(SKATT), second(SKATT))
    ask = getattr(converged.scopes, call)

    async def refuse(name, **how):
        if name == NAME and (call == "read" or how.get("anew")):
            raise forbidden()
        return await ask(name, **how)

    setattr(converged.scopes, call, refuse)

    await converged.reconcile()

    assert active(converged) == {OTHER}
    assert converged.condition["reason"] == "ForbiddenByDigDir"
    assert converged.digdir.consumers(OTHER) == {SKATT}


async def test_a_deactivation_that_is_refused_is_told_and_tried_again(converged):
    edit(converged, first(enabled=False), second(SKATT))
    converged.trips.trip("delete_scope", refused)

    await converged.reconcile()

    assert active(converged) == {NAME, OTHER}
    assert converged.digdir.consumers(OTHER) == {SKATT}
    assert converged.ready == "False"
    await converged.reconcile()
    assert active(converged) == {OTHER}
    assert converged.ready == "True"


async def test_of_several_refusals_the_first_is_told(world):
    world.digdir.refuse(SCOPE)
    world.trips.trip("create_scope", forbidden)

    await world.reconcile()

    assert world.condition["reason"] == "RefusedByDigDir"


async def test_a_refused_mark_keeps_everything_remote_from_being_done(world):
    world.trips.trip("add_finalizer", lambda: RejectedError(Reason.REFUSED_BY_CLUSTER, "no"))

    await world.reconcile()

    assert world.writes == ["add_finalizer", "write_status"]
    assert world.digdir.scopes == {}
    assert world.condition["reason"] == "RefusedByCluster"


async def test_a_scope_that_somebody_made_since_the_list_is_a_conflict_and_not_taken_over(world):
    await world.scopes.ready()
    world.digdir.add_scope(NAME, "made by hand", KS)

    first_try = await world.reconcile()
    await world.reconcile()

    assert first_try.retry.failed
    assert world.digdir.scopes[NAME]["description"] == "made by hand"
    assert world.condition["reason"] == "ScopeConflict"
    assert active(world) == {NAME, OTHER}


@pytest.mark.parametrize("is_active", [True, False])
async def test_a_scope_of_ours_that_a_lagging_list_hid_is_adopted(world, is_active):
    await world.scopes.ready()
    world.digdir.add_scope(NAME, OURS, KS, active=is_active)

    await world.settle()

    assert active(world) == {NAME, OTHER}
    assert world.digdir.consumers(NAME) == {KOMMUNE, SKATT}


# Faults and lost answers


async def make(world):
    pass


async def change(world):
    await world.settle()
    edit(world, first(SKATT, KS, atMaxAge=60), second(KS))


async def disable(world):
    await world.settle()
    edit(world, first(enabled=False), second(KS))


async def enable(world):
    await disable(world)
    await world.settle()
    edit(world, first(SKATT, KS), second(KS))


def assert_made(world):
    assert active(world) == {NAME, OTHER}
    assert world.digdir.consumers(NAME) == {KOMMUNE, SKATT}


def assert_changed(world):
    assert active(world) == {NAME, OTHER}
    assert world.digdir.consumers(NAME) == {SKATT, KS}
    assert world.digdir.scopes[NAME]["at_max_age"] == 60


def assert_disabled(world):
    assert active(world) == {OTHER}
    assert world.digdir.consumers(NAME) == {KOMMUNE, SKATT}


def assert_enabled(world):
    assert active(world) == {NAME, OTHER}
    assert world.digdir.consumers(NAME) == {SKATT, KS}


STORIES = [(make, assert_made), (change, assert_changed), (disable, assert_disabled), (enable, assert_enabled)]
stories = pytest.mark.parametrize(("prepare", "check"), STORIES, ids=["create", "update", "disable", "enable"])


async def prepared(prepare, lag=0.0):
    world = world_of(first(KOMMUNE, SKATT), second(KS))
    world.digdir.set(list_lag_seconds=lag)
    await prepare(world)
    world.announcer.announced.clear()
    return world


async def calls_of(prepare):
    world = await prepared(prepare)
    await world.reconcile()
    return list(world.trips.calls)


def assert_at_rest(world):
    assert world.digdir.consumers(OTHER) == {KS}
    assert world.digdir.scopes[NAME]["description"] == OURS
    assert world.ready == "True"
    assert len(world.digdir.clients) == 1


@stories
@pytest.mark.parametrize("lag", [0.0, 8.0], ids=["", "list lags"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_pass_that_crashes_at_any_call_ends_as_one_that_doesnt(prepare, check, after, lag):
    if prepare is disable and lag:
        return  # has a test of its own: there is no call that fails because the list lags
    for number, name in enumerate(await calls_of(prepare)):
        world = await prepared(prepare, lag)
        world.trips.calls.clear()
        world.trips.trip(number, CrashError, after=after)
        with pytest.raises(CrashError):
            await world.reconcile()

        world.start()
        await world.settle()
        if lag:  # an access list that was read too early is read again by a resync
            await world.resync()
            await world.settle()

        check(world)
        assert_at_rest(world)
        await world.reconcile()
        assert world.writes == [], name


async def test_a_scope_that_was_disabled_soon_after_its_creation_is_deactivated_once_the_list_of_a_new_process_has_it():
    world = await prepared(disable, lag=8.0)
    world.start()
    for _ in range(4):
        outcome = await world.reconcile()
        world.clock.advance(outcome.retry.delay if outcome.retry and outcome.retry.delay else 10.0)

    assert_disabled(world)


@stories
@pytest.mark.parametrize("error", [unavailable, lost_answer], ids=["fault", "lost answer"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_pass_that_fails_at_any_call_ends_as_one_that_doesnt(prepare, check, after, error):
    for number, name in enumerate(await calls_of(prepare)):
        if error is unavailable and after and name in {"create_client", *WRITES_OF_SCOPES}:
            continue  # one that tells a lost answer from a fault says so
        world = await prepared(prepare)
        world.trips.calls.clear()
        world.trips.trip(number, error, after=after)
        await world.reconcile()
        await world.settle()

        check(world)
        assert_at_rest(world)
        await world.reconcile()
        assert world.writes == [], name


@stories
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_refusal_at_any_call_of_scopes_ends_as_a_pass_without_one(prepare, check, after):
    for number, name in enumerate(await calls_of(prepare)):
        if after or name not in {"create_scope", "update_scope", "delete_scope", "revoke_access"}:
            continue
        world = await prepared(prepare)
        world.trips.calls.clear()
        world.trips.trip(number, refused)
        was_inactive = {scope for scope, fields in world.digdir.scopes.items() if not fields["active"]}
        await world.reconcile()
        if (
            name != "revoke_access" or not was_inactive
        ):  # what an inactive scope doesn't take it takes once it is active
            assert world.ready == "False", name
        await world.reconcile()

        check(world)
        assert_at_rest(world)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("call", "again"), [("grant_access", "grant_access"), ("revoke_access", "revoke_access")])
async def test_an_access_whose_answer_was_lost_is_written_again(converged, call, again, after):
    edit(converged, first(KOMMUNE, KS), second(KS))
    converged.trips.trip(call, lost_answer, after=after)
    await converged.reconcile()

    await converged.reconcile()

    assert again in written(converged)
    assert converged.digdir.consumers(NAME) == {KOMMUNE, KS}
    await converged.reconcile()
    assert converged.writes == []


async def test_a_grant_whose_answer_was_lost_is_revoked_when_the_consumer_left_the_spec_meanwhile(converged):
    edit(converged, first(KOMMUNE, SKATT, KS), second(KS))
    converged.trips.trip("grant_access", lost_answer, after=True)
    await converged.reconcile()
    edit(converged, first(KOMMUNE, SKATT), second(KS))

    await converged.reconcile()

    assert written(converged) == ["revoke_access"]
    assert converged.digdir.consumers(NAME) == {KOMMUNE, SKATT}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_scope_whose_creation_was_left_without_an_answer_is_read_before_anything_else(world, after):
    world.digdir.set(list_lag_seconds=8.0)
    world.trips.trip("create_scope", lost_answer, after=after)
    await world.reconcile()
    assert written(world) == ["create_scope", "create_scope", "grant_access"]

    await world.reconcile()

    assert world.trips.calls.index("read_scope") < world.trips.calls.index("grant_access")
    assert written(world) == [*(() if after else ("create_scope",)), "grant_access", "grant_access"]
    assert_made(world)
    assert world.ready == "True"


async def test_an_outage_of_scopes_is_nothing_to_a_resource_that_exposes_none():
    world = World()
    world.trips.trip_always("list_own_scopes", unavailable)

    await world.reconcile()

    assert "list_own_scopes" in world.trips.calls
    assert world.ready == "True"
    assert len(world.digdir.active) == 1
    assert decode(world.secret, "MASKINPORTEN_SCOPES") == SCOPE


async def test_an_outage_of_scopes_is_told_of_a_resource_whose_status_names_one():
    world = World(status={"exposedScopes": [{"name": NAME, "state": "Active", "consumers": 0}]})
    world.trips.trip_always("list_own_scopes", unavailable)

    outcome = await world.reconcile()

    assert outcome.retry.failed
    assert (world.ready, world.condition["reason"]) == ("Unknown", "DigDirUnavailable")
    assert states(world) == {NAME: ("Active", 0)}
    assert world.find_condition("ScopesDeclared") is None


async def test_an_outage_of_scopes_keeps_nobody_from_the_credentials(world):
    world.trips.trip_always("list_own_scopes", unavailable)

    await world.reconcile()

    assert world.client.scopes == (SCOPE,)
    assert world.held.kid in world.kids
    assert world.digdir.scopes == {}
    world.trips.fix()
    await world.settle()
    assert active(world) == {NAME, OTHER}


@pytest.mark.parametrize("call", ["list_own_scopes", "list_accesses", "list_delegation_sources"])
async def test_an_outage_of_any_list_of_scopes_keeps_no_secret_from_being_repaired(converged, call):
    converged.start()
    del converged.secret["data"]["MASKINPORTEN_ISSUER"]
    before = copy.deepcopy(converged.status)
    converged.trips.trip_always(call, unavailable)

    outcome = await converged.reconcile()

    assert call in converged.trips.calls
    assert decode(converged.secret, "MASKINPORTEN_ISSUER") == "http://digdir.test/"
    assert converged.writes == ["apply_secret"]
    assert converged.status == before
    assert outcome.retry == Retry(None, failed=True)


async def test_a_scope_that_cant_be_read_just_now_keeps_no_other_from_being_changed(converged):
    await converged.resync()
    edit(converged, first(KOMMUNE), second(KS, SKATT))
    read_access = converged.scopes.read_access

    async def fail_for_one(name, *, anew=False):
        if name == NAME:
            raise unavailable()
        return await read_access(name, anew=anew)

    converged.scopes.read_access = fail_for_one
    await converged.reconcile()

    assert converged.digdir.consumers(NAME) == {KOMMUNE, SKATT}
    assert converged.digdir.consumers(OTHER) == {KS, SKATT}
    assert converged.condition["reason"] == "DigDirUnavailable"
    converged.scopes.read_access = read_access
    await converged.reconcile()
    assert converged.digdir.consumers(NAME) == {KOMMUNE}


async def test_an_outage_of_scopes_leaves_a_ready_resource_ready(converged):
    converged.start()
    converged.trips.trip_always("list_own_scopes", unavailable)

    outcome = await converged.reconcile()

    assert converged.ready == "True"
    assert converged.writes == []
    assert outcome.retry.failed


async def test_what_was_done_before_and_after_a_fault_is_told_all_the_same_and_not_again(world):
    world.trips.trip("grant_access", unavailable)
    await world.reconcile()
    assert sorted(announced(world)) == ["AccessGranted", "ScopeCreated", "Synchronized"]
    assert all(name in message(world, "ScopeCreated") for name in (NAME, OTHER))
    assert KS in message(world, "AccessGranted")
    assert KOMMUNE not in message(world, "AccessGranted")
    world.announcer.announced.clear()

    await world.settle()

    assert announced(world) == ["AccessGranted"]
    assert message(world, "AccessGranted").count(KOMMUNE) == 1
    assert KS not in message(world, "AccessGranted")


@pytest.mark.parametrize("error", [unavailable, lost_answer], ids=["fault", "lost answer"])
async def test_a_fault_on_one_scope_gives_up_that_scope_and_the_others_go_on(world, error):
    world.trips.trip("create_scope", error)

    outcome = await world.reconcile()

    assert written(world) == ["create_scope", "create_scope", "grant_access"]
    assert active(world) == {OTHER}
    assert world.digdir.consumers(OTHER) == {KS}
    assert outcome.retry.failed
    assert world.condition["reason"] == "DigDirUnavailable"
    await world.settle()
    assert_made(world)


async def test_a_fault_on_one_scope_outranks_a_refusal_of_another(world):
    world.trips.trip("create_scope", unavailable)
    world.digdir.refuse(SCOPE)

    await world.reconcile()

    assert active(world) == {OTHER}
    assert world.condition["reason"] == "DigDirUnavailable"


async def test_a_second_fault_on_a_scope_ends_the_pass_at_once():
    world = world_of(first(SKATT), second(KS), exposed("third", consumers=of(KS)))
    world.trips.trip_always("create_scope", unavailable, after=True)

    outcome = await world.reconcile()

    assert written(world) == ["create_scope", "create_scope"]
    assert outcome.retry.failed
    assert "nav:arbeid:third" not in world.digdir.scopes


async def test_a_fault_before_the_scopes_ends_the_pass_at_once(world):
    world.trips.trip("replace_keys", unavailable)

    await world.reconcile()

    assert written(world) == []
    assert world.digdir.scopes == {}


async def test_no_event_is_told_twice_by_passes_that_follow(converged):
    edit(converged, first(KS, atMaxAge=60), second(enabled=False))
    for _ in range(4):
        await converged.reconcile()

    assert sorted(announced(converged)) == ["AccessGranted", "AccessRevoked", "ScopeDeactivated", "ScopeUpdated"]


async def test_a_condition_that_stays_false_is_warned_of_once(converged):
    converged.digdir.set(**REFUSED)
    edit(converged, first(KOMMUNE, REFUSED_TOO))
    for _ in range(3):
        await converged.reconcile()

    assert sorted(announced(converged, "Warning")) == ["ConsumersRefused", "ScopesWithdrawn"]


# A pass that doesn't get to the scopes


def client_is_gone(world):
    world.digdir.change(world.client.client_id, active=False)
    world.start()
    world.clock.advance(10)


def secret_is_somebody_elses(world):
    world.cluster.secrets[SECRET] = {"metadata": {"name": SECRET, "uid": "other"}, "data": {}}


def spec_is_wrong(world):
    world.cluster.edit_spec(secretName="")


waits = pytest.mark.parametrize("wait", [client_is_gone, secret_is_somebody_elses, spec_is_wrong])


@waits
async def test_a_pass_that_doesnt_get_to_the_scopes_takes_back_nothing_that_the_status_tells_of_them(wait):
    world = await settled(first(KOMMUNE, SKATT), second(KS))
    world.digdir.set(**REFUSED)
    edit(world, first(KOMMUNE, SKATT, REFUSED_TOO))
    await world.reconcile()
    before = states(world)
    wait(world)

    await world.reconcile()

    assert world.ready != "True"
    assert states(world) == before == {NAME: ("Active", 2), OTHER: ("Withdrawn", 1)}
    for kind, status in [("ConsumersValid", "False"), ("ScopesDeclared", "False"), ("ScopesGranted", "True")]:
        assert world.find_condition(kind), kind
        assert world.find_condition(kind)["status"] == status


async def test_what_was_warned_of_before_a_pass_that_didnt_get_to_the_scopes_isnt_warned_of_again(converged):
    edit(converged, first(KOMMUNE, SKATT))
    await converged.reconcile()
    client_is_gone(converged)

    await converged.settle()

    assert converged.ready == "True"
    assert announced(converged, "Warning") == ["ScopesWithdrawn"]


# Consumed scopes


async def test_granted_scopes_are_registered_and_the_others_named():
    world = World(spec=spec(consumes=(SCOPE, "udir:b")))

    outcome = await world.reconcile()

    assert world.client.scopes == (SCOPE,)
    assert decode(world.secret, "MASKINPORTEN_SCOPES") == SCOPE
    assert (world.ready, world.condition["reason"]) == ("False", "ScopesNotGranted")
    assert world.find_condition("ScopesGranted")["status"] == "False"
    assert "udir:b" in world.condition["message"]
    assert outcome.retry.delay == 180.0


async def test_a_scope_that_is_granted_later_is_registered_by_the_next_look():
    world = World(spec=spec(consumes=(SCOPE, "udir:b")))
    outcome = await world.reconcile()
    assert outcome.retry.delay == 180.0
    world.digdir.grant("udir:b")
    world.clock.advance(outcome.retry.delay)

    await world.reconcile()

    assert world.client.scopes == (SCOPE, "udir:b")
    assert world.ready == "True"
    assert world.find_condition("ScopesGranted")["status"] == "True"


async def look_at_the_grants(world):
    """Another resource has the lists read, and this one asks so soon after it that they aren't read again at once."""
    await world.grants.find(["other:scope"], world.clock.monotonic())
    world.see()


async def test_while_the_lists_are_about_to_be_read_nothing_is_registered_or_written():
    world = World(spec=spec(first(SKATT), consumes=(SCOPE, "udir:b")))
    world.digdir.offer("udir:b")
    await look_at_the_grants(world)

    outcome = await world.reconcile()

    assert world.writes == ["write_status"]
    assert (world.digdir.clients, world.digdir.scopes, world.cluster.secrets) == ({}, {}, {})
    assert outcome.retry.delay == pytest.approx(BETWEEN_LOOKS, abs=0.1)
    assert not outcome.retry.failed
    assert world.condition["reason"] == "AwaitingList"
    assert "udir:b" in world.condition["message"]
    assert world.find_condition("ScopesGranted")["status"] == "Unknown"
    assert announced(world, "Warning") == []
    world.clock.advance(outcome.retry.delay)
    await world.reconcile()
    assert world.client.scopes == (SCOPE,)
    assert world.writes.count("update_client") == 1  # which tries the other one
    assert world.condition["reason"] == "ScopesNotGranted"
    assert refusal("udir:b") in world.condition["message"]


async def test_lists_that_are_about_to_be_read_keep_nothing_waiting_while_all_is_granted():
    world = World(spec=spec(first(SKATT)))
    await look_at_the_grants(world)

    await world.settle()

    assert world.ready == "True"
    assert active(world) == {NAME}


async def test_without_any_grant_no_client_is_registered_and_the_scopes_are_exposed():
    world = World(spec=spec(first(SKATT), consumes=("udir:b",)))

    await world.reconcile()

    assert world.digdir.clients == {}
    assert SECRET not in world.cluster.secrets
    assert active(world) == {NAME}
    assert world.condition["reason"] == "ScopesNotGranted"


async def test_without_any_grant_a_client_with_the_default_scope_is_registered():
    world = World(WITH_DEFAULT, spec=spec(consumes=("udir:b",)))

    await world.reconcile()

    assert world.client.scopes == (DEFAULT,)
    assert decode(world.secret, "MASKINPORTEN_SCOPES") == DEFAULT
    assert world.condition["reason"] == "ScopesNotGranted"


async def losing():
    world = World(spec=spec(consumes=(SCOPE, "udir:b")))
    world.digdir.grant("udir:b")
    await world.settle()
    world.digdir.withdraw("udir:b")
    world.clock.advance(GRANT_MAX_AGE + 1)
    return world


async def test_a_scope_that_lost_its_grant_stays_registered_and_is_named():
    world = await losing()

    await world.reconcile()

    assert world.writes == ["write_status"]
    assert world.client.scopes == (SCOPE, "udir:b")
    assert decode(world.secret, "MASKINPORTEN_SCOPES") == f"{SCOPE} udir:b"
    assert world.condition["reason"] == "ScopesNotGranted"
    assert "No longer granted: udir:b" in world.condition["message"]


async def test_a_scope_that_lost_its_grant_stays_through_an_update_that_digdir_takes():
    world = await losing()
    world.digdir.open("udir:b")
    world.cluster.edit_spec(clientName="Another name")

    await world.reconcile()

    assert world.client.scopes == (SCOPE, "udir:b")
    assert world.client.fields["client_name"] == "Another name"


async def test_a_scope_that_lost_its_grant_goes_once_digdir_refuses_an_update_with_it():
    world = await losing()
    world.cluster.edit_spec(clientName="Another name")

    await world.reconcile()

    assert world.client.scopes == (SCOPE,)
    assert world.client.fields["client_name"] == "Another name"
    assert decode(world.secret, "MASKINPORTEN_SCOPES") == SCOPE
    assert (world.ready, world.condition["reason"]) == ("False", "ScopesNotGranted")
    assert "left out: udir:b" in world.condition["message"]
    await world.reconcile()
    assert world.writes == []


@pytest.mark.parametrize("kind", [RejectedError, AlreadyExistsError])
async def test_a_refusal_that_cant_be_about_scopes_costs_none(kind):
    world = await losing()
    world.trips.trip_always("update_client", lambda: kind(Reason.FORBIDDEN_BY_DIGDIR, "not allowed"))
    world.cluster.edit_spec(clientName="Another name")

    await world.reconcile()

    assert world.writes.count("update_client") == 1
    assert world.client.scopes == (SCOPE, "udir:b")
    assert world.condition["reason"] == "ForbiddenByDigDir"


# Forbidden scopes


FORBIDDING = replace(SETTINGS, forbidden_scopes=("ks:*",))


async def test_a_resource_that_consumes_a_forbidden_scope_isnt_registered_whatever_digdir_grants():
    world = await trying(SCOPE, "ks:fiks", granted=[SCOPE, "ks:fiks"], settings=FORBIDDING)

    assert world.writes == ["write_status"]
    assert (world.condition["reason"], world.ready) == ("InvalidSpec", "False")
    assert "ks:fiks can't be consumed" in world.condition["message"]
    assert "stays as it is" not in world.condition["message"]


async def test_a_client_keeps_a_scope_that_is_forbidden_later_until_the_spec_no_longer_has_it():
    world = await trying(SCOPE, "ks:fiks", granted=[SCOPE, "ks:fiks"])
    world.settings = FORBIDDING

    await world.reconcile()

    assert world.writes == ["write_status"]
    assert f"Client {world.client.client_id} stays as it is until the spec can be used" in world.condition["message"]
    assert set(world.client.scopes) == {SCOPE, "ks:fiks"}

    world.cluster.edit_spec(scopes={"consumes": [{"name": SCOPE}]})
    await world.settle()

    assert (world.ready, set(world.client.scopes)) == ("True", {SCOPE})


# Scopes of which no list tells


UNLISTED, OWN = "udir:b", "nav:arbeid/own"
NOT_ALLOWED = "is not allowed for integration_type maskinporten"
LAST = ("write_status",)


async def trying(*consumes, granted=(SCOPE,), unlisted=(), settings=SETTINGS):
    world = World(settings, spec=spec(consumes=consumes))
    world.digdir.offer(*consumes)
    world.digdir.grant(*granted)
    world.digdir.open(*unlisted)
    await world.reconcile()
    return world


def refusal(name, why="is not accessible for organization 889640782"):
    """How a message names a scope that DigDir refused."""
    return f"{name} (DigDir: Scope {name} {why})"


async def test_what_no_list_knows_is_tried_once_the_client_works_and_written_to_the_secret_at_once():
    world = await trying(SCOPE, UNLISTED, unlisted=[UNLISTED])

    assert world.writes == [
        "add_finalizer",
        "create_client",
        "replace_keys",
        "apply_secret",
        "update_client",
        "apply_secret",
        *LAST,
    ]
    assert world.client.scopes == (SCOPE, UNLISTED)
    assert decode(world.secret, "MASKINPORTEN_SCOPES") == f"{SCOPE} {UNLISTED}"
    assert world.ready == "True"
    assert world.find_condition("ScopesGranted")["status"] == "True"
    for start in (lambda: None, world.start):
        start()
        await world.reconcile()
        assert world.writes == []


async def test_a_refusal_is_told_in_digdirs_words_and_costs_nothing_of_what_is_known():
    world = await trying(SCOPE, UNLISTED)

    assert world.writes == ["add_finalizer", "create_client", "replace_keys", "apply_secret", "update_client", *LAST]
    assert world.client.scopes == (SCOPE,)
    assert (world.ready, world.condition["reason"]) == ("False", "ScopesNotGranted")
    assert f"left out: {refusal(UNLISTED)}" in world.condition["message"]
    assert world.find_condition("ScopesGranted")["message"] == world.condition["message"]


async def test_what_was_refused_is_tried_again_slowly_and_after_a_change_of_the_spec():
    world = await trying(SCOPE, UNLISTED)
    for _ in range(15):
        world.clock.advance(180)
        await world.reconcile()
        assert world.writes == []

    world.clock.advance(REFUSAL_RECHECK_SECONDS)
    await world.reconcile()
    assert world.writes == ["update_client"]
    world.cluster.edit_spec(clientName="Another name")
    await world.reconcile()
    assert world.writes == ["update_client", "update_client", "write_status"]
    await world.reconcile()
    assert world.writes == []


async def test_what_was_refused_is_tried_again_when_somebody_asks_for_it():
    world = await trying(SCOPE, UNLISTED)
    world.digdir.open(UNLISTED)
    world.cluster.annotate(**{RESYNC_ANNOTATION: "true"})

    await world.reconcile()

    assert world.client.scopes == (SCOPE, UNLISTED)
    assert world.ready == "True"


async def test_a_new_process_tries_once_again_what_an_earlier_one_was_refused_though_not_at_its_start():
    world = await trying(SCOPE, UNLISTED)
    before = copy.deepcopy(world.status)
    world.start()
    tries = 0
    for _ in range(20):
        await world.reconcile()
        tries += world.writes.count("update_client")
        assert world.writes in ([], ["update_client"])
        assert world.status == before
        assert tries == 0 or world.clock.monotonic() - world.first_seen.at > spread_tries(UID)
        world.clock.advance(60)

    assert tries == 1


async def test_a_new_process_tries_at_once_what_its_status_doesnt_tell_of():
    world = await trying(SCOPE, UNLISTED)
    world.start()
    edit(world, consumes=(SCOPE, UNLISTED, "udir:c"))

    await world.reconcile()

    assert world.writes == ["update_client", "update_client", "write_status"]


async def test_what_a_new_process_is_refused_is_told_in_place_of_what_the_status_told():
    world = await trying(SCOPE, UNLISTED)
    world.start()
    world.digdir.refuse(UNLISTED)

    await world.reconcile()

    assert f"refuses it all the same: {refusal(UNLISTED, NOT_ALLOWED)}" in world.condition["message"]


# Many that DigDir must be asked about one by one

MANY = tuple(f"udir:{number:02}" for number in range(40))


async def look_again(world):
    """Make the passes that follow by themselves while there is more to try; give the calls of each."""
    calls = []
    for _ in range(20):
        outcome = await world.reconcile()
        calls.append(world.writes.count("update_client") + world.writes.count("create_client"))
        if not outcome.retry or not outcome.retry.patient:
            return calls
        assert outcome.retry.delay == TRIES_RECHECK_SECONDS
        world.clock.advance(TRIES_RECHECK_SECONDS)
    raise AssertionError(f"there is always more to try: {calls}")


async def test_many_that_no_list_knows_are_tried_ten_a_pass_and_nobody_waits_for_them():
    world = World(spec=spec(consumes=(SCOPE, *MANY)))
    world.digdir.offer(*MANY)
    world.digdir.open(MANY[3], MANY[39])

    outcome = await world.reconcile()
    assert world.writes.count("update_client") == MAX_TRIES
    assert outcome.retry == Retry(TRIES_RECHECK_SECONDS, failed=True, patient=True)
    assert world.ready == "False"
    assert decode(world.secret, "MASKINPORTEN_SCOPES") == f"{SCOPE} {MANY[3]}"
    calls = await look_again(world)

    assert calls == [MAX_TRIES] * 3
    assert world.client.scopes == (SCOPE, MANY[3], MANY[39])
    assert decode(world.secret, "MASKINPORTEN_SCOPES") == f"{SCOPE} {MANY[3]} {MANY[39]}"
    assert refusal(MANY[0]) in world.condition["message"]
    await world.reconcile()
    assert world.writes == []


async def test_many_that_are_refused_are_tried_again_after_an_hour_ten_a_pass():
    world = World(spec=spec(consumes=(SCOPE, *MANY)))
    await look_again(world)
    before = copy.deepcopy(world.status)
    world.clock.advance(REFUSAL_RECHECK_SECONDS)

    assert await look_again(world) == [MAX_TRIES] * 4
    assert world.status == before


async def test_many_that_were_refused_are_all_tried_again_when_somebody_asks_for_it():
    world = World(spec=spec(consumes=(SCOPE, *MANY)))
    await look_again(world)
    world.digdir.open(*MANY)
    world.cluster.annotate(**{RESYNC_ANNOTATION: "true"})

    await look_again(world)

    assert world.client.scopes == (SCOPE, *MANY)
    assert world.ready == "True"


async def test_without_anything_known_no_more_than_ten_registrations_are_tried_a_pass():
    world = World(spec=spec(consumes=MANY))
    world.digdir.open(MANY[25])

    calls = await look_again(world)

    assert max(calls) <= MAX_TRIES + 5
    assert world.client.scopes == (MANY[25],)
    assert world.ready == "False"
    assert world.held.kid in world.kids


@pytest.mark.parametrize("default", [None, DEFAULT])
@pytest.mark.parametrize("taken", [(), (MANY[25],), MANY[::2], MANY[1:]], ids=["none", "one", "half", "most"])
async def test_many_that_are_listed_and_refused_together_are_told_apart_by_several_passes(taken, default):
    world = World(replace(SETTINGS, default_scope=default), spec=spec(consumes=MANY))
    world.digdir.grant(*taken)
    world.digdir.refuse(*(one for one in MANY if one not in taken))

    outcome = await world.reconcile()
    assert world.writes.count("create_client") + world.writes.count("update_client") <= MAX_TRIES + 5
    if outcome.retry.patient:
        assert (world.ready, world.find_condition("ScopesGranted")["status"]) == ("Unknown", "Unknown")
        assert "Each is about to be tried by itself" in world.condition["message"]
    calls = await look_again(world)

    assert max(calls) <= MAX_TRIES + 5
    assert set(taken) <= {one for client in world.digdir.active for one in client.scopes} <= {*taken, DEFAULT}
    assert world.condition["reason"] == ("RefusedByDigDir" if not taken and not default else "ScopesNotGranted")


async def test_a_client_that_digdir_refuses_whatever_its_scopes_are_is_not_tried_hot():
    world = World(spec=spec(consumes=(SCOPE, *MANY)))
    world.digdir.grant(*MANY)
    await world.settle()
    world.digdir.refuse(SCOPE, *MANY)
    world.cluster.edit_spec(clientName="Another")

    outcome = await world.reconcile()

    assert outcome.retry == Retry(600.0, failed=True)
    assert world.writes.count("update_client") == 1


async def test_many_that_are_listed_cost_two_writes():
    world = World(spec=spec(consumes=MANY))
    world.digdir.grant(*MANY)

    await world.reconcile()

    assert world.writes.count("create_client") + world.writes.count("update_client") <= 2
    assert world.client.scopes == MANY
    assert world.ready == "True"


async def test_what_a_list_tells_of_after_a_refusal_is_registered_by_the_next_look():
    world = await trying(SCOPE, UNLISTED)
    world.digdir.grant(UNLISTED)
    world.clock.advance(GRANT_MAX_AGE)

    await world.reconcile()

    assert world.client.scopes == (SCOPE, UNLISTED)
    assert world.ready == "True"


async def test_several_that_no_list_knows_are_each_tried_by_themselves():
    world = await trying(SCOPE, "udir:c", UNLISTED, "udir:d", unlisted=[UNLISTED])

    assert world.writes.count("update_client") == 3
    assert world.client.scopes == (SCOPE, UNLISTED)
    assert all(refusal(name) in world.condition["message"] for name in ("udir:c", "udir:d"))
    assert "udir:b" not in world.condition["message"]


async def test_without_anything_known_the_client_is_registered_with_the_first_one_that_digdir_takes():
    world = await trying("udir:c", UNLISTED, "udir:d", unlisted=[UNLISTED, "udir:d"])

    assert world.client.scopes == (UNLISTED, "udir:d")
    assert decode(world.secret, "MASKINPORTEN_SCOPES") == f"{UNLISTED} udir:d"
    assert refusal("udir:c") in world.condition["message"]
    assert len(world.digdir.clients) == 1


async def test_without_anything_known_nor_taken_no_client_is_registered_and_nothing_tried_again():
    world = await trying("udir:c", UNLISTED)

    assert world.writes.count("create_client") == 2
    assert world.digdir.clients == {}
    assert (world.ready, world.condition["reason"]) == ("False", "ScopesNotGranted")
    assert f"{refusal('udir:c')}, udir:b" in world.condition["message"]
    await world.reconcile()
    assert world.writes == []


async def test_with_a_default_scope_the_client_has_that_until_digdir_takes_another():
    world = await trying(UNLISTED, unlisted=[UNLISTED], settings=replace(SETTINGS, default_scope=DEFAULT))

    assert world.client.scopes == (UNLISTED,)
    assert world.writes.count("create_client") == world.writes.count("update_client") == 1


async def test_an_own_scope_that_needs_a_grant_to_oneself_is_left_out_and_told_and_registered_once_it_has_one():
    world = World(spec=spec(consumes=(SCOPE, OWN)))
    world.digdir.set(owner_needs_access=True)
    world.digdir.add_scope(OWN, "made by hand")

    await world.reconcile()

    assert [call for call in world.writes if call in {"create_client", "update_client"}] == [
        "create_client",
        "create_client",
    ]
    assert world.client.scopes == (SCOPE,)
    assert decode(world.secret, "MASKINPORTEN_SCOPES") == SCOPE
    assert (world.ready, world.condition["reason"]) == ("False", "ScopesNotGranted")
    assert f"must list {ORGNO} among its consumers" in world.condition["message"]
    assert refusal(OWN) in world.condition["message"]
    await world.reconcile()
    assert world.writes == []
    world.digdir.grant(OWN)
    world.clock.advance(GRANT_MAX_AGE + 1)
    await world.reconcile()
    assert world.client.scopes == (SCOPE, OWN)
    assert world.ready == "True"


async def test_a_scope_that_the_resource_makes_itself_is_consumed_by_its_next_pass_and_nobody_is_warned():
    world = World(spec=spec(exposed("mine.read"), consumes=(SCOPE, "nav:arbeid:mine.read")))

    first = await world.reconcile()

    assert (world.ready, world.condition["reason"]) == ("Unknown", "ScopesPending")
    assert world.find_condition("ScopesGranted")["status"] == "Unknown"
    world.clock.advance(first.retry.delay)
    await world.reconcile()
    assert world.ready == "True"
    assert set(world.client.scopes) == {SCOPE, "nav:arbeid:mine.read"}
    assert {kind for kind, *_ in world.announcer.announced} == {"Normal"}


async def test_an_own_scope_that_needs_no_grant_costs_two_writes():
    world = World(spec=spec(consumes=(SCOPE, OWN)))
    world.digdir.add_scope(OWN, "made by hand")

    await world.reconcile()

    assert world.writes == ["add_finalizer", "create_client", "replace_keys", "apply_secret", *LAST]
    assert world.client.scopes == (SCOPE, OWN)
    assert world.ready == "True"


async def test_a_client_keeps_what_it_has_when_digdir_refuses_what_a_list_allows():
    world = World(spec=spec(consumes=(SCOPE,)))
    world.digdir.refuse("udir:c")
    world.digdir.grant(UNLISTED)
    await world.settle()
    edit(world, consumes=(SCOPE, "udir:c", UNLISTED))

    await world.reconcile()

    assert world.client.scopes == (SCOPE, UNLISTED)
    assert refusal("udir:c", NOT_ALLOWED) in world.condition["message"]
    await world.reconcile()
    assert world.writes == []


async def test_scopes_of_which_no_list_tells_stay_through_a_refusal_of_another():
    world = await trying(SCOPE, UNLISTED, unlisted=[UNLISTED])
    world.digdir.refuse("udir:c")
    world.clock.advance(GRANT_MAX_AGE + 1)
    edit(world, consumes=(SCOPE, UNLISTED, "udir:c"))

    await world.reconcile()

    assert world.client.scopes == (SCOPE, UNLISTED)
    assert world.writes == ["update_client", "write_status"]


async def test_a_refusal_that_isnt_about_scopes_is_told_as_it_is_and_blames_none():
    world = World(spec=spec(consumes=(SCOPE,)))
    world.digdir.grant(UNLISTED)
    await world.settle()
    no_such_name = BadRequestError(Reason.REFUSED_BY_DIGDIR, "no such name", "no such name")
    world.trips.trip_always("update_client", lambda: no_such_name)
    world.cluster.edit_spec(clientName="Another name", **spec(consumes=(SCOPE, UNLISTED)))

    await world.reconcile()

    assert world.client.scopes == (SCOPE,)
    assert world.condition["reason"] == "RefusedByDigDir"
    assert "DigDir:" not in world.find_condition("ScopesGranted")["message"]


async def test_what_the_resource_itself_is_about_to_expose_isnt_tried():
    world = World(spec=spec(first(SKATT), consumes=(SCOPE, NAME)))

    await world.reconcile()

    assert world.writes.count("create_client") + world.writes.count("update_client") == 1
    assert "DigDir:" not in world.condition["message"]


async def test_while_a_list_cant_be_read_what_isnt_known_is_tried_and_the_condition_says_so():
    world = World(spec=spec(consumes=(SCOPE, UNLISTED, "udir:c")))
    world.digdir.open(UNLISTED)
    world.trips.trip_always("list_open", unavailable)

    await world.reconcile()

    assert world.client.scopes == (SCOPE, UNLISTED)
    assert "What DigDir lists as open scopes couldn't be read" in world.condition["message"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [CrashError, lost_answer, unavailable])
@pytest.mark.parametrize("unlisted", [(), (UNLISTED,)])
async def test_a_try_that_fails_or_crashes_ends_as_one_that_doesnt(error, after, unlisted):
    world = World(spec=spec(consumes=(SCOPE, UNLISTED)))
    world.digdir.open(*unlisted)
    world.trips.trip("update_client", error, after=after)
    with suppress(CrashError):
        await world.reconcile()
    if error is CrashError:
        world.start()
    for _ in range(3):
        await world.reconcile()
        world.clock.advance(11)

    assert world.client.scopes == (SCOPE, *unlisted)
    assert decode(world.secret, "MASKINPORTEN_SCOPES") == " ".join((SCOPE, *unlisted))
    assert world.ready == ("True" if unlisted else "False")
    assert len(world.digdir.clients) == 1


async def test_a_refused_client_has_the_grants_looked_at_again(world):
    world.digdir.refuse(SCOPE)
    await world.reconcile()
    world.clock.advance(BETWEEN_LOOKS + 1)

    await world.reconcile()

    assert "list_granted" in world.trips.calls


# Deletion for good


async def test_a_deletion_for_good_takes_access_then_scopes_then_keys_then_client_then_finalizer(converged):
    going(converged, **{DELETE_ANNOTATION: "true"})

    await converged.reconcile()

    assert converged.writes == [
        *("revoke_access", "delete_scope"),
        *("revoke_access", "revoke_access", "delete_scope"),
        *("delete_keys", "delete_client", "remove_finalizers"),
    ]
    assert active(converged) == set()
    assert converged.digdir.consumers(NAME) == converged.digdir.consumers(OTHER) == set()
    assert is_gone(converged)


async def test_a_deletion_for_good_is_told_once_for_each_kind_of_action(converged):
    going(converged, **{DELETE_ANNOTATION: "true"})

    await converged.reconcile()

    assert sorted(announced(converged)) == ["AccessRevoked", "ClientDeleted", "ScopeDeactivated"]


async def test_a_deletion_in_a_terminating_namespace_is_carried_out_and_announces_nothing(converged):
    converged.cluster.namespace_terminating = True
    going(converged, **{DELETE_ANNOTATION: "true"})

    await converged.reconcile()

    assert is_gone(converged)
    assert active(converged) == set()
    assert converged.announcer.announced == []


async def test_a_deletion_that_waits_in_a_terminating_namespace_announces_nothing(converged):
    converged.cluster.namespace_terminating = True
    going(converged, **{DELETE_ANNOTATION: "true"})
    converged.trips.trip("delete_scope", forbidden)

    await converged.reconcile()

    assert FINALIZER in converged.cluster.resource["metadata"]["finalizers"]
    assert converged.announcer.announced == []


@pytest.mark.parametrize(
    ("call", "error"),
    [
        *itertools.product(["revoke_access", "delete_scope", "delete_client"], [refused, forbidden, unavailable]),
        ("delete_keys", unavailable),
    ],
)
async def test_the_finalizer_stays_while_digdir_doesnt_do_its_part(converged, call, error):
    going(converged, **{DELETE_ANNOTATION: "true"})
    converged.trips.trip(call, error)

    await converged.reconcile()

    assert FINALIZER in converged.cluster.resource["metadata"]["finalizers"]
    assert converged.client.fields["active"]
    assert "The deletion waits" in converged.condition["message"]
    await converged.reconcile()
    assert is_gone(converged)
    assert active(converged) == set()
    assert converged.digdir.active == []


@pytest.mark.parametrize("error", [refused, forbidden])
async def test_keys_whose_deletion_is_refused_end_with_their_client(converged, error):
    going(converged, **{DELETE_ANNOTATION: "true"})
    converged.trips.trip("delete_keys", error)

    await converged.reconcile()

    assert is_gone(converged)
    assert converged.digdir.active == []


@pytest.mark.parametrize("lag", [0.0, 8.0], ids=["", "list lags"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_deletion_for_good_that_crashes_at_any_call_leaves_nothing_behind(after, lag):
    async def deleting():
        world = await settled(first(KOMMUNE, SKATT), second(KS))
        world.digdir.set(list_lag_seconds=lag)
        going(world, **{DELETE_ANNOTATION: "true"})
        return world

    whole = await deleting()
    await whole.reconcile()
    for number in range(len(whole.trips.calls)):
        world = await deleting()
        world.trips.calls.clear()
        world.trips.trip(number, CrashError, after=after)
        with pytest.raises(CrashError):
            await world.reconcile()

        world.start()
        await let_go(world)

        assert active(world) == set()
        assert world.digdir.consumers(NAME) == world.digdir.consumers(OTHER) == set()
        assert world.digdir.active == []


@pytest.mark.parametrize("error", [unavailable, lost_answer], ids=["fault", "lost answer"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_deletion_for_good_that_fails_at_any_call_leaves_nothing_behind(after, error):
    whole = await settled(first(KOMMUNE, SKATT), second(KS))
    going(whole, **{DELETE_ANNOTATION: "true"})
    await whole.reconcile()
    for number, name in enumerate(whole.trips.calls):
        if error is unavailable and after and name in WRITES_OF_SCOPES:
            continue  # one that tells a lost answer from a fault says so
        world = await settled(first(KOMMUNE, SKATT), second(KS))
        going(world, **{DELETE_ANNOTATION: "true"})
        world.trips.calls.clear()
        world.trips.trip(number, error, after=after)
        await let_go(world)

        assert active(world) == set()
        assert world.digdir.consumers(NAME) == world.digdir.consumers(OTHER) == set()
        assert world.digdir.active == []


@pytest.mark.parametrize("lag", [0.0, 8.0], ids=["", "list lags"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_creation_that_crashes_and_is_then_deleted_for_good_leaves_nothing_behind(after, lag):
    for number, name in enumerate(await calls_of(make)):
        world = await prepared(make, lag)
        world.trips.calls.clear()
        world.trips.trip(number, CrashError, after=after)
        with pytest.raises(CrashError):
            await world.reconcile()

        going(world, **{DELETE_ANNOTATION: "true"})
        world.cluster.touch(finalizers=[*world.cluster.resource["metadata"]["finalizers"], "somebody/else"])
        world.start()
        for _ in range(4):
            outcome = await world.reconcile()
            world.clock.advance(outcome.retry.delay if outcome.retry and outcome.retry.delay else 1.0)

        assert FINALIZER not in world.cluster.resource["metadata"]["finalizers"]
        assert active(world) == set(), name
        assert world.digdir.active == [], name


@pytest.mark.parametrize("lag", [0.0, 8.0], ids=["", "list lags"])
async def test_a_scope_whose_creation_was_left_without_an_answer_is_deleted_for_good_too(world, lag):
    world.digdir.set(list_lag_seconds=lag)
    world.trips.trip("create_scope", lost_answer, after=True)
    await world.reconcile()
    going(world, **{DELETE_ANNOTATION: "true"})

    await let_go(world)

    assert active(world) == set()


async def test_scopes_are_found_by_their_description_and_not_by_the_spec(converged):
    converged.digdir.add_scope("nav:arbeid:forgotten", f"{DESCRIPTION}.arbeid:forgotten", SKATT)
    converged.digdir.add_scope("nav:arbeid:old", f"arbeid - {DESCRIPTION}", SKATT)
    converged.digdir.add_scope("nav:arbeid:inactive", f"{DESCRIPTION}.arbeid:inactive", SKATT, active=False)
    converged.digdir.add_scope("nav:arbeid:theirs", "some-cluster:some-team:other-app.arbeid:theirs", SKATT)
    edit(converged, exposed("theirs"))
    going(converged, **{DELETE_ANNOTATION: "true"})

    await converged.reconcile()

    assert active(converged) == {"nav:arbeid:theirs"}
    assert converged.digdir.consumers("nav:arbeid:theirs") == {SKATT}
    for name in ("nav:arbeid:forgotten", "nav:arbeid:old", "nav:arbeid:inactive", NAME):
        assert converged.digdir.consumers(name) == set()
    assert is_gone(converged)


async def test_access_that_an_inactive_scope_keeps_is_taken_back_while_it_is_active(converged):
    edit(converged, first(KOMMUNE, SKATT), second(KS, enabled=False))
    await converged.reconcile()
    scope = converged.digdir.scopes[OTHER]
    assert not scope["active"]
    going(converged, **{DELETE_ANNOTATION: "true"})
    converged.trips.trip("revoke_access", refused)

    await converged.reconcile()

    assert written(converged)[:4] == ["revoke_access", "update_scope", "revoke_access", "delete_scope"]
    assert converged.digdir.scopes[OTHER] == scope | {"last_updated": converged.digdir.scopes[OTHER]["last_updated"]}
    assert converged.digdir.consumers(OTHER) == set()
    assert is_gone(converged)


async def test_a_scope_that_is_inactive_already_is_not_deactivated_again_by_a_deletion(converged):
    edit(converged, first(KOMMUNE, SKATT), second(KS, enabled=False))
    await converged.reconcile()
    going(converged, **{DELETE_ANNOTATION: "true"})

    await converged.reconcile()

    assert written(converged) == ["revoke_access", "revoke_access", "revoke_access", "delete_scope"]
    assert converged.digdir.consumers(OTHER) == set()
    assert is_gone(converged)


async def test_access_that_somebody_gave_since_it_was_read_is_taken_by_a_deletion_for_good(converged):
    converged.digdir.set_consumers(NAME, KOMMUNE, SKATT, KS)
    going(converged, **{DELETE_ANNOTATION: "true"})

    await converged.reconcile()

    assert converged.digdir.consumers(NAME) == set()
    assert is_gone(converged)


async def test_access_of_which_it_isnt_known_whether_it_was_given_is_taken_by_a_deletion_for_good(converged):
    edit(converged, first(KOMMUNE, SKATT, KS), second(KS))
    converged.trips.trip("grant_access", lost_answer)
    await converged.reconcile()
    assert KS not in converged.digdir.consumers(NAME)
    going(converged, **{DELETE_ANNOTATION: "true"})

    await converged.reconcile()

    assert written(converged) == ["revoke_access", "delete_scope", *["revoke_access"] * 3, "delete_scope"]


async def test_a_scope_that_takes_no_revocation_even_when_active_is_inactive_while_its_deletion_waits(converged):
    edit(converged, first(KOMMUNE, SKATT), second(KS, enabled=False))
    await converged.reconcile()
    going(converged, **{DELETE_ANNOTATION: "true"})
    revoke = converged.scopes.revoke

    async def refuse(name, orgno):
        if name == OTHER:
            raise refused()
        await revoke(name, orgno)

    converged.scopes.revoke = refuse
    await converged.reconcile()

    assert written(converged) == ["update_scope", "delete_scope"]
    assert OTHER not in active(converged)
    assert converged.digdir.consumers(OTHER) == {KS}
    assert not is_gone(converged)
    converged.scopes.revoke = revoke
    await converged.reconcile()
    assert converged.digdir.consumers(OTHER) == set()
    assert is_gone(converged)


async def test_a_revocation_that_an_active_scope_refuses_holds_the_deletion(converged):
    going(converged, **{DELETE_ANNOTATION: "true"})
    converged.trips.trip("revoke_access", refused)

    await converged.reconcile()

    assert written(converged)[0] == "revoke_access"
    assert "update_scope" not in written(converged)
    assert active(converged) == {NAME, OTHER}
    assert not is_gone(converged)


@pytest.mark.parametrize("is_listed", [True, False], ids=["as the list tells", "since it was listed"])
async def test_a_scope_that_was_given_away_is_left_alone_by_a_deletion_for_good(converged, is_listed):
    converged.digdir.change_scope(NAME, description="made by hand")
    if is_listed:
        await converged.resync()
    going(converged, **{DELETE_ANNOTATION: "true"})

    await converged.reconcile()

    assert active(converged) == {NAME}
    assert converged.digdir.consumers(NAME) == {KOMMUNE, SKATT}
    assert is_gone(converged)


async def test_a_deletion_for_good_needs_no_valid_spec(converged):
    converged.cluster.edit_spec(secretName="", scopes={"exposes": [5]})
    await converged.reconcile()
    assert converged.condition["reason"] == "InvalidSpec"
    going(converged, **{DELETE_ANNOTATION: "true"})

    await converged.reconcile()

    assert active(converged) == set()
    assert converged.digdir.active == []
    assert is_gone(converged)


@pytest.mark.parametrize(
    "junk", [5, "x", {"a": 1}, [5], [{}], [{"name": 5}], [{"name": None}], [{"name": "unknown:scope"}]], ids=str
)
async def test_a_deletion_for_good_is_done_whatever_the_status_says_of_scopes(converged, junk):
    going(converged, **{DELETE_ANNOTATION: "true"})
    converged.cluster.resource["status"]["exposedScopes"] = junk

    await converged.reconcile()

    assert active(converged) == set()
    assert is_gone(converged)


async def read_by_a_deletion(world):
    """Delete a resource for good, and give the names of the scopes that were read for it."""
    seen, read = [], world.scopes.read

    async def note(name):
        seen.append(name)
        return await read(name)

    world.scopes.read = note
    outcome = await world.reconcile()
    while outcome.unfinished:
        outcome = await world.reconcile()
    return seen


@pytest.mark.parametrize("name", ["skatt:some.scope", "navy:some.scope", "nav", "NAV:some.scope"])
async def test_a_scope_of_another_organisation_in_the_status_is_not_even_read_by_a_deletion(converged, name):
    going(converged, **{DELETE_ANNOTATION: "true"})
    converged.cluster.resource["status"]["exposedScopes"] = [{"name": name}]

    assert set(await read_by_a_deletion(converged)) == {NAME, OTHER}
    assert is_gone(converged)
    assert active(converged) == set()


@pytest.mark.parametrize("error", [forbidden, refused])
async def test_a_scope_in_the_status_that_may_not_be_read_doesnt_keep_a_deletion_from_being_done(converged, error):
    going(converged, **{DELETE_ANNOTATION: "true"})
    converged.cluster.resource["status"]["exposedScopes"] = [{"name": "nav:some.scope"}]
    converged.trips.trip("read_scope", error)

    await converged.reconcile()

    assert is_gone(converged)
    assert active(converged) == set()


async def test_a_thousand_names_of_the_status_are_believed_and_no_more(converged):
    going(converged, **{DELETE_ANNOTATION: "true"})
    names = [f"nav:made.up.{number}" for number in range(1002)]
    converged.cluster.resource["status"]["exposedScopes"] = [{"name": name} for name in names]

    seen = await read_by_a_deletion(converged)

    assert set(seen) == {NAME, OTHER, *names[:1000]}
    assert len(seen) == 1002  # each once
    assert is_gone(converged)


@pytest.mark.parametrize("error", [forbidden, refused])
async def test_a_client_in_the_status_that_may_not_be_read_doesnt_keep_a_deletion_from_being_done(converged, error):
    going(converged, **{DELETE_ANNOTATION: "true"})
    converged.cluster.resource["status"]["clientID"] = "somebody-elses"
    read = converged.registrations.read

    async def find(client_id):
        if client_id == "somebody-elses":
            raise error()
        return await read(client_id)

    converged.registrations.read = find

    await converged.reconcile()

    assert is_gone(converged)
    assert active(converged) == set()
    assert converged.digdir.active == []


async def test_a_client_in_the_status_that_cant_be_read_just_now_holds_a_deletion(converged):
    going(converged, **{DELETE_ANNOTATION: "true"})
    converged.cluster.resource["status"]["clientID"] = "somebody-elses"
    converged.trips.trip("read_client", unavailable)

    await converged.reconcile()

    assert FINALIZER in converged.cluster.resource["metadata"]["finalizers"]
    assert active(converged) == {NAME, OTHER}
    await converged.reconcile()
    assert is_gone(converged)


async def test_a_deletion_keeps_client_scopes_and_access_by_default_without_any_call_of_digdir(converged):
    going(converged)

    await converged.reconcile()

    assert converged.trips.calls == ["remove_finalizers"]
    assert active(converged) == {NAME, OTHER}
    assert converged.digdir.consumers(NAME) == {KOMMUNE, SKATT}
    assert is_gone(converged)


@pytest.mark.parametrize("settings", [SETTINGS, DELETING], ids=["Retain", "Delete"])
@pytest.mark.parametrize("delete", [None, "true", "false", "True", ""])
@pytest.mark.parametrize("preserve", [None, "true", "false"])
async def test_preserve_wins_then_delete_then_the_clusters_policy(settings, delete, preserve):
    world = await settled(first(SKATT), settings=settings)
    asked = {DELETE_ANNOTATION: delete, PRESERVE_ANNOTATION: preserve}
    going(world, **{name: value for name, value in asked.items() if value is not None})

    await world.reconcile()

    goes = preserve != "true" and (delete == "true" or (delete is None and settings is DELETING))
    assert is_gone(world)
    assert (active(world) == set()) is goes
    assert (world.digdir.active == []) is goes


# Digdirator's finalizers


@pytest.mark.parametrize("theirs", DIGDIRATOR_FINALIZERS)
@pytest.mark.parametrize("ours", [[], [FINALIZER]], ids=["unmarked", "marked"])
async def test_digdirators_finalizers_go_with_ours_where_it_is_taken_over(theirs, ours):
    world = world_of(settings=TAKING_OVER, metadata={"finalizers": [*ours, theirs, "somebody/else"]})
    going(world)

    await world.reconcile()

    assert world.cluster.resource["metadata"]["finalizers"] == ["somebody/else"]


@pytest.mark.parametrize("ours", [[], [FINALIZER]], ids=["unmarked", "marked"])
async def test_digdirators_finalizers_stay_while_it_isnt_taken_over(ours):
    world = world_of(metadata={"finalizers": [*ours, *DIGDIRATOR_FINALIZERS]})
    going(world)

    await world.reconcile()

    assert world.cluster.resource["metadata"]["finalizers"] == list(DIGDIRATOR_FINALIZERS)


@pytest.mark.parametrize("ours", [[], [FINALIZER]], ids=["unmarked", "marked"])
async def test_digdirators_finalizers_stay_in_a_namespace_that_isnt_selected(ours):
    world = world_of(settings=TAKING_OVER, metadata={"finalizers": [*ours, *DIGDIRATOR_FINALIZERS]})
    world.namespaces.selected = world.cluster.namespace_selected = False
    going(world, **{DELETE_ANNOTATION: "true"})

    await world.reconcile()

    assert world.cluster.resource["metadata"]["finalizers"] == list(DIGDIRATOR_FINALIZERS)
    assert world.writes == (["remove_finalizers"] if ours else [])


async def test_digdirators_finalizers_stay_on_a_resource_that_isnt_being_deleted():
    world = world_of(first(SKATT), settings=TAKING_OVER, metadata={"finalizers": list(DIGDIRATOR_FINALIZERS)})

    await world.settle()

    assert set(DIGDIRATOR_FINALIZERS) < set(world.cluster.resource["metadata"]["finalizers"])


async def test_what_digdirator_made_is_deleted_for_good_of_a_resource_that_this_operator_never_managed():
    world = world_of(settings=TAKING_OVER, metadata={"finalizers": [DIGDIRATOR_FINALIZERS[0]]})
    world.digdir.create({"description": DESCRIPTION, "scopes": [SCOPE]})
    world.digdir.add_scope(NAME, f"arbeid - {DESCRIPTION}", SKATT)
    going(world, **{DELETE_ANNOTATION: "true"})

    await let_go(world)

    assert active(world) == set()
    assert world.digdir.consumers(NAME) == set()
    assert world.digdir.active == []
