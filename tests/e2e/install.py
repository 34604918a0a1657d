"""What `kubectl apply` does for an operator: the CRD, and the manifests with its ServiceAccount and its rights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.cluster import ControlPlaneError
from tools.generate.__main__ import ROOT
from tools.kube import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tools.cluster import Cluster

CRDS = ROOT / "deploy" / "crds"
MANIFESTS = ROOT / "deploy" / "manifests"


def install(cluster: Cluster, crds: Path | None) -> None:
    """Apply the manifests, and the CRDs first if there are any; return when the API server serves them."""
    if crds:
        install_crd(cluster, crds)
    cluster.kubectl("apply", "-k", MANIFESTS)
    for name in ("rbac-applications", "rbac-leader-election"):
        cluster.kubectl("apply", "-f", MANIFESTS / f"{name}.yaml")


def install_crd(cluster: Cluster, crds: Path) -> None:
    """Apply CRDs and wait until resources of their kinds can be listed; at first the API server answers 429."""
    applied = cluster.kubectl("apply", "-o", "jsonpath={.metadata.name}{.items[*].metadata.name}", "-f", crds).split()

    def are_served() -> bool:
        try:
            for name in applied:
                cluster.kubectl("get", name, "-A")
        except ControlPlaneError:
            return False
        return True

    wait_for(are_served, 60, "the served CRDs")
