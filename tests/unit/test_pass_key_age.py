"""A key that has reached its age is replaced: few at a time over all resources, at a quiet time, and once."""

import heapq
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from maskinporten_operator.model.jwk import PublicJwk
from maskinporten_operator.plan.rotation import AGE_JITTER, find_due, find_recheck
from maskinporten_operator.reconcile.memory import MAX_AGING, Memory
from tests.unit.fakes import NOW, SETTINGS, iso, private_jwk, rsa_key
from tests.unit.test_pass_rotation import VERIFYING, RealKeys
from tests.unit.world import World

MAX_AGE = timedelta(days=180)
AGING = replace(SETTINGS, key_max_age=MAX_AGE)
HOUR, DAY = 3600, 86400
RESYNC = 1800
FLEET = 24
CALLS_FOR_A_ROTATION = 4
"""Of one key: read client and keys, replace the keys; and once more when the one before goes."""


def key_of_age(age):
    return PublicJwk({"kid": "mpo-1-1", "created": iso(NOW - age)})


# When


def test_a_key_is_due_by_its_age_at_digdir_and_a_share_of_it_earlier_that_is_the_resources_own():
    dues = [find_due(f"uid-{number}", key_of_age(timedelta(0)), MAX_AGE) for number in range(1000)]

    assert NOW + MAX_AGE * (1 - AGE_JITTER) <= min(dues) < max(dues) <= NOW + MAX_AGE
    assert dues == [find_due(f"uid-{number}", key_of_age(timedelta(0)), MAX_AGE) for number in range(1000)]


def test_a_thousand_keys_of_one_age_are_spread_over_the_days():
    dues = [find_due(f"uid-{number}", key_of_age(timedelta(0)), MAX_AGE) for number in range(1000)]

    assert max(Counter(int(due.timestamp() // HOUR) for due in dues).values()) <= 12


@pytest.mark.parametrize(("key", "max_age"), [(key_of_age(MAX_AGE), timedelta(0)), (PublicJwk({"kid": "a"}), MAX_AGE)])
def test_without_a_maximum_or_a_known_age_a_key_is_never_due(key, max_age):
    assert find_due("uid", key, max_age) is None


def test_few_places_are_given_and_each_is_kept_for_a_minute():
    memory = Memory()

    assert [memory.begin_aging(f"uid-{number}", 0.0) for number in range(6)] == [True] * MAX_AGING + [False] * 2
    assert memory.begin_aging("uid-0", 59.0)
    assert not memory.begin_aging("uid-9", 59.0)
    assert memory.begin_aging("uid-9", 60.0)


def test_a_place_is_kept_while_the_new_key_waits_for_its_proof():
    memory = Memory()
    for number in range(MAX_AGING):
        memory.begin_aging(f"uid-{number}", 0.0)
    memory.record_mint("uid-0", "client-1", private_jwk(1), 1.0)

    assert [memory.begin_aging(f"uid-{number}", 100.0) for number in range(5, 9)] == [True] * 3 + [False]
    memory.record_delivery("uid-0")
    assert memory.begin_aging("uid-8", 101.0)


def test_after_an_outage_of_digdir_no_place_is_given_for_ten_minutes():
    memory = Memory()
    memory.record_outage(0.0)

    assert not memory.begin_aging("uid", 599.0)
    assert memory.begin_aging("uid", 600.0)


# Whole passes


@pytest.fixture
async def world():
    world = World(AGING)
    await world.settle()
    return world


async def test_the_status_says_when_a_key_was_made_and_when_the_next_follows(world):
    due = find_due(world.meta.uid, world.client.keys[0], MAX_AGE)

    assert world.status["key"]["id"] == world.held.kid
    assert world.status["key"]["nextRotation"] == f"{due:%Y-%m-%dT%H:%M:%SZ}"


async def test_a_key_is_replaced_when_it_has_reached_its_age_and_not_before(world):
    old, due = world.held, find_due(world.meta.uid, world.client.keys[0], MAX_AGE)
    world.clock.advance((due - world.clock.now()).total_seconds() - 60)
    outcome = await world.reconcile()
    assert (world.held, outcome.retry.delay) == (old, pytest.approx(61, abs=1))

    world.clock.advance(outcome.retry.delay)
    await world.reconcile()
    assert world.held != old
    assert old.kid in world.kids


async def test_without_a_maximum_age_a_key_is_kept():
    world = World(SETTINGS)
    await world.settle()
    old = world.held
    world.clock.advance(300 * DAY)
    await world.reconcile()

    assert world.held == old
    assert "nextRotation" not in world.status["key"]


@pytest.mark.parametrize("reason", ["a rollout", "an outage"])
async def test_a_key_waits_for_the_end_of_a_rollout_and_of_an_outage(world, reason):
    old = world.held
    world.clock.advance(MAX_AGE.total_seconds())
    world.cluster.rolling_out = reason == "a rollout"
    if reason == "an outage":
        world.memory.record_outage(world.clock.monotonic())
    outcome = await world.reconcile()
    assert (world.held, outcome.retry.delay, world.ready) == (old, find_recheck(world.meta.uid), "True")

    world.cluster.rolling_out = False
    world.clock.advance(601)
    await world.reconcile()
    assert world.held != old


async def test_an_outage_that_a_pass_meets_is_remembered(world):
    world.digdir.fault("status", status=503)
    world.cluster.edit_spec(clientName="another name")
    await world.reconcile()

    assert not world.memory.begin_aging("another", world.clock.monotonic())


async def test_a_rotation_for_age_waits_for_its_proof_and_keeps_its_place():
    world = World(replace(VERIFYING, key_max_age=MAX_AGE))
    world.key_pool = RealKeys()
    await world.settle()
    world.digdir.set(propagation_delay_seconds=120)
    old = world.held
    world.clock.advance(MAX_AGE.total_seconds())
    for _ in range(5):
        await world.reconcile()
        await world.verifier.ask()
        assert world.held == old
        world.clock.advance(20)
    world.clock.advance(60)
    await world.verifier.ask()
    await world.reconcile()

    assert world.held != old
    assert len(world.kids) == 2


class FewKeys:
    """Keys that many clients share, since each takes long to make."""

    def __init__(self):
        self.taken = 0

    async def take(self, namespace):
        self.taken += 1
        return rsa_key(20 + self.taken % 4)


class ManyResources:
    """Many resources of one process, each in a world of its own, with a pass whenever the one before said."""

    def __init__(self, size, settings):
        first = World(settings)
        self.digdir, self.clock, self.worlds = first.digdir, first.clock, [first]
        for number in range(1, size):
            one = World(settings, digdir=first.digdir, metadata={"name": f"app-{number}", "uid": f"{number:08x}-uid"})
            for part in ("memory", "registrations", "scopes", "grants", "metadata", "verifier", "random"):
                setattr(one, part, getattr(first, part))
            self.worlds.append(one)
        for one in self.worlds:
            one.key_pool = FewKeys()
        self.waiting = [(self.clock.passed, number) for number in range(size)]
        self.calls, self.rollouts, self.rotated = Counter(), Counter(), []

    async def live(self, seconds):
        end = self.clock.passed + seconds
        while self.waiting and self.waiting[0][0] < end:
            moment, number = heapq.heappop(self.waiting)
            self.clock.advance(max(moment - self.clock.passed, 0))
            await self._reconcile(number)
        self.clock.advance(max(end - self.clock.passed, 0))

    async def _reconcile(self, number):
        world, before = self.worlds[number], self.digdir.sequence
        held = world.held.kid if world.cluster.secrets else None
        self.worlds[0].trips.calls.clear()  # the shared parts count their calls there
        outcome = await world.reconcile()
        assert not (outcome.retry and outcome.retry.failed)
        self.calls[int(self.clock.passed // 60)] += self.digdir.sequence - before
        if held and world.held.kid != held:
            self.rollouts[number] += 1
            self.rotated.append(self.clock.passed)
        delay = outcome.retry.delay if outcome.retry and outcome.retry.delay is not None else RESYNC
        heapq.heappush(self.waiting, (self.clock.passed + delay + 1, number))

    def begin_anew(self):
        """Count from now on."""
        self.calls.clear()
        self.rollouts.clear()
        self.rotated.clear()


async def make_fleet(size, settings):
    """Resources whose keys were all made within an hour."""
    fleet = ManyResources(size, settings)
    for number in range(size):
        fleet.waiting[number] = (fleet.clock.passed + number * HOUR / size, number)
    await fleet.live(2 * HOUR)
    fleet.begin_anew()
    return fleet


async def test_a_fleet_whose_keys_reach_their_age_within_an_hour_is_spread_over_days_each_once():
    fleet = await make_fleet(FLEET, AGING)
    await fleet.live(MAX_AGE.total_seconds() + DAY)

    assert set(fleet.rollouts.values()) == {1}
    assert len(fleet.rollouts) == FLEET
    assert max(fleet.calls.values()) <= 2 * CALLS_FOR_A_ROTATION
    assert max(fleet.rotated) - min(fleet.rotated) > 10 * DAY


async def test_a_fleet_whose_keys_are_all_too_old_already_is_rotated_four_a_minute_each_once():
    fleet = await make_fleet(FLEET, SETTINGS)
    fleet.clock.advance(200 * DAY)
    for world in fleet.worlds:
        world.settings = AGING
    fleet.waiting = [(fleet.clock.passed, number) for number in range(FLEET)]
    await fleet.live(FLEET * 60 + HOUR)

    assert (len(fleet.rollouts), set(fleet.rollouts.values())) == (FLEET, {1})
    assert max(Counter(int(moment // 60) for moment in fleet.rotated).values()) <= 2 * MAX_AGING
    assert max(fleet.calls.values()) <= 2 * MAX_AGING * CALLS_FOR_A_ROTATION
