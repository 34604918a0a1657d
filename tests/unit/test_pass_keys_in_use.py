"""A key stays registered while a pod may have it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from maskinporten_operator.model.maskinportenclient import ROTATE_ANNOTATION
from tests.unit.fakes import SECRET, SETTINGS
from tests.unit.test_pass_rotation import DAY, PROPAGATION, VERIFYING, working
from tests.unit.test_secret_uses import BY_ENV_FROM, MOUNTED, WHOLE, pod
from tests.unit.world import World

GRACE = SETTINGS.key_grace.total_seconds()
HOUR = 3600


@pytest.fixture
async def world():
    """A client that works, while Maskinporten learns of keys a minute later."""
    return await working()


async def rotate(world, number):
    """Ask for a new key, and give time until it is there."""
    world.cluster.annotate(**{ROTATE_ANNOTATION: f"request {number}"})
    await world.live(PROPAGATION + 20, step=20)


def start_pod(world, container=BY_ENV_FROM, *volumes, name="my-app-1"):
    world.clock.advance(2)  # it takes longer than the second within which it could have either key
    world.cluster.pods.append(pod(container, *volumes, name=name, started=world.clock.now()))


async def test_the_key_of_a_pod_that_never_restarts_stays_over_five_rotations_and_it_is_named(world):
    start_pod(world)
    first = world.held.kid
    for number in range(5):
        await rotate(world, number)
        world.clock.advance(2 * HOUR)
        assert (first in world.kids, world.ready) == (True, "True")

    condition = world.find_condition("Rotated")
    assert len(world.kids) == 5
    assert (condition["status"], condition["reason"]) == ("False", "KeysInUse")
    assert "restart my-app-1" in condition["message"]

    world.clock.advance(GRACE)
    await rotate(world, 4)
    assert world.find_condition("Rotated") is None
    for _ in range(3):
        world.clock.advance(GRACE + HOUR)
        await world.reconcile()
    assert set(world.kids) == {first, world.held.kid}

    world.cluster.pods.clear()
    world.clock.advance(2 * HOUR)
    await world.reconcile()
    assert world.kids == [world.held.kid]


async def test_pods_are_listed_only_when_a_key_would_go(world):
    await rotate(world, 1)
    listed = []
    for _ in range(20):
        await world.reconcile()
        listed += [name for name in world.trips.calls if name == "find_uses"]
        world.clock.advance(HOUR)
    assert listed == []

    world.clock.advance(GRACE)
    await world.reconcile()
    assert world.trips.calls.count("find_uses") == 1


async def test_while_a_pod_has_a_key_its_pods_are_listed_once_in_ten_minutes_at_most(world):
    start_pod(world)
    await rotate(world, 1)
    world.clock.advance(GRACE + HOUR)
    listed = 0
    for _ in range(60):
        await world.reconcile()
        assert "replace_keys" not in world.trips.calls
        listed += world.trips.calls.count("find_uses")
        world.clock.advance(60)
    assert 5 <= listed <= 6


async def test_a_pod_that_was_started_with_the_new_key_doesnt_keep_the_old_one(world):
    await rotate(world, 1)
    start_pod(world)
    world.clock.advance(GRACE + HOUR)
    await world.reconcile()

    assert world.kids == [world.held.kid]


async def test_a_pod_that_reads_files_keeps_no_key_beyond_the_grace(world):
    start_pod(world, MOUNTED, WHOLE)
    await rotate(world, 1)
    world.clock.advance(GRACE + HOUR)
    await world.reconcile()

    assert world.kids == [world.held.kid]


async def test_the_grace_is_the_least_time_where_no_pod_is_known(world):
    for number in range(5):
        await rotate(world, number)
        world.clock.advance(2 * HOUR)

    condition = world.find_condition("Rotated")
    assert (len(world.kids), condition["reason"]) == (5, "KeysInUse")
    assert "by KEY_GRACE" in condition["message"]

    world.clock.advance(GRACE)
    await rotate(world, 4)
    assert world.find_condition("Rotated") is None


async def test_a_lost_secret_takes_the_place_of_a_key_that_no_pod_has(world):
    first = world.held.kid
    start_pod(world)
    for number in range(4):
        await rotate(world, number)
        world.clock.advance(2 * HOUR)
    world.cluster.secrets.clear()
    await world.reconcile()

    assert (world.ready, len(world.kids)) == ("True", 5)
    assert first in world.kids


async def test_a_restart_of_the_operator_forgets_nothing_of_who_has_which_key(world):
    start_pod(world)
    first = world.held.kid
    await rotate(world, 1)
    second = world.held.kid
    start_pod(world, name="my-app-2")
    await rotate(world, 2)
    world.start()
    for _ in range(3):
        world.clock.advance(GRACE + HOUR)
        await world.reconcile()

    assert set(world.kids) == {first, second, world.held.kid}


async def test_a_secret_of_an_earlier_version_isnt_written_for_the_sake_of_its_history():
    world = World(VERIFYING)
    await world.settle()
    del world.cluster.secrets[SECRET]["metadata"]["annotations"]["digdir.nais.io/key-deliveries"]
    world.clock.advance(DAY)

    await world.reconcile()

    assert world.writes == []


async def test_who_uses_a_secret_is_looked_at_anew_once_it_has_another_key():
    world = World(replace(SETTINGS, key_grace=timedelta(0)))
    await world.settle()

    async def rotate_at_once(request):
        world.cluster.annotate(**{ROTATE_ANNOTATION: request})
        for _ in range(3):
            await world.reconcile()
            world.clock.advance(2)

    await rotate_at_once("request 1")
    second = world.held.kid
    assert world.kids == [second]

    start_pod(world)
    await rotate_at_once("request 2")
    assert set(world.kids) == {second, world.held.kid}
