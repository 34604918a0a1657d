"""What NAIS's naiserator leaves behind, moved as docs/move.md says: the pods go on, and nothing of it stays."""

import json
import time

import pytest

from maskinporten_operator.model.resources import (
    APPLICATION,
    DEPLOYMENT,
    INGRESS,
    MASKINPORTEN_CLIENT,
    NETWORK_POLICY,
    POD,
    SERVICE,
    Kind,
)
from maskinporten_operator.plan.children import build_secret_name
from maskinporten_operator.plan.ingress import build_ingress_name
from tests.e2e.applications import ENABLED, IMAGE, Applications
from tests.e2e.stage import SCOPE
from tools.follow import Following

pytestmark = pytest.mark.e2e

SETTINGS = {
    "applications": "true",
    "platform": "gcp",
    "egress": "networkpolicy",
    "ingress_classes": "*=nginx",
    "ingress_controllers": "nginx=ingress-nginx",
    "key_pool_size": "8",
}
HOST, ROUTED = "app.example.com", build_ingress_name("app", "nginx")
BACKEND = {"service": {"name": "app", "port": {"number": 80}}}
REPLICA_SET = Kind("apps/v1", "ReplicaSet", "replicasets")
FINALIZER = "naiserator.nais.io/finalizer"
LABELS = {"app": "app", "team": "some-team"}
TEMPLATE = {
    "metadata": {"labels": LABELS | {"maskinporten": "enabled"}},
    "spec": {
        "containers": [
            {
                "name": "app",
                "image": IMAGE,
                "env": [{"name": "OF_NAISERATOR", "value": "1"}],
                "volumeMounts": [{"name": "of-naiserator", "mountPath": "/old"}],
            },
            {"name": "sidecar", "image": "example/sidecar:1"},
        ],
        "volumes": [{"name": "of-naiserator", "secret": {"secretName": "of-naiserator", "optional": True}}],
    },
}
SPECS = {
    MASKINPORTEN_CLIENT: {"secretName": build_secret_name("app"), "scopes": {"consumes": [{"name": SCOPE}]}},
    SERVICE: {
        "selector": {"app": "app"},
        "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}],
    },
    NETWORK_POLICY: {"podSelector": {"matchLabels": {"app": "app"}}, "policyTypes": ["Ingress", "Egress"]},
    INGRESS: {
        "ingressClassName": "nginx",
        "rules": [
            {
                "host": HOST,
                "http": {
                    "paths": [{"path": "/a(/.*)?", "pathType": "ImplementationSpecific", "backend": BACKEND}],
                },
            }
        ],
    },
    DEPLOYMENT: {"replicas": 2, "selector": {"matchLabels": {"app": "app"}}, "template": TEMPLATE},
}


@pytest.fixture
def apps(stage, namespace):
    """The Applications of a namespace in which naiserator made one, and has been stopped."""
    stage.operator.stop()
    applications = Applications(stage, namespace)
    leave_behind(applications)
    yield applications
    stage.kube.request("DELETE", APPLICATION.path(namespace))


def leave_behind(apps):
    body = {"apiVersion": APPLICATION.api_version, "kind": APPLICATION.name}
    metadata = {"name": "app", "namespace": apps.namespace, "finalizers": [FINALIZER]}
    spec = {"image": IMAGE, "maskinporten": ENABLED, "ingresses": [f"https://{HOST}/a"]}
    made = apps.kube.request("POST", APPLICATION.path(apps.namespace), body | {"metadata": metadata, "spec": spec})
    owner = body | {"name": "app", "uid": made["metadata"]["uid"]}
    for kind, spec in SPECS.items():
        name = ROUTED if kind == INGRESS else "app"
        metadata = {"name": name, "namespace": apps.namespace, "labels": LABELS, "ownerReferences": [owner]}
        manifest = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "spec": spec}
        apps.kube.request("POST", kind.path(apps.namespace), manifest, fieldManager="naiserator")
    apps.wait(lambda: is_up(apps.find(DEPLOYMENT)), "its pods")


def is_up(deployment):
    return deployment.get("status", {}).get("availableReplicas") == 2


def count_ready(pods):
    return sum(
        any(one["type"] == "Ready" and one["status"] == "True" for one in pod.get("status", {}).get("conditions", ()))
        for pod in pods.values()
        if "deletionTimestamp" not in pod["metadata"]
    )


def test_the_pods_go_on_and_nothing_that_naiserator_wrote_stays_and_deletions_end(stage, apps):
    in_namespace, ingress = ["-n", apps.namespace], apps.find(INGRESS, ROUTED)
    with Following(stage.cluster.admin_kubeconfig, apps.namespace, POD.path("{namespace}")) as following:
        stage.cluster.kubectl("delete", "deployment", "app", "--cascade=orphan", *in_namespace)
        no_finalizers = json.dumps({"metadata": {"finalizers": None}})
        stage.cluster.kubectl(
            "patch", "applications.nais.io", "app", "--type=merge", "-p", no_finalizers, *in_namespace
        )
        stage.start_ready()
        apps.wait_ready()
        seen = [pod for _, pod in following.until(time.monotonic() + 1)]

    pods, counts = {}, []
    for pod in seen:
        pods[pod["metadata"]["uid"]] = pod
        counts.append(count_ready(pods))
    assert min(counts[counts.index(2) :]) >= 1
    template = apps.find(DEPLOYMENT)["spec"]["template"]["spec"]
    assert [one["name"] for one in template["containers"]] == ["app"]
    assert "naiserator" not in json.dumps(template)
    sets = apps.kube.request("GET", REPLICA_SET.path(apps.namespace))["items"]
    assert {one["metadata"]["ownerReferences"][0]["uid"] for one in sets} == {apps.find(DEPLOYMENT)["metadata"]["uid"]}
    assert sorted(one["spec"]["replicas"] for one in sets) == [0, 2]
    moved = apps.find(INGRESS, ROUTED)
    assert moved["metadata"]["uid"] == ingress["metadata"]["uid"]
    (rule,) = moved["spec"]["rules"]
    assert rule["http"]["paths"] == [{"path": "/a", "pathType": "Prefix", "backend": BACKEND}]
    apps.delete()
    apps.wait_gone()
