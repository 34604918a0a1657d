"""Fail-overs: one of two replicas ends, dies, stops, even with a write in its hand, or is cut off, under a load."""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from bench.figures import Section
from bench.lab import API_WRITES, SCOPE, Lab
from maskinporten_operator.adapters.tripwire import EXIT_CODE
from tools.kube import is_ready, wait_for
from tools.proxy import ApiServerProxy
from tools.replicas import SETTINGS, Admin, free_lease
from tools.stopping import BODY, StoppingOperator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.scale import Scale

NAMES = ("admin-one", "admin-two")
OTHER_SCOPE = "krr:global/kontaktinformasjon.read"
CLEAN, DEAD = 3.0, 20.0
"""Seconds that a takeover may take, from a Lease that was given back and from one that expires."""
LOST = 1
"""The exit code of a process that sees that another one leads."""
STOPPED = 30.0
"""Seconds for which a replica is stopped, or cut off."""
CLIENTS = "/api/v1/clients"
WRITES = (
    f"POST {CLIENTS} HTTP",
    f"POST {CLIENTS} HTTP{BODY}",
    f"POST {CLIENTS}/",
    f"PUT {CLIENTS}/",
    "PATCH /api/v1/namespaces/",
)
"""At which the first replica stops itself, one a run: a client or its body, keys, an edit, a Secret."""
LOAD_EVERY = 0.2
PATIENCE = 120.0


@dataclass(slots=True)
class Found:
    """What came of the runs of one kind."""

    seconds: list[float] = field(default_factory=list)
    resources: int = 0
    wrong: int = 0
    duplicates: int = 0
    overlaps: int = 0
    unended: int = 0


def measure_failover(scale: Scale, tell: Callable[[str], None]) -> Section:
    """Let each kind of fail-over happen again and again."""
    section = Section(
        "failover",
        f"two replicas, {scale.failovers} runs of each kind, a resource created every {LOAD_EVERY} s and every other "
        "one edited",
        "seconds from the deed until the other replica's metric says that it leads, looked at every 20 ms; wrong: "
        "resources that aren't Ready with their scopes at the simulator and a Secret with a registered key, within "
        f"{PATIENCE:.0f} s; duplicates: resources with more than one active client; overlaps: runs in which the first "
        "replica's last write reached the simulator after the second's first, each with a client id of its own",
    )
    admins = [Admin(name) for name in NAMES]
    with Lab(audited=False) as lab:
        lab.start_simulator(more={"clients": [admin.seed for admin in admins]})
        for what, kind in KINDS.items():
            found = _measure_kind(what, kind, lab, admins, scale.failovers, tell)
            _report(section, what, kind, found)
    return section


def _report(section: Section, what: str, kind: Kind, found: Found) -> None:
    section.add_spread(f"{what} → the other leads", found.seconds, "s", most=kind.most)
    section.add(f"{what}: resources", found.resources)
    section.add(f"{what}: wrong end states", found.wrong, exactly=0)
    section.add(f"{what}: duplicates", found.duplicates, exactly=0)
    section.add(f"{what}: overlaps", found.overlaps)
    if kind.ends_with:
        section.add(f"{what}: first replicas that didn't end as they should", found.unended, exactly=0)


def _measure_kind(
    what: str, kind: Kind, lab: Lab, admins: list[Admin], runs: int, tell: Callable[[str], None]
) -> Found:
    found = Found()
    for number in range(runs):
        tell(f"{what}, run {number + 1} of {runs}")
        namespace = f"{what.lower().replace(' ', '-')}-{number}"
        lab.kube.create_namespace(namespace)
        with Replicas(lab, admins) as replicas, Load(lab, namespace) as load:
            since = lab.mark_call()
            time.sleep(1)
            kind.act(replicas, number)
            started = time.monotonic()
            wait_for(replicas.second.leads, PATIENCE, "the other replica's lead")
            found.seconds.append(time.monotonic() - started)
            if kind.undo:
                time.sleep(max(STOPPED - (time.monotonic() - started), 0))
                kind.undo(replicas)
                found.unended += replicas.first.wait(PATIENCE) not in kind.ends_with
            time.sleep(1)
            load.end()
            found.resources += len(load.scopes)
            found.wrong += load.count_wrong()
            found.duplicates += load.count_duplicates()
            found.overlaps += _overlap(lab, since)
            lab.remove_all(namespace)
    return found


def _overlap(lab: Lab, since: int) -> bool:
    """Whether the first replica wrote after the second had begun to."""
    entries = lab.simulator.control("GET", f"ledger?since={since}")["entries"]
    order = [one["caller"] for one in entries if one["operation"] in API_WRITES]
    return NAMES[1] in order and NAMES[0] in order[order.index(NAMES[1]) :]


class Replicas:
    """Two operators: the first leads, and reaches the API server by a proxy."""

    def __init__(self, lab: Lab, admins: list[Admin]) -> None:
        self._lab = lab
        self._admins = admins

    def __enter__(self) -> Self:
        lab, folder = self._lab, self._lab.simulator.log.parent
        with ExitStack() as stack:
            free_lease(lab.kube)
            self.proxy = stack.enter_context(ApiServerProxy(lab.kubeconfig, folder / "proxy"))
            self.first = self._start(0, self.proxy.kubeconfig)
            stack.callback(self.first.kill)
            wait_for(self.first.leads, PATIENCE, "the first replica's lead")
            self.second = self._start(1, lab.kubeconfig)
            stack.callback(self.second.kill)
            for one in (self.first, self.second):
                one.wait_ready(PATIENCE)
            self._open = stack.pop_all()
        return self

    def _start(self, number: int, kubeconfig: Path) -> StoppingOperator:
        folder = self._lab.simulator.log.parent
        settings = {**SETTINGS, **self._admins[number].settings(folder), "list_lag": "2s", "key_pool_size": "32"}
        return StoppingOperator(folder, kubeconfig, self._lab.simulator, f"{NAMES[number]}.log", **settings)

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def signal(self, number: int) -> None:
        """Send the first replica a signal, and not its workers."""
        os.kill(self.first.popen.pid, number)


class Load:
    """Creates a resource now and then, and edits every other one."""

    def __init__(self, lab: Lab, namespace: str, every: float = LOAD_EVERY) -> None:
        """Wait so many seconds after each."""
        self._lab = lab
        self._namespace = namespace
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.scopes: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Make no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._over.wait(self._every):
            name = f"app-{number}"
            self._lab.create(self._namespace, [name])
            self.scopes[name] = SCOPE
            if number % 2:
                edited = f"app-{number - 1}"
                patch = {"spec": {"scopes": {"consumes": [{"name": OTHER_SCOPE}]}}}
                self._lab.kube.patch_client(self._namespace, edited, patch)
                self.scopes[edited] = OTHER_SCOPE
            number += 1

    def is_whole(self) -> bool:
        """Whether all are what they should be."""
        return all(self._is_right(name) for name in self.scopes)

    def count_wrong(self) -> int:
        """Count those that don't become what they should be."""
        deadline = time.monotonic() + PATIENCE
        left = set(self.scopes)
        while left and time.monotonic() < deadline:
            left = {name for name in left if not self._is_right(name)}
            time.sleep(0.2)
        return len(left)

    def count_duplicates(self) -> int:
        """Count those with more than one client."""
        return sum(len(self._find_clients(name)) > 1 for name in self.scopes)

    def _find_clients(self, name: str) -> list[dict[str, Any]]:
        found = self._lab.simulator.clients(f"test:{self._namespace}:{name}")
        return [one for one in found if one["active"]]

    def _is_right(self, name: str) -> bool:
        resource = self._lab.kube.find_client(self._namespace, name)
        secret = self._lab.kube.find_secret(self._namespace, name)
        clients = self._find_clients(name)
        if not (resource and is_ready(resource) and secret and clients):
            return False
        values = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
        held = json.loads(values["MASKINPORTEN_CLIENT_JWK"])["kid"]
        return any(
            one["client_id"] == values["MASKINPORTEN_CLIENT_ID"]
            and one["scopes"] == [self.scopes[name]]
            and held in {key["kid"] for key in one["keys"]}
            for one in clients
        )


@dataclass(frozen=True, slots=True)
class Kind:
    """What is done to the first replica in a run, what is undone later, and how soon the second must lead."""

    act: Callable[[Replicas, int], None]
    undo: Callable[[Replicas], None] | None
    most: float
    ends_with: tuple[int, ...] = ()
    """The exit codes of the first replica once that is undone."""


def _stop_at_a_write(replicas: Replicas, run: int) -> None:
    replicas.first.stop_at(WRITES[run % len(WRITES)])
    replicas.first.wait_stopped(PATIENCE)


def _go_on(replicas: Replicas) -> None:
    replicas.signal(signal.SIGCONT)


KINDS = {
    "SIGTERM": Kind(lambda replicas, _: replicas.signal(signal.SIGTERM), None, CLEAN),
    "SIGKILL": Kind(lambda replicas, _: replicas.first.kill(), None, DEAD),
    "SIGSTOP": Kind(lambda replicas, _: replicas.signal(signal.SIGSTOP), _go_on, DEAD, (LOST, EXIT_CODE)),
    "SIGSTOP at a write": Kind(_stop_at_a_write, _go_on, DEAD, (EXIT_CODE,)),
    "cut off": Kind(
        lambda replicas, _: replicas.proxy.cut(off=True), lambda replicas: replicas.proxy.cut(off=False), DEAD, (LOST,)
    ),
}
