"""How the operator's cost grows with the number of resources."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Self

import httpx

from bench.figures import Section
from bench.lab import SCOPE, BenchError, Lab, wait_until_ready
from maskinporten_operator.adapters.minting import mint_key
from maskinporten_operator.model.jwk import PrivateJwk, build_kid
from maskinporten_operator.model.maskinportenclient import FINALIZER, parse
from maskinporten_operator.model.registrations import AuthorizationServer
from maskinporten_operator.plan.registration_fields import build_members
from maskinporten_operator.plan.registration_settings import RegistrationSettings
from maskinporten_operator.plan.secret import build_secret
from tools.follow import Following
from tools.kube import SECRETS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.scale import Scale

AUDIT_READS = Path(__file__).with_name("audit-reads.yaml")
MIB = 2**20
NAMESPACES = 20
AT_ONCE = 500
LOOK_SECONDS = 4.0
"""Between two looks at the simulator's ledger; the metrics aren't looked at, as that costs the operator something."""
IDLE_SECONDS = 90
"""Of an interval of the resync, beside what the resync itself takes: for what is measured between two."""
MAX_WORK_SECONDS = 1200
"""Of the adoption of all resources, which writes a status and an Event of each."""
LIST_SECONDS = 1.2
"""A little more than DigDir's clients are listed apart: one that comes sooner after another waits for that."""
QUIET = 0.05
"""The share of a core below which the operator is at rest."""
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
OTHERS = 500
"""Clients of the organisation that no operator made."""
SETTINGS = RegistrationSettings(cluster="test", client_name="maskinporten-operator")
"""Those of the lab's operators."""


@dataclass(slots=True)
class Cost:
    """What something cost the operator's main process, and others.

    Attributes:
        cpu: Seconds.
        seconds: How long it took.
        calls: To the API server, by verb.
        digdir: Calls to DigDir.
    """

    cpu: float
    seconds: float
    calls: Counter[str]
    digdir: int


@dataclass(slots=True)
class Growth:
    """The figures of one number of resources.

    Attributes:
        size: It.
        restart: Until the operator rested.
        resync: Likewise.
        added: New resources beside them.
        count: How many these were.
        idle: Of further ones, one at a time while nothing else goes on: seconds until Ready.
        busy: Likewise, in the middle of a resync.
        resident: Memory after the resync, in MiB.
        peak: The most that it was until then.
    """

    size: int
    restart: Cost
    resync: Cost
    added: Cost
    count: int
    idle: list[float]
    busy: list[float]
    resident: float
    peak: float


class ConvergedResources:
    """Resources that are converged before any operator sees them, but for their status."""

    def __init__(self, lab: Lab, size: int, tell: Callable[[str], None]) -> None:
        """Make them, with their clients, keys and Secrets; one RSA key serves all."""
        self.lab, self.size = lab, size
        self._key = mint_key()
        names = [f"app-{number}" for number in range(size)]
        self.namespaces = [f"growth-{number}" for number in range(min(NAMESPACES, size))]
        for namespace in self.namespaces:
            lab.kube.create_namespace(namespace)
        metadata = httpx.get(lab.simulator.well_known_url, trust_env=False).json()
        parts = [metadata[name] for name in ("issuer", "jwks_uri", "token_endpoint")]
        self._server = AuthorizationServer(lab.simulator.well_known_url, *parts)
        self._clients: list[dict[str, Any]] = []
        for begin in range(0, size, AT_ONCE):
            tell(f"{begin} of {size} resources are made")
            lab.for_each(names[begin : begin + AT_ONCE], self._make)
            lab.simulator.control("POST", "clients", self._clients)
            self._clients.clear()

    def _make(self, name: str) -> None:
        namespace = self.namespaces[int(name.removeprefix("app-")) % len(self.namespaces)]
        spec = {"secretName": name, "scopes": {"consumes": [{"name": SCOPE}]}}
        meta = parse(self.lab.kube.create_client(namespace, name, spec, finalizers=[FINALIZER])).meta
        jwk = PrivateJwk(build_kid(meta.uid, uuid.uuid4().hex[:16]), self._key)
        client_id = str(uuid.uuid4())
        secret = build_secret(meta, name, client_id=client_id, jwk=jwk, scopes=[SCOPE], server=self._server)
        self.lab.kube.request("POST", SECRETS.format(namespace=namespace), secret)
        self._clients.append(
            {
                **build_members(SETTINGS.client_name, SETTINGS.build_ownership(meta), SETTINGS, [SCOPE]),
                "client_id": client_id,
                "keys": [dict(jwk.public().members)],
            }
        )


class Meter:
    """What the operator of a lab costs."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._started = time.monotonic()
        self._cpu = 0.0
        assert lab.cluster.audit_log
        self._audit = lab.cluster.audit_log
        self._offset = self._audit.stat().st_size if self._audit.exists() else 0
        self._call = lab.mark_call()

    def begin(self) -> Self:
        """Count from now on, and not from the start of the operator's process."""
        self._cpu = self._lab.operator.cpu_seconds()
        return self

    def read(self) -> Cost:
        """Give what it has cost so far."""
        summary = self._lab.simulator.control("GET", f"ledger/summary?since={self._call}")
        return Cost(
            self._lab.operator.cpu_seconds() - self._cpu,
            time.monotonic() - self._started,
            Counter(self._read_calls()),
            sum(sum(one.values()) for one in summary["operations"].values()),
        )

    def count(self, operation: str) -> int:
        """Count the calls of an operation of DigDir's."""
        summary = self._lab.simulator.control("GET", f"ledger/summary?since={self._call}")
        return sum(summary["operations"].get(operation, {}).values())

    def _read_calls(self) -> Iterator[str]:
        with self._audit.open("rb") as log:
            log.seek(self._offset)
            for line in log:
                entry = json.loads(line)
                about = entry.get("objectRef") or {}
                if about.get("resource") not in {"events", "leases"}:
                    yield f"{entry['verb']} {about.get('resource')}"


def measure_growth(scale: Scale, tell: Callable[[str], None]) -> Section:
    """Measure with more and more resources."""
    section = Section(
        "growth",
        f"N converged resources in {NAMESPACES} namespaces, their clients, keys and Secrets made beforehand",
        "CPU by /proc, user and system, of the main process alone; calls to the API server by its audit log, "
        "those about Events and the Lease left out; a restart until all were passed over and the process rests; "
        "seconds from before a POST until a watch saw Ready; memory: VmRSS after the resync, and VmHWM",
    )
    tell(f"the stores with {scale.stored} resources")
    _report_stores(section, scale.stored)
    for size in scale.growth:
        with Lab(audit_policy=AUDIT_READS) as lab:
            _report(section, measure_size(lab, size, scale, tell))
    return section


def measure_size(lab: Lab, size: int, scale: Scale, tell: Callable[[str], None]) -> Growth:
    """Measure with so many resources."""
    lab.start_simulator(others=OTHERS)
    ConvergedResources(lab, size, tell)
    lab.start_operator(key_pool_size="0")
    tell(f"{size} resources are adopted")
    wait_until_passed(lab, size)
    lab.operator.stop()
    return measure_operator(lab, size, scale, tell)


def measure_operator(lab: Lab, size: int, scale: Scale, tell: Callable[[str], None], label: str = "new") -> Growth:
    """Measure an operator whose resources are converged: from its start to the end of its second resync."""
    tell(f"restart with {size}")
    meter = Meter(lab)
    pool = str(scale.added + 2 * scale.sequence)
    lab.start_operator(resync_interval=str(IDLE_SECONDS + size // 100), key_pool_size=pool)
    wait_until_passed(lab, size)
    restart = meter.read()
    tell(f"resync of {size}")
    passes = count_passes(lab)
    meter = wait_for_resync(lab)
    wait_until_passed(lab, passes + size)
    resync = meter.read()
    resident, peak = lab.operator.memory()[0] / MIB, lab.operator.peak_memory() / MIB
    namespace = f"added-{label}-{uuid.uuid4().hex[:6]}"
    lab.kube.create_namespace(namespace)
    with Following(lab.cluster.admin_kubeconfig, namespace) as following:
        tell(f"{scale.added} beside {size}")
        names = [f"app-{number}" for number in range(scale.added)]
        meter = Meter(lab).begin()
        lab.create(namespace, names)
        wait_until_ready(following, names, 120)
        wait_for_rest(lab)
        added = meter.read()
        tell(f"one at a time beside {size}")
        idle = [measure_one(lab, following, namespace, f"idle-{number}") for number in range(scale.sequence)]
        tell(f"one at a time in a resync of {size}")
        wait_for_resync(lab)
        busy = [measure_one(lab, following, namespace, f"busy-{number}") for number in range(scale.sequence // 4)]
    lab.operator.stop()
    return Growth(size, restart, resync, added, scale.added, idle, busy, resident, peak)


def measure_one(lab: Lab, following: Following, namespace: str, name: str) -> float:
    """Create one resource; give the seconds until it was Ready."""
    started = lab.create(namespace, [name])
    return wait_until_ready(following, [name], 60, settle=LIST_SECONDS).at[name] - started


def count_passes(lab: Lab) -> int:
    """Count the operator's passes."""
    return int(lab.operator.metric("maskinporten_operator_reconcile_time_seconds_count"))


def wait_until_passed(lab: Lab, count: int) -> None:
    """Wait until the operator has made so many passes since its start, and rests; of few it rests in between too."""

    def enough() -> bool:
        wait_for_rest(lab)
        return count_passes(lab) >= count

    wait_for(enough, MAX_WORK_SECONDS, f"pass {count}")


def wait_for_resync(lab: Lab) -> Meter:
    """Wait for the list of DigDir's clients that a resync reads; give a meter that was begun a little before."""
    before = meter = Meter(lab).begin()
    while not meter.count("list-clients"):
        before, meter = meter, Meter(lab).begin()
        time.sleep(LOOK_SECONDS)
    return before


def wait_for_rest(lab: Lab) -> None:
    """Wait until the operator has used next to no CPU for three seconds."""
    deadline = time.monotonic() + MAX_WORK_SECONDS
    while True:
        before = lab.operator.cpu_seconds()
        time.sleep(3)
        if lab.operator.cpu_seconds() - before < 3 * QUIET:
            return
        if time.monotonic() > deadline:
            raise BenchError("the operator finds no rest")


def _report(section: Section, found: Growth) -> None:
    n = f"N = {found.size}"
    for what, cost in (("restart", found.restart), ("resync", found.resync)):
        section.add(f"{n}: {what}, CPU", cost.cpu, "s")
        section.add(f"{n}: {what}, CPU each", cost.cpu / found.size * 1000, "ms")
        section.add(f"{n}: {what}, until it rests", cost.seconds, "s")
        section.add(f"{n}: {what}, calls to the API server", cost.calls.total())
        section.add(f"{n}: {what}, calls to DigDir", cost.digdir)
        writes = sum(count for verb, count in cost.calls.items() if verb.split()[0] in WRITES)
        section.add(f"{n}: {what}, writes to the API server", writes, exactly=0)
    section.add(f"{n}: memory", found.resident, "MiB")
    section.add(f"{n}: memory, peak", found.peak, "MiB")
    section.add(f"{n}: new ones beside them, CPU each", found.added.cpu / found.count * 1000, "ms")
    section.add(f"{n}: one beside them, Ready, median", median(found.idle) * 1000, "ms")
    section.add(f"{n}: one beside them, Ready, most", max(found.idle) * 1000, "ms")
    section.add(f"{n}: one in a resync, Ready, median", median(found.busy) * 1000, "ms")
    section.add(f"{n}: one in a resync, Ready, most", max(found.busy) * 1000, "ms")


def _report_stores(section: Section, size: int) -> None:
    """Report what the stores alone take, in a process that has nothing else."""
    command = (sys.executable, "-m", "bench.stores", str(size))
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    section.add(f"N = {size}: the stores alone, CPU each", found["milliseconds"], "ms")
    section.add(f"N = {size}: the stores alone, memory each", found["kib"], "KiB")
