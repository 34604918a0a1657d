"""The local control plane: a real Kubernetes API with pods that kwok plays, for people and for tests."""

from tools.cluster.administrator import ControlPlaneError
from tools.cluster.binaries import control_plane, find_built, helm3
from tools.cluster.kwok import Cluster

__all__ = ["Cluster", "ControlPlaneError", "control_plane", "find_built", "helm3"]
