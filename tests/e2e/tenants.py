"""A tenant with Kubernetes' ordinary role `edit` in a namespace of its own, and what no tenant may reach from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.resources import (
    APPLICATION,
    DEPLOYMENT,
    MASKINPORTEN_CLIENT,
    NAMESPACE,
    NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
    Kind,
)
from tests.e2e.applications import IMAGE, Applications
from tests.e2e.stage import CLUSTER_NAME, PATIENCE, SCOPE, exposed
from tools.cluster import ControlPlaneError
from tools.install import ensure_namespace
from tools.kube import KubeClient, wait_for
from tools.stack import NAMESPACE as OPERATORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.e2e.stage import Stage

TENANT, VICTIM = "tenant", "victim"
KOMMUNE, SKATT = "958935420", "974761076"
GUARDED = "nav:arbeid:guarded.read"
SERVICE_ACCOUNTS = Kind("v1", "ServiceAccount", "serviceaccounts")
EVENTS = Kind("v1", "Event", "events")
BINDINGS = Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
CLUSTER_BINDINGS = Kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings")
ROLES = Kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles")
COMPARED = (
    *(MASKINPORTEN_CLIENT, APPLICATION, SECRET, DEPLOYMENT, SERVICE, NETWORK_POLICY, POD_DISRUPTION_BUDGET),
    *(SERVICE_ACCOUNTS, BINDINGS, EVENTS),
)
GUARDED_NAMESPACES = (VICTIM, OPERATORS, "default")
UNSETTLED = frozenset({DEPLOYMENT, POD_DISRUPTION_BUDGET})
"""Kinds whose status others write at any time, and their resourceVersion with it."""
MERGE_PATCH = "application/merge-patch+json"


class Tenant:
    """The tenant's ServiceAccount, and what it asks of the API server."""

    def __init__(self, stage: Stage) -> None:
        cluster = stage.cluster
        ensure_namespace(cluster, TENANT)
        for create in (
            ("serviceaccount", TENANT),
            ("rolebinding", TENANT, "--clusterrole=edit", f"--serviceaccount={TENANT}:{TENANT}"),
        ):
            cluster.kubectl("create", *create, f"-n={TENANT}")
        self.kube = KubeClient(cluster.kubeconfig_of(TENANT, TENANT))
        self.wait_for_rights(cluster)

    def wait_for_rights(self, cluster: Any) -> None:
        """Wait until the role has taken in the chart's."""

        def may_create() -> bool:
            who = f"--as=system:serviceaccount:{TENANT}:{TENANT}"
            try:
                cluster.kubectl("auth", "can-i", "create", "applications.nais.io", "--quiet", who, f"-n={TENANT}")
            except ControlPlaneError:
                return False
            return True

        wait_for(may_create, PATIENCE, "the tenant's rights")

    def create(self, kind: Kind, name: str, *, namespace: str = TENANT, **body: Any) -> Any:
        """Create an object; `metadata` may have more than its name."""
        metadata = {**body.pop("metadata", {}), "name": name}
        manifest = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **body}
        return self.kube.request("POST", kind.path(namespace), manifest)

    def create_client(self, name: str, *, metadata: Mapping[str, Any] | None = None, **spec: Any) -> Any:
        """Create a MaskinportenClient whose Secret is named `<name>-secret`, unless `spec` says otherwise."""
        whole = {"secretName": f"{name}-secret", "scopes": {"consumes": [{"name": SCOPE}]}, **spec}
        return self.create(MASKINPORTEN_CLIENT, name, spec=whole, metadata=metadata or {})

    def create_application(self, name: str, *, metadata: Mapping[str, Any] | None = None, **spec: Any) -> Any:
        """Create an Application with an image and without Maskinporten, unless `spec` says otherwise."""
        return self.create(APPLICATION, name, spec={"image": IMAGE, **spec}, metadata=metadata or {})

    def patch(self, kind: Kind, name: str, patch: Mapping[str, Any], part: str = "", namespace: str = TENANT) -> Any:
        """Merge a patch into an object, or its subresource, as in `part="/status"`."""
        return self.kube.request("PATCH", kind.path(namespace, name) + part, patch, MERGE_PATCH)

    def delete(self, kind: Kind, name: str, namespace: str = TENANT) -> Any:
        """Delete an object."""
        return self.kube.request("DELETE", kind.path(namespace, name))

    def find(self, kind: Kind, name: str) -> Any | None:
        """Read an object; None if there is none."""
        return self.kube.find(kind.path(TENANT, name))


class Victim:
    """Another team with a client, an exposed scope with a consumer and an Application; and all else that is others'."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        stage.kube.create_namespace(VICTIM)
        spec = {"scopes": {"consumes": [{"name": SCOPE}], "exposes": [exposed("guarded.read", KOMMUNE)]}}
        self.api = stage.create_ready(VICTIM, "api", spec=spec)
        # An autoscaler would warn all the time of metrics that nobody measures here
        self.shop = Applications(stage, VICTIM).create_available("shop", replicas={"disableAutoScaling": True})
        self.client_id: str = self.api["status"]["clientID"]
        (self.public_key,) = stage.registration(VICTIM, "api")["keys"]
        stage.create_secret(OPERATORS, "maskinporten-operator-admin", {"client-id": "admin-client"})
        self.unharmed = self.snapshot()

    def snapshot(self) -> dict[str, Any]:
        """Give all that isn't the tenant's, in the cluster and at DigDir, by what it is."""
        return {**dict(self._read_cluster()), **dict(self._read_digdir())}

    def _read_cluster(self) -> Iterator[tuple[str, Any]]:
        for kind in COMPARED:
            for item in self._list(kind.path()):
                namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
                if namespace in GUARDED_NAMESPACES and item.get("type") != "Normal":  # such Events come late
                    yield f"{namespace}: {kind.name} {name}", _settle(kind, item)
        for kind in (ROLES, CLUSTER_BINDINGS):
            for item in self._list(kind.path()):
                yield f"{kind.name} {item['metadata']['name']}", item
        for name in (VICTIM, OPERATORS, TENANT):
            yield f"Namespace {name}", self._stage.kube.find(NAMESPACE.path(name=name))

    def _list(self, path: str) -> Any:
        return self._stage.kube.request("GET", path)["items"]

    def _read_digdir(self) -> Iterator[tuple[str, Any]]:
        """Whatever gets the tenant's mark is missing, and whatever gets another's is new."""
        mark = f"{CLUSTER_NAME}:{TENANT}:"
        for client in self._stage.simulator.clients():
            if not client["description"].startswith(mark):
                yield f"client {client['client_id']}", client
        for scope in self._stage.simulator.scopes():
            if not scope["description"].startswith(mark):
                yield f"scope {scope['name']}", scope


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Give what differs, as it was and as it is."""
    names = before.keys() | after.keys()
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def _settle(kind: Kind, item: Mapping[str, Any]) -> Any:
    if kind not in UNSETTLED:
        return item
    metadata = {k: v for k, v in item["metadata"].items() if k not in {"resourceVersion", "managedFields"}}
    return {**item, "metadata": metadata, "status": None}
