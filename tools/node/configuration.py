"""What the node's programs get: their command lines, and the files that these name."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from tools.node.layout import API_PORT, DNS_SERVICE, HOSTNAME, IMAGES, PODS, SERVICES, Layout
from tools.node.requirements import CNI_PLUGINS, PATH

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTAINERD = "/run/containerd/containerd.sock"
ETCD = "http://127.0.0.1:2379"

SYSCTLS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}
"""What the kubelet sets for the whole machine, unless it finds it set so."""


def write_configuration(layout: Layout) -> None:
    """Write the files below the node's folder."""
    (layout.etc / "cni").mkdir()
    (layout.etc / "manifests").mkdir()
    files = {
        "cni/10-pods.conflist": _network(),
        "kubelet.json": _kubelet(layout),
        "kube-proxy.json": _kube_proxy(layout),
    }
    for name, document in files.items():
        (layout.etc / name).write_text(json.dumps(document, indent=2))
    (layout.etc / "containerd.toml").write_text(_containerd(layout))
    (layout.etc / "resolv.conf").write_text("search .\n")  # a node without a name server of its own


def containerd_command(layout: Layout) -> list[str]:
    """What starts containerd."""
    return ["containerd", f"--config={layout.etc}/containerd.toml"]


def control_plane_commands(layout: Layout) -> dict[str, list[str]]:
    """What starts the control plane, in order: the API server wants etcd, and the others want the API server."""
    etc = layout.etc
    return {
        "etcd": [
            "etcd", f"--data-dir={layout.memory}/etcd", f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}", "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync", "--log-level=error",
        ],
        "kube-apiserver": [
            "kube-apiserver", f"--etcd-servers={ETCD}", f"--bind-address={layout.address}",
            f"--advertise-address={layout.address}", f"--secure-port={API_PORT}",
            f"--tls-cert-file={etc}/apiserver.crt", f"--tls-private-key-file={etc}/apiserver.key",
            f"--client-ca-file={etc}/ca.crt", f"--token-auth-file={etc}/tokens.csv",
            f"--cert-dir={etc}", "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
            f"--service-cluster-ip-range={SERVICES}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-signing-key-file={etc}/service-accounts.key",
            f"--service-account-key-file={etc}/service-accounts.key",
            f"--kubelet-client-certificate={etc}/apiserver-to-kubelet.crt",
            f"--kubelet-client-key={etc}/apiserver-to-kubelet.key",
            f"--kubelet-certificate-authority={etc}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",
        ],
        "kube-controller-manager": [
            "kube-controller-manager", *_as(layout, "controller-manager"), f"--root-ca-file={etc}/ca.crt",
            f"--service-account-private-key-file={etc}/service-accounts.key", "--use-service-account-credentials",
        ],
        "kube-scheduler": ["kube-scheduler", *_as(layout, "scheduler")],
    }  # fmt: skip


def kubelet_command(layout: Layout) -> list[str]:
    """What starts the kubelet."""
    return [
        "kubelet", f"--config={layout.etc}/kubelet.json", f"--kubeconfig={layout.etc}/kubelet.kubeconfig",
        "--root-dir=/var/lib/kubelet", f"--node-ip={layout.address}", f"--hostname-override={HOSTNAME}",
    ]  # fmt: skip


def network_commands(layout: Layout) -> dict[str, list[str]]:
    """What serves Services and enforces NetworkPolicies; kube-router ends where the node isn't registered yet."""
    etc = layout.etc
    return {
        "kube-proxy": ["kube-proxy", f"--config={etc}/kube-proxy.json"],
        "kube-router": [
            "kube-router", f"--kubeconfig={etc}/kube-router.kubeconfig", f"--hostname-override={HOSTNAME}",
            "--run-firewall=true", "--run-router=false", "--run-service-proxy=false", "--run-loadbalancer=false",
            f"--service-cluster-ip-range={SERVICES}", "--health-port=0", "--metrics-port=0",
        ],
    }  # fmt: skip


def environment(layout: Layout) -> Mapping[str, str]:
    """The environment of all of them; kube-router takes its node's name from there."""
    return {
        "HOME": str(layout.memory),
        "NODE_NAME": HOSTNAME,
        "PATH": f"{layout.programs}:{layout.control_plane}:{PATH}",
    }


def _as(layout: Layout, user: str) -> list[str]:
    kubeconfig = f"{layout.etc}/{user}.kubeconfig"
    options = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
    return [
        *(f"--{option}={kubeconfig}" for option in options),
        "--bind-address=127.0.0.1",
        f"--cert-dir={layout.etc}/{user}",
        "--leader-elect=false",
    ]


def _network() -> dict[str, object]:
    # Routed pairs instead of a bridge: all traffic of pods passes the node's routing, where policies are enforced.
    addresses = {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]}
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {"type": "ptp", "ipMasq": True, "mtu": 1500, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet(layout: Layout) -> dict[str, object]:
    etc = layout.etc
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "address": layout.address,
        "tlsCertFile": f"{etc}/kubelet.crt",
        "tlsPrivateKeyFile": f"{etc}/kubelet.key",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{etc}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS_SERVICE],
        "resolvConf": f"{etc}/resolv.conf",
        "staticPodPath": f"{etc}/manifests",
        "failSwapOn": False,
        "oomScoreAdj": 0,  # a lower one takes a right that root of a container often lacks
        "syncFrequency": f"{layout.sync_seconds}s",
        # The machine's disk is not the node's: neither images nor pods are thrown out for it.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "50Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%",
        },
    }  # fmt: skip


def _kube_proxy(layout: Layout) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": f"{layout.etc}/kube-proxy.kubeconfig"},
        "clusterCIDR": PODS,
        "hostnameOverride": HOSTNAME,
        "oomScoreAdj": 0,
        "bindAddress": layout.address,
        "metricsBindAddress": "127.0.0.1:10249",
        "healthzBindAddress": "127.0.0.1:10256",
        "nodePortAddresses": [f"{layout.address}/32"],
        # The table of connections is the whole machine's: nothing of it is set.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def _containerd(layout: Layout) -> str:
    cri = "io.containerd.cri.v1"
    return f"""version = 3
root = "{layout.memory}/containerd"
state = "/run/containerd"

[grpc]
  address = "{CONTAINERD}"

[plugins."{cri}.images"]
  snapshotter = "overlayfs"
  [plugins."{cri}.images".pinned_images]
    sandbox = "{IMAGES["pause"]}"

[plugins."{cri}.runtime"]
  # Where root may not lower the score by which the kernel chooses whom to end.
  restrict_oom_score_adj = true
  [plugins."{cri}.runtime".cni]
    bin_dirs = ["{CNI_PLUGINS}"]
    conf_dir = "{layout.etc}/cni"
  [plugins."{cri}.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."{cri}.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."{cri}.runtime".containerd.runtimes.runc.options]
        BinaryName = "{shutil.which("runc", path=PATH)}"
        SystemdCgroup = false
"""
