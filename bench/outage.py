"""Long outages of the API server: nobody needs a restart, and what changed meanwhile is done after its return."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench.failover import Load
from bench.figures import Section
from bench.lab import Lab
from tools.kube import wait_for
from tools.proxy import ApiServerProxy
from tools.replicas import SETTINGS, find_holder, free_lease
from tools.stack import Operator

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.scale import Scale

UNAVAILABLE = 503
CHANGES = 60
RETURN = 30.0
"""Seconds after the API server's return by which everything must be as the specs say."""
PATIENCE = 300.0
OUTAGES: dict[str, tuple[Callable[[ApiServerProxy], None], Callable[[ApiServerProxy], None]]] = {
    "503": (lambda proxy: proxy.refuse(UNAVAILABLE), lambda proxy: proxy.refuse(None)),
    "refused connections": (lambda proxy: proxy.cut(off=True), lambda proxy: proxy.cut(off=False)),
}
"""By what the operator meets: how that begins and ends."""


def measure_outages(scale: Scale, tell: Callable[[str], None]) -> Section:
    """Let an operator that holds a Lease do without the API server, while others go on changing resources."""
    section = Section(
        "outage",
        f"an API server that can't be reached by the operator for {scale.outage_seconds} s, in two ways, while about "
        f"{CHANGES} resources are created and every other one is edited",
        "seconds from the API server's return until each resource is Ready with its scopes at the simulator and a "
        "Secret with a registered key; /livez asked every second; restarts and losses of the Lease by the process",
    )
    with Lab(audited=False) as lab, ExitStack() as stack:
        simulator = lab.start_simulator()
        folder = simulator.log.parent
        free_lease(lab.kube)
        proxy = stack.enter_context(ApiServerProxy(lab.kubeconfig, folder / "proxy"))
        operator = stack.enter_context(Operator(folder, proxy.kubeconfig, simulator, **SETTINGS)).wait_ready(120)
        holder = find_holder(lab.kube)
        for number, (what, (begin, end)) in enumerate(OUTAGES.items()):
            tell(f"{what} for {scale.outage_seconds} s")
            namespace = f"outage-{number}"
            lab.kube.create_namespace(namespace)
            begin(proxy)
            with Load(lab, namespace, scale.outage_seconds / CHANGES) as load:
                deaths = _count_deaths(operator, scale.outage_seconds)
                load.end()
            returned = time.monotonic()
            end(proxy)
            wait_for(load.is_whole, PATIENCE, "all resources")
            section.add(f"{what}: all is done, from the return", time.monotonic() - returned, "s", most=RETURN)
            section.add(f"{what}: resources", len(load.scopes))
            section.add(f"{what}: duplicates", load.count_duplicates(), exactly=0)
            section.add(f"{what}: times that /livez failed", deaths, exactly=0)
            section.add(f"{what}: exits", int(not operator.running), exactly=0)
            section.add(f"{what}: other holders of the Lease", int(find_holder(lab.kube) != holder), exactly=0)
    return section


def _count_deaths(operator: Operator, seconds: float) -> int:
    """Count how often it isn't alive by its own word, asked once a second."""
    deadline = time.monotonic() + seconds
    deaths = 0
    while time.monotonic() < deadline:
        deaths += not operator.is_alive()
        time.sleep(1)
    return deaths
