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


def test_deleted_for_good_and_created_again_it_is_a_new_client_and_the_old_one_stays_inactive(stage, namespace, app):
    before = app["status"]["clientID"]
    stage.annotate(namespace, "app", delete="true")
    stage.delete(namespace)

    after = stage.create_ready(namespace)["status"]["clientID"]

    assert after != before
    assert {one["client_id"]: one["active"] for one in stage.registrations(namespace)} == {before: False, after: True}


@pytest.mark.parametrize(
    "annotations",
    [{"delete": "true", "preserve": "true"}, {"delete": "yes"}, {"delete": "True"}, {"delete": ""}],
    ids=["preserve wins", "yes isn't true", "True isn't true", "empty"],
)
def test_anything_but_the_one_clear_request_keeps_the_client(stage, namespace, app, annotations):
    since = stage.sequence

    stage.annotate(namespace, "app", **annotations)
    stage.delete(namespace)

    assert stage.registration(namespace)["active"] is True
    assert stage.writes(since) == []


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


@pytest.mark.parametrize("operation", ["delete-keys", "delete-client"])
def test_while_digdir_is_down_the_deletion_waits_visibly_and_then_completes_by_itself(stage, namespace, app, operation):
    path = "/jwks$" if operation == "delete-keys" else "/clients/[^/]+$"
    stage.fault("status", status=503, method="DELETE", path=path, times=None)

    stage.annotate(namespace, "app", delete="true")
    stage.kube.delete_client(namespace, "app")
    condition = stage.wait_for_reason(namespace, "app", "DigDirUnavailable")
    assert condition["status"] == "Unknown"
    assert stage.registration(namespace)["active"] is True

    stage.clear_faults()
    stage.wait_gone(namespace)
    assert stage.registration(namespace)["active"] is False


def test_a_deletion_that_digdir_forbids_says_so_and_keeps_the_resource(stage, namespace, app):
    stage.fault("status", status=403, method="DELETE", path="/clients", times=None)

    stage.annotate(namespace, "app", delete="true")
    stage.kube.delete_client(namespace, "app")
    condition = stage.wait_for_reason(namespace, "app", "ForbiddenByDigDir")
    assert condition["status"] == "False"

    stage.clear_faults()
    stage.annotate(namespace, "app", delete=None)
    stage.wait_gone(namespace)
    assert stage.registration(namespace)["active"] is True


@pytest.mark.parametrize(
    ("kind", "path"), [("html", "/jwks$"), ("drop", "/clients/[^/]+$")], ids=["the keys' deletion", "the client's"]
)
def test_a_lost_answer_to_a_deletion_is_no_obstacle(stage, namespace, app, kind, path):
    stage.fault(kind, when="after", method="DELETE", path=path)

    stage.annotate(namespace, "app", delete="true")
    stage.delete(namespace)

    registered = stage.registration(namespace)
    assert (registered["active"], registered["keys"]) == (False, [])


def test_by_default_an_outage_of_digdir_doesnt_delay_a_deletion(stage, namespace, app):
    stage.fault("status", status=503, times=None)
    since = stage.sequence

    stage.delete(namespace)

    assert stage.sequence == since


def test_a_client_that_is_gone_already_is_no_obstacle(stage, namespace, app):
    client_id = app["status"]["clientID"]
    state = stage.simulator.control("GET", "state")
    state["clients"] = [one for one in state["clients"] if one["client_id"] != client_id]
    stage.simulator.control("PUT", "state", state)

    stage.annotate(namespace, "app", delete="true")
    stage.delete(namespace)


def test_every_client_with_our_description_goes_when_it_is_deleted_for_good(stage, namespace, app):
    twin = {
        "client_name": "by hand",
        "description": f"test:{namespace}:app",
        "integration_type": "maskinporten",
        "scopes": ["skatt:some.scope"],
    }
    stage.simulator.control("POST", "clients", twin)

    stage.annotate(namespace, "app", delete="true")
    stage.delete(namespace)

    assert [one["active"] for one in stage.registrations(namespace)] == [False, False]


@pytest.mark.parametrize("refused", ["/clients$", "/jwks$"], ids=["the client", "its key"])
def test_deleted_for_good_before_it_was_ever_ready_it_leaves_nothing(stage, namespace, refused):
    stage.fault("status", status=400, method="POST", path=refused, times=None)
    stage.create(namespace)
    wait_for(lambda: stage.find_condition(namespace), PATIENCE, "a condition")

    stage.annotate(namespace, "app", delete="true")
    stage.kube.delete_client(namespace, "app")
    stage.wait_gone(namespace)

    assert [one["active"] for one in stage.registrations(namespace)] == ([] if refused == "/clients$" else [False])


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
