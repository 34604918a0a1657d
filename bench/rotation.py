"""Rotations under workloads that ask for tokens all the time, while Maskinporten learns of a key a minute later."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from bench.figures import Section
from bench.lab import DEFAULT_POOL, BenchError, Lab, wait_until_ready
from maskinporten_operator.model.maskinportenclient import ROTATE_ANNOTATION
from tools.demo.token import find_refusal
from tools.follow import Following
from tools.kube import SECRETS, credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.scale import Scale

NAMESPACE = "rotations"
PROPAGATION = 60
"""Seconds until Maskinporten knows of a key, by DigDir's word at most twice that."""
ROLLOUT_SECONDS = (1.0, 30.0)
"""How long a pod keeps its variables after its Secret changed, until it is replaced: at least and at most."""
FILE_SECONDS = 60.0
"""How long a mounted file lags behind its Secret, by the kubelet's default period."""
PERIOD = 4.0
"""Seconds between two tokens of a workload."""
THREADS = 8
PATIENCE = 900.0


@dataclass(slots=True)
class Workload:
    """What uses one Secret: by variables until its pod is replaced, or by files that lag."""

    name: str
    lag: float
    values: Mapping[str, str] = field(default_factory=dict)
    next_values: list[tuple[float, Mapping[str, str]]] = field(default_factory=list)
    asked: int = 0
    refusals: list[str] = field(default_factory=list)

    def take(self, seen: float, values: Mapping[str, str]) -> None:
        """The Secret changed: at once for the first pod, later for those that run."""
        if self.values:
            self.next_values.append((seen + self.lag, values))
        else:
            self.values = values

    def ask(self) -> None:
        """Ask for a token with what the workload has now."""
        while self.next_values and self.next_values[0][0] <= time.monotonic():
            self.values = self.next_values.pop(0)[1]
        self.asked += 1
        try:
            if refusal := find_refusal(self.values):
                self.refusals.append(refusal)
        except httpx.TransportError as error:
            self.refusals.append(type(error).__name__)


def measure_rotation(scale: Scale, tell: Callable[[str], None]) -> Section:
    """Rotate all keys at once; no workload may be refused a token before, meanwhile or after."""
    size = scale.rotations
    section = Section(
        "rotation",
        f"{size} rotations at once, {PROPAGATION} s of propagation, two workloads each",
        f"tokens asked for every {PERIOD:.0f} s by each of {2 * size} workloads: one keeps its variables for "
        f"{ROLLOUT_SECONDS[0]:.0f} to {ROLLOUT_SECONDS[1]:.0f} s after its Secret changed, the other's files lag "
        f"{FILE_SECONDS:.0f} s; from the annotations until all have used the new key for {PROPAGATION} s",
    )
    names = [f"app-{number}" for number in range(size)]
    chance = random.Random(size)
    workloads = [Workload(name, lag) for name in names for lag in (chance.uniform(*ROLLOUT_SECONDS), FILE_SECONDS)]
    with Lab(audited=False) as lab:
        _create(lab, names, tell)
        with Following(lab.cluster.admin_kubeconfig, NAMESPACE, SECRETS) as following, _Asking(workloads):
            for secret in lab.kube.request("GET", SECRETS.format(namespace=NAMESPACE))["items"]:
                _deliver(workloads, time.monotonic(), secret)
            tell(f"{size} rotations")
            started = time.monotonic()
            lab.for_each(names, lambda name: _ask_to_rotate(lab, name))
            delivered = _follow(following, workloads)
            tell("until all use the new keys")
            time.sleep(FILE_SECONDS + PROPAGATION)
        lab.stop()
    refusals = [refusal for one in workloads for refusal in one.refusals]
    section.add_spread("annotation → new key in the Secret", [one - started for one in delivered.values()], "s")
    section.add("tokens asked for", sum(one.asked for one in workloads))
    section.add("tokens refused", len(refusals), exactly=0)
    for refusal in sorted(set(refusals)):
        section.add(f"refused: {refusal}", refusals.count(refusal))
    return section


def _create(lab: Lab, names: Sequence[str], tell: Callable[[str], None]) -> None:
    lab.start_simulator()
    lab.start_operator()
    lab.warm_up(min(DEFAULT_POOL, 2 * len(names)))
    lab.kube.create_namespace(NAMESPACE)
    tell(f"{len(names)} clients")
    with Following(lab.cluster.admin_kubeconfig, NAMESPACE) as following:
        lab.create(NAMESPACE, names)
        wait_until_ready(following, names, PATIENCE)
    lab.simulator.control("PATCH", "settings", {"propagation_delay_seconds": PROPAGATION})
    tell("until Maskinporten knows them")
    time.sleep(PROPAGATION + 1)


def _ask_to_rotate(lab: Lab, name: str) -> None:
    lab.kube.patch_client(NAMESPACE, name, {"metadata": {"annotations": {ROTATE_ANNOTATION: "true"}}})


def _deliver(workloads: Sequence[Workload], seen: float, secret: Any) -> None:
    values = credentials(secret)
    for one in workloads:
        if one.name == secret["metadata"]["name"] and values != (one.next_values or [(0, one.values)])[-1][1]:
            one.take(seen, values)


def _follow(following: Following, workloads: Sequence[Workload]) -> dict[str, float]:
    """Let the workloads have what is written, until every Secret has another key; give when each had."""
    first = {one.name: one.values["MASKINPORTEN_CLIENT_JWK"] for one in workloads}
    delivered: dict[str, float] = {}
    for seen, secret in following.until(time.monotonic() + PATIENCE):
        name = secret["metadata"]["name"]
        if name in first:
            _deliver(workloads, seen, secret)
            if credentials(secret)["MASKINPORTEN_CLIENT_JWK"] != first[name]:
                delivered.setdefault(name, seen)
        if len(delivered) == len(first):
            return delivered
    raise BenchError(f"{len(delivered)} of {len(first)} new keys were delivered after {PATIENCE:.0f} s")


class _Asking:
    """Lets workloads ask for tokens in threads of their own."""

    def __init__(self, workloads: Sequence[Workload]) -> None:
        self._workloads = workloads
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(THREADS)]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        while not self._ended.is_set():
            started = time.monotonic()
            for one in self._workloads[number::THREADS]:
                if one.values:
                    one.ask()
            self._ended.wait(max(started + PERIOD - time.monotonic(), 0.0))
