"""The demo on a node with real pods: the operator as the chart installs it, and applications that run."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING

from tools.cluster import control_plane
from tools.demo.stage import FOLDER, KEYS_AHEAD, Stage
from tools.image import archive
from tools.install import ensure_namespace, install, list_installed
from tools.kube import KubeClient, wait_for
from tools.node.node import Node, require_node
from tools.node.programs import node_programs
from tools.node.workload.image import NAME, workload_archive
from tools.stack import NAMESPACE, RELEASE, Simulator

if TYPE_CHECKING:
    from pathlib import Path

CREDENTIALS = f"{RELEASE}-admin"


class NodeStage(Stage):
    """Starts what the demo needs on a node. DigDir's stand-in is outside, as DigDir is."""

    pods = "its pods are real"
    image = NAME

    def build(self) -> None:
        """Build what isn't in the cache yet."""
        require_node()
        control_plane()
        node_programs().get()
        self._images: list[Path] = [archive.image_archive(), workload_archive()]

    def start_cluster(self) -> Node:
        """Start Kubernetes."""
        self.cluster = Node.create(images=self._images, folder=FOLDER / "cluster", detached=True)
        self._stack.push(self.cluster)
        (FOLDER / "bin").symlink_to(self.cluster.programs)
        self.kube = self._stack.enter_context(KubeClient(self.cluster.admin_kubeconfig))
        return self.cluster

    def start_simulator(self) -> Simulator:
        """Start DigDir's stand-in, where the node's pods reach it."""
        assert isinstance(self.cluster, Node)
        address = self.cluster.outside
        self.simulator = self._enter("simulator", lambda: Simulator(FOLDER, f"--host={address}"))
        port = urllib.parse.urlsplit(self.simulator.url).port
        assert port
        self.maskinporten = ([f"{address}/32"], port)
        return self.simulator

    def install(self) -> list[str]:
        """Install the operator's chart; give what that made."""
        ensure_namespace(self.cluster, NAMESPACE)
        secret = ("create", "secret", "generic", CREDENTIALS, "-n", NAMESPACE)
        key = f"--from-file=jwk.json={self.simulator.admin_jwk_file}"
        self.cluster.kubectl(*secret, "--from-literal=client-id=admin-client", key)
        repository, _, tag = archive.NAME.rpartition(":")
        install(
            self.cluster,
            {
                "image": {"repository": repository, "tag": tag},
                "credentials": {"existingSecret": CREDENTIALS},
                "sizePolicy": {"enabled": True},
                "settings": {
                    "clusterName": "demo",
                    "digdirBaseUrl": self.simulator.url,
                    "maskinportenWellKnownUrl": self.simulator.well_known_url,
                    "applications": True,
                    "platform": "gcp",
                    # For what only exposes scopes, as DigDir may refuse a client without any
                    "defaultClientScope": "nav:some/other/scope",
                    "keyPoolSize": KEYS_AHEAD * 2,
                },
            },
        )
        return list_installed(self.cluster)

    def start_operator(self) -> None:
        """Wait until the operator's pod works."""
        self.cluster.kubectl("rollout", "status", f"deployment/{RELEASE}", "-n", NAMESPACE, "--timeout=120s")
        wait_for(lambda: self.keys_ready() >= KEYS_AHEAD, 60, f"{KEYS_AHEAD} keys minted ahead")

    def keys_ready(self) -> int:
        """How many keys the operator has minted ahead."""
        metrics = f"/api/v1/namespaces/{NAMESPACE}/services/{RELEASE}:metrics/proxy/metrics"
        lines = self.cluster.kubectl("get", f"--raw={metrics}").splitlines()
        return sum(
            int(float(line.split()[1])) for line in lines if line.startswith("maskinporten_operator_keys_ready ")
        )

    def describe_operator(self) -> list[str]:
        """Commands that show the operator's metrics and logs."""
        return [
            f"kubectl logs deployment/{RELEASE} -n {NAMESPACE} --follow",
            f"kubectl get --raw /api/v1/namespaces/{NAMESPACE}/services/{RELEASE}:metrics/proxy/metrics",
            f"tail -f {FOLDER}/simulator.log",
        ]
