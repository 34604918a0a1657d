"""How soon /livez tells of what only a restart fixes."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench.figures import Section
from bench.lab import BenchError, Lab
from tools.kube import wait_for
from tools.sabotage import FAULTS, SabotagedOperator

if TYPE_CHECKING:
    from collections.abc import Callable

WITHIN = 60.0
PATIENCE = 120.0
PERIOD = 1.0
"""Seconds between two looks at /livez."""


def measure_liveness(runs: int, tell: Callable[[str], None]) -> Section:
    """Let each fault happen to an operator of its own, and look until /livez fails."""
    section = Section(
        "liveness",
        f"a fault in the middle of work, {runs} times each",
        f"seconds from the fault until /livez fails or doesn't answer within 5 s, looked at every {PERIOD:.0f} s; of a "
        "stuck queue, from the resource that the only worker hangs in; a kubelet restarts after three such looks",
    )
    seconds: dict[str, list[float]] = {fault: [] for fault in FAULTS}
    with Lab(audited=False) as lab:
        lab.start_simulator()
        for run in range(runs):
            tell(f"run {run + 1} of {runs}")
            for fault, noticed in _measure(lab, run).items():
                seconds[fault].append(noticed)
    for fault, found in seconds.items():
        section.add_spread(f"{fault} → /livez fails", found, "s", most=WITHIN)
    return section


def _measure(lab: Lab, run: int) -> dict[str, float]:
    folder = lab.simulator.log.parent
    noticed: dict[str, float] = {}
    with ExitStack() as stack:
        operators: dict[str, SabotagedOperator] = {}
        for number, fault in enumerate(FAULTS):  # each has a namespace of its own, so they are in nobody's way
            namespace = f"run-{run}-{number}"
            lab.kube.create_namespace(namespace)
            settings = {"namespaces": namespace, "workers": "1", "key_pool_size": "4"}
            operator = SabotagedOperator(folder, lab.kubeconfig, lab.simulator, f"{namespace}.log", **settings)
            stack.callback(operator.kill)
            operators[fault] = operator.wait_ready(PATIENCE)
        struck = time.monotonic()
        for number, (fault, operator) in enumerate(operators.items()):
            operator.strike(fault)
            lab.create(f"run-{run}-{number}", ["first", "second"])  # to hang in, and to wait behind that

        def look() -> bool:
            time.sleep(PERIOD)
            for fault, operator in operators.items():
                if not operator.running:
                    raise BenchError(f"{fault} ended the operator")
                if fault not in noticed and not operator.is_alive():
                    noticed[fault] = time.monotonic() - struck
            return len(noticed) == len(operators)

        wait_for(look, PATIENCE, "a word of all")
    return noticed
