import json

import pytest

from tests.e2e.stage import FINALIZER, PATIENCE, held_kid
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

SETTINGS = {"key_grace": "1h"}


def test_by_default_the_client_stays_without_a_call_and_is_found_again(stage, namespace, app):
    registered = stage.registration(namespace)
    since = stage.sequence

    stage.delete(namespace)
    assert stage.sequence == since
    assert stage.registration(namespace) == registered

    after = stage.create_ready(namespace)
    assert after["status"]["clientID"] == app["status"]["clientID"]
    assert "create-client" not in stage.writes(since)
    assert held_kid(stage.read_secret(namespace)) in stage.kids(namespace)


def test_deleted_for_good_the_keys_go_and_then_the_client_and_then_the_finalizer(stage, namespace, app):
    since = stage.sequence

    stage.annotate(namespace, "app", delete="true")
    stage.delete(namespace)

    registered = stage.registration(namespace)
    assert registered["active"] is False
    assert registered["keys"] == []
    assert stage.writes(since) == ["delete-keys", "delete-client"]


def test_the_request_may_come_when_the_deletion_is_already_under_way(stage, namespace):
    stage.create_ready(namespace, finalizers=["tests.example/hold"])
    stage.annotate(namespace, "app", delete="true")
    stage.kube.delete_client(namespace, "app")

    def is_ours_off():
        return stage.kube.find_client(namespace, "app")["metadata"]["finalizers"] == ["tests.example/hold"]

    wait_for(is_ours_off, PATIENCE, "our part of the deletion")
    assert stage.registration(namespace)["active"] is False
    stage.kube.patch_client(namespace, "app", {"metadata": {"finalizers": None}})
    stage.wait_gone(namespace)


def test_while_digdir_is_down_the_deletion_waits_visibly_and_then_completes_by_itself(stage, namespace, app):
    stage.fault("status", status=503, method="DELETE", path="/clients/[^/]+$", times=None)

    stage.annotate(namespace, "app", delete="true")
    stage.kube.delete_client(namespace, "app")
    condition = stage.wait_for_reason(namespace, "app", "DigDirUnavailable")
    assert condition["status"] == "Unknown"
    assert stage.registration(namespace)["active"] is True

    stage.clear_faults()
    stage.wait_gone(namespace)
    assert stage.registration(namespace)["active"] is False


def test_a_foreground_deletion_mints_nothing_and_finishes(stage, namespace, app):
    kids = stage.kids(namespace)
    since = stage.sequence

    stage.delete(namespace, policy="Foreground")

    assert stage.writes(since) == []
    assert stage.kids(namespace) == kids
    assert stage.find_secret(namespace) is None


def test_a_deletion_that_orphans_leaves_the_secret_to_whoever_wants_it(stage, namespace, app):
    stage.delete(namespace, policy="Orphan")

    assert "ownerReferences" not in stage.find_secret(namespace)["metadata"]


def test_the_deletion_of_an_owner_takes_resource_and_secret_along_and_mints_nothing(stage, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    uid = stage.kube.request("POST", path, {"metadata": {"name": "owner"}})["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "blockOwnerDeletion": True}
    stage.create_ready(namespace, ownerReferences=[owner])
    since = stage.sequence

    stage.kube.request("DELETE", f"{path}/owner", propagationPolicy="Foreground")
    stage.wait_gone(namespace)

    wait_for(lambda: stage.find_secret(namespace) is None, PATIENCE, "the end of the Secret")
    assert stage.writes(since) == []


def test_the_deletion_of_a_namespace_mints_nothing_and_finishes(stage, namespace):
    names = [f"app-{number}" for number in range(5)]
    for name in names:
        stage.create(namespace, name)
    for name in names:
        stage.wait_ready(namespace, name)
    kids = {name: stage.kids(namespace, name) for name in names}
    since = stage.sequence

    stage.kube.request("DELETE", f"/api/v1/namespaces/{namespace}")
    wait_for(lambda: stage.kube.find(f"/api/v1/namespaces/{namespace}") is None, PATIENCE, "the namespace's end")

    assert stage.writes(since) == []
    assert {name: stage.kids(namespace, name) for name in names} == kids


def test_a_namespace_that_is_deleted_in_the_middle_of_a_creation_finishes(stage, namespace):
    fault = stage.fault("hold", method="POST", path="/jwks$", when="after")
    stage.create(namespace)
    stage.wait_for_held(fault)

    stage.kube.request("DELETE", f"/api/v1/namespaces/{namespace}")
    stage.clear_faults()
    wait_for(lambda: stage.kube.find(f"/api/v1/namespaces/{namespace}") is None, PATIENCE, "the namespace's end")

    assert len(stage.registrations(namespace)) == 1


def test_a_resource_that_is_deleted_in_the_middle_of_its_creation_goes_and_comes_back_with_its_client(stage, namespace):
    fault = stage.fault("hold", method="POST", path="/clients$", when="after")
    stage.create(namespace)
    stage.wait_for_held(fault)

    stage.kube.delete_client(namespace, "app")
    stage.clear_faults()
    stage.wait_gone(namespace)
    (registered,) = stage.registrations(namespace)
    after = stage.create_ready(namespace)

    assert after["status"]["clientID"] == registered["client_id"]
    assert len(stage.registrations(namespace)) == 1


def test_our_finalizer_goes_though_somebody_elses_manifest_holds_it(stage, namespace):
    manifest = {
        "apiVersion": "nais.io/v1",
        "kind": "MaskinportenClient",
        "metadata": {"name": "app", "namespace": namespace, "finalizers": [FINALIZER, "tests.example/hold"]},
        "spec": {"secretName": "app-secret", "scopes": {"consumes": [{"name": "skatt:some.scope"}]}},
    }
    stage.cluster.kubectl("apply", "--server-side", "--field-manager=some-gitops", "-f=-", stdin=json.dumps(manifest))
    stage.wait_ready(namespace)

    stage.kube.delete_client(namespace, "app")
    wait_for(
        lambda: stage.kube.find_client(namespace, "app")["metadata"]["finalizers"] == ["tests.example/hold"],
        PATIENCE,
        "our finalizer's removal",
    )
    stage.kube.patch_client(namespace, "app", {"metadata": {"finalizers": None}})
    stage.wait_gone(namespace)
