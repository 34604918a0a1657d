"""The chart on a node as its users install it, with the simulator in DigDir's place, and what is in its pods."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.parse
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import yaml

from maskinporten_operator.model.resources import APPLICATION, MASKINPORTEN_CLIENT
from tools.cluster import ControlPlaneError
from tools.generate.__main__ import ROOT
from tools.generate.chart import CHART
from tools.image import archive
from tools.install import ensure_namespace
from tools.kube import is_ready, wait_for
from tools.node.workload.image import NAME as WORKLOAD
from tools.stack import NAMESPACE, RELEASE

TEAM = "my-team"
DESCRIPTION = "trial:{namespace}:{name}"
FILES = "/var/run/secrets/nais.io/maskinporten"
NAMES = sorted(f"MASKINPORTEN_{name}" for name in (
    "CLIENT_ID", "CLIENT_JWK", "ISSUER", "JWKS_URI", "SCOPES", "TOKEN_ENDPOINT", "WELL_KNOWN_URL",
))  # fmt: skip
"""What a workload gets, in its environment and as files."""
PROGRAM = "/bin/maskinporten-operator"
"""What the operator's process is known by."""
PATIENCE = 90.0
"""Seconds within which whatever is waited for comes about, on a machine that has much else to do."""


@dataclass
class Pod:
    """A pod as the API server knows it."""

    name: str
    uid: str
    ip: str
    body: dict

    @property
    def is_ready(self):
        conditions = self.body["status"].get("conditions", [])
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    @property
    def restarts(self):
        return sum(one["restartCount"] for one in self.body["status"].get("containerStatuses", []))


class Trial:
    """The release, and a team that uses it."""

    def __init__(self, node, kube):
        self.node, self.kube = node, kube
        self.program = "helm"
        self.maskinporten = []
        self.list_lag = {}
        ensure_namespace(node, NAMESPACE)
        ensure_namespace(node, TEAM)

    def values(self, **changes):
        """The chart's values as a trial on this node needs them, and further ones, merged into those of their name."""
        repository, _, tag = archive.NAME.rpartition(":")
        values = {
            "image": {"repository": repository, "tag": tag},
            "replicas": 2,
            "simulator": {"enabled": True},
            "networkPolicy": {"enabled": True, "apiServer": {"cidrs": [f"{self.node.address}/32"], "ports": [6443]}},
            "settings": {
                "applications": True,
                "platform": "gcp",
                "maskinportenCidrs": self.maskinporten,
                "keyPoolSize": 16,
                "keyGrace": "1s",  # so that what keeps a key registered is that a pod has it
                **self.list_lag,
            },
        }
        for name, value in changes.items():
            values[name] = {**values.get(name, {}), **value} if isinstance(value, dict) else value
        return values

    def helm(self, *arguments, values=None, wait="180s"):
        waiting = ["--wait", f"--timeout={wait}"] if wait else []
        more = (CHART, "--values=-") if values is not None else ()
        text = json.dumps(values) if values is not None else None
        return self.node.helm(*arguments, *more, *waiting, "-n", NAMESPACE, stdin=text, program=self.program)

    def install(self, **changes):
        return self.helm("install", RELEASE, values=self.values(**changes))

    def upgrade(self, **changes):
        said = self.helm("upgrade", RELEASE, values=self.values(**changes))
        self.wait_until_only_new_pods()
        return said

    def wait_until_only_new_pods(self):
        """Wait until the pods of earlier revisions are gone too, which Helm doesn't wait for."""
        self.node.kubectl("rollout", "status", f"deployment/{RELEASE}", "-n", NAMESPACE, "--timeout=120s")
        wait_for(lambda: len(self.operators()) == self.replicas(), PATIENCE, "the end of earlier pods")

    def find_revision(self):
        """The number of the release's present revision, for a rollback."""
        return json.loads(self.node.helm("status", RELEASE, "-n", NAMESPACE, "-o=json"))["version"]

    def replicas(self):
        return self.kube.find(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}")["spec"]["replicas"]

    def pods(self, namespace, selector):
        """The pods that aren't on their way out, by name."""
        found = self.kube.request("GET", f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector)["items"]
        return [
            Pod(one["metadata"]["name"], one["metadata"]["uid"], one["status"].get("podIP", ""), one)
            for one in sorted(found, key=lambda one: one["metadata"]["name"])
            if "deletionTimestamp" not in one["metadata"]
        ]

    def operators(self):
        return self.pods(NAMESPACE, f"app.kubernetes.io/component=operator,app.kubernetes.io/instance={RELEASE}")

    def leader(self):
        """The pod that has the Lease."""

        def look():
            lease = self.kube.find(f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{RELEASE}")
            holder = (lease or {}).get("spec", {}).get("holderIdentity") or ""
            return next((pod for pod in self.operators() if holder.startswith(pod.name)), None)

        return wait_for(look, PATIENCE, "a pod with the Lease")

    def simulator_pod(self):
        (pod,) = self.pods(NAMESPACE, f"app.kubernetes.io/component=simulator,app.kubernetes.io/instance={RELEASE}")
        return pod

    def control(self, method, path, body=None):
        """Call the simulator's control API, from within its pod: it answers nobody else."""
        script = (
            "import sys, urllib.request as u; m, path, body = sys.argv[1:]; "
            "print(u.urlopen(u.Request('http://127.0.0.1:8080/control/' + path, body.encode() or None, method=m))"
            ".read().decode())"
        )
        text = "" if body is None else json.dumps(body)
        pod = self.simulator_pod().name
        command = ["exec", pod, "-n", NAMESPACE, "--", "python3", "-c", script, method, path, text]
        return json.loads(self.node.kubectl(*command))

    def clients(self, namespace):
        """What DigDir has of a namespace: its active clients, by name; a list each, since one would be right."""
        found = {}
        for one in self.control("GET", "clients"):
            match = re.fullmatch(DESCRIPTION.format(namespace=namespace, name="(.+)"), one["description"])
            if match and one["active"]:
                found.setdefault(match[1], []).append(one)
        return found

    # What a team does

    def apply_example(self, name, namespace=TEAM):
        """Apply an example with the image that this node has, and give its Application's name."""
        document = yaml.safe_load((ROOT / "deploy" / "examples" / name).read_text())
        document["metadata"]["namespace"] = namespace
        document["spec"]["image"] = WORKLOAD
        self.node.kubectl("apply", "-f=-", stdin=json.dumps(document))
        return document["metadata"]["name"]

    def create_clients(self, namespace, names):
        for name in names:
            spec = {"secretName": name, "scopes": {"consumes": [{"name": "skatt:some.scope"}]}}
            self.kube.create_client(namespace, name, spec)

    def wait_ready(self, name, namespace=TEAM, kind=APPLICATION, seconds=PATIENCE):
        def look():
            found = self.kube.find(kind.path(namespace, name))
            return found if found and is_ready(found) else None

        try:
            return wait_for(look, seconds, f"Ready of {name}")
        except TimeoutError as error:
            seen = (self.kube.find(kind.path(namespace, name)) or {}).get("status")
            raise AssertionError(f"{error}; status {json.dumps(seen)}\n{self.logs()}") from None

    def wait_all_ready(self, namespace, names, seconds=PATIENCE):
        def look():
            found = self.kube.request("GET", MASKINPORTEN_CLIENT.path(namespace))["items"]
            ready = {one["metadata"]["name"] for one in found if is_ready(one)}
            return ready >= set(names)

        return wait_for(look, seconds, f"Ready of {len(names)} resources")

    def wait_for_workload(self, name, namespace=TEAM):
        """Wait until the newest Deployment's pods alone are there and ready; give one."""
        self.node.kubectl("rollout", "status", f"deployment/{name}", "-n", namespace, f"--timeout={PATIENCE:.0f}s")

        def look():
            pods = self.pods(namespace, f"app={name}")
            replicas = self.kube.find(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")["spec"]["replicas"]
            return pods if len(pods) == replicas else None

        return wait_for(look, PATIENCE, f"the pods of {name} alone")[0]

    def start_pod(self, name, namespace=TEAM, *, variables_of=None, files_of=None, command=None):
        """Start a pod of the workload that nobody manages, and give it when it is ready.

        Args:
            name: The pod's.
            namespace: Where.
            variables_of: A Secret for its environment.
            files_of: A Secret for the folder in which Applications find theirs.
            command: What it runs instead of the workload.
        """
        container = {
            "name": "workload",
            "image": WORKLOAD,
            "imagePullPolicy": "Never",
            "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        spec = {
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
        }
        if command:
            container["command"] = command
        if variables_of:
            container["envFrom"] = [{"secretRef": {"name": variables_of}}]
        if files_of:
            container["volumeMounts"] = [{"name": "files", "mountPath": FILES}]
            spec["volumes"] = [{"name": "files", "secret": {"secretName": files_of}}]
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"pod": name}}, "spec": spec}
        self.kube.request("POST", f"/api/v1/namespaces/{namespace}/pods", body)

        def look():
            return next((pod for pod in self.pods(namespace, f"pod={name}") if pod.is_ready), None)

        return wait_for(look, PATIENCE, f"pod {name}")

    def ask(self, pod, path, namespace=TEAM):
        """Ask a workload in its pod, through the API server and the kubelet's network."""
        path, _, query = path.partition("?")
        proxy = f"/api/v1/namespaces/{namespace}/pods/{pod.name}:8080/proxy{path}"
        return self.kube.request("GET", proxy, **dict(urllib.parse.parse_qsl(query)))

    def logs(self):
        found = []
        for pod in self.operators():
            try:
                found.append(self.node.kubectl("logs", pod.name, "-n", NAMESPACE, "--tail=20"))
            except ControlPlaneError as error:
                found.append(str(error))
        return "\n".join(found)


class Repeating:
    """Does something again and again in a thread, as long as this is entered: `_do` of those that inherit it."""

    def __init__(self, pause):
        self._pause = pause
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.rounds = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _run(self):
        while not self._ended.wait(self._pause):
            self._do()
            self.rounds += 1


def ask_until(trial, pod, path, right, namespace=TEAM, seconds=PATIENCE):
    """Ask again until the answer is right: a policy takes a moment to be enforced."""
    answers = []

    def look():
        try:
            answers.append(trial.ask(pod, path, namespace))
        except httpx.HTTPError as error:
            answers.append({"error": str(error)})
        return answers[-1] if right(answers[-1]) else None

    try:
        return wait_for(look, seconds, path)
    except TimeoutError as error:
        raise AssertionError(f"{error}: {answers[-1]}") from None


@contextmanager
def measured(figures, name):
    """Note how long the block takes, for the summary at the end."""
    begun = time.monotonic()
    yield
    figures[name] = f"{time.monotonic() - begun:.1f} s"
