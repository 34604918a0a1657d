"""What is asked for once is done once, whoever keeps asking, and whatever is lost meanwhile."""

from dataclasses import replace

import pytest

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import RejectedError
from maskinporten_operator.model.jwk import KEY_LIMIT
from maskinporten_operator.model.maskinportenclient import ROTATE_ANNOTATION
from maskinporten_operator.model.resources import ROTATION_MANAGERS
from tests.unit.fakes import SETTINGS, CrashError
from tests.unit.test_pass_rotation import PROPAGATION, VERIFYING, RealKeys, working
from tests.unit.world import READS, World

DATED = "2026-03-01T12:00:00Z"
MINUTE, HOUR = 60, 3600


@pytest.fixture
async def world():
    """A client that works, while Maskinporten learns of keys a minute later."""
    return await working()


def ask(world, value):
    world.cluster.annotate(**{ROTATE_ANNOTATION: value})


def withdraw(world):
    left = {name: value for name, value in world.meta.annotations.items() if name != ROTATE_ANNOTATION}
    world.cluster.touch(annotations=left)


async def count_keys(world, passes, before_each):
    """Make passes five seconds apart, and say how many keys were delivered; Ready is True all the time."""
    held = [world.held.kid]
    for _ in range(passes):
        before_each()
        await world.live(5)
        assert world.ready == "True"
        held += [world.held.kid] if world.held.kid != held[-1] else []
    return len(held) - 1


async def test_true_that_is_put_back_every_five_seconds_for_ten_minutes_is_one_rotation(world):
    assert await count_keys(world, 10 * MINUTE // 5, lambda: ask(world, "true")) == 1
    assert len(world.kids) == 2
    assert world.find_condition("Rotated")["reason"] == "RequestRepeated"


async def test_true_that_stays_is_one_rotation_also_after_hours_and_over_restarts(world):
    for _ in range(6):
        assert await count_keys(world, 40, lambda: ask(world, "true")) <= 1
        world.clock.advance(HOUR)
        world.start()

    assert len(world.kids) == 2


async def test_a_dated_value_that_is_applied_a_hundred_times_is_one_rotation_and_stays(world):
    assert await count_keys(world, 100, lambda: ask(world, DATED)) == 1
    assert world.meta.annotations[ROTATE_ANNOTATION] == DATED
    assert world.status["key"]["rotationRequest"] == DATED
    assert world.find_condition("Rotated") is None


async def test_each_new_value_is_a_rotation(world):
    ask(world, DATED)
    await world.live(PROPAGATION + 20)
    first = world.held
    ask(world, "2026-03-02")
    await world.live(PROPAGATION + 20)

    assert world.held != first
    assert world.status["key"]["rotationRequest"] == "2026-03-02"


@pytest.mark.parametrize("value", ["false", "", " "])
async def test_a_value_that_says_no_asks_for_nothing(world, value):
    assert await count_keys(world, 30, lambda: ask(world, value)) == 0


async def test_true_asks_again_an_hour_after_it_was_done_and_removed(world):
    assert await count_keys(world, 30, lambda: None if world.meta.annotations else ask(world, "true")) == 1
    withdraw(world)
    await world.live(5)
    assert world.find_condition("Rotated") is None
    world.clock.advance(HOUR)

    ask(world, "true")
    assert await count_keys(world, 30, lambda: None) == 1
    assert not world.meta.asks(ROTATE_ANNOTATION)


async def test_whoever_keeps_asking_is_named(world):
    ask(world, "true")
    await world.live(PROPAGATION + 20)
    ask(world, "true")
    world.cluster.touch(**{ROTATION_MANAGERS: ["argocd-controller"]})
    await world.live(5)

    condition = world.find_condition("Rotated")
    assert (condition["status"], condition["reason"]) == ("False", "RequestRepeated")
    assert "digdir.nais.io/rotate=true is back (set by argocd-controller)" in condition["message"]


async def test_a_lost_secret_is_made_anew_for_the_request_that_stands(world):
    ask(world, DATED)
    await world.live(PROPAGATION + 20)
    world.cluster.secrets.clear()
    await world.reconcile()
    renewed = world.held
    world.clock.advance(PROPAGATION + 1)

    assert await count_keys(world, 30, lambda: ask(world, DATED)) == 0
    assert world.held == renewed


async def test_an_older_key_that_is_put_back_doesnt_answer_the_request(world):
    before = dict(world.cluster.secrets)
    ask(world, DATED)
    await world.live(PROPAGATION + 20)
    rotated = world.held
    world.cluster.secrets.update(before)

    assert await count_keys(world, 30, lambda: None) == 1
    assert world.held != rotated


async def test_a_crd_that_knows_no_key_in_the_status_makes_no_difference(world):
    world.cluster.pruned_status_fields = frozenset({"key"})

    assert await count_keys(world, 100, lambda: ask(world, DATED)) == 1


async def test_more_requests_than_keys_are_made_for_are_told_and_the_key_works(world):
    for number in range(8):
        ask(world, f"request {number}")
        await world.live(PROPAGATION + 20)
        assert world.ready == "True"

    condition = world.find_condition("Rotated")
    assert (condition["status"], condition["reason"]) == ("False", "KeyChurn")
    assert "4 for rotation requests and 1 because the Secret held none that worked" in condition["message"]


async def test_restarts_in_the_middle_of_a_rotation_use_up_no_keys(world):
    ask(world, DATED)
    for _ in range(2 * KEY_LIMIT):
        await world.reconcile()
        assert (world.ready, len(world.kids)) == ("True", 2)
        world.start()

    await world.live(PROPAGATION + 20)
    assert len(world.kids) == 2


@pytest.mark.parametrize("settings", [SETTINGS, VERIFYING], ids=["delivered at once", "proven first"])
async def test_a_key_that_cant_be_delivered_is_used_again_and_replaced_by_a_restart(settings):
    world = World(settings)
    world.key_pool = RealKeys()
    await world.settle()
    old = world.held
    world.trips.trip_always("apply_secret", lambda: RejectedError(Reason.REFUSED_BY_CLUSTER, "immutable"))
    ask(world, DATED)
    for _ in range(3):
        for _ in range(3):
            await world.reconcile()
            await world.verifier.ask()
            world.clock.advance(10 * MINUTE)
        assert (len(world.kids), world.held) == (2, old)
        world.start()

    world.trips.fix()
    await world.settle()
    for _ in range(2):
        await world.verifier.ask()
        await world.reconcile()
    assert (len(world.kids), world.held != old) == (2, True)


async def test_a_first_key_that_cant_be_delivered_is_replaced_by_a_restart_and_not_added_to():
    world = World(SETTINGS)
    world.trips.trip_always("apply_secret", lambda: RejectedError(Reason.REFUSED_BY_CLUSTER, "no rights"))
    for _ in range(2 * KEY_LIMIT):
        await world.reconcile()
        world.clock.advance(10 * MINUTE)
        await world.reconcile()
        assert len(world.kids) == 1
        world.start()


@pytest.mark.parametrize("propagation", [0, 60, 120])
@pytest.mark.parametrize("value", ["true", DATED])
@pytest.mark.parametrize("verifies", [True, False], ids=["proven first", "delivered at once"])
async def test_a_rotation_that_is_killed_at_any_write_ends_as_one_that_isnt(value, propagation, verifies):
    settings = replace(VERIFYING, verifies=verifies)

    _, _, writes = await rotate(settings, propagation, value)
    for place in writes:
        for after in (False, True):
            world, old, _ = await rotate(settings, propagation, value, place, after=after)

            assert world.held != old, place
            assert set(world.kids) == {old.kid, world.held.kid}, place
            assert world.meta.annotations.get(ROTATE_ANNOTATION) == (None if value == "true" else value), place
            world.clock.advance(settings.key_grace.total_seconds() + MINUTE)
            await world.settle()
            assert world.kids == [world.held.kid], place


async def rotate(settings, propagation, value, killed_at=None, *, after=False):
    """Rotate, by some passes; give the world, the old key, and where writes are: by pass and call."""
    world = await working()
    world.settings = settings
    world.digdir.set(propagation_delay_seconds=propagation)
    old, writes, killed = world.held, [], False
    ask(world, value)
    for number in range(9):
        if killed_at and killed_at[0] == number:
            world.trips.calls.clear()
            world.trips.trip(killed_at[1], CrashError, after=after)
        try:
            await world.reconcile()
            writes += [(number, index, name) for index, name in enumerate(world.trips.calls) if name not in READS]
        except CrashError:
            killed = True
            world.start()
        world.clock.advance(propagation // 2 + 1)
        await world.verifier.ask()
    assert killed == bool(killed_at)
    return world, old, writes
