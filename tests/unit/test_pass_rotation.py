"""The life of a key over whole passes: no key in a Secret is one that Maskinporten refuses, and none is lost."""

import json
from dataclasses import replace
from datetime import timedelta
from functools import cache

import pytest

from digdir_simulator import jws
from maskinporten_operator.model.jwk import PrivateJwk
from maskinporten_operator.model.maskinportenclient import ROTATE_ANNOTATION
from maskinporten_operator.model.tokens import TokenRequest
from maskinporten_operator.plan.verification import MAX_WAIT, NO_SCOPES_WAIT
from tests.unit.fakes import SCOPE, SECRET, SETTINGS, CrashError
from tests.unit.world import World

VERIFYING = replace(SETTINGS, verifies=True)
PROPAGATION = 60
DAY = 86400


@cache
def real_key(number):
    return PrivateJwk.find(json.dumps(jws.new_private_jwk())).key


class RealKeys:
    """Keys that can sign, the same for every world, since each takes long to make."""

    def __init__(self):
        self.taken = 0

    async def take(self, namespace):
        self.taken += 1
        return real_key(self.taken)


class Rotating(World):
    """A world in which Maskinporten knows of changes a minute later, and a workload asks for tokens."""

    def __init__(self, **changes):
        super().__init__(VERIFYING, **changes)
        self.key_pool = RealKeys()

    async def live(self, seconds, step=5.0):
        """Let time pass: passes are made, trials go on, and the workload's Secret gets it tokens, after the first."""
        for _ in range(int(seconds / step)):
            self.clock.advance(step)
            await self.verifier.ask()
            await self.reconcile()
            assert await self.get_token() == "Issued"

    async def get_token(self):
        """Ask as the workload does, by what its Secret holds."""
        request = TokenRequest(self.client.client_id, self.held, (SCOPE,))
        return (await self.verifier._tokens.ask(request)).outcome

    def ask_to_rotate(self):
        self.cluster.annotate(**{ROTATE_ANNOTATION: "true"})

    @property
    def verified(self):
        condition = self.find_condition("Verified")
        return condition and (condition["status"], condition["reason"])


@pytest.fixture
async def world():
    """A client that works, and whose credentials are known to."""
    return await working()


async def working(**changes):
    world = Rotating(**changes)
    world.digdir.set(allow_clients_without_scopes=True)
    await world.settle()
    await world.verifier.ask()
    await world.reconcile()
    world.digdir.set(propagation_delay_seconds=PROPAGATION)
    world.clock.advance(PROPAGATION + 1)
    world.verifier.asked = 0
    return world


async def test_a_first_key_is_delivered_at_once_and_known_to_work_when_maskinporten_says_so():
    world = Rotating()
    world.digdir.set(propagation_delay_seconds=PROPAGATION)
    await world.settle()
    first = world.held

    assert (world.ready, world.verified) == ("True", ("Unknown", "WaitingForPropagation"))

    await world.verifier.ask()
    await world.reconcile()
    assert world.verified == ("Unknown", "WaitingForPropagation")

    world.clock.advance(PROPAGATION + 1)
    await world.verifier.ask()
    await world.reconcile()
    assert (world.verified, world.held) == (("True", "TokenIssued"), first)


async def test_what_is_known_to_work_is_never_asked_for_again_not_by_another_process_either(world):
    for _ in range(3):
        await world.resync()
        await world.reconcile()
    world.start()
    await world.settle()
    await world.verifier.ask()

    assert world.verifier.asked == 0
    assert world.verified == ("True", "TokenIssued")


async def test_a_new_key_waits_beside_the_old_one_until_maskinporten_accepts_it(world):
    old = world.held
    world.ask_to_rotate()
    await world.reconcile()

    assert (len(world.kids), world.held) == (2, old)
    assert (world.ready, world.verified) == ("True", ("Unknown", "WaitingForPropagation"))
    assert world.meta.asks(ROTATE_ANNOTATION)

    await world.live(PROPAGATION - 5)
    assert world.held == old

    await world.live(15)
    assert world.held != old
    assert set(world.kids) == {world.held.kid, old.kid}
    assert world.verified == ("True", "TokenIssued")
    assert not world.meta.asks(ROTATE_ANNOTATION)


async def test_no_token_is_refused_over_many_rotations(world):
    for _ in range(4):
        before = world.held
        world.ask_to_rotate()
        await world.live(PROPAGATION + 20)
        assert world.held != before
        world.clock.advance(3600)


async def test_a_grace_that_is_shorter_than_the_propagation_ends_no_rotation(world):
    old, world.settings = world.held, replace(world.settings, key_grace=timedelta(seconds=1))
    world.ask_to_rotate()
    await world.live(PROPAGATION + 20)

    assert world.held != old
    assert world.key_pool.taken == 2


async def test_a_rotation_costs_one_more_request_for_a_token_than_it_is_refused(world):
    world.ask_to_rotate()
    await world.reconcile()
    await world.verifier.ask()
    await world.reconcile()
    world.clock.advance(PROPAGATION + 1)
    await world.verifier.ask()
    await world.reconcile()
    await world.verifier.ask()
    await world.reconcile()

    assert world.verifier.asked == 2
    assert world.verified == ("True", "TokenIssued")


async def test_a_scope_that_is_refused_proves_a_key_as_well(world):
    old = world.held
    world.digdir.withdraw(SCOPE)
    world.digdir.set(propagation_delay_seconds=0)
    world.ask_to_rotate()
    await world.reconcile()
    await world.verifier.ask()
    await world.reconcile()

    assert world.held != old
    assert world.verified == ("False", "ScopeRefused")


async def test_without_scopes_a_key_is_delivered_when_maskinporten_must_know_it():
    world = await working(spec={"secretName": SECRET, "scopes": {}})
    old = world.held
    assert world.verified == ("Unknown", "NoScopes")
    world.ask_to_rotate()
    outcome = await world.reconcile()
    assert (outcome.retry.delay, world.held) == (NO_SCOPES_WAIT, old)

    world.clock.advance(NO_SCOPES_WAIT)
    await world.reconcile()

    assert world.held != old
    assert world.verifier.asked == 0


async def test_after_a_quarter_of_an_hour_a_key_is_delivered_whatever_was_said_of_it(world):
    old = world.held
    world.clock.advance(10 * MAX_WAIT)
    world.digdir.set(propagation_delay_seconds=5 * MAX_WAIT)
    world.ask_to_rotate()
    await world.reconcile()
    await world.live(MAX_WAIT - 5, step=100)
    assert world.held == old

    world.clock.advance(100)
    await world.reconcile()
    assert world.held != old


async def test_a_request_that_is_withdrawn_leaves_the_key_that_works(world):
    old = world.held
    world.ask_to_rotate()
    await world.reconcile()
    world.cluster.resource["metadata"]["annotations"].pop(ROTATE_ANNOTATION)
    await world.live(PROPAGATION + 20)

    assert world.held == old
    assert world.verified == ("True", "TokenIssued")


async def test_a_restart_replaces_the_key_that_waited_and_adds_none(world):
    old = world.held
    world.ask_to_rotate()
    await world.reconcile()
    (waiting,) = set(world.kids) - {old.kid}
    world.start()
    await world.reconcile()

    assert (len(world.kids), world.held) == (2, old)
    assert waiting not in world.kids

    await world.live(PROPAGATION + 10)
    assert set(world.kids) == {world.held.kid, old.kid}
    assert world.held != old


async def test_a_lost_secret_is_made_anew_at_once_with_a_key_that_is_proven_afterwards(world):
    old = world.held
    world.cluster.secrets.clear()
    await world.reconcile()

    assert world.held != old
    assert world.verified == ("Unknown", "WaitingForPropagation")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("which", [0, 1], ids=["publication", "delivery"])
async def test_a_rotation_that_crashes_at_any_call_ends_as_one_that_doesnt(which, after):
    async def come_to(which):
        world = await working()
        world.ask_to_rotate()
        if which:
            await world.reconcile()
            world.clock.advance(PROPAGATION + 1)
            await world.verifier.ask()
        return world

    whole = await come_to(which)
    await whole.reconcile()
    for number, name in enumerate(whole.trips.calls):
        world = await come_to(which)
        old = world.held
        world.trips.calls.clear()
        world.trips.trip(number, CrashError, after=after)
        with pytest.raises(CrashError):
            await world.reconcile()

        world.start()
        await world.reconcile()
        await world.live(PROPAGATION + 40, step=PROPAGATION / 2)

        assert world.held != old, name
        assert not world.meta.asks(ROTATE_ANNOTATION), name
        world.clock.advance(DAY + 120)
        await world.settle()
        assert world.kids == [world.held.kid], name


async def test_a_secret_is_read_to_have_its_key_tried_unless_it_is_known_to_work(world):
    await world.reconcile()
    world.trips.calls.clear()
    await world.reconcile()
    assert "find_secret" not in world.trips.calls

    world.cluster.resource["status"]["conditions"] = []
    await world.reconcile()
    assert "find_secret" in world.trips.calls

    await world.live(PROPAGATION)
    assert world.verified == ("True", "TokenIssued")


async def test_a_first_key_is_tried_while_its_secret_is_written_and_one_status_tells_of_both():
    world = Rotating()
    apply = world.cluster.apply

    async def apply_while_maskinporten_answers(kind, manifest, uid):
        assert not world.cluster.secrets
        await world.verifier.ask()
        return await apply(kind, manifest, uid)

    world.digdir.set(allow_clients_without_scopes=True)
    world.cluster.apply = apply_while_maskinporten_answers
    await world.reconcile()

    assert len(world.verifier.requests) == 1
    assert (world.ready, world.verified) == ("True", ("True", "TokenIssued"))
    assert world.trips.calls.count("write_status") == 1
