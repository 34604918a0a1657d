"""What the watches tell of namespaces, and what a pass makes of it."""

import asyncio
import itertools
import logging

import pytest

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import TransientError
from maskinporten_operator.model.maskinportenclient import FINALIZER
from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT
from maskinporten_operator.runtime import namespaces as module
from maskinporten_operator.runtime.namespaces import WatchedNamespaces
from maskinporten_operator.runtime.store import WatchedResourceStore
from tests.specs import exposed
from tests.unit.fakes import NAMESPACE, SCOPE, SECRET, resource_body
from tests.unit.world import World

GOING = "2026-03-01T12:00:00Z"


def metadata(name, **more):
    return {"name": name, "resourceVersion": "1", **more}


@pytest.fixture
def changes():
    return []


async def test_it_is_ready_once_the_selected_namespaces_were_listed_though_there_are_none(namespaces):
    waiting = asyncio.create_task(namespaces.ready())
    await asyncio.sleep(0)
    assert not waiting.done()

    namespaces.listen_to_selected().on_list([])

    await asyncio.wait_for(waiting, 5)
    await namespaces.ready()


async def test_a_list_of_all_namespaces_says_nothing_of_those_that_are_selected(namespaces, monkeypatch):
    monkeypatch.setattr(module, "MAX_WAIT", 0.01)
    namespaces.listen_to_ends().on_list([])

    with pytest.raises(TransientError, match="couldn't be listed"):
        await namespaces.ready()


async def test_where_all_are_managed_nothing_is_waited_for(changes):
    await asyncio.wait_for(WatchedNamespaces(changes.extend).ready(), 5)


@pytest.fixture
def namespaces(changes):
    return WatchedNamespaces(changes.extend, selects=True)


def test_a_namespace_that_begins_to_go_is_told_once(namespaces, changes):
    ends = namespaces.listen_to_ends()

    ends.on_list([{"metadata": metadata("team")}])
    ends.on_change(metadata("team", deletionTimestamp=GOING))
    ends.on_change(metadata("team", deletionTimestamp=GOING, labels={"some": "label"}))

    assert namespaces.is_ending("team")
    assert changes == ["team"]


def test_one_that_went_while_nobody_watched_is_ending_no_more(namespaces, changes):
    ends = namespaces.listen_to_ends()
    ends.on_list([{"metadata": metadata("team", deletionTimestamp=GOING)}, {"metadata": metadata("other")}])

    ends.on_list([{"metadata": metadata("team")}])

    assert not namespaces.is_ending("team")
    assert changes == ["team", "team"]


def test_a_namespace_is_selected_from_when_the_watch_shows_it_until_it_no_longer_does(namespaces, changes):
    selected = namespaces.listen_to_selected()
    selected.on_list([])
    assert not namespaces.is_selected("team")

    selected.on_change(metadata("team"))
    assert namespaces.is_selected("team")
    selected.on_delete(metadata("team"))

    assert not namespaces.is_selected("team")
    assert changes == ["team", "team"]


def test_all_that_a_list_changes_is_told_at_once():
    changes = []
    namespaces = WatchedNamespaces(changes.append, selects=True)
    selected = namespaces.listen_to_selected()
    selected.on_list([{"metadata": metadata("a")}, {"metadata": metadata("b")}])

    selected.on_list([{"metadata": metadata("b")}, {"metadata": metadata("c")}])
    selected.on_list([{"metadata": metadata("b")}, {"metadata": metadata("c")}])
    selected.on_delete(metadata("c"))

    assert changes == [frozenset("ab"), frozenset("ac"), frozenset("c")]
    assert not namespaces.is_selected("a")
    assert namespaces.is_selected("b")


def test_what_is_told_of_is_so_by_then():
    seen = []
    namespaces = WatchedNamespaces(
        lambda names: seen.extend((name, namespaces.is_selected(name)) for name in names), selects=True
    )
    selected = namespaces.listen_to_selected()

    selected.on_list([{"metadata": metadata("a")}])
    selected.on_list([])
    selected.on_change(metadata("a"))
    selected.on_delete(metadata("a"))

    assert seen == [("a", True), ("a", False)] * 2


def test_without_a_selector_all_are_managed(changes):
    assert WatchedNamespaces(changes.extend).is_selected("any")


async def test_nothing_is_done_in_a_namespace_that_isnt_selected():
    world = World()
    world.namespaces.selected = world.cluster.namespace_selected = False

    outcome = await world.reconcile()

    assert (world.ready, world.condition["reason"]) == ("False", "NamespaceNotSelected")
    assert outcome.retry is None
    assert outcome.level == logging.INFO
    assert world.writes == ["write_status"]
    assert world.digdir.active == []
    await world.reconcile()
    assert world.writes == []


async def test_what_exists_in_a_namespace_that_is_selected_no_more_is_left_and_told_as_it_was():
    world = World()
    await world.settle()
    before = dict(world.status)
    world.namespaces.selected = world.cluster.namespace_selected = False

    await world.reconcile()

    assert world.writes == ["write_status"]
    assert world.condition["reason"] == "NamespaceNotSelected"
    assert world.status["clientID"] == before["clientID"]
    assert len(world.digdir.active) == 1
    world.namespaces.selected = world.cluster.namespace_selected = True
    await world.settle()
    assert world.ready == "True"


async def test_a_namespace_that_the_watch_hasnt_told_of_yet_is_asked_for():
    world = World()
    world.namespaces.selected = False

    await world.settle()

    assert world.ready == "True"


async def test_what_is_in_a_namespace_that_goes_is_let_go_before_its_own_turn():
    world = World()
    await world.settle()
    world.namespaces.ending = world.cluster.namespace_terminating = True
    world.cluster.annotate(**{"digdir.nais.io/delete": "true"})

    await world.reconcile()

    assert world.digdir.active == []
    assert world.cluster.resource["metadata"]["finalizers"] == []
    await world.reconcile()
    assert world.writes == []


def managed(world, *names, missing=False):
    """Have the watches tell of these namespaces, and of resources in others beside the world's own."""
    world.namespaces = WatchedNamespaces(lambda _: None, selects=True)
    world.namespaces.listen_to_selected().on_list([{"metadata": metadata(name)} for name in names])
    world.resources = WatchedResourceStore(MASKINPORTEN_CLIENT, FINALIZER, itertools.count(1).__next__, lambda *_: None)
    for number in range(10):
        other = {"name": f"app-{number}", "namespace": "other-team", "uid": f"u{number}"}
        spec = {"secretName": "their-secret", "scopes": {"exposes": [exposed()]}}
        status = {"clientID": f"missing-{number}"} if missing else {}
        created = {"creationTimestamp": "2025-01-01T00:00:00Z"}
        world.resources.offer(resource_body(metadata=other | created, spec=spec, status=status))


async def test_one_in_a_namespace_that_isnt_selected_keeps_nobody_from_exposing_its_scope():
    consumes = [{"name": SCOPE}]
    world = World(spec={"secretName": SECRET, "scopes": {"consumes": consumes, "exposes": [exposed()]}})
    managed(world, NAMESPACE, "other-team")
    await world.reconcile()
    assert world.condition["reason"] == "ScopeConflict"
    managed(world, NAMESPACE)

    await world.reconcile()

    assert world.ready == "True"
    assert list(world.digdir.scopes) == ["nav:arbeid:some.scope.read"]


async def test_clients_missing_in_namespaces_that_arent_selected_hold_no_deletion():
    world = World(metadata={"finalizers": [FINALIZER], "annotations": {"digdir.nais.io/delete": "true"}})
    world.cluster.touch(deletionTimestamp=GOING)
    world.clock.advance(60)
    managed(world, NAMESPACE, "other-team", missing=True)
    await world.reconcile()
    assert world.condition["reason"] == "MassAbsence"
    managed(world, NAMESPACE, missing=True)

    await world.reconcile()

    assert world.cluster.resource is None


async def ending(**annotations):
    """A resource whose namespace goes, and what the watch showed of it before it got these annotations."""
    world = World()
    await world.settle()
    world.namespaces.ending = world.cluster.namespace_terminating = True
    body = world.cluster.resource
    world.cluster.annotate(**annotations)
    return world, body


async def test_annotations_that_the_watch_hasnt_shown_count_when_the_namespace_goes():
    world, body = await ending(**{"digdir.nais.io/delete": "true"})

    await world.reconcile(body)

    assert world.digdir.active == []
    assert world.cluster.resource["metadata"]["finalizers"] == []


async def test_a_deletion_for_good_that_was_called_off_since_the_watch_showed_it_is_none():
    world, _ = await ending(**{"digdir.nais.io/delete": "true"})
    body = world.cluster.resource
    world.cluster.annotate(**{"digdir.nais.io/preserve": "true"})

    await world.reconcile(body)

    assert len(world.digdir.active) == 1
    assert world.cluster.resource["metadata"]["finalizers"] == []


async def test_nothing_is_done_for_one_that_is_gone_with_its_namespace():
    world, _ = await ending(**{"digdir.nais.io/delete": "true"})
    body, world.cluster.resource = world.cluster.resource, None

    outcome = await world.reconcile(body)

    assert outcome.retry is None
    assert world.writes == []
    assert len(world.digdir.active) == 1


async def test_nothing_is_done_for_one_in_whose_place_is_another_by_now():
    world, _ = await ending(**{"digdir.nais.io/delete": "true"})
    body = world.cluster.resource
    world.cluster.touch(uid="another")

    outcome = await world.reconcile(body)

    assert outcome.retry is None
    assert world.writes == []
    assert len(world.digdir.active) == 1
    assert FINALIZER in world.cluster.resource["metadata"]["finalizers"]


async def test_one_whose_namespace_goes_stays_while_it_cant_be_read():
    world, body = await ending(**{"digdir.nais.io/delete": "true"})
    world.trips.trip("find_maskinportenclient", lambda: TransientError("ClusterUnavailable", "no answer"))

    outcome = await world.reconcile(body)

    assert outcome.retry.failed
    assert len(world.digdir.active) == 1
    assert FINALIZER in world.cluster.resource["metadata"]["finalizers"]


async def test_another_namespace_of_that_name_is_told_apart_by_the_api_server():
    world = World()
    await world.settle()
    world.namespaces.ending = True
    world.cluster.annotate(**{"digdir.nais.io/delete": "true"})

    await world.settle()

    assert len(world.digdir.active) == 1
    assert world.ready == "True"


async def test_a_resource_deleted_in_a_namespace_that_isnt_selected_goes_without_a_call_of_digdir():
    world = World()
    await world.settle()
    world.namespaces.selected = world.cluster.namespace_selected = False
    world.cluster.annotate(**{"digdir.nais.io/delete": "true"})
    world.cluster.touch(deletionTimestamp=GOING)

    await world.reconcile()

    assert world.cluster.resource is None
    assert len(world.digdir.active) == 1


async def test_before_the_selected_namespaces_are_known_nothing_is_counted_missing_nor_made():
    world = World()
    world.namespaces.ready = unlisted
    world.resources.client_ids = [f"vanished-{number}" for number in range(10)]

    outcome = await world.reconcile()

    assert outcome.verdicts[0].reason == "ClusterUnavailable"
    assert world.writes == ["write_status"]
    assert world.digdir.active == []


async def unlisted():
    raise TransientError(Reason.CLUSTER_UNAVAILABLE, "not listed so far")
