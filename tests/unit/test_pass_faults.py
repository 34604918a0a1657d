"""Whole passes while DigDir refuses, breaks down, or doesn't answer: what is told, and that nothing is done twice."""

from dataclasses import replace

import pytest

from maskinporten_operator.model.maskinportenclient import DELETE_ANNOTATION, PRESERVE_ANNOTATION, RESYNC_ANNOTATION
from maskinporten_operator.plan.outcomes import Retry
from tests.unit.fakes import DEFAULT, DESCRIPTION, OTHER_SCOPE, SCOPE, SETTINGS, decode
from tests.unit.world import World

AGAIN_IN_TEN_MINUTES, WITH_BACKOFF = Retry(600.0, failed=True), Retry(None, failed=True)
REGISTER = {"method": "POST", "path": "/clients$"}
PUBLISH = {"method": "POST", "path": "/jwks$"}
UPDATE = {"method": "PUT", "path": "/clients/[^/]+$"}
MENDS_RIGHTS = "a cluster admin must check the rights"
# A refused token is renewed once, so a 401 is answered by a second attempt; a 400 by one with the default scope.
REFUSALS = {
    "400": (400, REGISTER, "RefusedByDigDir", "HTTP 400: Simulated fault", 2),
    "401": (401, REGISTER, "ForbiddenByDigDir", MENDS_RIGHTS, 2),
    "403": (403, REGISTER, "ForbiddenByDigDir", MENDS_RIGHTS, 1),
    "403 for a key": (403, PUBLISH, "ForbiddenByDigDir", "a cluster admin must", 1),
    "409": (409, REGISTER, "RefusedByDigDir", "HTTP 409: Simulated fault", 1),
}
FAULTS = {
    "500": ({"kind": "status", "status": 500}, "HTTP 500"),
    "503": ({"kind": "status", "status": 503}, "HTTP 503"),
    "HTML": ({"kind": "html"}, "HTTP 502"),
    "dropped": ({"kind": "drop"}, "can't be reached"),
}
LOST = {
    "dropped": {"kind": "drop", "when": "after"},
    "HTML": {"kind": "html", "when": "after"},
    "503": {"kind": "status", "status": 503, "when": "after"},
}
lost = pytest.mark.parametrize("fault", LOST.values(), ids=LOST)


@pytest.fixture
def world():
    world = World(replace(SETTINGS, default_scope=DEFAULT))
    yield world
    assert world.digdir.violations == []


@pytest.fixture
async def converged(world):
    await world.settle()
    return world


def consume(world, *scopes):
    world.cluster.edit_spec(scopes={"consumes": [{"name": scope} for scope in scopes]})


def delete_for_good(world):
    world.cluster.annotate(**{DELETE_ANNOTATION: "true"})
    world.cluster.touch(deletionTimestamp="2026-03-02T00:00:00Z")


@pytest.mark.parametrize(("status", "operation", "reason", "words", "attempts"), REFUSALS.values(), ids=REFUSALS)
async def test_a_refusal_is_told_and_not_repeated_for_ten_minutes_and_an_edit_mends_it(
    world, status, operation, reason, words, attempts
):
    world.digdir.fault("status", status=status, times=None, **operation)

    outcome = await world.reconcile()

    assert outcome.retry == AGAIN_IN_TEN_MINUTES
    assert (world.ready, world.condition["reason"]) == ("False", reason)
    assert words in world.condition["message"]
    assert len([call for call in world.digdir.calls() if call["fault"]]) == attempts
    world.digdir.clear_faults()
    consume(world, OTHER_SCOPE)
    await world.settle()
    assert world.ready == "True"
    assert len(world.digdir.clients) == 1


@pytest.mark.parametrize(("fault", "words"), FAULTS.values(), ids=FAULTS)
async def test_a_fault_of_digdirs_is_told_and_tried_again_with_growing_pauses(world, fault, words):
    world.digdir.fault(**fault, times=None, **REGISTER)

    outcome = await world.reconcile()

    assert outcome.retry == WITH_BACKOFF
    assert (world.ready, world.condition["reason"]) == ("Unknown", "DigDirUnavailable")
    assert words in world.condition["message"]
    world.digdir.clear_faults()
    await world.settle()
    assert world.ready == "True"
    assert len(world.digdir.clients) == 1


async def test_after_a_429_nobody_calls_until_the_time_is_over(world):
    world.digdir.fault("status", status=429, retry_after=4, **REGISTER)

    outcome = await world.reconcile()

    assert outcome.retry.delay == pytest.approx(4, abs=0.1)
    assert (world.ready, world.condition["reason"]) == ("Unknown", "RateLimited")
    assert "fewer calls" in world.condition["message"]
    since = world.digdir.sequence
    world.clock.advance(3.5)
    await world.reconcile()
    assert world.digdir.calls(since=since) == []
    world.clock.advance(1)
    await world.reconcile()
    assert world.ready == "True"


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_an_outage_says_nothing_of_a_resource_that_is_ready(converged, fault):
    before = converged.status
    converged.digdir.fault(**fault[0], times=None)
    converged.cluster.annotate(**{RESYNC_ANNOTATION: "true"})

    outcome = await converged.reconcile()

    assert outcome.retry == WITH_BACKOFF
    assert converged.status == before
    converged.digdir.clear_faults()
    await converged.settle()
    assert converged.cluster.resource["metadata"]["annotations"] == {}


# Lost answers


@lost
async def test_a_registration_whose_answer_was_lost_is_found_again_and_not_doubled(world, fault):
    world.digdir.set(list_lag_seconds=8)
    world.digdir.fault(**fault, **REGISTER)

    await world.reconcile()
    outcome = await world.reconcile()
    assert (world.ready, world.condition["reason"]) == ("Unknown", "AwaitingList")
    assert outcome.retry.delay > 8
    await world.settle()

    assert world.kids == [world.held.kid]
    assert len(world.digdir.clients) == 1


@lost
async def test_a_key_whose_answer_was_lost_is_used_and_no_other_made(world, fault):
    world.digdir.fault(**fault, **PUBLISH)

    await world.settle()

    assert world.kids == [world.held.kid]
    assert len(world.key_pool.taken) == 1


@lost
async def test_an_update_whose_answer_was_lost_is_found_out_about(converged, fault):
    converged.digdir.fault(**fault, **UPDATE)
    consume(converged, OTHER_SCOPE)

    await converged.reconcile()
    await converged.settle()

    assert converged.client.scopes == (OTHER_SCOPE,)
    assert decode(converged.secret, "MASKINPORTEN_SCOPES") == OTHER_SCOPE
    assert len(converged.digdir.calls("update-client")) == 1


async def test_without_lost_answers_a_lag_of_the_lists_delays_no_new_resource(world):
    world.digdir.set(list_lag_seconds=8)

    await world.reconcile()

    assert world.ready == "True"


async def test_a_new_process_waits_for_the_lag_of_the_lists_before_it_registers_what_its_like_may_have(world):
    world.digdir.set(list_lag_seconds=8)
    await world.reconcile()
    world.cluster.resource["status"] = {}
    world.cluster.secrets.clear()
    world.start()

    outcome = await world.reconcile()
    assert world.condition["reason"] == "AwaitingList"
    assert "create_client" not in world.writes
    world.clock.advance(outcome.retry.delay)
    await world.reconcile()

    assert world.ready == "True"
    assert len(world.digdir.clients) == 1


# Deletion for good


@lost
@pytest.mark.parametrize("path", ["/jwks$", "/clients/[^/]+$"], ids=["the keys", "the client"])
async def test_a_lost_answer_to_a_deletion_is_no_obstacle(converged, path, fault):
    converged.digdir.fault(**fault, method="DELETE", path=path)
    delete_for_good(converged)

    await converged.reconcile()
    await converged.reconcile()

    assert converged.cluster.resource is None
    assert [(one.fields["active"], one.keys) for one in converged.digdir.clients.values()] == [(False, ())]


@pytest.mark.parametrize("status", [403, 503])
@pytest.mark.parametrize("path", ["/jwks$", "/clients/[^/]+$"], ids=["the keys", "the client"])
async def test_a_deletion_that_digdir_doesnt_carry_out_waits_visibly_and_then_completes(converged, path, status):
    converged.digdir.fault("status", status=status, method="DELETE", path=path, times=None)
    delete_for_good(converged)
    await converged.reconcile()
    if (path, status) == ("/jwks$", 403):  # keys end with their client
        assert converged.cluster.resource is None
        return

    assert converged.condition["message"].startswith("The deletion waits: ")
    assert converged.condition["reason"] == ("ForbiddenByDigDir" if status == 403 else "DigDirUnavailable")
    assert converged.client.fields["active"]
    converged.digdir.clear_faults()
    await converged.reconcile()

    assert converged.cluster.resource is None
    assert converged.digdir.active == []


@pytest.mark.parametrize("annotations", [{}, {DELETE_ANNOTATION: "true", PRESERVE_ANNOTATION: "true"}])
@pytest.mark.parametrize("status", [403, 503])
async def test_a_deletion_that_waits_for_digdir_ends_when_it_isnt_asked_for_any_more(converged, annotations, status):
    converged.digdir.fault("status", status=status, times=None)
    delete_for_good(converged)
    await converged.reconcile()
    assert converged.cluster.resource is not None
    converged.cluster.touch(annotations=annotations)

    await converged.reconcile()

    assert converged.cluster.resource is None
    assert converged.client.fields["active"]


async def test_a_client_that_is_gone_already_is_no_obstacle(converged):
    converged.digdir.lose_clients()
    delete_for_good(converged)

    await converged.reconcile()

    assert converged.cluster.resource is None


async def test_every_client_with_our_description_goes_when_it_is_deleted_for_good(converged):
    converged.digdir.create({"description": DESCRIPTION, "scopes": [SCOPE]})
    await converged.resync()
    delete_for_good(converged)

    await converged.reconcile()

    assert [one.fields["active"] for one in converged.digdir.clients.values()] == [False, False]


@pytest.mark.parametrize("refused", [REGISTER, PUBLISH], ids=["the client", "its key"])
async def test_deleted_for_good_before_it_was_ever_ready_it_leaves_nothing(world, refused):
    world.digdir.fault("status", status=400, times=None, **refused)
    await world.reconcile()
    delete_for_good(world)

    await world.reconcile()

    assert world.cluster.resource is None
    assert world.digdir.active == []
