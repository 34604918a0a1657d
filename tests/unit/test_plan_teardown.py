"""What is deleted with a resource: every rule by a case, then the order of all of it by properties."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.model.maskinportenclient import (
    DELETE_ANNOTATION,
    DIGDIRATOR_FINALIZERS,
    FINALIZER,
    PRESERVE_ANNOTATION,
    RESYNC_ANNOTATION,
)
from maskinporten_operator.plan.decisions import (
    DeactivateScope,
    DeleteClient,
    DeleteKeys,
    RemoveFinalizers,
    RevokeAccess,
)
from maskinporten_operator.plan.search import NONE_MISSING, Missing
from maskinporten_operator.plan.teardown import (
    OwnedScope,
    TeardownSnapshot,
    find_finalizers,
    is_deleted_for_good,
    plan_teardown,
)
from tests.unit.fakes import SETTINGS, resource

KS, SKATT = "971032146", "974761076"
READ, WRITE = "nav:arbeid:read", "nav:arbeid:write"
MANY = Missing(6, 100)
RELEASE = RemoveFinalizers((FINALIZER,))
DELETING = replace(SETTINGS, deletion_policy="Delete")


def meta_of(*finalizers, **annotations):
    return resource(metadata={"finalizers": list(finalizers), "annotations": annotations}).meta


def plan(*scopes, clients=(), missing=NONE_MISSING, list_due=0.0, **annotations):
    meta = meta_of(FINALIZER, **annotations)
    return plan_teardown(TeardownSnapshot(meta, (FINALIZER,), list_due, clients, scopes, missing))


def scope(name=READ, *consumers):
    return OwnedScope(name, frozenset(consumers))


# What goes, and in which order


def test_of_what_is_kept_or_never_was_only_the_finalizers_go():
    assert plan() == (RELEASE,)


def test_access_goes_then_its_scope_then_keys_then_client_then_the_finalizer():
    assert plan(scope(READ, KS), clients=("client-1",)) == (
        RevokeAccess(READ, KS),
        DeactivateScope(READ),
        DeleteKeys("client-1"),
        DeleteClient("client-1"),
        RELEASE,
    )


def test_one_scope_is_done_with_before_the_next_begins():
    assert plan(scope(WRITE, SKATT, KS), scope(READ, KS))[:-1] == (
        RevokeAccess(WRITE, KS),
        RevokeAccess(WRITE, SKATT),
        DeactivateScope(WRITE),
        RevokeAccess(READ, KS),
        DeactivateScope(READ),
    )


def test_what_is_left_to_further_passes_keeps_the_client_and_the_finalizer():
    seen = TeardownSnapshot(meta_of(FINALIZER), (FINALIZER,), 0.0, ("client-1",), (scope(READ, KS),), unfinished=True)

    assert plan_teardown(seen) == (RevokeAccess(READ, KS), DeactivateScope(READ))


def test_a_scope_without_consumers_is_deactivated_all_the_same():
    assert plan(scope()) == (DeactivateScope(READ), RELEASE)


def test_every_client_goes_each_with_its_keys():
    assert plan(clients=("client-2", "client-1"))[:-1] == (
        DeleteKeys("client-1"),
        DeleteClient("client-1"),
        DeleteKeys("client-2"),
        DeleteClient("client-2"),
    )


def test_all_finalizers_that_are_ours_go_at_once():
    ours = (FINALIZER, *DIGDIRATOR_FINALIZERS)

    assert plan_teardown(TeardownSnapshot(meta_of(), ours)) == (RemoveFinalizers(ours),)


# What has to be waited for


def test_nothing_goes_before_a_list_can_tell():
    blocker = plan(list_due=7.5)

    assert (blocker.kind, blocker.reason, blocker.retry_after) == ("Waiting", "AwaitingList", 7.5)


def test_that_there_is_no_client_is_not_believed_while_many_are_missing():
    blocker = plan(scope(READ, KS), missing=MANY)

    assert (blocker.kind, blocker.reason, blocker.retry_after) == ("Waiting", "MassAbsence", 300.0)
    assert "6 of 100" in blocker.message


@pytest.mark.parametrize(
    "known",
    [{"clients": ("client-1",)}, {"missing": Missing(5, 100)}, {RESYNC_ANNOTATION: "true"}],
    ids=["a client was found", "few are missing", "somebody asks"],
)
def test_otherwise_what_there_is_goes(known):
    assert DeactivateScope(READ) in plan(scope(), **{"missing": MANY} | known)


# Whether anything goes


@pytest.mark.parametrize(
    ("preserve", "delete", "settings", "goes"),
    [
        (None, None, SETTINGS, False),
        (None, None, DELETING, True),
        (None, "true", SETTINGS, True),
        (None, "true", DELETING, True),
        (None, "false", DELETING, False),
        (None, "yes", SETTINGS, False),
        (None, "", DELETING, False),
        ("true", "true", DELETING, False),
        ("true", None, DELETING, False),
        ("false", "true", SETTINGS, True),
        ("false", None, DELETING, True),
    ],
)
def test_preserving_wins_then_the_annotation_then_the_clusters_policy(preserve, delete, settings, goes):
    asked = {PRESERVE_ANNOTATION: preserve, DELETE_ANNOTATION: delete}
    annotations = {name: value for name, value in asked.items() if value is not None}

    assert is_deleted_for_good(meta_of(**annotations), settings) is goes


THEIRS = DIGDIRATOR_FINALIZERS[0]
BOTH = (FINALIZER, *DIGDIRATOR_FINALIZERS)


@pytest.mark.parametrize(
    ("found", "takes_over", "is_selected", "ours"),
    [
        ((FINALIZER,), False, True, (FINALIZER,)),
        ((FINALIZER, THEIRS), False, True, (FINALIZER,)),
        ((FINALIZER, THEIRS), True, True, BOTH),
        ((FINALIZER, THEIRS), True, False, (FINALIZER,)),
        ((THEIRS,), True, True, BOTH),
        ((THEIRS,), True, False, ()),
        ((THEIRS,), False, True, ()),
        (("somebody/else",), True, True, ()),
    ],
)
def test_the_finalizers_of_digdirator_are_ours_only_where_it_is_taken_over(found, takes_over, is_selected, ours):
    settings = replace(SETTINGS, takes_over=takes_over)

    assert find_finalizers(meta_of(*found), settings, is_selected=is_selected) == ours


# Properties

SCOPES = st.builds(
    OwnedScope, st.sampled_from([READ, WRITE, "nav:helse:read"]), st.frozensets(st.sampled_from([KS, SKATT]))
)


@given(
    st.lists(SCOPES, unique_by=lambda one: one.name),
    st.lists(st.sampled_from(["client-1", "client-2", "client-3"]), min_size=1, unique=True),
)
def test_everything_goes_once_and_what_others_build_on_goes_after_them(scopes, clients):
    *steps, last = plan(*scopes, clients=tuple(clients))

    assert last == RELEASE
    assert len(set(steps)) == len(steps) == sum(len(one.consumers) + 1 for one in scopes) + 2 * len(clients)
    for one in scopes:
        revocations = [steps.index(RevokeAccess(one.name, orgno)) for orgno in one.consumers]
        assert max(revocations, default=-1) < steps.index(DeactivateScope(one.name))
    for client_id in clients:
        place = steps.index(DeleteKeys(client_id))
        assert steps[place + 1] == DeleteClient(client_id)
        assert all(isinstance(step, DeleteKeys | DeleteClient) for step in steps[place:])
