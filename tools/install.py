"""The operator's chart on a local cluster: the CRDs, and the ServiceAccount with its rights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tools.cluster import ControlPlaneError
from tools.generate.chart import CHART
from tools.kube import wait_for
from tools.stack import NAMESPACE, RELEASE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tools.cluster.administrator import Administrator

CRDS = ("maskinportenclients.nais.io", "applications.nais.io")
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
VALUES: Mapping[str, Any] = {
    "settings": {
        "clusterName": "test",
        "applications": True,
        "platform": "gcp",
        "serviceAccounts": True,
        "ingressClasses": ["*=nginx"],
        "ingressControllers": ["nginx=ingress-nginx"],
    },
    "credentials": {"existingSecret": "maskinporten-operator-admin"},
}
"""With Applications and all that they may need; without credentials, as the operator runs as a process."""


def install(cluster: Administrator, values: Mapping[str, Any] = VALUES) -> str:
    """Install the chart, or upgrade it, into a namespace whose pods must be restricted; give what Helm says.

    Raises:
        ControlPlaneError: Helm or the API server refuses.
    """
    ensure_namespace(cluster, NAMESPACE)
    said = cluster.helm("upgrade", "--install", RELEASE, CHART, "-n", NAMESPACE, "--values=-", stdin=json.dumps(values))
    if values.get("crds", {}).get("install", True):
        with_applications = values.get("settings", {}).get("applications", False)
        wait_until_served(cluster, *CRDS[: 2 if with_applications else 1])
    return said


def list_installed(cluster: Administrator) -> list[str]:
    """Give what the release has installed, as kubectl names it."""
    manifest = cluster.helm("get", "manifest", RELEASE, "-n", NAMESPACE)
    return cluster.kubectl("get", "-o", "name", "-f", "-", stdin=manifest).split()


def ensure_namespace(cluster: Administrator, name: str) -> None:
    """Make a namespace in which Pod Security is enforced at its strictest."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}
    cluster.kubectl("apply", "-f=-", stdin=json.dumps(namespace))


def install_crd(cluster: Administrator, crd: Path | str) -> None:
    """Apply the CRDs of a file, or of a text, and wait until they are served."""
    source, text = ("-", crd) if isinstance(crd, str) else (crd, None)
    names = "jsonpath={.metadata.name}{.items[*].metadata.name}"
    applied = cluster.kubectl("apply", "-o", names, "-f", source, stdin=text).split()
    wait_until_served(cluster, *applied)


def wait_until_served(cluster: Administrator, *crds: str) -> None:
    """Wait until resources of these kinds can be listed; at first the API server answers 429."""

    def are_served() -> bool:
        try:
            for name in crds:
                cluster.kubectl("get", name, "-A")
        except ControlPlaneError:
            return False
        return True

    wait_for(are_served, 60, "the served CRDs")
