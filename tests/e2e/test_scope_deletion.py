"""Scopes of a resource that is deleted for good, or isn't."""

import pytest

from tests.e2e.stage import NUMBERS, PATIENCE, exposed
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

SETTINGS = {"resync_interval": "1h"}
SKATT, UDIR = "974761076", "970018131"


@pytest.fixture
def name():
    return f"gone{next(NUMBERS)}.read"


def full(name):
    return f"nav:arbeid:{name}"


def test_deleted_for_good_consumers_go_then_scopes_then_keys_then_the_client(stage, namespace, name):
    stage.expose_ready(namespace, "api", exposed(name, SKATT, UDIR))
    since = stage.sequence

    stage.annotate(namespace, "api", delete="true")
    stage.delete(namespace, "api")

    assert stage.writes(since) == ["revoke-access", "revoke-access", "delete-scope", "delete-keys", "delete-client"]
    assert stage.scope(full(name))["active"] is False
    assert stage.consumers(full(name)) == set()
    assert stage.registration(namespace, "api")["active"] is False


def test_a_clusters_policy_may_be_to_delete(stage, namespace, name):
    stage.restart(deletion_policy="Delete")
    stage.expose_ready(namespace, "api", exposed(name, SKATT))

    stage.delete(namespace, "api")

    assert stage.scope(full(name))["active"] is False
    assert stage.registration(namespace, "api")["active"] is False
    stage.restart()


def test_a_namespace_takes_resources_and_their_scopes_along_and_nothing_is_created_there(stage, namespace, name, audit):
    resources = [f"api-{number}" for number in range(5)]
    for number, one in enumerate(resources):
        stage.expose(namespace, one, exposed(f"n{number}.{name}", SKATT))
    for one in resources:
        stage.wait_ready(namespace, one)
        stage.annotate(namespace, one, delete="true")
    wait_for(lambda: told(stage, namespace) >= len(resources), PATIENCE, "the Events of the creation")

    audit.mark()
    stage.kube.request("DELETE", f"/api/v1/namespaces/{namespace}")
    wait_for(lambda: stage.kube.find(f"/api/v1/namespaces/{namespace}") is None, PATIENCE, "the namespace's end")

    for number in range(len(resources)):
        assert stage.scope(full(f"n{number}.{name}"))["active"] is False
        assert stage.consumers(full(f"n{number}.{name}")) == set()
    assert audit.creations(namespace) == []


def told(stage, namespace):
    events = stage.kube.request("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
    return sum(one["reason"] == "AccessGranted" for one in events)


def test_a_namespaces_deletion_waits_for_digdir_and_then_completes(stage, namespace, name, audit):
    stage.expose_ready(namespace, "api", exposed(name, SKATT))
    stage.annotate(namespace, "api", delete="true")
    wait_for(lambda: told(stage, namespace), PATIENCE, "the Events of the creation")
    audit.mark()
    stage.fault("status", status=503, path="^/api", times=None)

    stage.kube.request("DELETE", f"/api/v1/namespaces/{namespace}")
    stage.wait_for_reason(namespace, "api", "DigDirUnavailable")
    stage.clear_faults()
    wait_for(lambda: stage.kube.find(f"/api/v1/namespaces/{namespace}") is None, PATIENCE, "the namespace's end")

    assert stage.scope(full(name))["active"] is False
    assert audit.creations(namespace) == []
