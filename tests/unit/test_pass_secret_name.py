"""A spec that names another Secret: that gets a key of its own, and the one of before is named and left as it is."""

import copy

import pytest

from maskinporten_operator.model.maskinportenclient import ROTATE_ANNOTATION
from maskinporten_operator.plan.secret import ObservedSecret
from tests.unit.fakes import SECRET, CrashError, encode, owner_reference
from tests.unit.world import World

DAY = 86400
OTHER = "other-secret"


@pytest.fixture
def world():
    world = World()
    yield world
    assert world.digdir.violations == []


@pytest.fixture
async def renamed(world):
    await world.settle()
    await rename(world)
    return world


async def rename(world, name=OTHER):
    world.cluster.edit_spec(secretName=name)
    await world.settle()


def find_key(world, name):
    return ObservedSecret(world.cluster.secrets[name]).jwk


def find_notice(world):
    condition = world.find_condition("SecretUnique")
    return (condition["status"], condition["reason"]) if condition else None


async def live(world, seconds):
    world.clock.advance(seconds)
    await world.settle()


async def test_the_new_secret_has_a_key_of_its_own_and_the_old_one_keeps_its(renamed):
    old, new = find_key(renamed, SECRET), find_key(renamed, OTHER)

    assert set(renamed.kids) == {old.kid, new.kid}
    assert old != new
    assert renamed.status["synchronizationSecretName"] == OTHER


async def test_the_old_secret_is_named_while_it_exists(renamed):
    assert find_notice(renamed) == ("False", "SupersededSecrets")
    assert f": {SECRET}. " in renamed.find_condition("SecretUnique")["message"]
    assert renamed.ready == "True"
    del renamed.cluster.secrets[SECRET]

    await renamed.reconcile()

    assert find_notice(renamed) is None


async def test_no_secret_is_named_while_there_is_one(world):
    await world.settle()

    assert find_notice(world) is None
    assert world.trips.calls.count("find_secret") == 1


async def test_nothing_is_repaired_in_the_old_secret(renamed):
    renamed.cluster.secrets[SECRET]["data"]["MASKINPORTEN_CLIENT_JWK"] = encode("garbage")
    before = copy.deepcopy(renamed.cluster.secrets)

    await renamed.reconcile()

    assert renamed.writes == []
    assert renamed.cluster.secrets == before


async def test_the_old_key_stays_for_the_grace_and_goes_after_it(renamed):
    old, new = find_key(renamed, SECRET), find_key(renamed, OTHER)
    await live(renamed, DAY - 120)
    assert set(renamed.kids) == {old.kid, new.kid}

    await live(renamed, 240)

    assert renamed.kids == [new.kid]
    assert find_notice(renamed) == ("False", "SupersededSecrets")


@pytest.mark.parametrize(
    "references",
    [None, [owner_reference(uid="other", name="other-app")], [owner_reference(uid="earlier")]],
    ids=["nobody's", "another's", "an earlier resource's of this name"],
)
async def test_a_secret_that_isnt_the_resources_is_not_named(renamed, references):
    renamed.cluster.secrets[SECRET]["metadata"]["ownerReferences"] = references

    await renamed.reconcile()

    assert find_notice(renamed) is None


async def test_named_again_the_old_secret_is_used_as_it_is_and_the_other_is_the_one_that_is_left(renamed):
    old = find_key(renamed, SECRET)

    await rename(renamed, SECRET)

    assert find_key(renamed, SECRET) == old
    assert f": {OTHER}. " in renamed.find_condition("SecretUnique")["message"]


async def test_the_newer_key_of_a_secret_that_was_left_works_while_that_exists(renamed):
    """Nothing tells when it was left, and pods may have started with it a moment ago."""
    newer = find_key(renamed, OTHER)
    await live(renamed, DAY - 600)
    await rename(renamed, SECRET)
    await live(renamed, DAY)
    assert newer.kid in renamed.kids

    del renamed.cluster.secrets[OTHER]
    await renamed.reconcile()

    assert renamed.kids == [find_key(renamed, SECRET).kid]


async def test_a_rotation_after_that_leaves_it_its_key_for_the_grace(renamed):
    newer = find_key(renamed, OTHER)
    await rename(renamed, SECRET)
    renamed.cluster.annotate(**{ROTATE_ANNOTATION: "true"})
    await renamed.settle()
    assert newer.kid in renamed.kids

    await live(renamed, DAY + 60)

    assert renamed.kids == [find_key(renamed, SECRET).kid]


async def test_of_very_many_old_secrets_some_are_named(renamed):
    for number in range(100):
        secret = copy.deepcopy(renamed.cluster.secrets[SECRET])
        secret["metadata"] |= {"name": f"copy-{number:02}", "uid": f"copy-{number}"}
        renamed.cluster.secrets[secret["metadata"]["name"]] = secret

    await renamed.reconcile()

    assert "copy-09" in renamed.find_condition("SecretUnique")["message"]
    assert renamed.trips.calls.count("find_secret") == 11


async def calls_of_a_rename():
    world = World()
    await world.settle()
    world.cluster.edit_spec(secretName=OTHER)
    await world.reconcile()
    return list(world.trips.calls)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_rename_that_crashes_at_any_call_ends_as_one_that_doesnt(after):
    for number, name in enumerate(await calls_of_a_rename()):
        world = World()
        await world.settle()
        old = copy.deepcopy(world.secret)
        world.cluster.edit_spec(secretName=OTHER)
        world.trips.calls.clear()
        world.trips.trip(number, CrashError, after=after)
        with pytest.raises(CrashError):
            await world.reconcile()

        world.start()
        await world.settle()

        assert world.cluster.secrets[SECRET] == old, name
        assert find_notice(world) == ("False", "SupersededSecrets"), name
        assert {find_key(world, SECRET).kid, find_key(world, OTHER).kid} <= set(world.kids), name
        await live(world, DAY + 60)
        assert world.kids == [find_key(world, OTHER).kid], name
