"""What passes write to the API server while `plan` runs: seen by their own reads, and sent by none."""

import copy

import pytest

from maskinporten_operator.adapters.cluster.api import ClusterApi
from maskinporten_operator.adapters.cluster.dry_run_api import DryRunApi
from maskinporten_operator.adapters.cluster.kubernetes_cluster import KubernetesCluster
from maskinporten_operator.adapters.cluster.status_errors import AbsentError
from maskinporten_operator.model.errors import ConflictError, ForbiddenError, StandbyError
from maskinporten_operator.model.maskinportenclient import FINALIZER
from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT, SECRET, parse_meta
from tests.unit.fakes import NAME, NAMESPACE, resource_body

SECRET_MANIFEST = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"namespace": NAMESPACE, "name": "some-secret", "labels": {"a": "b"}},
    "data": {"key": "dmFsdWU="},
}


@pytest.fixture
def server(monkeypatch):
    """The objects of an API server by path, which can be read; a write fails the test."""
    body = resource_body() | {"apiVersion": MASKINPORTEN_CLIENT.api_version, "kind": MASKINPORTEN_CLIENT.name}
    objects = {MASKINPORTEN_CLIENT.path(NAMESPACE, NAME): body}

    async def request(self, method, path, query=(), body=None, content_type="", accept=""):
        assert method == "GET"
        if path not in objects:
            raise AbsentError("not found")
        return copy.deepcopy(objects[path])

    monkeypatch.setattr(ClusterApi, "request", request)
    return objects


@pytest.fixture
def events():
    return []


@pytest.fixture
def cluster(server, events):
    api = DryRunApi(None, lambda event, body: events.append((event, body["metadata"]["name"])))
    return KubernetesCluster(api, lambda *_: None)


@pytest.fixture
async def meta(cluster):
    return parse_meta(MASKINPORTEN_CLIENT, await cluster.find(MASKINPORTEN_CLIENT, NAMESPACE, NAME))


async def read(cluster):
    return await cluster.find(MASKINPORTEN_CLIENT, NAMESPACE, NAME)


async def test_nothing_can_be_sent_by_its_fence_even_if_a_write_went_the_usual_way():
    api = DryRunApi(type("Configuration", (), {"host": ""})(), lambda *_: None)

    with pytest.raises(StandbyError), api._fence.hold("PATCH"):
        pass


async def test_finalizer_status_and_annotations_are_read_as_they_were_written(cluster, server, meta):
    before = copy.deepcopy(server)
    await cluster.add_finalizer(meta)
    written = parse_meta(MASKINPORTEN_CLIENT, await read(cluster))
    await cluster.write_status(written, {"clientID": "some-id", "synchronizationTime": "2026-03-01T12:00:00Z"})

    found = await read(cluster)
    assert found["metadata"]["finalizers"] == [FINALIZER]
    assert found["status"]["clientID"] == "some-id"
    assert found["metadata"]["generation"] == 1
    assert server == before


async def test_a_status_of_an_older_version_conflicts(cluster, meta):
    await cluster.add_finalizer(meta)

    with pytest.raises(ConflictError):
        await cluster.write_status(meta, {"synchronizationTime": "2026-03-01T12:00:00Z"})


async def test_an_annotation_that_was_cleared_is_gone_and_others_stay(cluster, server, meta):
    server[MASKINPORTEN_CLIENT.path(NAMESPACE, NAME)]["metadata"]["annotations"] = {"x": "1", "y": "2"}

    await cluster.clear_annotations(meta, ["x"])

    assert (await read(cluster))["metadata"]["annotations"] == {"y": "2"}


async def test_an_object_is_created_once_and_changed_by_its_uid_only(cluster, events):
    made = await cluster.apply(SECRET, SECRET_MANIFEST, None)

    with pytest.raises(ConflictError):
        await cluster.apply(SECRET, SECRET_MANIFEST, None)
    with pytest.raises(ConflictError):
        await cluster.apply(SECRET, SECRET_MANIFEST, "another")
    changed = {**SECRET_MANIFEST, "data": {"more": "bW9yZQ=="}}
    await cluster.apply(SECRET, changed, made["metadata"]["uid"])
    found = await cluster.find(SECRET, NAMESPACE, "some-secret")
    assert found["data"] == {"key": "dmFsdWU=", "more": "bW9yZQ=="}
    assert events == [("ADDED", "some-secret")]


async def test_a_resource_in_deletion_goes_with_its_last_finalizer_and_that_is_told(cluster, server, meta, events):
    await cluster.add_finalizer(meta)
    await cluster.delete(MASKINPORTEN_CLIENT, NAMESPACE, NAME, meta.uid)
    assert (await read(cluster))["metadata"]["deletionTimestamp"]

    await cluster.remove_finalizers(meta, [FINALIZER])

    assert await read(cluster) is None
    assert [event for event, _ in events] == ["MODIFIED", "DELETED"]


async def test_a_changed_spec_is_a_new_generation_and_what_isnt_applied_any_more_goes(cluster, meta):
    manifest = {
        "apiVersion": MASKINPORTEN_CLIENT.api_version,
        "kind": MASKINPORTEN_CLIENT.name,
        "metadata": {"namespace": NAMESPACE, "name": NAME},
        "spec": {"secretName": "other"},
    }

    await cluster.apply(MASKINPORTEN_CLIENT, manifest, meta.uid)

    found = await read(cluster)
    assert (found["spec"], found["metadata"]["generation"]) == ({"secretName": "other"}, 2)


async def test_where_pods_may_not_be_listed_nobody_is_asked_about_rights(cluster, monkeypatch):
    async def forbid(*_, **__):
        raise ForbiddenError("RefusedByCluster", "forbidden", 60.0)

    monkeypatch.setattr("maskinporten_operator.adapters.cluster.kubernetes_cluster.list_objects", forbid)

    assert await cluster.find_uses(NAMESPACE, ["some-secret"]) == {}
