"""The processes of the demo: control plane, simulator and operator, in .run/demo."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tools.cluster import Cluster, control_plane
from tools.cluster.kwok import remove
from tools.host import try_lock
from tools.install import VALUES, install, list_installed
from tools.kube import KubeClient, wait_for
from tools.node.node import end
from tools.progress import progress
from tools.stack import NAMESPACE, SECONDS_TO_STOP, SERVICE_ACCOUNT, Operator, Process, Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tools.node.node import Node

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".run" / "demo"
STATE = FOLDER / "state.json"
TOKEN_LIFETIME = "720h"  # noqa: S105 - of the operator's ServiceAccount, long enough for a demo that is kept
KEYS_AHEAD = 8
SETTINGS = {
    "cluster_name": "demo",
    "applications": "true",
    "platform": "gcp",  # where egress policies are made, and no web proxy is needed
    "maskinporten_hosts": "test.maskinporten.no",  # the simulator's own is a loopback address, which no pod would reach
    "log_format": "text",
}
P = TypeVar("P", bound=Process)


class BusyError(Exception):
    """Another demo is in the way."""


class Stage:
    """Starts what the demo needs, one by one, and ends all of it, or leaves it running.

    Attributes:
        pods: What is true of its pods, in a few words.
        image: What Applications run instead of what their manifests say; None to leave that as it is.
        maskinporten: Maskinporten as policies name it: addresses, and the port.
    """

    pods = "its node and pods are played, nothing runs in them"
    image: str | None = None
    # The addresses that DigDir publishes for test.maskinporten.no.
    maskinporten: tuple[list[str], int] = (["139.105.36.132/32", "2a02:9cc::301/128"], 443)
    cluster: Cluster | Node

    def __init__(self) -> None:
        """Nothing is started yet."""
        self.folder = FOLDER
        self._stack = ExitStack()
        self._processes: dict[str, tuple[int, str]] = {}

    def build(self) -> None:
        """Build what isn't in the cache yet."""
        control_plane()

    def start_cluster(self) -> Cluster | Node:
        """Start Kubernetes."""
        programs = control_plane()
        with progress() as line:
            line.step("Starting the control plane")
            self.cluster = self._stack.enter_context(Cluster.create("demo", folder=FOLDER / "cluster"))
        (FOLDER / "bin").symlink_to(programs)
        self.kube = self._stack.enter_context(KubeClient(self.cluster.admin_kubeconfig))
        return self.cluster

    def install(self) -> list[str]:
        """Install the operator's chart; give what that made. The pod of its Deployment is played, like all pods."""
        install(self.cluster, {**VALUES, "sizePolicy": {"enabled": True}})
        return list_installed(self.cluster)

    def start_simulator(self) -> Simulator:
        """Start DigDir's stand-in."""
        self.simulator = self._enter("simulator", lambda: Simulator(FOLDER))
        return self.simulator

    def start_operator(self) -> None:
        """Start the operator with the rights of its ServiceAccount, and wait until it works."""
        kubeconfig = self.cluster.kubeconfig_of(SERVICE_ACCOUNT, NAMESPACE, TOKEN_LIFETIME)
        self.operator = self._enter("operator", lambda: Operator(FOLDER, kubeconfig, self.simulator, **SETTINGS))
        self.operator.wait_ready()
        wait_for(lambda: self.keys_ready() >= KEYS_AHEAD, 60, f"{KEYS_AHEAD} keys minted ahead")

    def keys_ready(self) -> int:
        """How many keys the operator has minted ahead."""
        return int(self.operator.metric("maskinporten_operator_keys_ready"))

    def describe_operator(self) -> list[str]:
        """Commands that show the operator's metrics and logs."""
        return [
            f"curl http://127.0.0.1:{self.operator.health_port}/metrics",
            f"tail -f {FOLDER}/operator.log {FOLDER}/simulator.log",
            f"ls {self.cluster.logs}",
        ]

    def keep(self) -> None:
        """Leave everything running."""
        self._stack.pop_all()
        self._write_state(kept=True)

    def stop(self, *, keep_logs: bool) -> None:
        """End everything and remove its files, but for the logs if they are wanted."""
        if keep_logs and hasattr(self, "cluster"):
            with suppress(OSError, shutil.Error):
                shutil.copytree(self.cluster.logs, FOLDER / "control-plane-logs", dirs_exist_ok=True)
        self._stack.close()
        if keep_logs:
            remove(FOLDER / "cluster")
            for name in ("state.json", "admin.jwk", "bin"):
                (FOLDER / name).unlink(missing_ok=True)
        else:
            clear()

    def _enter(self, name: str, start: Callable[[], P]) -> P:
        with uninterrupted():
            process = start()
            self._stack.push(process)
            # Written down at once: should this program be killed, the next one can end what it started.
            self._processes[name] = (process.popen.pid, _start_time(process.popen.pid) or "")
            self._write_state(kept=False)
        return process

    def _write_state(self, *, kept: bool) -> None:
        STATE.write_text(json.dumps({"kept": kept, "processes": self._processes}))


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put Ctrl-C and SIGTERM off until the block is over: nobody would know of a process that is half started."""
    # Not by a signal mask, which the process would inherit.
    pending: list[int] = []
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    for one in before:
        signal.signal(one, lambda number, _: pending.append(number))
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        for number in pending:
            signal.raise_signal(number)


@contextmanager
def only_one() -> Iterator[None]:
    """Keep two demos in one checkout from working at the same time.

    Raises:
        BusyError: There is another one.
    """
    FOLDER.parent.mkdir(exist_ok=True)
    lock = try_lock(FOLDER.with_suffix(".lock"))
    if lock is None:
        raise BusyError("Another demo runs in this checkout.")
    with lock:
        yield


def prepare() -> None:
    """Make room: what a demo left behind that was killed is ended.

    Raises:
        BusyError: A demo was left running on purpose.
    """
    if _read_state().get("kept"):
        raise BusyError("A demo is still running here (KEEP=1). Stop it first: make demo-down")
    clear()
    FOLDER.mkdir(parents=True)


def clear() -> bool:
    """End what an earlier demo left, and remove its files; say whether there was any."""
    there = FOLDER.exists()
    for pid, started in _read_state().get("processes", {}).values():
        _end(pid, started)
    end(FOLDER / "cluster")
    remove(FOLDER / "cluster")
    shutil.rmtree(FOLDER, ignore_errors=True)
    return there


def _read_state() -> dict[str, Any]:
    with suppress(FileNotFoundError, ValueError):
        return dict(json.loads(STATE.read_text()))
    return {}


def _end(pid: int, started: str) -> None:
    """End a process and its children, if it still is the one that was started then: numbers are used again."""
    deadline = time.monotonic() + SECONDS_TO_STOP
    with suppress(ProcessLookupError):
        if _start_time(pid) == started:
            os.kill(pid, signal.SIGTERM)
        while _start_time(pid) == started:
            if time.monotonic() > deadline:
                os.killpg(pid, signal.SIGKILL)
            time.sleep(0.05)


def _start_time(pid: int) -> str | None:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    return None
