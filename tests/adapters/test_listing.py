"""A list that many wait for."""

import asyncio

import pytest

from maskinporten_operator.adapters.digdir.listing import MIN_LIST_INTERVAL, SharedListing
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import RejectedError, TransientError
from tests.adapters.conftest import DEADLINE, ManualClock, Ticking


class Source(Ticking):
    """What is listed, and how often that was."""

    def __init__(self):
        clock = ManualClock(1000.0)
        super().__init__(clock, clock.advance)
        self.errors = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.reads = 0
        self.taken = []
        self.listing = SharedListing(self.read, self.take, self.monotonic, self.sleep)

    async def read(self):
        self.reads += 1
        number = self.reads
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop()
        return number

    def take(self, listed, started):
        self.taken.append((listed, started))


@pytest.fixture
async def source():
    return Source()


async def test_a_list_is_taken_with_the_moment_of_its_start(source):
    await source.listing.ready()

    ((listed, started),) = source.taken
    assert listed == 1
    assert source.listing.created < started < source.monotonic()
    assert source.listing.is_listed


async def test_all_that_wait_share_one_list(source):
    await asyncio.gather(*(source.listing.ready() for _ in range(20)))

    assert source.reads == 1


async def test_one_that_needs_a_newer_list_gets_one_and_no_other_does(source):
    await source.listing.ready()
    await source.listing.listed_after(source.monotonic())
    await source.listing.listed_after(source.listing.created)

    assert source.reads == 2
    assert source.slept == [pytest.approx(MIN_LIST_INTERVAL, abs=0.05)]


async def test_a_list_that_began_before_the_question_isnt_an_answer_to_it(source):
    source.gate.clear()
    first = asyncio.create_task(source.listing.ready())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    later = asyncio.create_task(source.listing.refresh())
    await asyncio.sleep(0)
    source.gate.set()
    await asyncio.wait_for(asyncio.gather(first, later), DEADLINE)

    assert source.reads == 2


async def test_a_failure_is_told_to_all_that_wait_and_the_next_try_waits_a_second(source):
    source.errors = [TransientError(Reason.DIGDIR_UNAVAILABLE, "it broke")]

    outcomes = await asyncio.gather(*(source.listing.ready() for _ in range(5)), return_exceptions=True)

    assert {type(one) for one in outcomes} == {TransientError}
    assert source.reads == 1
    assert source.taken == []
    assert not source.listing.is_listed
    await source.listing.ready()
    assert source.slept == [pytest.approx(MIN_LIST_INTERVAL, abs=0.05)]


async def test_a_refusal_is_a_fault_of_no_resource_and_goes_by(source):
    source.errors = [RejectedError(Reason.FORBIDDEN_BY_DIGDIR, "no")]

    with pytest.raises(TransientError) as caught:
        await source.listing.ready()

    assert (caught.value.reason, str(caught.value)) == ("ForbiddenByDigDir", "no")


async def test_one_that_gives_up_doesnt_take_the_list_from_the_others(source):
    source.gate.clear()
    first, second = (asyncio.create_task(source.listing.ready()) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    source.gate.set()

    await asyncio.wait_for(second, DEADLINE)

    assert source.reads == 1
