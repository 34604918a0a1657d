"""Who looks because of what happened."""

import asyncio
import copy

import pytest

from maskinporten_operator.model.maskinportenclient import FINALIZER
from maskinporten_operator.model.resources import APPLICATION, MASKINPORTEN_CLIENT
from maskinporten_operator.model.resources import SECRET as SECRET_KIND
from maskinporten_operator.runtime.queue import Key, Priority, WorkQueue
from maskinporten_operator.runtime.router import Router
from tests.unit.fakes import NAME, NAMESPACE, SECRET, UID, owner_reference, resource_body

CLIENT, APP = Key(MASKINPORTEN_CLIENT, NAMESPACE, NAME), Key(APPLICATION, NAMESPACE, NAME)


class World:
    def __init__(self):
        self.queue, self.forgotten, self.gaps = WorkQueue(), [], 0
        kinds = (MASKINPORTEN_CLIENT, APPLICATION)
        self.router = Router(kinds, self.queue, lambda: 0.0, self.forgotten.append, self.note_gap)
        self.client = resource_body()
        self.version = int(self.client["metadata"]["resourceVersion"])

    def note_gap(self):
        self.gaps += 1

    def change(self, **parts):
        """Give the client's next version, with parts of it changed."""
        self.version += 1
        self.client = copy.deepcopy(self.client) | {name: part for name, part in parts.items() if name != "metadata"}
        self.client["metadata"] |= {"resourceVersion": str(self.version), **parts.get("metadata", {})}
        return self.client

    async def queued(self):
        keys = set()
        while len(self.queue):
            async with asyncio.timeout(5):
                keys.add(key := await self.queue.get())
            self.queue.done(key)
        return keys


@pytest.fixture
async def world():
    """A client and an Application of its name, both known."""
    world = World()
    world.router.on_event(APPLICATION, None, resource_body())
    world.router.on_event(MASKINPORTEN_CLIENT, None, world.client)
    await world.queued()
    return world


async def test_an_event_with_news_queues_the_resource_and_one_without_nobody(world):
    world.router.on_event(MASKINPORTEN_CLIENT, "MODIFIED", world.change(metadata={"annotations": {"a": "b"}}))
    assert await world.queued() == {CLIENT}

    world.router.on_event(MASKINPORTEN_CLIENT, "MODIFIED", world.client)
    assert await world.queued() == set()


@pytest.mark.parametrize(
    "parts",
    [
        {"spec": {"secretName": "another"}},
        {"status": {"clientID": "new"}},
        {"metadata": {"deletionTimestamp": "2026-03-01T12:00:00Z"}},
        {"metadata": {"ownerReferences": []}},
    ],
    ids=["spec", "status", "deletion", "owner"],
)
async def test_the_application_looks_when_what_it_goes_by_in_its_client_changed(world, parts):
    world.router.on_event(MASKINPORTEN_CLIENT, "MODIFIED", world.change(**parts))

    assert APP in await world.queued()


async def test_the_application_looks_when_a_pass_left_its_client_with_another_status(world):
    began = world.router.stores[MASKINPORTEN_CLIENT].find(CLIENT).body
    world.router.record_own_write(MASKINPORTEN_CLIENT, world.change(status={"clientID": "new"}))
    assert await world.queued() == set()

    world.router.settle(CLIENT, began)

    assert await world.queued() == {APP}


async def test_a_pass_that_left_its_client_as_it_was_wakes_nobody(world):
    began = world.router.stores[MASKINPORTEN_CLIENT].find(CLIENT).body
    world.router.settle(CLIENT, began)

    assert await world.queued() == set()


async def test_a_client_whose_spec_a_write_of_ours_changed_is_worked_on_though_no_event_will_be_news(world):
    changed = world.change(spec={"secretName": "another"}, metadata={"generation": 2})
    world.router.record_own_write(MASKINPORTEN_CLIENT, changed)
    assert CLIENT in await world.queued()

    world.router.on_event(MASKINPORTEN_CLIENT, "MODIFIED", changed)
    assert await world.queued() == set()


async def test_whoever_else_names_a_secret_looks_when_a_write_of_ours_changed_it(world):
    other = world.change(metadata={"name": "other", "uid": "u2"})
    world.router.on_event(MASKINPORTEN_CLIENT, "ADDED", other)
    await world.queued()
    metadata = {"namespace": NAMESPACE, "name": SECRET, "resourceVersion": "30"}

    world.router.record_own_write(SECRET_KIND, {"metadata": metadata | {"ownerReferences": [owner_reference()]}})

    queued = await world.queued()
    assert CLIENT._replace(name="other") in queued
    assert CLIENT not in queued


async def test_a_users_request_that_the_answer_to_a_write_of_ours_shows_first_isnt_lost(world):
    world.router.record_own_write(
        MASKINPORTEN_CLIENT, world.change(metadata={"annotations": {"digdir.nais.io/rotate": "true"}})
    )

    assert CLIENT in await world.queued()


async def test_the_application_looks_when_its_client_is_gone_whether_a_watch_told_or_a_list_lacked_it(world):
    world.router.on_event(MASKINPORTEN_CLIENT, "DELETED", world.client)
    assert await world.queued() == {APP}
    assert world.forgotten == [UID]

    world.router.on_event(MASKINPORTEN_CLIENT, "ADDED", world.change())
    await world.queued()
    world.router.stores[MASKINPORTEN_CLIENT].keep_only([])
    assert await world.queued() == {APP}


async def test_an_application_that_isnt_known_is_not_queued(world):
    world.router.on_event(APPLICATION, "DELETED", resource_body())
    world.router.on_event(MASKINPORTEN_CLIENT, "MODIFIED", world.change(status={"clientID": "new"}))

    assert await world.queued() == {CLIENT}


async def test_a_resource_that_is_listed_again_tells_of_a_gap(world):
    world.router.on_event(MASKINPORTEN_CLIENT, None, world.client)

    assert world.gaps == 1


async def test_a_label_of_a_maskinportenclient_that_somebody_changed_queues_its_application(world):
    world.router.on_event(MASKINPORTEN_CLIENT, "MODIFIED", world.change(metadata={"labels": {"team": "another"}}))
    assert await world.queued() == {CLIENT, CLIENT._replace(kind=APPLICATION)}


async def test_what_is_remembered_of_a_resource_that_vanished_during_a_pass_is_forgotten_at_its_end(world):
    began = world.router.stores[MASKINPORTEN_CLIENT].find(CLIENT).body
    world.router.on_event(MASKINPORTEN_CLIENT, "DELETED", world.client)
    world.router.settle(CLIENT, began)

    assert world.forgotten == [UID, UID]


@pytest.mark.parametrize(
    "parts",
    [
        {"spec": {"secretName": "another"}, "metadata": {"generation": 2}},
        {"metadata": {"annotations": {"digdir.nais.io/rotate": "true"}}},
        {"metadata": {"uid": "another"}},
        {"metadata": {"labels": {"a": "b"}}},
    ],
    ids=["another spec", "a request", "another resource of the name", "whatever somebody else wrote"],
)
async def test_a_resource_that_somebody_else_wrote_during_its_pass_is_looked_at_again(world, parts):
    began = world.router.stores[MASKINPORTEN_CLIENT].find(CLIENT).body
    world.queue.add(CLIENT)
    assert await world.queue.get() == CLIENT
    world.router.on_event(MASKINPORTEN_CLIENT, "MODIFIED", world.change(**parts))
    world.router.settle(CLIENT, began)
    world.queue.done(CLIENT)

    assert CLIENT in await world.queued()


async def test_a_resource_that_only_its_own_pass_wrote_isnt_looked_at_again(world):
    began = world.router.stores[MASKINPORTEN_CLIENT].find(CLIENT).body
    world.queue.add(CLIENT)
    assert await world.queue.get() == CLIENT
    written = world.change(metadata={"finalizers": [FINALIZER]})
    world.router.record_own_write(MASKINPORTEN_CLIENT, written)
    world.router.on_event(MASKINPORTEN_CLIENT, "MODIFIED", written)
    world.router.settle(CLIENT, began)
    world.queue.done(CLIENT)

    assert CLIENT not in await world.queued()


async def test_the_version_of_an_owned_object_that_we_wrote_is_kept(world):
    metadata = {"namespace": NAMESPACE, "name": "some-secret", "resourceVersion": "7"}
    world.router.record_own_write(SECRET_KIND, {"metadata": metadata})

    assert world.router.versions.own(Key(SECRET_KIND, NAMESPACE, "some-secret")) == 7


READY = {"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 1}]}
DELETED = {"deletionTimestamp": "2026-01-02T00:00:00Z"}


@pytest.mark.parametrize(
    ("event", "parts", "urgency"),
    [
        ("MODIFIED", {}, Priority.CHANGE),
        ("MODIFIED", {"status": READY}, Priority.CHANGE),
        ("MODIFIED", {"metadata": DELETED, "status": READY}, Priority.REPAIR),
        (None, {}, Priority.CHANGE),
        (None, {"status": READY}, Priority.RESYNC),
        (None, {"status": READY, "metadata": {"generation": 2}}, Priority.CHANGE),
        (None, {"status": READY, "metadata": DELETED}, Priority.REPAIR),
        (None, {"status": {"conditions": ["odd", {"type": "Ready", "status": []}]}}, Priority.CHANGE),
        (None, {"status": {"conditions": "odd"}}, Priority.CHANGE),
    ],
    ids=str,
)
async def test_at_a_start_what_was_ready_lets_others_go_first_and_deletions_are_urgent(world, event, parts, urgency):
    world.router.on_event(MASKINPORTEN_CLIENT, event, world.change(**parts))

    assert world.queue._queued[CLIENT] == urgency


async def test_at_a_takeover_all_are_queued_as_at_a_start(world):
    world.router.on_event(MASKINPORTEN_CLIENT, "MODIFIED", world.change(status=READY))
    await world.queued()
    world.router.queue_all()

    assert world.queue._queued == {CLIENT: Priority.RESYNC, APP: Priority.CHANGE}
