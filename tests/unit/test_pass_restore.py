"""A Secret that lost its owner, by a restore or an orphaning deletion: taken back if it proves to be the resource's."""

import copy

import pytest

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import RejectedError
from tests.unit.fakes import (
    DESCRIPTION,
    NAME,
    UID,
    CrashError,
    encode,
    owner_reference,
    private_jwk,
    registered,
)
from tests.unit.world import World

DAY = 86400
LABELS = {"app": NAME, "app.kubernetes.io/managed-by": "maskinporten-operator"}
EARLIER = owner_reference(uid="earlier")
LOST = {"stripped": None, "of an earlier resource": [EARLIER]}
lost = pytest.mark.parametrize("references", LOST.values(), ids=LOST)


@pytest.fixture
async def restored():
    return await restore()


async def restore(references=None, *, status=False):
    """A resource that was made anew beside its Secret of before, as a backup has both, in a new process."""
    world = World()
    await world.settle()
    world.cluster.touch(finalizers=[])
    if not status:
        world.cluster.resource["status"] = {}
    world.secret["metadata"]["ownerReferences"] = references
    world.start()
    world.see()
    return world


def edit_secret(world, *, jwk=None, client_id=None):
    if jwk:
        world.secret["data"]["MASKINPORTEN_CLIENT_JWK"] = encode(jwk.serialize())
    if client_id:
        world.secret["data"]["MASKINPORTEN_CLIENT_ID"] = encode(client_id)


async def assert_left_alone(world, reason="SecretConflict"):
    """Nothing is written of a Secret that proves nothing, neither there nor at DigDir; give the message."""
    before, since = copy.deepcopy(world.cluster.secrets), world.digdir.sequence
    await world.reconcile()
    assert world.condition["reason"] == reason
    assert world.cluster.secrets == before
    assert {call["method"] for call in world.digdir.calls(since=since)} <= {"GET"}
    return world.condition["message"]


@lost
@pytest.mark.parametrize("status", [True, False], ids=["with its status", "without a status"])
async def test_a_restored_secret_is_taken_back_with_its_key_and_nothing_is_done_at_digdir(references, status):
    world = await restore(references, status=status)
    before, since = copy.deepcopy(world.secret), world.digdir.sequence

    await world.reconcile()

    assert world.ready == "True"
    assert world.writes == ["adopt_secret", "add_finalizer", *([] if status else ["write_status"])]
    assert world.secret["metadata"].pop("ownerReferences") == [owner_reference()]
    before["metadata"].pop("ownerReferences")
    assert world.secret == before
    assert {call["method"] for call in world.digdir.calls(since=since)} == {"GET"}


async def test_the_fingerprint_by_which_pods_are_replaced_is_that_of_before():
    world = await restore(status=True)
    before = world.status["synchronizationHash"]
    world.cluster.resource["status"] = {}

    await world.reconcile()

    assert world.status["synchronizationHash"] == before


async def test_a_change_since_the_backup_is_written_when_the_secret_is_taken_back(restored):
    key = restored.held
    restored.secret["data"]["MASKINPORTEN_ISSUER"] = encode("https://old.example/")

    await restored.reconcile()

    assert restored.writes == ["adopt_secret", "add_finalizer", "apply_secret", "write_status"]
    assert restored.held == key


FORGED = {
    "a key of nobody": private_jwk(7),
    "the registered key's id with other numbers": None,
}


@pytest.mark.parametrize("jwk", FORGED.values(), ids=FORGED)
async def test_a_forged_secret_is_not_taken(restored, jwk):
    edit_secret(restored, jwk=jwk or private_jwk(7, restored.held.kid))

    message = await assert_left_alone(restored)

    assert f"its private key isn't registered on client {restored.client.client_id}" in message


async def test_a_secret_with_the_public_half_of_the_registered_key_is_not_taken(restored):
    restored.secret["data"]["MASKINPORTEN_CLIENT_JWK"] = encode(str(dict(restored.held.public().members)))

    assert "it holds no usable MASKINPORTEN_CLIENT_JWK" in await assert_left_alone(restored)


async def test_a_secret_with_the_key_of_another_client_is_not_taken_nor_is_that_client_looked_at(restored):
    other = restored.digdir.create({"description": f"{DESCRIPTION}-2"}, registered(private_jwk(8), None))
    await restored.resync()
    edit_secret(restored, jwk=private_jwk(8), client_id=other.client_id)

    message = await assert_left_alone(restored)

    assert f"isn't registered on client {restored.digdir.ids[0]}" in message


async def test_a_key_that_was_registered_once_and_is_no_more_proves_nothing(restored):
    await restored.registrations.refresh()
    restored.digdir.set_keys(restored.client.client_id, [])  # since the list

    await assert_left_alone(restored)


@pytest.mark.parametrize("label", LABELS)
async def test_without_its_labels_a_secret_is_not_taken(restored, label):
    del restored.secret["metadata"]["labels"][label]

    assert "was not made for a MaskinportenClient" in await assert_left_alone(restored)


@pytest.mark.parametrize(
    "other",
    [owner_reference(uid="other", name="other-app"), owner_reference(uid="other", kind="ConfigMap")],
    ids=["of its kind", "of another kind"],
)
@lost
async def test_another_owner_always_wins(references, other):
    world = await restore([*(references or []), other])

    await world.reconcile()

    assert world.condition["reason"] in {"SecretConflict", "AwaitingSecretRemoval"}
    assert other in world.secret["metadata"]["ownerReferences"]
    assert "adopt_secret" not in world.writes


async def test_a_secret_that_proves_nothing_and_had_an_owner_is_left_to_the_garbage_collector():
    world = await restore([EARLIER])
    edit_secret(world, jwk=private_jwk(7))

    await assert_left_alone(world, "AwaitingSecretRemoval")


@lost
async def test_a_secret_that_is_being_deleted_is_waited_for(references):
    world = await restore(references)
    world.secret["metadata"]["deletionTimestamp"] = "2026-03-02T00:00:00Z"

    await assert_left_alone(world, "AwaitingSecretRemoval")


async def test_where_the_resource_has_no_client_a_secret_proves_nothing_and_none_is_registered(restored):
    restored.digdir.lose_clients()
    await restored.resync()

    assert "this resource has no client at DigDir" in await assert_left_alone(restored)


async def test_a_secret_that_loses_its_owner_as_the_resource_goes_is_left_alone(restored):
    """The garbage collector takes the references away before an orphaning deletion ends."""
    begun = copy.deepcopy(restored.cluster.resource)
    restored.cluster.touch(deletionTimestamp="2026-03-02T00:00:00Z")
    before = copy.deepcopy(restored.secret)

    await restored.reconcile(begun)

    assert restored.secret == before
    assert restored.writes == []


async def test_a_secret_that_changed_since_it_was_read_is_looked_at_anew(restored):
    async def edit_and_find(namespace, name, found=restored.cluster.find_secret):
        secret = await found(namespace, name)
        edit_secret(restored, jwk=private_jwk(7))
        return secret

    restored.cluster.find_secret = edit_and_find
    await restored.reconcile()
    assert restored.secret["metadata"]["ownerReferences"] is None

    await assert_left_alone(restored)


async def test_while_it_cant_be_taken_back_no_key_is_made_and_nothing_written_to_it(restored):
    restored.secret["data"]["MASKINPORTEN_ISSUER"] = encode("https://old.example/")
    restored.trips.trip_always("adopt_secret", lambda: RejectedError(Reason.REFUSED_BY_CLUSTER, "no"))

    await restored.reconcile()

    assert restored.condition["reason"] == "RefusedByCluster"
    assert "apply_secret" not in restored.writes


async def calls_of_taking_back():
    world = await restore()
    await world.reconcile()
    return list(world.trips.calls)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@lost
async def test_a_take_back_that_crashes_at_any_call_ends_as_one_that_doesnt(references, after):
    for number, name in enumerate(await calls_of_taking_back()):
        world = await restore(references)
        key, since = world.held, world.digdir.sequence
        world.trips.calls.clear()
        world.trips.trip(number, CrashError, after=after)
        with pytest.raises(CrashError):
            await world.reconcile()

        world.start()
        await world.settle()

        assert world.secret["metadata"]["ownerReferences"] == [owner_reference(UID)], name
        assert world.held == key, name
        assert {call["method"] for call in world.digdir.calls(since=since)} == {"GET"}, name
        world.clock.advance(DAY + 60)
        await world.settle()
        assert world.kids == [key.kid], name
