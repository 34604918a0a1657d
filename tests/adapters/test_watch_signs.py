"""What a watch of metadata tells of itself: that it lives, and from when to when it works; and what it keeps."""

import asyncio
import weakref

import pytest

from maskinporten_operator.adapters.cluster import watch as module
from maskinporten_operator.adapters.cluster.status_errors import ExpiredError
from maskinporten_operator.adapters.cluster.watch import follow_metadata
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import TransientError, WaitingError
from maskinporten_operator.model.resources import SECRET

EMPTY = b'{"items": null, "metadata": {"resourceVersion": "7"}}'
REFUSED = WaitingError(Reason.REFUSED_BY_CLUSTER, "forbidden", 60.0)
BOOKMARK = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "8"}}}
DEADLINE = 5.0


class Api:
    """Answers lists and watches as it is told, in order; whatever comes then has no answer."""

    def __init__(self, lists, watches):
        self.lists = lists
        self.watches = watches

    async def request_page(self, *_):
        return await self._take(self.lists)

    async def stream(self, path, query, accept, on_begin):
        events = await self._take(self.watches)
        on_begin()
        for event in events:
            if isinstance(event, Exception):
                raise event
            yield event

    async def _take(self, answers):
        if not answers:
            await asyncio.Event().wait()
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Signs:
    def __init__(self):
        self.events = []

    def note(self):
        pass

    def begin(self):
        self.events.append("begins")

    def fail(self):
        self.events.append("fails")


class Listener:
    def on_list(self, items, namespace):
        pass


@pytest.fixture
def follow(monkeypatch):
    """Follow with these answers until all were given, and give what was told."""
    sleep = asyncio.sleep
    monkeypatch.setattr(module.asyncio, "sleep", lambda _: sleep(0))

    async def follow(lists, watches):
        signs = Signs()
        task = asyncio.create_task(follow_metadata(Api(lists, watches), SECRET, "", Listener(), None, signs))
        async with asyncio.timeout(DEADLINE):
            while (lists or watches) and not task.done():
                await sleep(0.001)
            await sleep(0.01)
        task.cancel()
        (end,) = await asyncio.gather(task, return_exceptions=True)
        return signs.events, end

    return follow


async def test_it_works_once_its_watch_is_granted_and_while_that_is_opened_anew(follow):
    assert (await follow([EMPTY], []))[0] == []
    assert (await follow([EMPTY], [[BOOKMARK], [BOOKMARK]]))[0] == ["begins", "begins"]


async def test_it_fails_when_a_list_does(follow):
    assert (await follow([REFUSED, REFUSED, EMPTY], [[]]))[0] == ["fails", "fails", "begins"]


async def test_it_fails_when_a_watch_is_refused_whose_list_is_granted(follow):
    assert (await follow([EMPTY, EMPTY], [REFUSED, REFUSED]))[0] == ["fails", "fails"]


async def test_it_fails_when_a_watch_is_cut_off(follow):
    lost = TransientError(Reason.CLUSTER_UNAVAILABLE, "cut off")

    assert (await follow([EMPTY, EMPTY], [[BOOKMARK, lost], []]))[0] == ["begins", "fails", "begins"]


async def test_a_version_that_expired_is_no_failure(follow):
    assert (await follow([EMPTY, EMPTY], [[ExpiredError()], []]))[0] == ["begins", "begins"]


async def test_a_fault_ends_it(follow):
    _, end = await follow([EMPTY], [KeyError("odd")])

    assert isinstance(end, KeyError)


async def test_what_was_listed_isnt_kept_while_it_watches():
    class Item(dict):
        pass

    class Keeping(Listener):
        def on_list(self, items, namespace):
            self.listed = weakref.ref(items[0])

    listener, signs = Keeping(), Signs()
    api = Api([b'{"items": [{"metadata": {"name": "a"}}], "metadata": {"resourceVersion": "7"}}'], [[]])
    task = asyncio.create_task(follow_metadata(api, SECRET, "", listener, None, signs, Item))
    async with asyncio.timeout(DEADLINE):
        while not signs.events:
            await asyncio.sleep(0.001)

    assert listener.listed() is None
    task.cancel()
