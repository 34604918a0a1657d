"""The operator may do what it does, and does what it may: cluster-wide, and for a list of namespaces."""

import json

import pytest

from maskinporten_operator.model.resources import (
    APPLICATION,
    CILIUM_POLICY,
    DEPLOYMENT,
    FQDN_POLICY,
    INGRESS,
    MASKINPORTEN_CLIENT,
    NETWORK_POLICY,
    POD_MONITOR,
    WORKLOAD_KINDS,
)
from maskinporten_operator.plan.ingress import build_ingress_name
from tests.e2e.applications import Applications, build_open_crd, build_pod_monitor_crd
from tests.e2e.conftest import AUDIT_POLICY
from tests.e2e.rights import EVERYWHERE, read_rights
from tests.e2e.stage import PATIENCE
from tools.cluster import Cluster, ControlPlaneError
from tools.install import VALUES, ensure_namespace, install, install_crd
from tools.kube import wait_for
from tools.stack import NAMESPACE, RELEASE, SERVICE_ACCOUNT

pytestmark = pytest.mark.e2e

TEAM, ELSEWHERE = "rights", "elsewhere"
SETTINGS = {
    "applications": "true",
    "platform": "gcp",
    "service_accounts": "true",
    "ingress_classes": "*=nginx",
    "ingress_controllers": "nginx=ingress-nginx",
}
MEASURED = {"enabled": True, "port": 9090}
INGRESS_NAME = build_ingress_name("app", "nginx")
SILENT = {("update", "maskinportenclients/finalizers"), ("update", "applications/finalizers")}
"""Asked for by an admission plugin, which the audit log doesn't tell of; a test of their own is below."""
AS_OPERATOR = f"--as=system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}"
MODES = {"cluster-wide": [], "namespaced": [TEAM]}


@pytest.fixture(scope="module", params=MODES.values(), ids=MODES)
def namespaces(request):
    return request.param


@pytest.fixture(scope="module")
def cluster(namespaces):
    plugins = ["OwnerReferencesPermissionEnforcement"]
    with Cluster.create(name="mpo-rbac", audit_policy=AUDIT_POLICY, admission_plugins=plugins) as cluster:
        for crd in (build_open_crd(FQDN_POLICY), build_open_crd(CILIUM_POLICY), build_pod_monitor_crd()):
            install_crd(cluster, json.dumps(crd))
        for namespace in (TEAM, ELSEWHERE):
            ensure_namespace(cluster, namespace)
        install(cluster, {**VALUES, "namespaces": namespaces})
        yield cluster


@pytest.fixture(scope="module")
def rights(bare_stage, namespaces, cluster):
    """The rights after everything that needs one was done once."""
    election = {"leader_election": "true", "lease_name": RELEASE, "lease_namespace": NAMESPACE}
    bare_stage.settings |= {"namespaces": " ".join(namespaces), "key_grace": "1s", **election}
    apps = Applications(bare_stage, TEAM)
    bare_stage.start_ready(egress="fqdn-gke")
    _make_and_mend(bare_stage, apps)
    for backend in ("cilium", "networkpolicy"):
        bare_stage.restart(egress=backend)
        _wait_for_policies(apps, backend)
        apps.patch(**_open("192.0.2.2" if backend == "cilium" else "192.0.2.3"))
        _wait_for_text(apps, CILIUM_POLICY if backend == "cilium" else NETWORK_POLICY, "192.0.2.")
    bare_stage.restart(egress="none")
    apps.wait_gone(NETWORK_POLICY)
    _take_back(bare_stage, apps)
    return read_rights(cluster)


def _open(address):
    return {"accessPolicy": {"outbound": {"external": [{"ipv4": address}, {"host": "api.example.com"}]}}}


def _make_and_mend(stage, apps):
    apps.create(**_open("192.0.2.1"), replicas={"max": 4}, ingresses=["https://a.example.com"], prometheus=MEASURED)
    apps.wait_ready()
    for kind in (*WORKLOAD_KINDS, POD_MONITOR, NETWORK_POLICY):
        apps.wait(lambda: apps.find(kind), kind.name)
    apps.wait(lambda: apps.find(FQDN_POLICY, "app-fqdn"), "FQDNNetworkPolicy")
    apps.patch(
        image="example/app:2",
        ingresses=["https://b.example.com"],
        prometheus={"path": "/other"},
        replicas={"max": 5},
        service={"port": 81},
        maskinporten={"clientName": "Another name"},
        **_open("192.0.2.9"),
    )
    apps.patch(accessPolicy={"outbound": {"external": [{"ipv4": "192.0.2.9"}, {"host": "other.example.com"}]}})
    _wait_for_text(apps, FQDN_POLICY, "other.example.com", "app-fqdn")
    _wait_for_text(apps, DEPLOYMENT, "example/app:2")
    _wait_for_text(apps, INGRESS, "b.example.com", INGRESS_NAME)
    _wait_for_text(apps, POD_MONITOR, "/other")
    assert apps.find(POD_MONITOR)["spec"]["podMetricsEndpoints"] == [{"port": "metrics", "path": "/other"}]
    apps.delete(DEPLOYMENT)
    apps.wait(lambda: apps.find(DEPLOYMENT), "the Deployment's return")
    stage.create_ready(TEAM, "alone")
    secret = stage.find_secret(TEAM, "alone-secret")
    stage.delete_secret(TEAM, "alone-secret")
    stage.wait_for_secret(TEAM, "alone-secret", unlike=secret)
    wait_for(lambda: len(stage.kids(TEAM, "alone")) == 1, PATIENCE, "the end of the key before")


def _take_back(stage, apps):
    apps.patch(maskinporten={"enabled": False}, image=None)
    for kind in (MASKINPORTEN_CLIENT, *WORKLOAD_KINDS, POD_MONITOR):
        apps.wait_gone(kind)
    apps.wait_gone(INGRESS, INGRESS_NAME)
    stage.delete(TEAM, "alone")
    apps.delete()
    apps.wait_gone()


def _wait_for_policies(apps, backend):
    if backend == "cilium":
        apps.wait(lambda: apps.find(CILIUM_POLICY), "CiliumNetworkPolicy")
        apps.wait_gone(FQDN_POLICY, "app-fqdn")
        apps.wait_gone(NETWORK_POLICY)
    else:
        apps.wait(lambda: apps.find(NETWORK_POLICY), "NetworkPolicy")
        apps.wait_gone(CILIUM_POLICY)


def _wait_for_text(apps, kind, text, name="app"):
    apps.wait(lambda: text in json.dumps(apps.find(kind, name)), f"{text} in {kind.name}")


def may_list(cluster, resource, namespace):
    try:
        cluster.kubectl("auth", "can-i", "list", resource, "--quiet", AS_OPERATOR, f"-n={namespace}")
    except ControlPlaneError:
        return False
    return True


def test_nothing_is_asked_for_that_isnt_granted(rights):
    assert rights.refused == set()
    assert rights.used <= rights.granted


def test_nothing_is_granted_that_isnt_used(rights):
    unused = {right for right in rights.granted - rights.used if (right.verb, right.resource) not in SILENT}

    assert unused == set()


def test_nothing_is_granted_by_a_wildcard_and_the_lease_by_its_name(rights):
    for right in rights.granted:
        assert EVERYWHERE not in (right.verb, right.resource, right.group)
        if right.resource == "leases" and right.verb != "create":
            assert (right.namespace, right.name) == (NAMESPACE, RELEASE)


def test_for_a_list_of_namespaces_nothing_is_granted_elsewhere(rights, namespaces):
    places = {right.namespace for right in rights.granted if right.resource != "leases"}

    assert places == (set(namespaces) or {EVERYWHERE})


@pytest.mark.parametrize("resource", ["secrets", "maskinportenclients", "services"])
def test_for_a_list_of_namespaces_nothing_can_be_listed_elsewhere(cluster, namespaces, resource):
    assert may_list(cluster, resource, TEAM)
    assert may_list(cluster, resource, ELSEWHERE) == (not namespaces)


@pytest.mark.usefixtures("rights")
def test_without_the_right_to_list_pods_a_replaced_key_goes_when_its_grace_is_over(bare_stage, cluster, namespaces):
    install(cluster, {**VALUES, "namespaces": namespaces, "rbac": {"pods": False}})
    wait_for(lambda: not may_list(cluster, "pods", TEAM), PATIENCE, "the end of the right")
    bare_stage.create_ready(TEAM, "unseen")
    secret = bare_stage.find_secret(TEAM, "unseen-secret")

    bare_stage.delete_secret(TEAM, "unseen-secret")
    bare_stage.wait_for_secret(TEAM, "unseen-secret", unlike=secret)

    wait_for(lambda: len(bare_stage.kids(TEAM, "unseen")) == 1, PATIENCE, "the end of the key before")
    bare_stage.wait_ready(TEAM, "unseen")
    bare_stage.delete(TEAM, "unseen")
    install(cluster, {**VALUES, "namespaces": namespaces})


@pytest.mark.parametrize("kind", [MASKINPORTEN_CLIENT, APPLICATION], ids=lambda kind: kind.plural)
def test_owning_children_needs_the_right_to_the_owners_finalizers_where_that_is_enforced(cluster, namespaces, kind):
    spec = {"secretName": "owner"} if kind == MASKINPORTEN_CLIENT else {}
    manifest = {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {"name": "owner", "namespace": TEAM},
        "spec": spec,
    }
    owner = json.loads(cluster.kubectl("create", "-f=-", "-o=json", stdin=json.dumps(manifest)))
    child = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "child",
            "namespace": TEAM,
            "ownerReferences": [
                {
                    "apiVersion": kind.api_version,
                    "kind": kind.name,
                    "name": "owner",
                    "uid": owner["metadata"]["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
    }
    name = RELEASE if kind == MASKINPORTEN_CLIENT else f"{RELEASE}-applications"
    role = ["role", name, f"-n={TEAM}"] if namespaces else ["clusterrole", name]
    rules = json.loads(cluster.kubectl("get", *role, "-o=json"))["rules"]

    def may_own():
        create = ["create", "--dry-run=server", AS_OPERATOR, "-f=-"]
        try:
            cluster.kubectl(*create, stdin=json.dumps(child))
        except ControlPlaneError as error:
            if "cannot set blockOwnerDeletion" not in str(error):
                raise
            return False
        return True

    assert may_own()
    without = [rule for rule in rules if rule["resources"] != [f"{kind.plural}/finalizers"]]
    assert len(without) == len(rules) - 1
    cluster.kubectl("patch", *role, "--type=merge", "-p", json.dumps({"rules": without}))
    wait_for(lambda: not may_own(), PATIENCE, "the refusal")
    cluster.kubectl("patch", *role, "--type=merge", "-p", json.dumps({"rules": rules}))
    cluster.kubectl("delete", kind.plural, "owner", f"-n={TEAM}", "--wait=false")
