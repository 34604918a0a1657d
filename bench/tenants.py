"""What one namespace's load does to the others: many scopes, many clients, many resources that always fail."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.figures import Section, percentile
from bench.lab import DEFAULT_POOL, BenchError, Lab, wait_until_ready
from tools.follow import Following
from tools.kube import CLIENTS, SECRETS, is_ready, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.scale import Scale

LATENCY_MS = 40
ORGNOS = ("974761076", "970018131")
FAILING_ORGNO = "971032146"
BYSTANDER, BUSY = "bystander", "busy"
PROBES = 6
"""How often each thing is tried in the other namespace."""
PATIENCE = 900.0
POLL_SECONDS = 0.05
DELETE = {"digdir.nais.io/delete": "true"}


def measure_tenants(scale: Scale, tell: Callable[[str], None]) -> Section:
    """Load one namespace, and see how long another one waits for what it asks."""
    exposing, scopes, clients = scale.busy_exposing, scale.busy_scopes, scale.busy_clients
    section = Section(
        "tenants",
        f"a busy namespace beside a calm one at {LATENCY_MS} ms a call: {exposing} resources x {scopes} exposed scopes "
        f"x {len(ORGNOS)} consumers, then {clients} clients, then a restart, each at once",
        f"in the calm namespace, from when the busy one's first resource was created, at most {PROBES} times each and "
        "one after the other: seconds from a POST to Ready, from the DELETE of a Secret to its return, from the DELETE "
        "of a resource, one that is kept at DigDir and one that isn't, to its end; polled every "
        f"{POLL_SECONDS * 1000:.0f} ms; seconds from the busy namespace's first POST to its last Ready, by a watch",
    )
    with Lab() as lab:
        lab.start_simulator(latency_ms=LATENCY_MS)
        lab.start_operator()
        lab.warm_up(DEFAULT_POOL)
        lab.kube.create_namespace(BYSTANDER)
        tell("a calm operator")
        with _probing(section, lab, "calm", limited=False):
            pass
        tell(f"{exposing} resources with {scopes} scopes each")
        _load_scopes(section, lab, exposing, scopes)
        lab.warm_up(DEFAULT_POOL)
        tell(f"{clients} clients")
        _load_clients(section, lab, clients)
        tell("a restart")
        _load_by_restart(section, lab)
    return section


def measure_failures(scale: Scale, tell: Callable[[str], None]) -> Section:
    """Resources that always fail, and are tried again and again, among healthy ones."""
    size = scale.failing
    section = Section(
        "failures",
        f"{size} resources that always fail among {size} healthy ones, no latency",
        "all healthy ones edited at once, before there are failing ones and when each of them has failed: seconds from "
        "each PATCH to Ready, seen by a watch",
    )
    with Lab(audited=False) as lab:
        _measure_failing(section, lab, size, tell)
    return section


def _load_scopes(section: Section, lab: Lab, size: int, scopes: int) -> None:
    namespace = f"{BUSY}-scopes"
    lab.kube.create_namespace(namespace)
    consumers = [{"orgno": orgno} for orgno in ORGNOS]
    exposing = {
        f"api-{number}": [
            {"name": f"api{number}.s{one}", "product": "busy", "enabled": True, "consumers": consumers}
            for one in range(scopes)
        ]
        for number in range(size)
    }
    mark = lab.mark()
    with Following(lab.cluster.admin_kubeconfig, namespace) as following, _probing(section, lab, f"{size} x {scopes}"):
        started = lab.create_exposing(namespace, exposing)
        readiness = wait_until_ready(following, list(exposing), PATIENCE)
    written = lab.traffic_since(mark).writes
    own = sum(count for write, count in written.items() if write.namespace == namespace)
    section.add(f"{size} x {scopes}: the busy one's all Ready", max(readiness.at.values()) - started, "s")
    section.add(f"{size} x {scopes}: the busy one's Ready, then not", readiness.relapses, exactly=0)
    section.add(f"{size} x {scopes}: the busy one's writes to Kubernetes, per resource", own / size)


def _load_clients(section: Section, lab: Lab, size: int) -> None:
    namespace = f"{BUSY}-clients"
    lab.kube.create_namespace(namespace)
    names = [f"app-{number}" for number in range(size)]
    with Following(lab.cluster.admin_kubeconfig, namespace) as following, _probing(section, lab, f"{size} clients"):
        started = lab.create(namespace, names)
        readiness = wait_until_ready(following, names, PATIENCE)
    section.add(f"{size} clients: the busy one's all Ready", max(readiness.at.values()) - started, "s")


def _load_by_restart(section: Section, lab: Lab) -> None:
    """All resources of the namespaces that were busy are looked at at once, and the scopes' access lists are read."""
    lab.operator.stop()
    lab.start_operator()
    known = int(lab.operator.metric("maskinporten_operator_resources"))
    with _probing(section, lab, "restart"):
        started = time.monotonic()

        def are_done() -> bool:
            time.sleep(POLL_SECONDS)
            waiting = lab.operator.metric("maskinporten_operator_queue_depth")
            running = lab.operator.metric("maskinporten_operator_active_workers")
            return not waiting and running <= 1

        wait_for(are_done, PATIENCE, "the end of all passes")
    section.add(f"restart: {known} passed over", time.monotonic() - started, "s")


@contextmanager
def _probing(section: Section, lab: Lab, what: str, *, limited: bool = True) -> Iterator[None]:
    """Ask for things in the calm namespace, one thread each kind, while it is loaded elsewhere."""
    kinds = {
        "client Ready": (_create_client, 3.0),
        "Secret back": (_lose_secret, 2.0),
        "deletion": (_delete_client, 5.0),
        "deletion for good": (_delete_for_good, 5.0),
    }
    word = what.replace(" ", "")
    names = {kind: [f"{kind.replace(' ', '-').lower()}-{word}-{n}" for n in range(PROBES)] for kind in kinds}
    prepared = [one for kind, found in names.items() if kind != "client Ready" for one in found]
    with Following(lab.cluster.admin_kubeconfig, BYSTANDER) as following:
        lab.create(BYSTANDER, prepared)
        wait_until_ready(following, prepared, PATIENCE)
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    faults: list[BaseException] = []
    ended = threading.Event()

    def probe(kind: str) -> None:
        try:
            for number, name in enumerate(names[kind]):
                if number and limited and ended.is_set():
                    return
                seconds[kind].append(kinds[kind][0](lab, name.lower()))
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for it
            faults.append(error)

    threads = [threading.Thread(target=probe, args=(kind,), name=kind, daemon=True) for kind in kinds]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
    for thread in threads:
        thread.join(PATIENCE)
    if faults:
        raise faults[0]
    for kind, (_, most) in kinds.items():
        section.add(f"{what}: another's {kind}, max of {len(seconds[kind])}", max(seconds[kind]), "s", most=most)


def _create_client(lab: Lab, name: str) -> float:
    started = lab.create(BYSTANDER, [name])
    return _wait(f"{CLIENTS.format(namespace=BYSTANDER)}/{name}", lab, started, lambda one: one and is_ready(one))


def _lose_secret(lab: Lab, name: str) -> float:
    path = f"{SECRETS.format(namespace=BYSTANDER)}/{name}"
    started = time.monotonic()
    lab.kube.request("DELETE", path)
    return _wait(path, lab, started, lambda one: one and len(one.get("data") or {}) == 7)


def _delete_client(lab: Lab, name: str) -> float:
    path = f"{CLIENTS.format(namespace=BYSTANDER)}/{name}"
    started = time.monotonic()
    lab.kube.request("DELETE", path)
    return _wait(path, lab, started, lambda one: one is None)


def _delete_for_good(lab: Lab, name: str) -> float:
    path = f"{CLIENTS.format(namespace=BYSTANDER)}/{name}"
    lab.kube.request("PATCH", path, {"metadata": {"annotations": DELETE}}, "application/merge-patch+json")
    return _delete_client(lab, name)


def _wait(path: str, lab: Lab, started: float, is_done: Callable[[Any], Any]) -> float:
    while not is_done(lab.kube.find(path)):
        if time.monotonic() > started + PATIENCE:
            raise BenchError(f"nothing came of {path}")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - started


def _measure_failing(section: Section, lab: Lab, size: int, tell: Callable[[str], None]) -> None:
    """Edit all healthy resources at once, before there are failing ones and with them."""
    lab.start_simulator()
    lab.simulator.control(
        "POST", "faults", {"kind": "status", "path": f"/scopes/access/{FAILING_ORGNO}", "times": None}
    )
    lab.start_operator()
    lab.warm_up(DEFAULT_POOL)
    healthy = [f"app-{number}" for number in range(size)]
    for namespace in ("healthy", "failing"):
        lab.kube.create_namespace(namespace)
    tell(f"{size} healthy ones")
    with Following(lab.cluster.admin_kubeconfig, "healthy") as following:
        lab.create("healthy", healthy)
        wait_until_ready(following, healthy, PATIENCE)
    before = [_edit_all(lab, healthy, f"before {turn}") for turn in range(2)][-1]  # the first warms up
    tell(f"{size} that always fail")
    scope = {"product": "failing", "enabled": True, "consumers": [{"orgno": FAILING_ORGNO}]}
    lab.create_exposing("failing", {one: [{**scope, "name": f"{one.replace('-', '')}.s"}] for one in healthy})
    _wait_for_failures(lab, size)
    after = _edit_all(lab, healthy, "after")
    section.add(f"{size} healthy, no others: edit → Ready, p99", percentile(before, 99), "s")
    section.add(f"{size} healthy, {size} failing: edit → Ready, p99", percentile(after, 99), "s")
    growth = percentile(after, 99) / percentile(before, 99) - 1
    section.add("by how much that grows", growth * 100, "%", most=20)


def _wait_for_failures(lab: Lab, size: int) -> None:
    def have_failed() -> bool:
        time.sleep(1)
        listed = lab.kube.request("GET", CLIENTS.format(namespace="failing"))["items"]
        return sum(bool(one.get("status", {}).get("conditions")) for one in listed) >= size

    wait_for(have_failed, PATIENCE, "the failures")


def _edit_all(lab: Lab, names: Sequence[str], word: str) -> list[float]:
    """Edit all at once; give for each the seconds from its PATCH to Ready."""
    edited: dict[str, float] = {}
    edits = {"spec": {"clientName": f"name {word}"}}

    def edit(name: str) -> None:
        edited[name] = time.monotonic()
        lab.kube.patch_client("healthy", name, edits)

    with Following(lab.cluster.admin_kubeconfig, "healthy") as following:
        lab.for_each(names, edit)
        ready: dict[str, float] = {}
        for seen, client in following.until(time.monotonic() + PATIENCE):
            name = client["metadata"]["name"]
            if client["spec"].get("clientName") == f"name {word}" and is_ready(client):
                ready.setdefault(name, seen)
            if len(ready) == len(names):
                break
        else:
            raise BenchError(f"{len(ready)} of {len(names)} were ready")
    return [ready[name] - edited[name] for name in names]
