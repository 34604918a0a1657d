"""The programs of the node, and where their pins are. runc, the CNI plugins and iptables are Debian's."""

from pathlib import Path

from tools.cluster.binaries import kubernetes_pins
from tools.programs import Pins, Programs

_PINS = Path(__file__).parent / "pins"


def node_programs() -> Programs:
    """The programs that a node runs besides the control plane's."""
    kubernetes = kubernetes_pins()
    containerd = _containerd_pins()
    network = Pins(_PINS / "network")
    return Programs(
        name="node",
        title="the node's programs",
        duration="about five minutes",
        packages={
            "kubelet": (kubernetes, "k8s.io/kubernetes/cmd/kubelet"),
            "kube-proxy": (kubernetes, "k8s.io/kubernetes/cmd/kube-proxy"),
            "containerd": (containerd, "github.com/containerd/containerd/v2/cmd/containerd"),
            "containerd-shim-runc-v2": (containerd, "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"),
            "ctr": (containerd, "github.com/containerd/containerd/v2/cmd/ctr"),
            "kube-router": (network, "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"),
            "coredns": (network, "./coredns"),
            "pause": (Pins(_PINS / "pause"), "."),
        },
    )


def _containerd_pins() -> Pins:
    folder = _PINS / "containerd"
    version = Pins(folder).find(r"^\s*github\.com/containerd/containerd/v2 (v\S+)")
    # The snapshotters that are left out need C libraries or kernel modules; overlayfs is the one in use.
    return Pins(
        folder,
        stamps={"github.com/containerd/containerd/v2/version.Version": version},
        tags=("no_aufs", "no_btrfs", "no_devmapper", "no_zfs"),
    )
