"""The benchmarks, each a function that fills a section."""

from __future__ import annotations

import math
import time
from base64 import b64encode
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import httpx
from pydantic import ValidationError

from bench.applications import (
    measure_application_latency,
    measure_application_repair,
    measure_applications,
)
from bench.failover import measure_failover
from bench.figures import Section, percentile
from bench.growth import measure_growth
from bench.lab import DEFAULT_POOL, Lab, Mark, Readiness, Traffic, wait_until_ready
from bench.liveness import measure_liveness
from bench.outage import measure_outages
from bench.rotation import measure_rotation
from bench.scopes import measure_deletion, measure_scopes
from bench.tenants import measure_failures, measure_tenants
from maskinporten_operator.model.maskinportenclient import MaskinportenClientSpec
from tools.follow import Following
from tools.kube import CLIENTS, SECRETS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.scale import Scale

MIB = 2**20
AFTERWARDS = 10.0
"""Seconds after the last Ready in which credentials are tried, and Events posted."""
EVIL_NAME = "a" * 40 + "!"
ARABIC_INDIC_ORGNO = "".join(chr(0x0660 + digit) for digit in range(1, 10))


@dataclass(frozen=True, slots=True)
class Creation:
    """What came of N resources that were created at once."""

    size: int
    seconds: float
    readiness: Readiness
    traffic: Traffic
    clients: int
    secrets: int


class Bench:
    """Runs benchmarks; a large fleet that one of them made is there for the next."""

    def __init__(self, scale: Scale, tell: Callable[[str], None]) -> None:
        """Measure at `scale`, and `tell` what is being done."""
        self.scale = scale
        self.tell = tell
        self._stack = ExitStack()
        self._fleet: tuple[Lab, Creation] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def measure_creation(self) -> Section:
        """N at once: everything is there once, with few calls."""
        section = Section(
            "creation",
            "N resources at once, no latency, a pool of keys that has just begun to fill",
            "clients active at the simulator and Secrets by label, 2 s after the last resource was seen Ready by a "
            "watch; calls by the simulator's ledger since the operator's start; Kubernetes writes by the API server's "
            "audit log, those of the operator's ServiceAccount without Events; seconds from the first POST to the "
            "last Ready",
        )
        for size in self.scale.sizes:
            creation = self._create_fleet(size) if size == self.scale.fleet else self._create_in_own_lab(size)
            _report_creation(section, creation)
        return section

    def measure_burst(self) -> Section:
        """Many at once, as after a restore."""
        scale = self.scale
        section = Section(
            "burst",
            f"{scale.burst} at once, {scale.others} other clients in the organisation",
            "seconds from the first POST to the last Ready, seen by a watch; warm: the default pool of "
            f"{DEFAULT_POOL} keys is full; cold: key_pool_size=0, each key is minted when it is asked for; for each "
            f"run a new simulator, operator and namespace; CPU of the main process until {AFTERWARDS:.0f} s later",
        )
        warm_ups = []
        with Lab(audited=False) as lab:
            for latency in (0, 50):
                for warm in (True, False):
                    seconds, cpu = [], []
                    for run in range(scale.runs):
                        state = "warm" if warm else "cold"
                        self.tell(f"{scale.burst} at once, {latency} ms, {state}, run {run + 1} of {scale.runs}")
                        lab.start_simulator(others=scale.others, latency_ms=latency)
                        lab.start_operator(**({} if warm else {"key_pool_size": "0"}))
                        if warm:
                            warm_ups.append(lab.warm_up(DEFAULT_POOL))
                        namespace, before = f"burst-{latency}-{state}-{run}", lab.operator.cpu_seconds()
                        seconds.append(_create_all(lab, namespace, scale.burst)[0])
                        time.sleep(AFTERWARDS)
                        cpu.append(lab.operator.cpu_seconds() - before)
                        lab.remove_all(namespace)
                        lab.stop()
                    section.add_spread(f"{latency} ms, {state}", seconds, "s", most=5 if warm else None)
                    section.add_spread(f"{latency} ms, {state}, CPU", cpu, "s")
        section.add_spread(f"warm-up of {DEFAULT_POOL} keys", warm_ups, "s")
        return section

    def measure_memory(self) -> Section:
        """What it takes to hold a large fleet."""
        size = self.scale.fleet
        section = Section(
            "memory",
            f"{size} converged resources, the pool of {DEFAULT_POOL} keys full",
            "VmRSS of the main process; PSS of it and all its children; 5 s after everything was done",
        )
        self._create_fleet(size)
        assert self._fleet
        lab = self._fleet[0]
        lab.warm_up(DEFAULT_POOL)
        time.sleep(5)
        resident, proportional = lab.operator.memory()
        section.add("RSS, main process", resident / MIB, "MiB", most=130)
        section.add("PSS, all processes", proportional / MIB, "MiB", most=200)
        return section

    def measure_restart(self) -> Section:
        """A restart and a resync change nothing."""
        size, interval = self.scale.fleet, self.scale.resync_seconds
        section = Section(
            "restart",
            f"{size} converged resources: restart, then resync (every {interval} s here)",
            "writes by the simulator's ledger and by the audit log (Events not counted); seconds, to 0.3 s, until the "
            "metric of passes has counted every resource, from the start of the process and from the first pass of "
            "the resync",
        )
        self._create_fleet(size)
        assert self._fleet
        lab = self._fleet[0]
        lab.operator.stop()
        mark = lab.mark()
        self.tell(f"restart with {size}")
        started = time.monotonic()
        lab.start_operator(resync_interval=str(interval))
        _wait_for_passes(lab, size, 300)
        section.add("restart: until all were passed over", time.monotonic() - started, "s")
        traffic = lab.traffic_since(mark)
        section.add("restart: writes to Kubernetes", traffic.cluster_writes, exactly=0)
        section.add("restart: writes to the API", traffic.api_writes, exactly=0)
        section.add("restart: calls to the API in all", sum(traffic.calls.values()))
        mark = lab.mark()
        self.tell("resync")
        before = _count_passes(lab)
        _wait_for_passes(lab, before + 1, interval * 2)
        began = time.monotonic()
        _wait_for_passes(lab, before + size, 300)
        section.add("resync: until all were passed over", time.monotonic() - began, "s")
        traffic = lab.traffic_since(mark)
        section.add("resync: writes to Kubernetes", traffic.cluster_writes, exactly=0)
        section.add("resync: writes to the API", traffic.api_writes, exactly=0)
        section.add("resync: calls to the API in all", sum(traffic.calls.values()))
        resident, proportional = lab.operator.memory()
        section.add("RSS, main process, after restart and resync", resident / MIB, "MiB", most=130)
        section.add("PSS, all processes, after restart and resync", proportional / MIB, "MiB", most=200)
        return section

    def measure_latency(self) -> Section:
        """One resource after another."""
        count = self.scale.sequence
        section = Section(
            "latency",
            f"one resource at a time, {count} of them, at least 1.2 s apart",
            "from before the POST to Ready and to Verified, seen by a watch; the API answers at once; the pool is full",
        )
        with Lab() as lab, ExitStack() as stack:
            lab.start_simulator()
            lab.start_operator()
            lab.warm_up(DEFAULT_POOL)
            lab.kube.create_namespace("one-by-one")
            following = stack.enter_context(Following(lab.cluster.admin_kubeconfig, "one-by-one"))
            seconds, verified = [], []
            for number in range(count):
                self.tell(f"one at a time, {number + 1} of {count}")
                name = f"app-{number}"
                started = lab.create("one-by-one", [name])
                readiness = wait_until_ready(following, [name], 30)
                seconds.append(readiness.at[name] - started)
                verified.append(readiness.verified.get(name, math.inf) - started)
        section.add("create → Ready, p50", percentile(seconds, 50) * 1000, "ms", most=150)
        section.add("create → Ready, p90", percentile(seconds, 90) * 1000, "ms")
        section.add("create → Verified, p50", percentile(verified, 50) * 1000, "ms")
        section.add("create → Verified, max", max(verified) * 1000, "ms", most=1000)
        return section

    def measure_repair(self) -> Section:
        """A Secret that somebody deletes or edits comes back."""
        count = self.scale.repairs
        section = Section(
            "repair",
            f"a Secret deleted, and one edited, {count} times each",
            "from the answer to the DELETE or PATCH until a GET, every 20 ms, gives a whole Secret again; the API "
            "answers at once",
        )
        with Lab() as lab:
            lab.start_simulator()
            lab.start_operator()
            lab.warm_up(DEFAULT_POOL)
            _create_all(lab, "repairs", count)
            for what, repair in (("deleted", _delete_secret), ("edited", _edit_secret)):
                self.tell(f"Secrets {what}")
                seconds = [repair(lab, f"app-{number}") for number in range(count)]
                section.add(f"{what} → back, p50", percentile(seconds, 50) * 1000, "ms")
                section.add(f"{what} → back, max", max(seconds) * 1000, "ms", most=2000)
        return section

    def measure_refusal(self) -> Section:
        """Input made to be slow is refused at once."""
        section = Section(
            "refusal",
            "input made to be slow to check, or to look right",
            "the slowest of 20: a POST of the resource, answered 422, and the validation by the operator's model; "
            "before them one POST that is accepted, since the API server prepares itself at a kind's first request",
        )
        exposed = {"name": "some.scope.read", "product": "arbeid", "enabled": True}
        cases = {
            "a scope's name of forty a's and a !": {**exposed, "name": EVIL_NAME},
            "an orgno in Arabic-Indic digits": {**exposed, "consumers": [{"orgno": ARABIC_INDIC_ORGNO}]},
        }
        with Lab() as lab:
            lab.kube.create_namespace("refused")
            lab.create("refused", ["accepted"])
            for what, scope in cases.items():
                spec = {"secretName": "refused", "scopes": {"exposes": [scope]}}
                by_server = [_refuse_by_server(lab, spec) for _ in range(20)]
                by_model = [_refuse_by_model(spec) for _ in range(20)]
                section.add(f"{what}: API server", max(by_server) * 1000, "ms", most=50)
                section.add(f"{what}: model", max(by_model) * 1000, "ms", most=50)
        return section

    def _create_fleet(self, size: int) -> Creation:
        """Create the largest number of resources, once; they stay."""
        if self._fleet is None:
            lab = self._stack.enter_context(Lab())
            self.tell(f"{size} at once")
            self._fleet = lab, _start_and_create(lab, size)
        return self._fleet[1]

    def _create_in_own_lab(self, size: int) -> Creation:
        self.tell(f"{size} at once")
        with Lab() as lab:
            return _start_and_create(lab, size)


BENCHMARKS: Mapping[str, Callable[[Bench], Section]] = {
    "creation": Bench.measure_creation,
    "memory": Bench.measure_memory,
    "restart": Bench.measure_restart,
    "burst": Bench.measure_burst,
    "latency": Bench.measure_latency,
    "repair": Bench.measure_repair,
    "refusal": Bench.measure_refusal,
    "failover": lambda bench: measure_failover(bench.scale, bench.tell),
    "outage": lambda bench: measure_outages(bench.scale, bench.tell),
    "liveness": lambda bench: measure_liveness(bench.scale.runs, bench.tell),
    "applications": lambda bench: measure_applications(bench.scale, bench.tell),
    "application-latency": lambda bench: measure_application_latency(bench.scale, bench.tell),
    "application-repair": lambda bench: measure_application_repair(bench.scale, bench.tell),
    "scopes": lambda bench: measure_scopes(bench.scale, bench.tell),
    "deletion": lambda bench: measure_deletion(bench.scale, bench.tell),
    "tenants": lambda bench: measure_tenants(bench.scale, bench.tell),
    "growth": lambda bench: measure_growth(bench.scale, bench.tell),
    "failures": lambda bench: measure_failures(bench.scale, bench.tell),
    "rotation": lambda bench: measure_rotation(bench.scale, bench.tell),
}


def _start_and_create(lab: Lab, size: int) -> Creation:
    lab.start_simulator()
    mark = lab.mark()
    lab.start_operator()
    return _create(lab, "fleet", size, mark)


def _create(lab: Lab, namespace: str, size: int, since: Mark) -> Creation:
    seconds, readiness = _create_all(lab, namespace, size)
    ours = [one for one in lab.simulator.clients() if str(one.get("description")).startswith(f"test:{namespace}:")]
    return Creation(
        size,
        seconds,
        readiness,
        lab.traffic_since(since),
        len(ours),
        lab.count_secrets(namespace),
    )


def _create_all(lab: Lab, namespace: str, size: int) -> tuple[float, Readiness]:
    """Create resources in a new namespace; give the seconds until the last was ready."""
    lab.kube.create_namespace(namespace)
    names = [f"app-{number}" for number in range(size)]
    with Following(lab.cluster.admin_kubeconfig, namespace) as following:
        started = lab.create(namespace, names)
        readiness = wait_until_ready(following, names, 600)
    return max(readiness.at.values()) - started, readiness


def _report_creation(section: Section, creation: Creation) -> None:
    size, calls = creation.size, creation.traffic.calls
    writes = creation.traffic.writes_by_name
    section.add(f"N = {size}: clients at the API", creation.clients, exactly=size)
    section.add(f"N = {size}: Secrets", creation.secrets, exactly=size)
    section.add(f"N = {size}: Ready", len(creation.readiness.at), exactly=size)
    section.add(f"N = {size}: Ready, then not", creation.readiness.relapses, exactly=0)
    section.add(f"N = {size}: API writes per resource", creation.traffic.api_writes / size, exactly=2)
    section.add(f"N = {size}: reads of single clients", calls.get("read-client", 0) + calls.get("list-keys", 0))
    section.add(f"N = {size}: list calls", calls.get("list-clients", 0))
    section.add(f"N = {size}: token requests", calls.get("token", 0), most=1)
    section.add(f"N = {size}: Kubernetes writes per resource", creation.traffic.cluster_writes / size, most=3)
    section.add(f"N = {size}: Kubernetes writes, most for one", max(writes.values(), default=0), most=3)
    section.add(f"N = {size}: create → all Ready", creation.seconds, "s")


def _count_passes(lab: Lab) -> int:
    return int(lab.operator.metric("maskinporten_operator_reconcile_time_seconds_count"))


def _wait_for_passes(lab: Lab, count: int, seconds: float) -> None:
    def enough() -> bool:
        time.sleep(0.2)
        return _count_passes(lab) >= count

    wait_for(enough, seconds, f"pass {count}")


def _delete_secret(lab: Lab, name: str) -> float:
    path = f"{SECRETS.format(namespace='repairs')}/{name}"
    lab.kube.request("DELETE", path)
    return lab.wait_until(path, lambda secret: len(secret.get("data") or {}) == 7)


def _edit_secret(lab: Lab, name: str) -> float:
    path = f"{SECRETS.format(namespace='repairs')}/{name}"
    good: Any = lab.kube.find(path)
    edit = {"data": {"MASKINPORTEN_SCOPES": b64encode(b"another:scope").decode(), "MASKINPORTEN_ISSUER": None}}
    lab.kube.request("PATCH", path, edit, "application/merge-patch+json")
    return lab.wait_until(path, lambda secret: bool(secret["data"] == good["data"]))


def _refuse_by_server(lab: Lab, spec: Mapping[str, Any]) -> float:
    body = {
        "apiVersion": "nais.io/v1",
        "kind": "MaskinportenClient",
        "metadata": {"name": "refused", "namespace": "refused"},
        "spec": spec,
    }
    started = time.monotonic()
    try:
        lab.kube.request("POST", CLIENTS.format(namespace="refused"), body)
    except httpx.HTTPStatusError as error:
        if error.response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            return time.monotonic() - started
        raise
    raise AssertionError("the API server accepted it")


def _refuse_by_model(spec: Mapping[str, Any]) -> float:
    started = time.monotonic()
    try:
        MaskinportenClientSpec.model_validate(spec)
    except ValidationError:
        return time.monotonic() - started
    raise AssertionError("the model accepted it")
