"""Events for people: posted behind the passes, and counted when they are given up."""

import asyncio

import pytest

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import TransientError
from maskinporten_operator.runtime import announcer as module
from maskinporten_operator.runtime.announcer import EventAnnouncer
from tests.unit.fakes import resource

DEADLINE = 5.0


class Told:
    """Where Events are posted, and what is counted."""

    def __init__(self):
        self.posted, self.dropped = [], 0
        self.refuses = False

    async def post(self, meta, kind, reason, message):
        if self.refuses:
            raise TransientError(Reason.CLUSTER_UNAVAILABLE, "no")
        self.posted.append(message)

    def drop(self):
        self.dropped += 1


@pytest.fixture
def posts():
    return Told()


async def run_until(announcer, is_done):
    running = asyncio.create_task(announcer.run())
    async with asyncio.timeout(DEADLINE):
        while not is_done():
            await asyncio.sleep(0)
    running.cancel()


async def test_what_is_announced_is_posted_and_not_counted(posts):
    announcer = EventAnnouncer(posts.post, count_dropped=posts.drop)
    announcer.announce(resource().meta, "Normal", "Synchronized", "done")

    await run_until(announcer, lambda: posts.posted == ["done"])

    assert posts.dropped == 0


async def test_an_event_too_many_is_dropped_and_counted(posts, monkeypatch):
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    announcer = EventAnnouncer(posts.post, count_dropped=posts.drop)
    for message in "abc":
        announcer.announce(resource().meta, "Normal", "Synchronized", message)
    assert posts.dropped == 1

    await run_until(announcer, lambda: posts.posted == ["a", "b"])


async def test_of_too_many_events_one_of_the_namespace_with_most_is_dropped_and_they_are_posted_by_turns(
    posts, monkeypatch
):
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    announcer = EventAnnouncer(posts.post, count_dropped=posts.drop)
    for namespace, message in [("busy", "a"), ("busy", "b"), ("busy", "c"), ("calm", "d")]:
        announcer.announce(resource(metadata={"namespace": namespace}).meta, "Normal", "Synchronized", message)
    assert posts.dropped == 1

    await run_until(announcer, lambda: posts.posted == ["a", "d", "b"])


async def test_an_event_that_is_refused_is_counted_and_the_next_one_is_posted(posts):
    announcer = EventAnnouncer(posts.post, count_dropped=posts.drop)
    posts.refuses = True
    announcer.announce(resource().meta, "Normal", "Synchronized", "a")
    await run_until(announcer, lambda: posts.dropped == 1)
    posts.refuses = False
    announcer.announce(resource().meta, "Normal", "Synchronized", "b")

    await run_until(announcer, lambda: posts.posted == ["b"])

    assert posts.dropped == 1
