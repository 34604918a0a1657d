"""A pod of a Deployment as a process of this machine: no container can run on the test's cluster.

Its command line, environment, files and account are those of the pod template as the API server has it. What a cluster
would do is done by other means: each pod has a loopback address of its own, a Service's name is replaced by the address
of the pod that it selects, mounted files lie in a folder of the test's, and the account's token is in a kubeconfig.
"""

from __future__ import annotations

import base64
import itertools
import os
import re
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

import httpx

from tools.stack import BIN, Process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tools.cluster import Cluster
    from tools.kube import KubeClient

ENTRYPOINT = "maskinporten-operator"
"""The image's, for containers that name no command."""
LAST_PARTS = itertools.count(1)


def has_token(container: dict[str, Any], spec: dict[str, Any]) -> bool:
    """Whether a container of a pod has the token of the pod's account."""
    tokens = {
        volume["name"]
        for volume in spec["volumes"]
        if any("serviceAccountToken" in source for source in volume.get("projected", {}).get("sources", ()))
    }
    mounts = {one["name"] for one in container["volumeMounts"]}
    return spec.get("automountServiceAccountToken", True) or bool(tokens & mounts)


class PlayedPods:
    """The pods of one namespace."""

    def __init__(
        self, cluster: Cluster, kube: KubeClient, namespace: str, folder: Path, hosts: Mapping[str, str] | None = None
    ) -> None:
        """Play the pods of a namespace; `hosts` are addresses outside the cluster, and what stands in for each."""
        self.cluster = cluster
        self.kube = kube
        self.namespace = namespace
        self.folder = folder
        self.hosts = hosts or {}
        self.addresses: dict[str, str] = {}
        self.environments: dict[str, dict[str, str]] = {}
        self.running: dict[str, Process] = {}
        self._probes: dict[str, str] = {}
        self._net = f"127.{os.getpid() // 250 % 250 + 2}.{os.getpid() % 250 + 1}"

    def start(self, deployment: str) -> Process:
        """Start what a Deployment says now, in the place of what was started for it before; wait until it is ready."""
        process = self.begin(deployment)
        self.wait_ready(deployment)
        return process

    def begin(self, deployment: str) -> Process:
        """Start what a Deployment says now, in the place of what was started for it before."""
        template = self.read("apis/apps/v1", "deployments", deployment)["spec"]["template"]
        (service,) = self.find_services(template["metadata"]["labels"])
        self.give_address(service)
        self.stop(deployment)
        spec = template["spec"]
        volumes = self._write_files(deployment, spec)

        def begin(container: dict[str, Any]) -> Process:
            folders = {
                one["mountPath"]: volumes[one["name"]] for one in container["volumeMounts"] if one["name"] in volumes
            }
            arguments = [*container.get("command", [ENTRYPOINT]), *container.get("args", [])]
            program, *rest = [self._localize(one, service, folders) for one in arguments]
            environment = {
                one["name"]: self._localize(self._find_value(one), service, folders) for one in container.get("env", [])
            }
            if has_token(container, spec):
                account = spec["serviceAccountName"]
                environment["KUBECONFIG"] = str(self.cluster.kubeconfig_of(account, self.namespace))
            self.environments[deployment] = environment
            return Process([str(BIN / program), *rest], environment, self.folder / f"{deployment}.log")

        for container in spec.get("initContainers", ()):
            first = begin(container)
            assert first.popen.wait(60) == 0, first.output()
        (container,) = spec["containers"]
        process = self.running[deployment] = begin(container)
        self._probes[deployment] = self._find_probe(container, self.addresses[service])
        return process

    def give_address(self, service: str) -> None:
        """Give a Service its address, if it has none."""
        self.addresses.setdefault(service, f"{self._net}.{next(LAST_PARTS)}")

    def stop(self, deployment: str) -> None:
        """End what was started for a Deployment."""
        if process := self.running.pop(deployment, None):
            assert process.stop() in (0, -signal.SIGTERM)  # uvicorn ends itself by the signal that it got

    def stop_all(self) -> None:
        """End everything."""
        for deployment in list(self.running):
            self.stop(deployment)

    def run(self, pod: dict[str, Any]) -> int:
        """Run a pod that ends by itself; give its exit code."""
        container = pod["spec"]["containers"][0]
        program, *rest = [self._localize(one, "", {}) for one in (*container["command"], *container["args"])]
        process = Process([str(BIN / program), *rest], {}, self.folder / "run.log")
        return process.popen.wait(60)

    def read(self, api: str, plural: str, name: str) -> dict[str, Any]:
        """Read an object of the namespace."""
        return self.kube.request("GET", f"/{api}/namespaces/{self.namespace}/{plural}/{name}")

    def find_services(self, labels: dict[str, str]) -> list[str]:
        """Name the Services that select pods with these labels."""
        services = self.kube.request("GET", f"/api/v1/namespaces/{self.namespace}/services")["items"]
        return [
            one["metadata"]["name"]
            for one in services
            if one["spec"].get("selector", {"": ""}).items() <= labels.items()
        ]

    def _find_value(self, variable: dict[str, Any]) -> str:
        if "valueFrom" not in variable:
            return variable.get("value", "")
        reference = variable["valueFrom"]["secretKeyRef"]
        data = self.read("api/v1", "secrets", reference["name"])["data"]
        return base64.b64decode(data[reference["key"]]).decode()

    def _write_files(self, deployment: str, spec: dict[str, Any]) -> dict[str, str]:
        """Write the volumes' files; give the folder of each volume."""
        folders = {}
        for volume in spec["volumes"]:
            folder = self.folder / deployment / volume["name"]
            if "emptyDir" in volume:
                shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            if source := volume.get("secret"):
                data = self.read("api/v1", "secrets", source["secretName"])["data"]
                items = source.get("items") or [{"key": key, "path": key} for key in data]
                for item in items:
                    (folder / item["path"]).write_bytes(base64.b64decode(data[item["key"]]))
            elif not volume.keys() & {"persistentVolumeClaim", "emptyDir"}:
                continue
            folders[volume["name"]] = str(folder)
        return folders

    def _localize(self, text: str, service: str, folders: dict[str, str]) -> str:
        for name, address in self.addresses.items():
            text = text.replace(f"//{name}.{self.namespace}.svc:", f"//{address}:")
        for address, instead in self.hosts.items():
            text = text.replace(address, instead)
        if folders:
            text = re.sub("|".join(map(re.escape, folders)), lambda found: folders[found[0]], text)
        return text.replace("0.0.0.0", self.addresses.get(service, ""))

    def _find_probe(self, container: dict[str, Any], address: str) -> str:
        probe = container["readinessProbe"]["httpGet"]
        ports = {one["name"]: one["containerPort"] for one in container["ports"]}
        return f"http://{address}:{ports.get(probe['port'], probe['port'])}{probe['path']}"

    def wait_ready(self, deployment: str) -> None:
        """Wait until what was started for a Deployment is ready."""
        process, url = self.running[deployment], self._probes[deployment]
        deadline = time.monotonic() + 60
        while True:
            try:
                if httpx.get(url, trust_env=False).is_success:
                    return
            except httpx.HTTPError:
                pass
            if not process.running or time.monotonic() > deadline:
                raise AssertionError(f"{url} isn't ready:\n{process.output()[-3000:]}")
            time.sleep(0.05)
