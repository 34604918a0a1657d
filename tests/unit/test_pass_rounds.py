"""A resource with more exposed scopes than one pass looks at or changes: several passes do it, each once."""

import pytest

from maskinporten_operator.model.maskinportenclient import DELETE_ANNOTATION, RESYNC_ANNOTATION, ROTATE_ANNOTATION
from maskinporten_operator.plan import exposed_scopes as module
from maskinporten_operator.plan.outcomes import Retry
from maskinporten_operator.reconcile import finalize, observe
from tests.specs import exposed
from tests.unit.fakes import SECRET
from tests.unit.test_pass_scopes import (
    KOMMUNE,
    KS,
    SKATT,
    WRITES_OF_SCOPES,
    active,
    edit,
    going,
    is_gone,
    of,
    refused,
    spec,
    states,
    unavailable,
    written,
)
from tests.unit.world import World

MANY = 5
AT_ONCE = Retry(0.0, failed=False, patient=True)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Four writes and three reads a pass."""
    monkeypatch.setattr(module, "MAX_WRITES", 4)
    monkeypatch.setattr(observe, "MAX_READS", 3)
    monkeypatch.setattr(finalize, "MAX_READS", 3)
    monkeypatch.setattr(finalize, "MAX_WRITES", 4)


def scopes(*orgnos, count=MANY, **fields):
    return [exposed(f"s{number}", consumers=of(*orgnos), **fields) for number in range(count)]


def full_name(number):
    return f"nav:arbeid:s{number}"


@pytest.fixture
def world():
    return World(spec=spec(*scopes(KOMMUNE)))


@pytest.fixture
async def converged(world):
    await finish(world)
    world.announcer.announced.clear()
    return world


async def finish(world, most=30):
    """Make passes until one doesn't go on with what it left; give how they ended, and the writes of all."""
    outcomes, writes = [], []
    while not outcomes or outcomes[-1].unfinished:
        assert len(outcomes) < most
        outcomes.append(await world.reconcile())
        writes += world.writes
    return outcomes, writes


async def test_the_credentials_come_first_and_the_scopes_in_several_short_passes(world):
    first = await world.reconcile()

    assert SECRET in world.cluster.secrets
    assert written(world) == ["create_scope", "grant_access"] * 2
    assert first.retry == AT_ONCE
    assert not first.acted  # many such passes in a row are no fight with somebody
    await finish(world)
    assert states(world) == {full_name(number): ("Active", 1) for number in range(MANY)}
    assert world.ready == "True"


async def test_the_status_says_at_once_that_there_is_more_to_do_and_is_written_twice_in_all(world):
    await world.reconcile()
    assert (world.ready, world.condition["reason"]) == ("Unknown", "ScopesPending")
    assert "clientID" in world.status
    assert world.writes.count("write_status") == 1

    _, writes = await finish(world)

    assert writes.count("write_status") == 1


async def test_one_that_was_ready_stays_so_while_others_mend_what_many_of_its_scopes_lost(converged):
    for number in range(MANY):
        converged.digdir.change_scope(full_name(number), active=False)
    await converged.resync()
    first = await converged.reconcile()
    assert first.unfinished
    assert converged.ready == "True"

    _, writes = await finish(converged)

    assert all(one["active"] for one in converged.digdir.scopes.values())
    assert "write_status" not in writes


async def test_after_a_resync_the_access_lists_are_read_by_several_passes_each_once(converged):
    await converged.resync()
    reads = []
    while True:
        outcome = await converged.reconcile()
        reads.append(converged.trips.calls.count("list_accesses"))
        assert converged.writes == []
        if not outcome.unfinished:
            break

    assert reads == [3, 2]


async def test_a_lost_secret_is_there_again_before_all_scopes_were_looked_at(converged):
    await converged.resync()
    converged.cluster.secrets.clear()

    assert (await converged.reconcile()).unfinished
    assert SECRET in converged.cluster.secrets


async def test_a_scope_with_more_consumers_than_a_pass_serves_gets_them_by_and_by():
    world = World(spec=spec(exposed("s0", consumers=of(*(f"{number:09}" for number in range(10))))))

    outcomes, _ = await finish(world)

    assert len(outcomes) == 3
    assert len(world.digdir.consumers(full_name(0))) == 10


async def test_a_scope_that_is_refused_keeps_none_from_its_turn_and_is_told_to_the_end(world):
    create = world.scopes.create

    async def refuse_all_but_the_last(name, fields):
        if name != full_name(MANY - 1):
            raise refused()
        await create(name, fields)

    world.scopes.create = refuse_all_but_the_last
    outcomes, writes = await finish(world)

    assert world.digdir.scopes.keys() == {full_name(MANY - 1)}
    assert world.condition["reason"] == "RefusedByDigDir"
    assert outcomes[-1].retry.failed
    assert writes.count("write_status") == 2  # the refusal, and the scopes' states


async def test_a_scope_with_a_fault_is_left_to_the_end_of_the_round_and_then_tried_again(world):
    create = world.scopes.create

    async def fail_for_the_first(name, fields):
        if name == full_name(0):
            raise unavailable()
        await create(name, fields)

    world.scopes.create = fail_for_the_first
    outcomes, _ = await finish(world)

    assert world.digdir.scopes.keys() == {full_name(number) for number in range(1, MANY)}
    assert world.condition["reason"] == "DigDirUnavailable"
    assert outcomes[-1].retry == Retry(None, failed=True)
    world.scopes.create = create
    await finish(world)
    assert full_name(0) in world.digdir.scopes


async def test_scopes_that_are_others_are_read_once_a_round_and_dont_keep_it_from_its_end(converged):
    for number in range(MANY):
        converged.digdir.change_scope(full_name(number), description="theirs")
    await converged.resync()

    outcomes, writes = await finish(converged)

    assert len(outcomes) == 2
    assert WRITES_OF_SCOPES.isdisjoint(writes)
    assert converged.condition["reason"] == "ScopeConflict"


async def test_a_request_to_read_everything_is_carried_out_once_and_cleared_when_all_was_read(converged):
    converged.cluster.annotate(**{RESYNC_ANNOTATION: "true"})
    reads, writes, outcome = [], [], None
    while outcome is None or outcome.unfinished:
        outcome = await converged.reconcile()
        reads += [call for call in converged.trips.calls if call in {"read_scope", "list_accesses"}]
        writes.append("clear_annotations" in converged.writes)

    assert reads.count("list_accesses") == MANY
    assert writes == [False] * (len(writes) - 1) + [True]
    assert len(writes) > 2


async def test_a_key_is_rotated_once_however_many_passes_follow(converged):
    converged.cluster.annotate(**{ROTATE_ANNOTATION: "true"})
    edit(converged, *scopes(KOMMUNE, SKATT, KS))
    _, writes = await finish(converged)

    assert writes.count("replace_keys") == 1
    assert writes.count("clear_annotations") == 1
    assert all(converged.digdir.consumers(full_name(n)) == {KOMMUNE, SKATT, KS} for n in range(MANY))


async def test_an_edit_in_the_middle_begins_anew(world):
    await world.reconcile()
    edit(world, *scopes(SKATT))
    await finish(world)

    assert all(world.digdir.consumers(full_name(number)) == {SKATT} for number in range(MANY))
    assert world.ready == "True"


async def test_what_goes_before_a_scope_is_active_again_isnt_parted_from_that(world):
    crowd = [f"{number:09}" for number in range(6)]
    edit(world, exposed("s0", consumers=of(*crowd)))
    await finish(world)
    world.digdir.change_scope(full_name(0), active=False)
    await world.resync()
    edit(world, exposed("s0"))
    await world.reconcile()

    assert written(world) == ["revoke_access"] * 6 + ["update_scope"]


async def test_a_deletion_for_good_deactivates_the_scopes_in_several_short_passes_and_the_client_last(converged):
    going(converged, **{DELETE_ANNOTATION: "true"})

    outcomes, writes = await finish(converged)

    assert [outcome.retry for outcome in outcomes] == [AT_ONCE, AT_ONCE, None]
    assert [call for call in writes if call != "write_status"] == [
        *["revoke_access", "delete_scope"] * MANY,
        *("delete_keys", "delete_client", "remove_finalizers"),
    ]
    assert is_gone(converged)
    assert not converged.memory._rounds


async def test_a_deletion_for_good_says_at_once_that_there_is_more_to_do_and_says_it_once(converged):
    going(converged, **{DELETE_ANNOTATION: "true"})
    await converged.reconcile()
    first = converged.status
    await converged.reconcile()

    assert (converged.condition["status"], converged.condition["reason"]) == ("Unknown", "ScopesPending")
    assert "The deletion waits" in converged.condition["message"]
    assert converged.status == first


async def test_a_deletion_for_good_that_goes_on_reads_no_list_again_nor_what_it_has_let_go(converged):
    going(converged, **{DELETE_ANNOTATION: "true"})
    await converged.reconcile()
    await converged.reconcile()

    assert [call for call in converged.trips.calls if call.startswith("list_")] == ["list_accesses"] * 2


async def test_a_deletion_in_the_middle_of_a_round_skips_nothing_that_the_round_has_read(converged):
    converged.cluster.annotate(**{DELETE_ANNOTATION: "true", RESYNC_ANNOTATION: "true"})
    assert (await converged.reconcile()).unfinished
    assert converged.memory._rounds
    converged.cluster.namespace_terminating = True  # so the resource's generation stays
    converged.namespaces.ending = True

    _, writes = await finish(converged)

    assert writes[-1] == "remove_finalizers"
    assert active(converged) == set()


async def test_a_fault_in_a_later_pass_of_a_deletion_begins_it_anew(converged):
    going(converged, **{DELETE_ANNOTATION: "true"})
    await converged.reconcile()
    converged.trips.trip("delete_scope", unavailable)
    await converged.reconcile()

    assert not converged.memory._rounds

    await finish(converged)

    assert is_gone(converged)


async def test_nothing_is_remembered_when_a_round_has_ended(converged):
    assert not converged.memory._rounds


async def test_what_is_merely_listed_isnt_changed_in_the_place_of_what_turned_out_to_be_right(converged):
    for visibility in ("PRIVATE", "PUBLIC"):
        for number in range(MANY):
            converged.digdir.change_scope(full_name(number), visibility=visibility)
        if visibility == "PRIVATE":
            await converged.resync()

    outcomes, writes = await finish(converged)

    assert "update_scope" not in writes
    assert len(outcomes) == 2
