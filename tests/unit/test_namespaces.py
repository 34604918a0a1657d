"""What the watches tell of namespaces, and what a pass makes of it."""

import pytest

from maskinporten_operator.runtime.namespaces import Namespaces
from tests.unit.fakes import World

GOING = "2026-03-01T12:00:00Z"


def metadata(name, **more):
    return {"name": name, "resourceVersion": "1", **more}


@pytest.fixture
def told():
    return []


@pytest.fixture
def namespaces(told):
    return Namespaces(told.extend, selects=True)


def test_a_namespace_that_begins_to_go_is_told_once(namespaces, told):
    ends = namespaces.listen_to_ends()

    ends.on_list([{"metadata": metadata("team")}])
    ends.on_change(metadata("team", deletionTimestamp=GOING))
    ends.on_change(metadata("team", deletionTimestamp=GOING, labels={"some": "label"}))

    assert namespaces.is_ending("team")
    assert told == ["team"]


def test_one_that_went_while_nobody_watched_is_ending_no_more(namespaces, told):
    ends = namespaces.listen_to_ends()
    ends.on_list([{"metadata": metadata("team", deletionTimestamp=GOING)}, {"metadata": metadata("other")}])

    ends.on_list([{"metadata": metadata("team")}])

    assert not namespaces.is_ending("team")
    assert told == ["team", "team"]


def test_a_namespace_is_selected_from_when_the_watch_shows_it_until_it_no_longer_does(namespaces, told):
    selected = namespaces.listen_to_selected()
    selected.on_list([])
    assert not namespaces.is_selected("team")

    selected.on_change(metadata("team"))
    assert namespaces.is_selected("team")
    selected.on_delete(metadata("team"))

    assert not namespaces.is_selected("team")
    assert told == ["team", "team"]


def test_without_a_selector_all_are_looked_after(told):
    assert Namespaces(told.extend).is_selected("any")


async def test_nothing_is_done_in_a_namespace_that_isnt_selected():
    world = World()
    world.namespaces.selected = world.cluster.namespace_selected = False

    await world.reconcile()

    assert world.condition["reason"] == "NamespaceNotSelected"
    assert world.writes == ["write_status"]
    assert world.digdir.active == []


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
