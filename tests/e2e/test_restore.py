"""What lost its owner and comes back: the same client, the same key, and no pod replaced."""

import contextlib

import httpx
import pytest

from maskinporten_operator.model.resources import (
    APPLICATION,
    DEPLOYMENT,
    MASKINPORTEN_CLIENT,
    NETWORK_POLICY,
    SECRET,
    SERVICE,
    Kind,
)
from tests.e2e.applications import CHILDREN, Applications
from tests.e2e.stage import PATIENCE, held_kid
from tools.kube import credentials, wait_for

pytestmark = pytest.mark.e2e

SETTINGS = {
    "applications": "true",
    "platform": "gcp",
    "egress": "networkpolicy",
    "maskinporten_hosts": "test.maskinporten.no",
}
REPLICA_SET = Kind("apps/v1", "ReplicaSet", "replicasets")
RESTORED = (SECRET, SERVICE, REPLICA_SET, DEPLOYMENT, NETWORK_POLICY, APPLICATION, MASKINPORTEN_CLIENT)
"""In the order in which a backup tool restores them, Applications before what they would make themselves."""


@pytest.fixture
def apps(stage, namespace):
    """The Applications of the test's namespace; none outlives the test."""
    applications = Applications(stage, namespace)
    yield applications
    stage.kube.request("DELETE", APPLICATION.path(namespace))
    wait_for(lambda: not stage.kube.request("GET", APPLICATION.path(namespace))["items"], PATIENCE, "the end of all")


def list_objects(apps, kind):
    items = apps.kube.request("GET", kind.path(apps.namespace))["items"]
    return [one | {"apiVersion": kind.api_version, "kind": kind.name} for one in items]


def describe(apps):
    """What must be the same afterwards: the client with its keys, the key in the Secret, and the ReplicaSets."""
    return {
        "client": apps.stage.registration(apps.namespace)["client_id"],
        "keys": apps.stage.kids(apps.namespace),
        "held": held_kid(credentials(apps.find_secret())),
        "replica sets": sorted(one["metadata"]["name"] for one in list_objects(apps, REPLICA_SET)),
    }


def find_owners(apps):
    """The uids of the owners of the Application's objects, and of its MaskinportenClient's Secret."""
    bodies = [apps.find(kind) for kind in CHILDREN] + [apps.find_secret()]
    return [[one["uid"] for one in body["metadata"].get("ownerReferences", ())] for body in bodies]


def wait_until_owned(apps):
    def look():
        (application, client) = (apps.find(kind)["metadata"]["uid"] for kind in (APPLICATION, MASKINPORTEN_CLIENT))
        return find_owners(apps) == [[application]] * len(CHILDREN) + [[client]]

    apps.wait(look, "an owner of everything")


def wait_for_the_garbage_collector(apps):
    """It looks for new kinds every half minute, and orphans nothing of a kind that it doesn't know yet."""
    apps.create("first", image=None)
    apps.wait(lambda: apps.find(MASKINPORTEN_CLIENT, "first"), "the client", "first")
    apps.delete(name="first")
    apps.wait_gone(MASKINPORTEN_CLIENT, "first")


def test_an_application_that_was_orphaned_and_applied_anew_takes_back_all_it_had(stage, apps):
    wait_for_the_garbage_collector(apps)
    apps.create_available()
    before, uids = describe(apps), [apps.find(kind)["metadata"]["uid"] for kind in CHILDREN]
    since = stage.sequence
    apps.delete(policy="Orphan")
    apps.wait_gone()
    assert find_owners(apps)[:-1] == [[]] * len(CHILDREN)

    apps.create()
    apps.wait_ready()
    wait_until_owned(apps)
    apps.edit(SERVICE, {"metadata": {"ownerReferences": None}})  # as some tools do
    wait_until_owned(apps)

    assert describe(apps) == before
    assert [apps.find(kind)["metadata"]["uid"] for kind in CHILDREN] == uids
    assert stage.writes(since) == []


def test_a_namespace_that_is_restored_has_its_clients_and_keys_and_a_forged_object_is_not_taken(stage, apps):
    apps.create_available()
    before, since = describe(apps), stage.sequence
    backup = {kind: [_strip(one) for one in list_objects(apps, kind)] for kind in RESTORED}
    path = f"/api/v1/namespaces/{apps.namespace}"
    stage.kube.request("DELETE", path)
    apps.wait(lambda: stage.kube.find(path) is None, "the end of the namespace")
    (service,) = backup[SERVICE]
    service["spec"]["selector"] = {"app": "forged"}

    stage.kube.create_namespace(apps.namespace)
    for kind in RESTORED:
        for body in backup[kind]:
            with contextlib.suppress(httpx.HTTPStatusError):  # the operator made it meanwhile
                stage.kube.request("POST", kind.path(apps.namespace), body)
    message = apps.wait_for_reason("ChildConflict")["message"]

    assert "Service app exists" in message
    assert apps.find(SERVICE)["spec"]["selector"] == {"app": "forged"}
    apps.delete(SERVICE)
    apps.wait_ready()
    wait_until_owned(apps)
    assert describe(apps) == before
    assert stage.writes(since) == []


def _strip(body):
    """An object as Velero restores it: labelled, and without what the API server set, its owners and its status."""
    metadata = {name: body["metadata"][name] for name in ("name", "labels", "annotations") if name in body["metadata"]}
    metadata["labels"] = {**metadata.get("labels", {}), "velero.io/restore-name": "r1"}
    spec = {name: value for name, value in body.get("spec", {}).items() if name not in {"clusterIP", "clusterIPs"}}
    left = {name: value for name, value in body.items() if name in {"apiVersion", "kind", "data", "type"}}
    return left | {"metadata": metadata} | ({"spec": spec} if spec else {})
