"""A control plane, a simulator and an operator to measure with; the operator runs as its ServiceAccount."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from maskinporten_operator.model.resources import APPLICATION
from tools.cluster import Cluster
from tools.install import install
from tools.kube import CLIENTS, SECRETS, KubeClient, is_ready, is_true, wait_for
from tools.stack import NAMESPACE, SERVICE_ACCOUNT, Operator, Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tools.follow import Following

AUDIT_POLICY = Path(__file__).with_name("audit-policy.yaml")
SCOPE = "skatt:some.scope"
SETTLE = 2.0
"""Seconds of silence after the last resource is ready, in which further writes would still be counted."""
DEFAULT_POOL = 256
API_WRITES = (
    *("create-client", "update-client", "delete-client", "replace-keys", "delete-keys", "put-key", "delete-key"),
    *("create-scope", "update-scope", "delete-scope", "grant-access", "revoke-access"),
)


class BenchError(Exception):
    """A measurement came to no end."""


@dataclass(slots=True)
class Readiness:
    """When each resource was seen to be ready, and verified (monotonic seconds), and how often readiness was lost.

    An Application counts as ready when it is Synchronized: no node is there, so no pod comes up.
    """

    at: dict[str, float] = field(default_factory=dict)
    verified: dict[str, float] = field(default_factory=dict)
    relapses: int = 0

    def take(self, name: str, seen: float, client: Any) -> None:
        """Take in what a resource was seen to be."""
        if is_ready(client) or is_true(client, "Synchronized"):
            self.at.setdefault(name, seen)
        elif name in self.at:
            self.relapses += 1
        if is_true(client, "Verified"):
            self.verified.setdefault(name, seen)


@dataclass(frozen=True, slots=True)
class Mark:
    """A point in time in the ledger of DigDir and in the audit log of Kubernetes."""

    call: int
    offset: int


class Write(NamedTuple):
    """A write to Kubernetes; `resource` has its subresource, as in `maskinportenclients/status`."""

    resource: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the operator did since a mark: calls to DigDir by operation, and writes to Kubernetes."""

    calls: dict[str, int]
    writes: Counter[Write]

    @property
    def api_writes(self) -> int:
        """Calls that change something at DigDir."""
        return sum(self.calls.get(one, 0) for one in API_WRITES)

    @property
    def writes_by_name(self) -> Counter[str]:
        """Count the writes to Kubernetes by the name of what was written, whatever it is."""
        found: Counter[str] = Counter()
        for write, count in self.writes.items():
            found[write.name] += count
        return found

    @property
    def cluster_writes(self) -> int:
        """Writes to Kubernetes, Events not counted."""
        return sum(self.writes.values())


class Lab:
    """One control plane; simulators and operators come and go on it."""

    def __init__(self, *, audited: bool = True, audit_policy: Path = AUDIT_POLICY) -> None:
        """Start it and install the chart: CRDs and rights; `audited` costs the API server a line a write.

        `audit_policy` may say that it is a line for other calls too.
        """
        self._stack = ExitStack()
        try:
            self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            policy = audit_policy if audited else None
            self.cluster = self._stack.enter_context(Cluster.create("bench", audit_policy=policy, nodes=0))
            install(self.cluster)
            self.kube = self._stack.enter_context(KubeClient(self.cluster.admin_kubeconfig))
            self.kubeconfig = self.cluster.kubeconfig_of(SERVICE_ACCOUNT, NAMESPACE, "24h")
        except BaseException:
            self._stack.close()
            raise
        self.simulator: Simulator
        self.operator: Operator
        self._operator_started = 0.0
        self._runs = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_simulator(
        self, *, others: int = 0, other_scopes: int = 0, latency_ms: int = 0, more: dict[str, Any] | None = None
    ) -> Simulator:
        """Start a new simulator whose organisation has so many others' clients and scopes; `more` is for its seed."""
        self._runs += 1
        folder = self.folder / f"run-{self._runs}"
        folder.mkdir()
        seed = folder / "seed.yaml"
        seed.write_text(json.dumps({"generate_clients": others, "generate_scopes": other_scopes, **(more or {})}))
        options = ("--seed", str(seed), "--set", f"latency_ms={latency_ms}")
        self.simulator = self._stack.enter_context(Simulator(folder, *options))
        return self.simulator

    def start_operator(self, **settings: str) -> Operator:
        """Start an operator for the simulator."""
        folder = self.simulator.log.parent
        self._operator_started = time.monotonic()
        operator = Operator(folder, self.kubeconfig, self.simulator, log_level="WARNING", **settings)
        self.operator = self._stack.enter_context(operator)
        return self.operator.wait_ready(120)

    def warm_up(self, keys: int) -> float:
        """Wait until so many keys are minted ahead; give the seconds since the operator was started."""
        while self.operator.metric("maskinporten_operator_keys_ready") < keys:
            if time.monotonic() > self._operator_started + 300:
                raise BenchError(f"there aren't {keys} keys after 300 s")
            time.sleep(0.2)
        return time.monotonic() - self._operator_started

    def stop(self) -> None:
        """Stop operator and simulator."""
        self.operator.stop()
        self.simulator.stop()

    def mark(self) -> Mark:
        """Note where ledger and audit log are."""
        assert self.cluster.audit_log
        log = self.cluster.audit_log
        return Mark(self.mark_call(), log.stat().st_size if log.exists() else 0)

    def mark_call(self) -> int:
        """Note where the ledger is."""
        return int(self.simulator.control("GET", "ledger/summary")["last_sequence"])

    def traffic_since(self, mark: Mark) -> Traffic:
        """Count what the operator did since."""
        summary = self.simulator.control("GET", f"ledger/summary?since={mark.call}")
        if summary["dropped"]:
            raise BenchError("the ledger is too small for these figures")
        calls = {name: sum(by_status.values()) for name, by_status in summary["operations"].items()}
        return Traffic(calls, self._read_audit(mark.offset))

    def create(self, namespace: str, names: Iterable[str]) -> float:
        """Create MaskinportenClients, sixteen at a time; give the monotonic time of the first."""

        def create(name: str) -> None:
            self.kube.create_client(namespace, name, {"secretName": name, "scopes": {"consumes": [{"name": SCOPE}]}})

        return self.for_each(names, create)

    def create_exposing(
        self, namespace: str, exposing: Mapping[str, Any], annotations: Mapping[str, str] | None = None
    ) -> float:
        """Create MaskinportenClients that expose these scopes, as `create` does."""

        def create(name: str) -> None:
            spec = {"secretName": name, "scopes": {"exposes": exposing[name]}}
            self.kube.create_client(namespace, name, spec, annotations=dict(annotations or {}))

        return self.for_each(exposing, create)

    def create_applications(self, namespace: str, names: Iterable[str]) -> float:
        """Create Applications that consume a scope, as `create` does."""
        maskinporten = {"enabled": True, "scopes": {"consumes": [{"name": SCOPE}]}}

        def create(name: str) -> None:
            body = {
                "apiVersion": APPLICATION.api_version,
                "kind": APPLICATION.name,
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"image": "example/app:1", "maskinporten": maskinporten},
            }
            self.kube.request("POST", APPLICATION.path(namespace), body)

        return self.for_each(names, create)

    @staticmethod
    def for_each(names: Iterable[str], act: Callable[[str], None]) -> float:
        """Do something sixteen at a time; give the monotonic time of the first."""
        started = time.monotonic()
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(act, names))
        return started

    def count_secrets(self, namespace: str) -> int:
        """Count the operator's Secrets in a namespace."""
        selector = "app.kubernetes.io/managed-by=maskinporten-operator"
        listed = self.kube.request("GET", SECRETS.format(namespace=namespace), labelSelector=selector)
        return len(listed["items"])

    def remove_all(self, namespace: str) -> None:
        """Delete all resources of a namespace, and wait until they and their Secrets are gone."""
        clients = CLIENTS.format(namespace=namespace)
        self.kube.request("DELETE", clients)

        def is_empty() -> bool:
            time.sleep(0.5)
            return not self.kube.request("GET", clients, limit=1)["items"] and not self.count_secrets(namespace)

        wait_for(is_empty, 300, f"the end of everything in {namespace}")

    def wait_until(self, path: str, is_good: Callable[[Any], bool]) -> float:
        """Read an object, every 20 ms, until it is good; give the seconds that took."""
        started = time.monotonic()

        def look() -> bool:
            body = self.kube.find(path)
            return body is not None and is_good(body)

        wait_for(look, 60, f"the return of {path}")
        return time.monotonic() - started

    def _read_audit(self, offset: int) -> Counter[Write]:
        assert self.cluster.audit_log
        writes: Counter[Write] = Counter()
        if not self.cluster.audit_log.exists():
            return writes
        with self.cluster.audit_log.open("rb") as log:
            log.seek(offset)
            for line in log:
                about = (entry := json.loads(line)).get("objectRef") or {}
                if about.get("resource") != "events" and entry["responseStatus"]["code"] < 400:
                    resource = "/".join(filter(None, (about.get("resource"), about.get("subresource"))))
                    writes[Write(resource, str(about.get("namespace")), str(about.get("name")))] += 1
        return writes


def wait_until_ready(following: Following, names: Sequence[str], seconds: float, settle: float = SETTLE) -> Readiness:
    """Follow until all are ready, and `settle` seconds longer.

    Raises:
        BenchError: Not all were within `seconds`.
    """
    found = Readiness()
    wanted = set(names)
    for seen, client in following.until(time.monotonic() + seconds):
        name = client["metadata"]["name"]
        if name in wanted:
            found.take(name, seen, client)
        if len(found.at) == len(wanted):
            break
    else:
        raise BenchError(f"{len(found.at)} of {len(wanted)} were ready after {seconds:.0f} s")
    for seen, client in following.until(time.monotonic() + settle):
        found.take(client["metadata"]["name"], seen, client)
    return found
