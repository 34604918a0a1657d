"""The start's wait for the watches, which no single object may make endless."""

import asyncio
from itertools import count

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import TransientError
from maskinporten_operator.model.maskinportenclient import FINALIZER
from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT
from maskinporten_operator.runtime.store import WatchedResourceStore
from maskinporten_operator.runtime.sync import MAX_WAIT, wait_for_sync
from tests.unit.fakes import UID, resource_body
from tests.unit.virtual_time import run_in_virtual_time

LISTED = {UID: "some-team/app", "odd": "some-team/odd"}
DOWN = TransientError(Reason.CLUSTER_UNAVAILABLE, "down")


def wait(lists, works=lambda _: True):
    """Wait with these answers to lists, the last again and again; give how many seconds that took."""
    answers = iter(lists)
    last = lists[-1]
    store = WatchedResourceStore(MASKINPORTEN_CLIENT, FINALIZER, count().__next__, lambda *_: None)
    store.offer(resource_body())

    async def main(clock):
        async def list_uids(_):
            answer = next(answers, last)
            if isinstance(answer, Exception):
                raise answer
            return answer

        await wait_for_sync([store], list_uids, lambda: works(clock()))
        return clock()

    return run_in_virtual_time(main)


def test_it_ends_when_all_that_is_listed_is_held():
    assert wait([{UID: "some-team/app"}]) == 0
    assert wait([DOWN, LISTED, LISTED, {}]) == 3


def test_what_no_watch_shows_is_named_and_no_longer_waited_for(capsys):
    took = wait([LISTED])

    assert MAX_WAIT < took <= MAX_WAIT + 2
    assert "MaskinportenClient some-team/odd" in capsys.readouterr().out


def test_a_watch_that_doesnt_work_is_waited_for():
    took = wait([LISTED], works=lambda now: now >= 500)

    assert 500 + MAX_WAIT < took <= 502 + MAX_WAIT


def test_a_watch_that_doesnt_work_keeps_nothing_from_starting_that_is_held():
    assert MAX_WAIT <= wait([{}], works=lambda _: False) <= MAX_WAIT + 2


def test_nothing_is_listed_while_watches_dont_work_or_more_and_more_is_held():
    """A long list takes many calls, and what is still on its way would be missing."""
    asked = []
    store = WatchedResourceStore(MASKINPORTEN_CLIENT, FINALIZER, count().__next__, lambda *_: None)

    async def main(clock):
        def hold(number):
            store.offer(resource_body(metadata={"name": f"app-{number}", "uid": f"uid-{number}"}))

        async def list_uids(_):
            asked.append(clock())
            return {f"uid-{number}": "some-team/app" for number in range(4)}

        for number in range(4):
            asyncio.get_running_loop().call_later(2.5 + number, hold, number)
        await wait_for_sync([store], list_uids, lambda: clock() >= 2)

    run_in_virtual_time(main)

    assert asked == [2, 7]
