"""Benchmarks of exposed scopes: made at once, looked at again, given to consumers, and deleted for good."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bench.figures import Section
from bench.lab import DEFAULT_POOL, Lab, Mark, wait_until_ready
from tools.follow import Following
from tools.kube import CLIENTS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.scale import Scale

ORGNOS = ("974761076", "970018131", "971032146", "991825827", "958935420")
SCOPES_EACH = 3
LISTS = ("list-clients", "list-own-scopes", "list-accesses-given-to-me", "list-all-scopes", "list-delegation-sources")
OUTAGE = 60.0
"""Seconds for which DigDir is down."""


def measure_scopes(scale: Scale, tell: Callable[[str], None]) -> Section:
    """Many resources that expose scopes at once: everything once, with few calls, and nothing foreign changed."""
    size, interval = scale.exposing, scale.resync_seconds
    scopes, grants = size * SCOPES_EACH, size * SCOPES_EACH * len(ORGNOS)
    section = Section(
        "scopes",
        f"{size} resources x {SCOPES_EACH} scopes x {len(ORGNOS)} consumers at once, {scale.foreign} clients and "
        f"{scale.foreign} scopes in the organisation that aren't ours",
        "calls by the simulator's ledger since the first POST; seconds from that to the last Ready, seen by a watch; "
        f"then a restart and two resyncs, every {interval} s here; then a consumer added, removed and added again; "
        "what isn't ours is compared as a whole before and after",
    )
    with Lab() as lab:
        lab.start_simulator(others=scale.foreign, other_scopes=scale.foreign)
        foreign = _read_foreign(lab)
        lab.start_operator(resync_interval="1h")
        lab.warm_up(DEFAULT_POOL)
        lab.kube.create_namespace("scopes")
        names = [f"api-{number}" for number in range(size)]
        mark = lab.mark()
        tell(f"{size} resources with {scopes} scopes at once")
        with Following(lab.cluster.admin_kubeconfig, "scopes") as following:
            started = lab.create_exposing("scopes", {name: _expose(name, ORGNOS) for name in names})
            readiness = wait_until_ready(following, names, 600)
        traffic = lab.traffic_since(mark)
        section.add("create → all Ready", max(readiness.at.values()) - started, "s")
        section.add("scopes at the API, as the spec says", _count_right(lab, names, ORGNOS), exactly=scopes)
        section.add("API writes", traffic.api_writes, exactly=size * 2 + scopes + grants)
        section.add("list calls", sum(traffic.calls.get(one, 0) for one in LISTS))
        section.add("access lists read", traffic.calls.get("list-accesses", 0), exactly=0)
        section.add("Kubernetes writes per resource", traffic.cluster_writes / size, most=3)
        _measure_resyncs(section, lab, scopes, interval, tell)
        _measure_consumers(section, lab, names[0], tell)
        section.add(
            "clients and scopes that aren't ours, changed", _count_changed(foreign, _read_foreign(lab)), exactly=0
        )
    return section


def measure_deletion(scale: Scale, tell: Callable[[str], None]) -> Section:
    """A namespace whose resources are to be deleted for good."""
    size = scale.deleted
    section = Section(
        "deletion",
        f"a namespace with {size} resources that expose a scope with two consumers each, all to be deleted for good",
        "from the DELETE of the namespace until it is gone; and of the resources until the last is gone; with DigDir "
        f"down for {OUTAGE:.0f} s, from its return",
    )
    with Lab() as lab:
        lab.start_simulator()
        lab.start_operator()
        lab.warm_up(min(DEFAULT_POOL, size))
        for run in range(scale.runs):
            tell(f"DigDir is up, run {run + 1} of {scale.runs}")
            _fill(lab, f"up-{run}", size)
            seconds, of_resources = _delete_namespace(lab, f"up-{run}")
            section.add(f"DigDir is up, run {run + 1}: the namespace is gone", seconds, "s", most=10)
            section.add(f"DigDir is up, run {run + 1}: its resources are", of_resources, "s")
        for run in range(scale.runs):
            tell(f"DigDir is down, run {run + 1} of {scale.runs}")
            _fill(lab, f"down-{run}", size)
            lab.simulator.control("POST", "faults", {"kind": "status", "path": "^/api", "times": None})
            seconds, _ = _delete_namespace(lab, f"down-{run}", outage=OUTAGE if scale.name == "full" else 5)
            section.add(f"DigDir is down, run {run + 1}: the namespace is gone, from its return", seconds, "s", most=30)
        active = [one for one in lab.simulator.clients() if one["active"] and one["description"].startswith("test:")]
        section.add("clients left active", len(active), exactly=0)
        left = [one for one in lab.simulator.scopes() if one["description"].startswith("test:")]
        section.add("scopes left active", len([one for one in left if one["active"]]), exactly=0)
        section.add("accesses left", sum("APPROVED" in one["accesses"].values() for one in left), exactly=0)
    return section


def _expose(name: str, orgnos: Sequence[str], scopes: int = SCOPES_EACH) -> list[dict[str, Any]]:
    consumers = [{"orgno": orgno} for orgno in orgnos]
    word = name.replace("-", "")
    return [
        {"name": f"{word}.s{number}", "product": "bench", "enabled": True, "consumers": consumers}
        for number in range(scopes)
    ]


def _count_right(lab: Lab, names: Sequence[str], orgnos: Sequence[str]) -> int:
    """Count the scopes that are active and have exactly these consumers."""
    wanted = {f"nav:bench:{scope['name']}" for name in names for scope in _expose(name, orgnos)}
    found = [one for one in lab.simulator.scopes() if one["name"] in wanted and one["active"]]
    return sum(_consumers(one) == set(orgnos) for one in found)


def _consumers(scope: dict[str, Any]) -> set[str]:
    return {orgno for orgno, state in scope["accesses"].items() if state == "APPROVED"}


def _measure_resyncs(section: Section, lab: Lab, scopes: int, interval: int, tell: Callable[[str], None]) -> None:
    tell("a restart, and two resyncs")
    mark = lab.mark()
    lab.operator.stop()
    lab.start_operator(resync_interval=f"{interval}s")
    calls = _wait_for_access_lists(lab, 3 * scopes, mark, interval * 4)[scopes:]
    traffic = lab.traffic_since(mark)
    section.add("restart and two resyncs: writes to the API", traffic.api_writes, exactly=0)
    section.add("restart and two resyncs: writes to Kubernetes", traffic.cluster_writes, exactly=0)
    section.add("two resyncs: access lists read, per scope and resync", len(calls) / scopes / 2, most=1)
    seconds = [call["monotonic"] for call in calls[:scopes]]
    section.add("a resync: seconds over which access lists are read", max(seconds) - min(seconds), "s")
    busiest = max(sum(moment <= other < moment + 1 for other in seconds) for moment in seconds)
    section.add("a resync: most access lists read within a second", busiest)


def _wait_for_access_lists(lab: Lab, count: int, since: Mark, seconds: float) -> list[dict[str, Any]]:
    """Wait until so many access lists were read; give the calls."""

    def look() -> list[dict[str, Any]]:
        time.sleep(0.5)
        ledger = lab.simulator.control("GET", f"ledger?operation=list-accesses&since={since.call}")
        found: list[dict[str, Any]] = ledger["entries"]
        return found if len(found) >= count else []

    calls: list[dict[str, Any]] = wait_for(look, seconds, f"{count} access lists")
    return calls


def _measure_consumers(section: Section, lab: Lab, name: str, tell: Callable[[str], None]) -> None:
    tell("consumers")
    scope, path = f"nav:bench:{_expose(name, ())[0]['name']}", f"{CLIENTS.format(namespace='scopes')}/{name}"
    for what, orgnos in (("removed", ORGNOS[:4]), ("added", ORGNOS), ("removed again", ORGNOS[:4])):
        mark = lab.mark()
        first, *others = _expose(name, ORGNOS)
        first["consumers"] = [{"orgno": orgno} for orgno in orgnos]
        patch = {"spec": {"scopes": {"exposes": [first, *others]}}}
        lab.kube.request("PATCH", path, patch, "application/merge-patch+json")

        def is_right(expected: int = len(orgnos)) -> bool:
            listed = (lab.kube.find(path) or {}).get("status", {}).get("exposedScopes", [])
            return any(one["name"] == scope and one["consumers"] == expected for one in listed)

        wait_for(is_right, 60, f"a consumer {what}")
        section.add(f"a consumer {what}: writes to the API", lab.traffic_since(mark).api_writes, exactly=1)


def _read_foreign(lab: Lab) -> dict[str, Any]:
    listed = (("client_id", lab.simulator.clients()), ("name", lab.simulator.scopes()))
    return {one[key]: one for key, all_of in listed for one in all_of if one["description"].startswith("Generated ")}


def _count_changed(before: dict[str, Any], after: dict[str, Any]) -> int:
    changed = [name for name, one in before.items() if after.get(name) != one]
    return len(changed) + len(after.keys() - before.keys())


def _fill(lab: Lab, namespace: str, size: int) -> None:
    lab.kube.create_namespace(namespace)
    names = [f"api-{number}" for number in range(size)]
    word = namespace.replace("-", "")
    with Following(lab.cluster.admin_kubeconfig, namespace) as following:
        exposing = {name: _expose(f"{word}{name}", ORGNOS[:2], 1) for name in names}
        lab.create_exposing(namespace, exposing, {"digdir.nais.io/delete": "true"})
        wait_until_ready(following, names, 300)


def _delete_namespace(lab: Lab, namespace: str, outage: float = 0.0) -> tuple[float, float]:
    """Delete it; give the seconds until it is gone and until its resources are, from DigDir's return if it was down."""
    path, clients = f"/api/v1/namespaces/{namespace}", CLIENTS.format(namespace=namespace)
    started = time.monotonic()
    lab.kube.request("DELETE", path)
    if outage:
        time.sleep(outage)
        lab.simulator.control("DELETE", "faults")
        started = time.monotonic()
    wait_for(lambda: not lab.kube.request("GET", clients, limit=1)["items"], 300, "the end of the resources")
    resources = time.monotonic() - started
    wait_for(lambda: lab.kube.find(path) is None, 300, "the end of the namespace")
    return time.monotonic() - started, resources
