"""The Lease: never do two processes believe to lead, whatever the network, clocks and hands do."""

import asyncio
import contextlib
import itertools
import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import ConflictError, OperatorError, TransientError, WaitingError
from maskinporten_operator.runtime import elector as module
from maskinporten_operator.runtime.elector import Elector, LeaseLostError, build_spec, parse_holding
from tests.unit.fakes import NOW
from tests.unit.virtual_time import run_in_virtual_time

REFUSED = WaitingError(Reason.REFUSED_BY_CLUSTER, "leases is forbidden", 60)
DOWN = TransientError(Reason.CLUSTER_UNAVAILABLE, "The API server can't be reached")


class FakeLeases:
    """One Lease at an API server that guards it by its resourceVersion."""

    def __init__(self):
        self.lease = None
        self.failure = None
        self.calls = []
        self._numbers = itertools.count(1)

    def put(self, spec, uid=None):
        metadata = {"name": "some-lease", "uid": uid or f"uid-{next(self._numbers)}"}
        self.lease = {"metadata": {**metadata, "resourceVersion": str(next(self._numbers))}, "spec": dict(spec)}
        return self.lease

    def edit(self, **spec):
        self.put({**self.lease["spec"], **spec}, self.lease["metadata"]["uid"])

    def apply_create(self, spec):
        if self.lease:
            raise ConflictError(Reason.CLUSTER_UNAVAILABLE, "it exists")
        return self.put(spec)

    def apply_replace(self, lease, spec):
        if self.lease is None:
            return None
        if lease["metadata"] != self.lease["metadata"]:
            raise ConflictError(Reason.CLUSTER_UNAVAILABLE, "it changed")
        return self.put(spec, self.lease["metadata"]["uid"])

    async def _answer(self, what, act):
        self.calls.append(what)
        if self.failure == "hangs":
            await asyncio.Event().wait()
        if self.failure:
            raise self.failure
        return act()

    async def find(self):
        return await self._answer("find", lambda: self.lease)

    async def create(self, spec):
        return await self._answer("create", lambda: self.apply_create(spec))

    async def replace(self, lease, spec):
        return await self._answer("replace", lambda: self.apply_replace(lease, spec))


class Clock:
    def __init__(self):
        self.seconds = 1000.0

    def monotonic(self):
        return self.seconds

    def now(self):
        return NOW + timedelta(seconds=self.seconds)


class Replica(Elector):
    """One that is asked when the test says so."""

    def __init__(self, leases, clock, identity="some-pod"):
        super().__init__(leases, identity, clock.monotonic, clock.now)

    async def look(self):
        try:
            await self.attempt()
        except OperatorError as error:
            self._log_failure(error)
        else:
            self._log_success()
        return self.time_left() > 0


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def leases():
    return FakeLeases()


@pytest.fixture
def replica(leases, clock):
    return Replica(leases, clock)


@pytest.fixture
def other(leases, clock):
    return Replica(leases, clock, "another-pod")


async def lead(replica, clock, leases):
    """Make a replica lead, by a Lease that was given back."""
    leases.put({"holderIdentity": "", "leaseDurationSeconds": 1})
    assert await replica.look()


# Taking it


async def test_a_lease_that_was_given_back_is_taken_at_once(replica, leases, clock):
    await lead(replica, clock, leases)

    spec = leases.lease["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("some-pod", 15, 1)
    assert replica.leading.is_set()


async def test_where_there_is_none_it_is_made_and_leads_after_a_while_only(replica, leases, clock):
    assert not await replica.look()
    for _ in range(7):
        clock.seconds += 2
        assert not await replica.look()
    clock.seconds += 2

    assert await replica.look()
    assert replica.made_lease


async def test_another_ones_lease_is_taken_when_it_wasnt_renewed_for_its_time(replica, leases, clock):
    leases.put({"holderIdentity": "another-pod", "leaseDurationSeconds": 15})
    assert not await replica.look()
    clock.seconds += 14.9
    assert not await replica.look()
    clock.seconds += 0.1

    assert await replica.look()
    assert not replica.made_lease


@pytest.mark.parametrize(
    ("spec", "waits", "alone"),
    [
        ({"holderIdentity": "", "leaseDurationSeconds": 1}, 0, 0),
        ({"holderIdentity": "another-pod", "leaseDurationSeconds": 15}, 15, 11),
        ({"holderIdentity": "", "leaseDurationSeconds": 15}, 15, 11),
        (None, 15, 11),
    ],
    ids=["given back", "expired", "emptied by hand", "made anew"],
)
async def test_it_is_alone_from_when_the_one_before_it_has_given_up_and_not_from_when_it_leads(
    replica, leases, clock, spec, waits, alone
):
    if spec:
        leases.put(spec)
    begun = clock.seconds
    while not await replica.look():
        clock.seconds += 1.0

    assert clock.seconds == begun + waits
    assert replica.alone_since == begun + alone


async def test_every_change_of_another_ones_lease_starts_its_time_anew(replica, leases, clock):
    leases.put({"holderIdentity": "another-pod", "leaseDurationSeconds": 15})
    for _ in range(10):
        assert not await replica.look()
        clock.seconds += 14
        leases.edit(renewTime="whatever")

    assert not await replica.look()


@pytest.mark.parametrize(
    "times",
    [
        {"renewTime": "2099-01-01T00:00:00.000000Z"},
        {"renewTime": "1970-01-01T00:00:00.000000Z", "acquireTime": "2099-01-01T00:00:00.000000Z"},
        {"renewTime": None, "leaseTransitions": None},
        {"leaseTransitions": -5},
    ],
)
async def test_the_times_that_another_program_wrote_mean_nothing(replica, leases, clock, times):
    leases.put({"holderIdentity": "another-program", "leaseDurationSeconds": 15, **times})
    assert not await replica.look()
    clock.seconds += 15

    assert await replica.look()
    assert leases.lease["spec"]["leaseTransitions"] == 1


@pytest.mark.parametrize(("duration", "waits"), [(1, 15), (30, 30), (10**9, 60), (None, 15), (0, 15)])
async def test_a_longer_time_is_respected_and_none_is_endless(replica, leases, clock, duration, waits):
    leases.put({"holderIdentity": "another-program", "leaseDurationSeconds": duration})
    for _ in range(waits // 5):
        assert not await replica.look()
        clock.seconds += 5

    assert await replica.look()


@pytest.mark.parametrize("spec", [{}, {"holderIdentity": ""}, {"holderIdentity": None, "leaseDurationSeconds": 15}])
async def test_a_lease_without_a_holder_that_nobody_gave_back_is_waited_for(replica, leases, clock, spec):
    leases.put(spec)
    assert not await replica.look()
    clock.seconds += 15

    assert await replica.look()


async def test_of_two_that_see_it_expired_one_gets_it(replica, other, leases, clock):
    leases.put({"holderIdentity": "a-third-pod", "leaseDurationSeconds": 15})
    await replica.look()
    await other.look()
    clock.seconds += 15

    assert [await replica.look(), await other.look()] == [True, False]


# Keeping it


async def test_a_renewal_is_one_call_and_counts_from_before_it_was_sent(replica, leases, clock):
    await lead(replica, clock, leases)
    clock.seconds += 2
    leases.calls.clear()

    assert await replica.look()
    assert leases.calls == ["replace"]
    assert replica.time_left() == 10


async def test_a_lease_that_cant_be_renewed_is_believed_in_for_ten_seconds(replica, leases, clock):
    await lead(replica, clock, leases)
    leases.failure = DOWN
    clock.seconds += 9.9
    assert await replica.look()
    clock.seconds += 0.1

    assert not await replica.look()


async def test_after_an_outage_in_which_nobody_took_it_the_same_process_leads_again(replica, leases, clock):
    await lead(replica, clock, leases)
    leases.failure = DOWN
    clock.seconds += 600
    assert not await replica.look()
    leases.failure = None

    assert await replica.look()


async def test_one_that_couldnt_see_either_doesnt_take_it_right_after_the_outage(replica, other, leases, clock):
    await lead(replica, clock, leases)
    await other.look()
    leases.failure = DOWN
    clock.seconds += 600
    assert not await other.look()
    leases.failure = None

    assert not await other.look()
    assert await replica.look()


async def test_a_process_that_led_ends_when_another_holds_the_lease(replica, other, leases, clock):
    await lead(replica, clock, leases)
    await other.look()
    clock.seconds += 15
    assert await other.look()

    await replica.look()  # the write is refused, and what is there is read next
    with pytest.raises(LeaseLostError, match="another-pod"):
        await replica.look()
    assert replica.time_left() <= 0


async def test_a_process_that_led_ends_when_the_lease_is_deleted(replica, leases, clock):
    await lead(replica, clock, leases)
    leases.lease = None

    with pytest.raises(LeaseLostError, match="gone"):
        await replica.look()


async def test_nobody_leads_by_a_lease_made_anew_before_the_one_who_led_has_given_up(replica, other, leases, clock):
    await lead(replica, clock, leases)
    await other.look()
    leases.lease = None
    assert not await other.look()
    until = clock.seconds + 15
    while clock.seconds < until - 2:
        clock.seconds += 2
        assert not await other.look()

    assert replica.time_left() <= 0


async def test_a_change_by_hand_that_leaves_the_holder_is_no_loss(replica, leases, clock):
    await lead(replica, clock, leases)
    leases.edit(renewTime="yesterday", leaseTransitions="many")
    await replica.look()

    assert await replica.look()
    assert leases.lease["spec"]["holderIdentity"] == "some-pod"


async def test_emptied_by_hand_it_isnt_taken_while_somebody_may_lead_by_it(replica, other, leases, clock):
    await lead(replica, clock, leases)
    leases.edit(holderIdentity="")

    assert not await other.look()


# Giving it back


async def test_given_back_it_is_the_next_ones_at_once(replica, other, leases, clock):
    await lead(replica, clock, leases)
    assert not await other.look()
    await replica.release()

    assert replica.time_left() <= 0
    assert await other.look()


async def test_one_that_stands_by_gives_nothing_back(replica, other, leases, clock):
    await lead(replica, clock, leases)
    await other.look()
    await other.release()

    assert leases.lease["spec"]["holderIdentity"] == "some-pod"


async def test_one_that_was_made_anew_isnt_given_back_before_it_counts(replica, other, leases, clock):
    await lead(replica, clock, leases)
    leases.lease = None
    await other.look()
    await other.release()

    assert leases.lease["spec"]["leaseDurationSeconds"] == 15


async def test_a_renewal_that_came_late_doesnt_keep_it_from_being_given_back(replica, leases, clock):
    await lead(replica, clock, leases)
    leases.edit(renewTime="late")
    await replica.release()

    assert leases.lease["spec"]["holderIdentity"] == ""


def take_away(leases):
    leases.lease = None


def give_to_another(leases):
    leases.edit(holderIdentity="other-pod")


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (lambda _: None, "released the Lease"),
        (take_away, "no Lease to release: it is gone, or another's"),
        (give_to_another, "no Lease to release: it is gone, or another's"),
    ],
    ids=["ours", "gone", "another's"],
)
async def test_it_is_said_to_be_given_back_only_if_it_was(replica, leases, clock, happens, said):
    await lead(replica, clock, leases)
    happens(leases)
    with capture_logs() as logs:
        await replica.release()

    assert [one["event"] for one in logs] == [said]


async def test_it_isnt_given_back_to_an_api_server_that_is_down_and_nothing_is_raised(replica, leases, clock):
    await lead(replica, clock, leases)
    leases.failure = DOWN
    await replica.release()

    assert replica.time_left() <= 0


# What it says and needs


@pytest.mark.parametrize("microsecond", [0, 1, 500_000, 999_999])
def test_times_have_six_digits(microsecond):
    spec = build_spec({}, "some-pod", 15, datetime(2026, 1, 1, tzinfo=UTC, microsecond=microsecond))

    assert spec["renewTime"] == f"2026-01-01T00:00:00.{microsecond:06}Z"
    assert spec["acquireTime"] == spec["renewTime"]


def test_a_renewal_leaves_what_it_doesnt_know_and_the_time_of_the_takeover():
    before = {"holderIdentity": "some-pod", "acquireTime": "then", "leaseTransitions": 3, "strategy": "OldestEmulation"}
    spec = build_spec(before, "some-pod", 15, NOW)

    assert (spec["acquireTime"], spec["leaseTransitions"], spec["strategy"]) == ("then", 3, "OldestEmulation")


async def test_without_the_right_it_waits_says_so_once_and_isnt_ready(replica, leases):
    leases.failure = REFUSED
    with capture_logs() as logs:
        await replica.look()
        await replica.look()

    assert not replica.reached
    assert [one["event"] for one in logs] == ["waiting for the Lease"]
    assert "the chart grants" in logs[0]["hint"]


async def test_a_call_that_hangs_is_given_up(leases):
    def main(time):
        elector = Elector(leases, "some-pod", time, lambda: NOW)
        leases.failure = "hangs"

        async def attempt():
            with pytest.raises(TransientError):
                await elector.attempt()
            return time()

        return attempt()

    assert await asyncio.to_thread(run_in_virtual_time, main) == module.CALL_SECONDS


# Any interleaving


class Network:
    """A replica's way to the API server: good and bad phases, one after the other, without end."""

    def __init__(self, phases, time):
        self._phases = phases
        self._length = sum(seconds for seconds, *_ in phases)
        self._time = time

    @property
    def now(self):
        """Seconds until a request is there, seconds until its answer is back, and what gets lost."""
        at = self._time() % self._length
        for seconds, *fate in self._phases:
            if at < seconds:
                return fate
            at -= seconds
        return fate


class LossyLeases:
    """The Lease as one replica reaches it. A request that was sent is carried out whether or not its sender waits."""

    def __init__(self, world, network):
        self._world = world
        self._network = network

    async def _call(self, act):
        loop = asyncio.get_running_loop()
        there, back, lost = self._network.now
        answer = loop.create_future()

        def settle(result, error):
            if not answer.done():
                answer.set_exception(error) if error else answer.set_result(result)

        def carry_out():
            try:
                result, error = json.loads(json.dumps(act())), None
            except ConflictError as conflict:
                result, error = None, conflict
            if lost != "answer":
                loop.call_later(back, settle, result, error)

        if lost == "refused":
            raise DOWN
        if lost != "request":
            loop.call_later(there, carry_out)
        return await answer

    async def find(self):
        return await self._call(lambda: self._world.lease)

    async def create(self, spec):
        return await self._call(lambda: self._world.apply_create(spec))

    async def replace(self, lease, spec):
        return await self._call(lambda: self._world.apply_replace(lease, spec))


GOOD = (0.01, 0.01, "")
DELAY = st.sampled_from([0.0, 0.1, 1.0, 2.5, 2.99, 6.0, 12.0, 30.0])
FATE = st.one_of(
    st.just(GOOD),
    st.tuples(DELAY, DELAY, st.just("")),
    st.tuples(DELAY, DELAY, st.sampled_from(["request", "answer", "refused"])),
)
PHASE = st.builds(lambda seconds, fate: (seconds, *fate), st.sampled_from([1.0, 3.0, 8.0, 20.0, 40.0]), FATE)
NETWORK = st.builds(lambda phases: [(5.0, *GOOD), *phases], st.lists(PHASE, max_size=8))
PAUSES = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.0, 1.0, 9.0, 30.0]), min_size=1, max_size=10)
DEED = st.sampled_from(["delete", "empty", "touch", "release 0", "release 1", "end 0", "end 1"])
DEEDS = st.lists(st.tuples(st.floats(0, 100), DEED), max_size=6)


class Pair:
    """Two replicas, each one process after another, as a kubelet restarts what ends."""

    def __init__(self, networks, pauses, rates, time):
        self.world = FakeLeases()
        self.world.put({"holderIdentity": "", "leaseDurationSeconds": 1})
        self._networks = [Network(phases, time) for phases in networks]
        self._pauses = pauses
        self._rates = rates
        self._time = time
        self.electors = [self._make(number) for number in range(2)]
        self._lives = [asyncio.create_task(self._live(number)) for number in range(2)]

    def _make(self, number):
        rate, rests = self._rates[number], itertools.cycle(self._pauses[number])

        async def sleep(seconds):
            await asyncio.sleep(seconds / rate + next(rests))

        leases = LossyLeases(self.world, self._networks[number])
        name = f"pod-{number}-{self._time()}"
        return Elector(leases, name, lambda: 77.0 * number + self._time() * rate, lambda: NOW, sleep)

    async def _live(self, number):
        while True:
            with contextlib.suppress(LeaseLostError):
                await self.electors[number].run()
            await asyncio.sleep(0.5)
            self.electors[number] = self._make(number)

    async def do(self, deed):
        what, _, number = deed.partition(" ")
        if number:
            await self._end(int(number), release=what == "release")
        elif what == "delete":
            self.world.lease = None
        elif self.world.lease:
            self.world.edit(**{"holderIdentity": ""} if what == "empty" else {"renewTime": "by hand"})

    async def _end(self, number, *, release):
        self._lives[number].cancel()
        await asyncio.gather(self._lives[number], return_exceptions=True)
        if release:
            await self.electors[number].release()
        self.electors[number] = self._make(number)
        self._lives[number] = asyncio.create_task(self._live(number))

    async def close(self):
        for one in self._lives:
            one.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    networks=st.tuples(NETWORK, NETWORK),
    pauses=st.tuples(PAUSES, PAUSES),
    deeds=DEEDS,
    rates=st.tuples(st.sampled_from([0.9, 1.0, 1.1]), st.sampled_from([0.9, 1.0, 1.1])),
)
def test_never_do_two_believe_to_lead_at_the_same_time(networks, pauses, deeds, rates):
    """Clocks that run a tenth too fast or too slow, pauses, networks that come and go, and hands on the Lease."""
    pairs = []

    def look():  # at every step and every jump of the clock
        assert all(sum(elector.time_left() > 0 for elector in pair.electors) <= 1 for pair in pairs)

    async def main(time):
        pairs.append(Pair(networks, pauses, rates, time))
        for at, deed in sorted(deeds):
            await asyncio.sleep(max(at - time(), 0.0))
            await pairs[0].do(deed)
        while time() < 150:
            await asyncio.sleep(0.25)
        await pairs[0].close()

    run_in_virtual_time(main, look)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    networks=st.tuples(NETWORK, NETWORK),
    pauses=st.tuples(PAUSES, PAUSES),
    deeds=DEEDS,
    rates=st.tuples(st.sampled_from([0.96, 1.0, 1.04]), st.sampled_from([0.96, 1.0, 1.04])),
)
def test_nobody_else_leads_later_than_the_one_who_leads_says(networks, pauses, deeds, rates):
    """Clocks that differ by up to eight per cent; what is said is compared at every step and every jump."""
    pairs, last = [], [-math.inf, -math.inf]

    async def main(time):
        def look():
            for pair in pairs:
                for number, elector in enumerate(pair.electors):
                    if elector.time_left() > 0:
                        last[number] = time()
                        alone_since = (elector.alone_since - 77.0 * number) / rates[number]
                        assert alone_since >= last[1 - number]

        looks.append(look)
        pairs.append(Pair(networks, pauses, rates, time))
        for at, deed in sorted(deeds):
            await asyncio.sleep(max(at - time(), 0.0))
            await pairs[0].do(deed)
        while time() < 150:
            await asyncio.sleep(0.25)
        await pairs[0].close()

    looks = []
    run_in_virtual_time(main, lambda: [look() for look in looks])


def test_over_a_good_network_there_is_soon_somebody_who_leads_and_again_after_each_loss():
    world, electors = FakeLeases(), []

    async def main(time):
        electors.extend(Elector(world, f"pod-{number}", time, lambda: NOW) for number in range(2))
        tasks = [asyncio.create_task(elector.run()) for elector in electors]
        await asyncio.sleep(19)
        first = next(number for number in range(2) if electors[number].time_left() > 0)
        tasks[first].cancel()
        released = time()
        await electors[first].release()
        await electors[1 - first].leading.wait()
        taken = time() - released
        tasks[1 - first].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return taken

    assert run_in_virtual_time(main) <= module.RETRY_SECONDS


def test_a_holding_is_read_from_whatever_stands_there():
    metadata = {"uid": "u", "resourceVersion": "7"}
    for spec in (None, {}, {"holderIdentity": 5, "leaseDurationSeconds": "long"}):
        assert parse_holding({"metadata": metadata, "spec": spec}).seconds == module.LEASE_SECONDS
