"""The operator between a control plane and a simulator, and the words in which tests speak of them."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from typing import TYPE_CHECKING, Any, Self

import httpx

from maskinporten_operator.model.maskinportenclient import FINALIZER
from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT
from tests.e2e.recording_simulator import RecordingSimulator
from tests.e2e.trail import Trail
from tools.kube import CLIENTS, SECRETS, KubeClient, credentials, find_server, is_ready, wait_for
from tools.stack import NAMESPACE, SERVICE_ACCOUNT, Operator

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from tests.e2e.trail import Leak
    from tools.cluster import Cluster

PATIENCE = 60.0
"""Seconds to wait for what should take one or two: the machine may be busy with something else."""
QUIET = 1.5
"""Seconds without a pass after which what was begun has ended."""
CLUSTER_NAME = "test"
SCOPE = "skatt:some.scope"
DEFAULT_SCOPE = "nav:some/other/scope"
SETTINGS = {
    "cluster_name": CLUSTER_NAME,
    "key_pool_size": "4",
    "list_lag": "1s",
    "default_client_scope": DEFAULT_SCOPE,
    "log_level": "DEBUG",
}
WRITES = (
    *("create-client", "update-client", "delete-client", "replace-keys", "delete-keys", "put-key", "delete-key"),
    *("create-scope", "update-scope", "delete-scope", "grant-access", "revoke-access"),
)
FOREIGN = {"generate_clients": 100, "generate_scopes": 100}
"""What others have in the organisation, so many of each; a file's `FOREIGN` may ask for more."""


class Stage:
    """A simulator and an operator that runs as its ServiceAccount, on a cluster that outlives them."""

    def __init__(self, cluster: Cluster, folder: Path, foreign: dict[str, int] = FOREIGN, **settings: str) -> None:
        self.cluster = cluster
        self.seed_file = folder / "seed.json"
        self.seed_file.write_text(json.dumps({"prefixes": ["nav"], **foreign}))
        self.folder = folder
        self.settings = {**SETTINGS, **settings}
        self.kubeconfig = cluster.kubeconfig_of(SERVICE_ACCOUNT, NAMESPACE)
        self.kube = KubeClient(cluster.admin_kubeconfig)
        self.operator: Operator | None = None
        self.others: list[Operator] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.kube)
            self.simulator = stack.enter_context(RecordingSimulator(self.folder, "--seed", str(self.seed_file)))
            self.trail = stack.enter_context(Trail(self.cluster.admin_kubeconfig, self.folder / "trail"))
            stack.callback(self._end)
            self.sweep()
            self.foreign = self.read_foreign()
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _end(self) -> None:
        for one in self._operators:
            one.kill()
        self.sweep()

    @property
    def _operators(self) -> list[Operator]:
        return [one for one in (self.operator, *self.others) if one]

    def find_leaks(self) -> list[Leak]:
        """Search what operators and simulator have left behind so far for secrets: see `trail`."""
        for one in self._operators:
            self.trail.look_at(one)
        self.trail.canaries.add_token(
            "the ServiceAccount's token", find_server(self.kubeconfig)["headers"]["Authorization"]
        )
        logs = {*self.folder.glob("*.log"), *(one.log for one in self._operators)}
        return self.trail.find_leaks(logs, self.simulator)

    def read_foreign(self) -> dict[str, dict[str, Any]]:
        """Give what others have in the organisation, by name: nothing that the operator does may change it."""
        clients = [one for one in self.simulator.clients() if one["description"].startswith("Generated ")]
        scopes = [one for one in self.simulator.scopes() if one["description"].startswith("Generated ")]
        return {one["client_id"]: one for one in clients} | {one["name"]: one for one in scopes}

    # Processes

    def start(self, **settings: str) -> Operator:
        """Start the operator with these settings besides the stage's own."""
        values = {**self.settings, **settings}
        self.operator = Operator(self.folder, self.kubeconfig, self.simulator, **values)
        return self.operator

    def start_another(
        self, kubeconfig: Path | None = None, kind: type[Operator] = Operator, **settings: str
    ) -> Operator:
        """Start one more operator beside `operator`, with a log of its own."""
        log = f"operator-{next(NUMBERS)}.log"
        kubeconfig = kubeconfig or self.kubeconfig
        other = kind(self.folder, kubeconfig, self.simulator, log, **{**self.settings, **settings})
        self.others.append(other)
        return other

    def start_ready(self, **settings: str) -> Operator:
        """Start the operator and wait until it is ready."""
        return self.start(**settings).wait_ready(PATIENCE)

    def restart(self, **settings: str) -> Operator:
        """Stop the operator in order, and start it anew."""
        assert self.operator
        self.trail.look_at(self.operator)
        assert self.operator.stop() == 0
        return self.start_ready(**settings)

    def wait_until_quiet(self) -> None:
        """Wait until no pass has ended for `QUIET` seconds."""
        passes, since = self.passes, time.monotonic()

        def look() -> bool:
            nonlocal passes, since
            if (latest := self.passes) != passes:
                passes, since = latest, time.monotonic()
            return time.monotonic() - since >= QUIET

        wait_for(look, PATIENCE, "quiet")

    @property
    def passes(self) -> float:
        """How many passes the operator has ended."""
        assert self.operator
        return self.operator.metric("maskinporten_operator_reconcile_total")

    def wait_for_passes(self, count: int, since: float) -> None:
        """Wait until `count` more passes have ended than had at `since`."""
        wait_for(lambda: self.passes >= since + count, PATIENCE, f"{count} passes")

    # Resources

    def create(
        self,
        namespace: str,
        name: str = "app",
        *scopes: str,
        secret: str | None = None,
        spec: dict[str, Any] | None = None,
        **metadata: Any,
    ) -> Any:
        """Create a MaskinportenClient whose Secret is named `<name>-secret`."""
        consumed = [{"name": scope} for scope in scopes or (SCOPE,)]
        body = {"secretName": secret or f"{name}-secret", "scopes": {"consumes": consumed}, **(spec or {})}
        return self.kube.create_client(namespace, name, body, **metadata)

    def expose(self, namespace: str, name: str = "api", *scopes: dict[str, Any], **metadata: Any) -> Any:
        """Create a MaskinportenClient that exposes these scopes and consumes none."""
        spec = {"scopes": {"exposes": list(scopes)}}
        return self.create(namespace, name, spec=spec, **metadata)

    def expose_ready(self, namespace: str, name: str = "api", *scopes: dict[str, Any], **metadata: Any) -> Any:
        """Create a MaskinportenClient that exposes these scopes, wait until it is Ready, and give it."""
        self.expose(namespace, name, *scopes, **metadata)
        return self.wait_ready(namespace, name)

    def edit_exposed(self, namespace: str, name: str = "api", *scopes: dict[str, Any]) -> Any:
        """Replace the exposed scopes in a spec."""
        return self.kube.patch_client(namespace, name, {"spec": {"scopes": {"exposes": list(scopes)}}})

    def wait_ready(self, namespace: str, name: str = "app", seconds: float = PATIENCE) -> Any:
        """Wait until a resource is Ready at its present generation, and its credentials were tried; give it."""

        def look() -> Any:
            found = self.kube.find_client(namespace, name)
            return found if found and is_ready(found) and not _waits_for_proof(found) else None

        return self._wait(look, seconds, f"Ready of {namespace}/{name}", namespace, name)

    def create_ready(self, namespace: str, name: str = "app", *scopes: str, **more: Any) -> Any:
        """Create a MaskinportenClient, wait until it is Ready, and give it."""
        self.create(namespace, name, *scopes, **more)
        return self.wait_ready(namespace, name)

    def find_condition(self, namespace: str, name: str = "app", kind: str = "Ready") -> dict[str, Any]:
        """Give a condition, an empty one if there is none."""
        client = self.kube.find_client(namespace, name) or {}
        conditions = client.get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == kind), {})

    def wait_for_reason(
        self, namespace: str, name: str, reason: str, *, kind: str = "Ready", seconds: float = PATIENCE
    ) -> dict[str, Any]:
        """Wait until a condition has a reason, and give it."""

        def look() -> dict[str, Any] | None:
            condition = self.find_condition(namespace, name, kind)
            return condition if condition.get("reason") == reason else None

        found: dict[str, Any] = self._wait(look, seconds, f"{reason} of {namespace}/{name}", namespace, name)
        return found

    def annotate(self, namespace: str, name: str, **annotations: str | None) -> None:
        """Set annotations of our domain, `delete="true"` for one."""
        values = {f"digdir.nais.io/{key}": value for key, value in annotations.items()}
        self.kube.patch_client(namespace, name, {"metadata": {"annotations": values}})

    def wait_gone(self, namespace: str, name: str = "app", seconds: float = PATIENCE) -> None:
        """Wait until a resource is gone."""
        self._wait(
            lambda: self.kube.find_client(namespace, name) is None,
            seconds,
            f"end of {namespace}/{name}",
            namespace,
            name,
        )

    def delete(self, namespace: str, name: str = "app", policy: str = "Background") -> None:
        """Delete a resource and wait until it is gone."""
        self.kube.delete_client(namespace, name, policy)
        self.wait_gone(namespace, name)

    def sweep(self, namespace: str | None = None) -> None:
        """Remove all resources of a namespace or of all, the finalizer by force."""
        path = CLIENTS.format(namespace=namespace) if namespace else MASKINPORTEN_CLIENT.path()
        if self.kube.find(path) is None:
            return
        while items := self.kube.request("GET", path)["items"]:
            for item in items:
                metadata = item["metadata"]
                one = f"{CLIENTS.format(namespace=metadata['namespace'])}/{metadata['name']}"
                with contextlib.suppress(httpx.HTTPStatusError):  # it went, or changed, meanwhile
                    self.kube.request("DELETE", one)
                with contextlib.suppress(httpx.HTTPStatusError):
                    self.kube.request("PATCH", one, {"metadata": {"finalizers": None}}, "application/merge-patch+json")

    # Secrets

    def find_secret(self, namespace: str, name: str = "app-secret") -> Any | None:
        """Read a Secret; None if there is none."""
        return self.kube.find_secret(namespace, name)

    def read_secret(self, namespace: str, name: str = "app-secret") -> dict[str, str]:
        """Give a Secret's values."""
        return credentials(self.find_secret(namespace, name))

    def wait_for_secret(self, namespace: str, name: str = "app-secret", *, unlike: Any = None) -> Any:
        """Wait until there is a Secret, with another uid and version than `unlike`."""
        metadata = (unlike or {}).get("metadata", {})
        old = metadata.get("uid"), metadata.get("resourceVersion")

        def look() -> Any:
            found = self.find_secret(namespace, name)
            return found if found and (found["metadata"]["uid"], found["metadata"]["resourceVersion"]) != old else None

        return self._wait(look, PATIENCE, f"Secret {namespace}/{name}", namespace, name.removesuffix("-secret"))

    def patch_secret(self, namespace: str, patch: dict[str, Any], name: str = "app-secret") -> Any:
        """Merge a patch into a Secret."""
        path = f"{SECRETS.format(namespace=namespace)}/{name}"
        return self.kube.request("PATCH", path, patch, "application/merge-patch+json")

    def create_secret(self, namespace: str, name: str, values: dict[str, str], **metadata: Any) -> Any:
        """Create a Secret."""
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, **metadata},
            "stringData": values,
        }
        return self.kube.request("POST", SECRETS.format(namespace=namespace), body)

    def delete_secret(self, namespace: str, name: str = "app-secret") -> None:
        """Delete a Secret."""
        self.kube.request("DELETE", f"{SECRETS.format(namespace=namespace)}/{name}")

    # DigDir

    def registrations(self, namespace: str, name: str = "app") -> list[dict[str, Any]]:
        """Give the registrations with a resource's description, inactive ones too."""
        return self.simulator.clients(f"{CLUSTER_NAME}:{namespace}:{name}")

    def registration(self, namespace: str, name: str = "app") -> dict[str, Any]:
        """Give a resource's one registration; there must be one."""
        (found,) = self.registrations(namespace, name)
        return found

    def scope(self, name: str) -> dict[str, Any]:
        """Give the scope of a full name, with its `accesses`; there must be one."""
        (found,) = self.simulator.scopes(name)
        return found

    def consumers(self, name: str) -> set[str]:
        """Give who has access to a scope."""
        return {orgno for orgno, state in self.scope(name)["accesses"].items() if state == "APPROVED"}

    def kids(self, namespace: str, name: str = "app") -> list[str]:
        """Give the ids of the keys of a resource's one registration."""
        return [key["kid"] for key in self.registration(namespace, name)["keys"]]

    def fault(self, kind: str, **order: Any) -> int:
        """Let something go wrong with the next calls of the API; give its number."""
        number: int = self.simulator.control("POST", "faults", {"kind": kind, **order})["id"]
        return number

    def clear_faults(self) -> None:
        """Let everything go well again."""
        self.simulator.control("DELETE", "faults")

    def wait_for_held(self, number: int) -> None:
        """Wait until a fault of kind `hold` holds a call."""
        wait_for(lambda: self.simulator.control("GET", f"faults/{number}")["held"], PATIENCE, "a held call")

    @property
    def sequence(self) -> int:
        """The number of the latest call that DigDir got."""
        summary: dict[str, Any] = self.simulator.control("GET", "ledger/summary")
        return int(summary["last_sequence"])

    @property
    def violations(self) -> list[dict[str, Any]]:
        """Give the calls that break the contract of DigDir's API."""
        found: list[dict[str, Any]] = self.simulator.control("GET", "violations")
        return found

    def calls(self, operation: str, since: int = 0) -> list[dict[str, Any]]:
        """Give the calls of an operation after the one with the number `since`."""
        found: list[dict[str, Any]] = self.simulator.control("GET", f"ledger?operation={operation}&since={since}")[
            "entries"
        ]
        return found

    def writes(self, since: int = 0) -> list[str]:
        """Give the operations that write, as often as they were called."""
        calls = self.simulator.control("GET", f"ledger?since={since}")["entries"]
        return [call["operation"] for call in calls if call["operation"] in WRITES]

    def _wait(self, look: Any, seconds: float, what: str, namespace: str, name: str) -> Any:
        try:
            return wait_for(look, seconds, what)
        except TimeoutError as error:
            client = self.kube.find_client(namespace, name)
            state = json.dumps((client or {}).get("status"), indent=1)
            raise AssertionError(f"{error}\nstatus: {state}") from None


def exposed(name: str, *consumers: str, product: str = "arbeid", **more: Any) -> dict[str, Any]:
    """Build an exposed scope as a spec has it."""
    return {
        "name": name,
        "product": product,
        "enabled": True,
        "consumers": [{"orgno": orgno} for orgno in consumers],
        **more,
    }


def _waits_for_proof(client: dict[str, Any]) -> bool:
    """Whether a status is about to be written once more, when Maskinporten has answered."""
    return any(one["reason"] == "WaitingForPropagation" for one in client["status"]["conditions"])


def held_kid(values: dict[str, str]) -> str:
    """Give the key id in a Secret's values."""
    kid: str = json.loads(values["MASKINPORTEN_CLIENT_JWK"])["kid"]
    return kid


NUMBERS = itertools.count(1)
__all__ = ["FINALIZER", "NUMBERS", "Stage", "exposed", "held_kid"]
