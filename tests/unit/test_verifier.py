"""How credentials are tried beside the passes: how often, how many at once, and for how long."""

import asyncio

import pytest

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import TransientError
from maskinporten_operator.model.tokens import TokenAnswer, TokenRequest, Trial
from maskinporten_operator.plan.verification import MAX_SECONDS
from maskinporten_operator.runtime.verifier import MAX_AT_ONCE, RECHECK_SECONDS, TrialVerifier
from tests.unit.fakes import private_jwk, resource
from tests.unit.virtual_time import run_in_virtual_time

META = resource().meta
ISSUED, UNKNOWN = TokenAnswer("Issued"), TokenAnswer("KeyRefused", "Unknown key")
OUTAGE = TransientError(Reason.DIGDIR_UNAVAILABLE, "it doesn't answer")
REQUEST = TokenRequest("client-1", private_jwk(1), ("skatt:some.scope",))


class World:
    """A token endpoint that answers as it is told, the last answer again and again."""

    def __init__(self, time, *answers):
        self.time, self.answers = time, list(answers)
        self.asked, self.news, self.under_way, self.most = [], [], 0, 0
        self.seconds = 0.0
        self.verifier = TrialVerifier(self.ask, self.news.append, time)

    async def ask(self, request):
        self.asked.append(self.time())
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(self.seconds)
        self.under_way -= 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def verify(self, subject="s", meta=META):
        return self.verifier.verify(meta, subject, REQUEST)


def play(life, *answers):
    """Run a life of the verifier in virtual time, and close it."""

    async def main(time):
        world = World(time, *answers)
        try:
            await life(world)
        finally:
            world.verifier.close()

    run_in_virtual_time(main)


def test_it_asks_after_2_4_8_16_and_then_every_30_seconds_until_a_token_is_issued():
    async def life(world):
        assert world.verify() == Trial()
        await asyncio.sleep(200)

        assert world.asked == [0, 2, 6, 14, 30, 60, 90]
        assert world.verify() == Trial(ISSUED, is_over=True)
        assert len(world.asked) == 7
        assert len(world.verifier) == 0

    play(life, *[UNKNOWN] * 6, ISSUED)


def test_the_resource_looks_at_each_new_answer_and_at_no_other():
    async def life(world):
        world.verify()
        await asyncio.sleep(200)

        assert [key.name for key in world.news] == [META.name] * 2

    play(life, *[UNKNOWN] * 6, ISSUED)


def test_after_a_quarter_of_an_hour_the_last_answer_stays():
    async def life(world):
        world.verify()
        await asyncio.sleep(2 * MAX_SECONDS)

        assert MAX_SECONDS - 60 < world.asked[-1] <= MAX_SECONDS
        assert world.verify() == Trial(UNKNOWN, is_over=True)

    play(life, UNKNOWN)


def test_what_got_no_token_is_tried_again_when_somebody_looks_an_hour_later():
    async def life(world):
        world.verify()
        await asyncio.sleep(2 * MAX_SECONDS)
        count = len(world.asked)
        world.verify()
        await asyncio.sleep(RECHECK_SECONDS)
        assert len(world.asked) == count

        world.verify()
        await asyncio.sleep(1)
        assert len(world.asked) == count + 1

    play(life, UNKNOWN)


def test_what_got_a_token_is_never_asked_for_again():
    async def life(world):
        world.verify()
        await asyncio.sleep(1000 * RECHECK_SECONDS)
        world.verify()
        await asyncio.sleep(1)

        assert world.asked == [0]

    play(life, ISSUED)


def test_an_outage_says_nothing_of_the_credentials():
    async def life(world):
        world.verify()
        await asyncio.sleep(1)
        assert world.verify() == Trial()
        assert world.news == []
        await asyncio.sleep(10)
        assert world.verify() == Trial(ISSUED, is_over=True)

    play(life, OUTAGE, OUTAGE, ISSUED)


def test_other_credentials_end_the_trial_of_those_before():
    async def life(world):
        world.verify("old")
        await asyncio.sleep(1)
        assert world.verify("new") == Trial()
        await asyncio.sleep(1)

        assert world.verify("new") == Trial(ISSUED, is_over=True)
        await asyncio.sleep(100)
        assert world.asked == [0, 1]

    play(life, UNKNOWN, ISSUED)


@pytest.mark.parametrize("end", ["forget", "close"])
def test_nothing_is_asked_for_a_resource_that_is_gone_or_at_the_end(end):
    async def life(world):
        world.verify()
        await asyncio.sleep(1)
        world.verifier.forget(META.uid) if end == "forget" else world.verifier.close()
        await asyncio.sleep(100)

        assert world.asked == [0]
        assert len(world.verifier) == 0

    play(life, UNKNOWN)


def test_few_are_asked_for_at_once_and_all_get_their_turn():
    async def life(world):
        world.seconds = 0.1
        metas = [resource(metadata={"uid": f"u{number}"}).meta for number in range(50)]
        for meta in metas:
            world.verify(meta=meta)
        assert len(world.verifier) == 50
        await asyncio.sleep(10)

        assert world.most == MAX_AT_ONCE
        assert all(world.verify(meta=meta).is_over for meta in metas)

    play(life, ISSUED)
