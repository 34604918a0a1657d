"""Benchmarks of Applications and of what is made for them."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from bench.figures import Section, percentile
from bench.lab import DEFAULT_POOL, Lab, Traffic, wait_until_ready
from maskinporten_operator.model.resources import (
    DEPLOYMENT,
    MASKINPORTEN_CLIENT,
    NETWORK_POLICY,
    SERVICE,
    Kind,
)
from tools.follow import Following
from tools.kube import APPLICATIONS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.scale import Scale

SETTINGS = {
    "applications": "true",
    "platform": "gcp",
    "egress": "networkpolicy",
    "maskinporten_hosts": "test.maskinporten.no",
}
OF_THE_CLIENT = frozenset({"secrets", "maskinportenclients/status"})
"""Written by the MaskinportenClient's pass; its finalizer is a write too, to `maskinportenclients`."""
QUIET = 3.0
EDITS: dict[Kind, dict[str, Any]] = {
    DEPLOYMENT: {"spec": {"template": {"metadata": {"labels": {"maskinporten": "no"}}}}},
    SERVICE: {"spec": {"selector": {"app": "another"}}},
    NETWORK_POLICY: {"spec": {"egress": []}},
    # Last: a MaskinportenClient that was deleted gets a new key, and then its Deployment changes too.
    MASKINPORTEN_CLIENT: {"spec": {"scopes": {"consumes": []}}},
}


def measure_applications(scale: Scale, tell: Callable[[str], None]) -> Section:
    """Many Applications at once: everything once, and nothing twice."""
    size = scale.applications
    section = Section(
        "applications",
        f"{size} Applications at once, with workload and NetworkPolicy, the pool of {DEFAULT_POOL} keys full",
        "clients active at the simulator; writes by the audit log, those of the operator without Events; of each "
        "Application those to its children and to its own status, its MaskinportenClient's finalizer, Secret and "
        "status left out; no node is there, so no pod comes up; seconds from the first POST to the last Ready, seen "
        "by a watch; then a restart, and a resync",
    )
    with Lab() as lab:
        _prepare(lab)
        names = [f"app-{number}" for number in range(size)]
        mark = lab.mark()
        tell(f"{size} Applications at once")
        with Following(lab.cluster.admin_kubeconfig, "apps", APPLICATIONS) as following:
            started = lab.create_applications("apps", names)
            readiness = wait_until_ready(following, names, 600)
        traffic = lab.traffic_since(mark)
        active = [one for one in lab.simulator.clients() if one["active"]]
        ours = [one for one in active if str(one.get("description")).startswith("test:apps:")]
        own = count_own_writes(traffic)
        section.add("Ready", len(readiness.at), exactly=size)
        section.add("Ready, then not", readiness.relapses, exactly=0)
        section.add("clients at the API", len(ours), exactly=size)
        section.add("API writes per Application", traffic.api_writes / size, exactly=2)
        section.add("own Kubernetes writes, most for one", max(own.values()), most=10)
        section.add("own Kubernetes writes, per Application", sum(own.values()) / size, most=10)
        for write, count in sorted(Counter(write.resource for write in traffic.writes.elements()).items()):
            section.add(f"  {write}, per Application", count / size)
        section.add("create → all Ready", max(readiness.at.values()) - started, "s")
        lab.operator.stop()
        mark = lab.mark()
        tell("restart and resync")
        lab.start_operator(**SETTINGS, resync_interval="30")
        passes = "maskinporten_operator_reconcile_time_seconds_count"
        wait_for(lambda: lab.operator.metric(passes) >= 4 * size, 300, "all passes, twice")
        time.sleep(QUIET)
        traffic = lab.traffic_since(mark)
        section.add("restart and resync: writes to Kubernetes", traffic.cluster_writes, exactly=0)
        section.add("restart and resync: writes to the API", traffic.api_writes, exactly=0)
        resident, _ = lab.operator.memory()
        section.add("RSS, main process", resident / 2**20, "MiB")
    return section


def measure_application_latency(scale: Scale, tell: Callable[[str], None]) -> Section:
    """One Application after another."""
    count = scale.sequence
    section = Section(
        "application-latency",
        f"one Application at a time, {count} of them",
        "from before the POST to the Ready that a watch saw: client, Secret, NetworkPolicy, Service and Deployment are "
        "there then; the API answers at once; the pool is full; one goes before that isn't counted, since the API "
        "server prepares itself at a kind's first request",
    )
    with Lab() as lab:
        _prepare(lab)
        seconds = []
        with Following(lab.cluster.admin_kubeconfig, "apps", APPLICATIONS) as following:
            for number in range(count + 1):
                tell(f"one at a time, {number} of {count}")
                name = f"app-{number}"
                started = lab.create_applications("apps", [name])
                seconds.append(wait_until_ready(following, [name], 30).at[name] - started)
    section.add("create → Ready, p50", percentile(seconds[1:], 50) * 1000, "ms", most=400)
    section.add("create → Ready, p90", percentile(seconds[1:], 90) * 1000, "ms")
    return section


def measure_application_repair(scale: Scale, tell: Callable[[str], None]) -> Section:
    """A child that somebody deletes or edits comes back."""
    count = scale.repairs
    section = Section(
        "application-repair",
        f"each kind of child deleted, and edited, {count} times",
        "from the answer to the DELETE or PATCH until a GET, every 20 ms, gives a new object, or the spec as it was",
    )
    with Lab() as lab:
        _prepare(lab)
        names = [f"app-{number}" for number in range(count)]
        with Following(lab.cluster.admin_kubeconfig, "apps", APPLICATIONS) as following:
            lab.create_applications("apps", names)
            wait_until_ready(following, names, 60)
        # The garbage collector, which a deleted MaskinportenClient waits for, learns of the kind half a minute late.
        time.sleep(30 if count > QUIET else 0)
        for kind, edit in EDITS.items():
            tell(f"{kind.name}s deleted and edited")
            for what, harm in (("edited", _edit(edit)), ("deleted", _delete)):
                seconds = [harm(lab, kind, name) for name in names]
                section.add(f"{kind.name} {what} → back, p50", percentile(seconds, 50) * 1000, "ms")
                section.add(f"{kind.name} {what} → back, max", max(seconds) * 1000, "ms", most=2000)
                time.sleep(QUIET)
    return section


def _prepare(lab: Lab) -> None:
    lab.start_simulator()
    lab.start_operator(**SETTINGS)
    lab.warm_up(DEFAULT_POOL)
    lab.kube.create_namespace("apps")


def count_own_writes(traffic: Traffic) -> Counter[str]:
    """Count what the Applications' own passes wrote, by Application."""
    found: Counter[str] = Counter()
    for write, count in traffic.writes.items():
        if write.resource not in OF_THE_CLIENT:
            finalizer = write.resource == MASKINPORTEN_CLIENT.plural
            found[write.name] += count - finalizer
    return found


def _delete(lab: Lab, kind: Kind, name: str) -> float:
    path = kind.path("apps", name)
    uid = lab.kube.request("GET", path)["metadata"]["uid"]
    lab.kube.request("DELETE", path)
    return lab.wait_until(path, lambda body: bool(body["metadata"]["uid"] != uid))


def _edit(patch: dict[str, Any]) -> Callable[[Lab, Kind, str], float]:
    def edit(lab: Lab, kind: Kind, name: str) -> float:
        path = kind.path("apps", name)
        before = lab.kube.request("GET", path)["spec"]
        lab.kube.request("PATCH", path, patch, "application/merge-patch+json", fieldManager="somebody")
        return lab.wait_until(path, lambda body: bool(body["spec"] == before))

    return edit
