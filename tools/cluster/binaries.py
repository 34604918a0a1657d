"""The programs of the local control plane, and where its pins are."""

from pathlib import Path

from tools.programs import Pins, Programs

_FOLDER = Path(__file__).resolve().parents[1] / "control-plane"


def kubernetes_version() -> str:
    """The pinned version of Kubernetes, such as v1.37.2."""
    return Pins(_FOLDER).find(r"^\s*k8s\.io/kubernetes (v\S+)")


def kubernetes_pins(folder: Path = _FOLDER) -> Pins:
    """The pins of Kubernetes and of what comes with it."""
    version = Pins(folder).find(r"^\s*k8s\.io/kubernetes (v\S+)")
    major, minor, _ = version.removeprefix("v").split(".", 2)
    # Without these the API server calls itself v0.0.0-master, which clients and charts refuse.
    stamps = {
        "k8s.io/component-base/version.gitVersion": version,
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        "k8s.io/client-go/pkg/version.gitVersion": version,
    }
    return Pins(folder, stamps)


def control_plane_programs(folder: Path = _FOLDER) -> Programs:
    """The programs of the control plane, and those that people use with it."""
    pins = kubernetes_pins(folder)
    packages = {
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "etcd": "go.etcd.io/etcd/server/v3",
        "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
        "kubectl": "k8s.io/kubernetes/cmd/kubectl",
        "kwok": "sigs.k8s.io/kwok/cmd/kwok",
        "kwokctl": "sigs.k8s.io/kwok/cmd/kwokctl",
        "helm": "helm.sh/helm/v4/cmd/helm",
    }
    return Programs(
        name="control-plane",
        title="the local control plane",
        duration="about ten minutes",
        packages={name: (pins, package) for name, package in packages.items()},
        instead="without it, use CLUSTER=kind or CLUSTER=current",
    )


def control_plane() -> Path:
    """Get the folder of the programs; they are built first where the cache doesn't have them.

    Raises:
        MissingToolError: They aren't in the cache, and there is no Go that could build them.
        ToolError: Go could not build them.
    """
    return control_plane_programs().get()


def helm3() -> Path:
    """Get a Helm of the oldest version that installs the chart; it is built first where the cache doesn't have it.

    Raises:
        MissingToolError: It isn't in the cache, and there is no Go that could build it.
        ToolError: Go could not build it.
    """
    pins = Pins(_FOLDER.with_name("helm3"))
    packages = {"helm": (pins, "helm.sh/helm/v3/cmd/helm")}
    return Programs(name="helm3", title="Helm 3", duration="about two minutes", packages=packages).get() / "helm"


def find_built(name: str) -> Path | None:
    """Find one of the programs if they are built; nothing is built for it."""
    return control_plane_programs().find(name)
