"""What `kubectl apply` does for an operator: the CRD, and the manifests with its ServiceAccount and its rights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskinporten_operator.model.resources import PLURAL
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


def install_crd(cluster: Cluster, crds: Path) -> None:
    """Apply a CRD and wait until resources of the kind can be listed; at first the API server answers 429."""

    def is_served() -> bool:
        try:
            cluster.kubectl("get", PLURAL, "-A")
        except ControlPlaneError:
            return False
        return True

    cluster.kubectl("apply", "-f", crds)
    wait_for(is_served, 60, "the served CRD")
