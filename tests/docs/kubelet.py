"""The node of the pages' cluster: pods of the operator's image are processes of this machine.

kwok says of every pod that it runs, whatever its image. What has our programs in it really does, and `kubectl exec`
gives a program the environment that the pod's container has.
"""

from __future__ import annotations

import base64
import subprocess
from typing import TYPE_CHECKING, Any

import httpx

from tests.e2e.played_pod import PlayedPods
from tools.kube import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tools.cluster import Cluster
    from tools.kube import KubeClient

IMAGE = "maskinporten-operator:"
"""What the name of an image with our programs ends with, before its tag."""
EXECS = "/apis/kwok.x-k8s.io/v1alpha1/clusterexecs"


class Kubelet:
    """Follows the Deployments of all namespaces; `sync` brings the processes in line with them."""

    def __init__(self, cluster: Cluster, kube: KubeClient, folder: Path, hosts: Mapping[str, str]) -> None:
        """Know what stands in for which address outside the cluster."""
        self.cluster, self.kube, self.folder, self.hosts = cluster, kube, folder, hosts
        self._pods: dict[str, PlayedPods] = {}
        self._templates: dict[tuple[str, str], Any] = {}
        self._execs: dict[tuple[str, str], tuple[list[str], dict[str, str]]] = {}
        self._tested: set[str] = set()

    def sync(self) -> None:
        """Start what is new or changed, and end what is gone."""
        deployments = {
            (one["metadata"]["namespace"], one["metadata"]["name"]): one["spec"]["template"]
            for one in self.kube.request("GET", "/apis/apps/v1/deployments")["items"]
            if IMAGE in one["spec"]["template"]["spec"]["containers"][0]["image"]
        }
        for namespace, name in self._templates.keys() - deployments.keys():
            self._pods_of(namespace).stop(name)
            del self._templates[namespace, name]
        # What the operator calls comes before it
        for key, template in sorted(deployments.items(), reverse=True):
            if self._templates.get(key) != template and self._begin(*key, template):
                self._templates[key] = template
        for namespace, pods in self._pods.items():
            self._run_tests(namespace, pods)

    def wait_ready(self) -> None:
        """Wait until all processes are ready, and can be looked into."""
        self.sync()
        for namespace, name in self._templates:
            if name in self._pods_of(namespace).running:
                self._pods_of(namespace).wait_ready(name)
            self._allow_exec(namespace, name)

    def stop(self) -> None:
        """End everything."""
        for pods in self._pods.values():
            pods.stop_all()

    def _pods_of(self, namespace: str) -> PlayedPods:
        if namespace not in self._pods:
            folder = self.folder / namespace
            self._pods[namespace] = PlayedPods(self.cluster, self.kube, namespace, folder, self.hosts)
        return self._pods[namespace]

    def _begin(self, namespace: str, name: str, template: Any) -> bool:
        """Say whether it could be started: a Secret that it needs may be missing."""
        pods = self._pods_of(namespace)
        (container,) = template["spec"]["containers"]
        if "readinessProbe" not in container:  # not one of ours, which all have one: it waits to be looked into
            pods.environments[name] = self._read_environment(namespace, container)
            return True
        for service in self.kube.request("GET", f"/api/v1/namespaces/{namespace}/services")["items"]:
            pods.give_address(service["metadata"]["name"])
        try:
            pods.begin(name)
        except (KeyError, httpx.HTTPStatusError):
            return False
        return True

    def _read_environment(self, namespace: str, container: Any) -> dict[str, str]:
        found = {}
        for source in container.get("envFrom", []):
            secret = self.kube.find_secret(namespace, source["secretRef"]["name"])
            found |= {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
        return found | {one["name"]: one["value"] for one in container.get("env", []) if "value" in one}

    def _allow_exec(self, namespace: str, deployment: str) -> None:
        selector = self.kube.request("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}")
        labels = ",".join(f"{key}={value}" for key, value in selector["spec"]["selector"]["matchLabels"].items())
        found = self.kube.request("GET", f"/api/v1/namespaces/{namespace}/pods", labelSelector=labels)["items"]
        names = [one["metadata"]["name"] for one in found if "deletionTimestamp" not in one["metadata"]]
        environment = self._pods_of(namespace).environments[deployment]
        if self._execs.get((namespace, deployment)) == (names, environment):
            return
        self._execs[namespace, deployment] = names, dict(environment)
        values = [{"name": key, "value": value} for key, value in environment.items()]
        body = {
            "apiVersion": "kwok.x-k8s.io/v1alpha1",
            "kind": "ClusterExec",
            "metadata": {"name": f"{namespace}.{deployment}"},
            "spec": {
                "selector": {"matchNamespaces": [namespace], "matchNames": names},
                "execs": [{"local": {"envs": values, "workDir": str(self.folder)}}],
            },
        }
        path = f"{EXECS}/{namespace}.{deployment}"
        patch = "application/apply-patch+yaml"
        self.kube.request("PATCH", path, body, patch, fieldManager="kubelet", force="true")
        for name in names:
            wait_for(lambda: self._has(namespace, name, environment), 30, f"kubectl exec into {name}")

    def _has(self, namespace: str, pod: str, environment: dict[str, str]) -> bool:
        """Whether a program in a pod gets these variables, so that kwok knows of them."""
        arguments = ("exec", pod, f"-n={namespace}", "--", "env", "-0")
        command = [self.cluster.programs / "kubectl", "--kubeconfig", self.cluster.admin_kubeconfig, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return {f"{key}={value}" for key, value in environment.items()} <= set(done.stdout.split("\0"))

    def _run_tests(self, namespace: str, pods: PlayedPods) -> None:
        """Run the pods of `helm test`, and write their end where a kubelet would."""
        for pod in self.kube.request("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]:
            metadata = pod["metadata"]
            if "helm.sh/hook" not in metadata.get("annotations", {}) or metadata["uid"] in self._tested:
                continue
            self._tested.add(metadata["uid"])
            phase = "Failed" if pods.run(pod) else "Succeeded"
            path = f"/api/v1/namespaces/{namespace}/pods/{metadata['name']}/status"
            patch = {"status": {"phase": phase, "containerStatuses": None}}
            self.kube.request("PATCH", path, patch, "application/merge-patch+json")
