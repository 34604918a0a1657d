"""The simulator and the operator as processes, for tests, benchmarks and the demo."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx

from tools.host import free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

BIN = Path(sys.executable).parent
PAUSE = 0.05
"""Seconds between two looks at something that takes moments: each look takes time from what it waits for."""
SECONDS_TO_STOP = 15.0
NAMESPACE = "maskinporten-operator"
SERVICE_ACCOUNT = "maskinporten-operator"
RELEASE = "maskinporten-operator"
"""The name of the chart's release, after which all that it installs is named."""
_local = httpx.Client(trust_env=False)  # one for all: each reads the CA bundle, which takes 20 ms of CPU


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave out the operator's settings, and what else is named like one, such as the cache's folder."""
    return {name: value for name, value in environment.items() if not name.startswith("MASKINPORTEN_OPERATOR_")}


class Process:
    """A program of this project as a process, its output in a file."""

    def __init__(self, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        """Start it."""
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._begin = output.tell()  # a process that was started before may have written here too
            self.popen = subprocess.Popen(
                arguments,
                env={**without_settings(os.environ), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.popen.poll() is None

    def stop(self) -> int:
        """Ask it to end and wait until it has; give its exit code."""
        if self.running:
            self.popen.terminate()
        try:
            return self.popen.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def wait(self, seconds: float) -> int | None:
        """Wait until it has ended by itself; give its exit code, None if it hasn't."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """End it at once, with its child processes, as a machine that fails does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(SECONDS_TO_STOP)

    def output(self) -> str:
        """Give what it has printed."""
        return self.log.read_bytes()[self._begin :].decode(errors="replace")

    def wait_for_output(self, text: str, seconds: float = 30.0) -> str:
        """Wait until it has printed a line with `text`; give the line.

        Raises:
            RuntimeError: It ended, or didn't print that in time.
        """
        deadline = time.monotonic() + seconds
        while True:
            for line in self.output().splitlines():
                if text in line:
                    return line
            if not self.running or time.monotonic() > deadline:
                raise RuntimeError(f"no {text!r} from {self.popen.args!r}:\n{self.output()[-3000:]}")
            time.sleep(PAUSE)

    def pids(self) -> list[int]:
        """Give the process's id, and those of its child processes now."""
        return [self.popen.pid, *_descendants(self.popen.pid)]

    def memory(self) -> tuple[int, int]:
        """Give the process's resident memory, and the proportional set size of it and its children, in bytes."""
        resident = _read_kib(Path(f"/proc/{self.popen.pid}/status"), "VmRSS:")
        proportional = sum(_read_kib(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") for pid in self.pids())
        return resident * 1024, proportional * 1024

    def peak_memory(self) -> int:
        """Give the most resident memory that the process has had, in bytes."""
        return _read_kib(Path(f"/proc/{self.popen.pid}/status"), "VmHWM:") * 1024

    def cpu_seconds(self) -> float:
        """Give the CPU time that the process has used, without its children."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Simulator(Process):
    """digdir-simulator on a free port, and its control API."""

    program: tuple[str, ...] = (str(BIN / "digdir-simulator"),)

    def __init__(self, folder: Path, *options: str, port: int = 0) -> None:
        """Start it and wait until it listens; `options` are its command line's."""
        self.admin_jwk_file = folder / "admin.jwk"
        arguments = [*self.program, "--port", str(port), "--admin-jwk-file", str(self.admin_jwk_file)]
        super().__init__([*arguments, *options], {}, folder / "simulator.log")
        self.url = self.wait_for_output("listening on").split()[-1]
        self._http = httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call the control API, as in `control("PATCH", "settings", {"latency_ms": 50})`."""
        response = self._http.request(method, f"/control/{path}", json=body)
        response.raise_for_status()
        return response.json() if response.content else None

    def count_calls(self, since: int = 0) -> dict[str, dict[str, int]]:
        """Give the number of calls by operation and status."""
        found: dict[str, dict[str, int]] = self.control("GET", f"ledger/summary?since={since}")
        return found

    def clients(self, description: str | None = None) -> list[dict[str, Any]]:
        """Give all clients, inactive ones too, past the API's rules; of one description if it is given."""
        return self._list("clients", {"description": description} if description else {})

    def scopes(self, name: str | None = None) -> list[dict[str, Any]]:
        """Give all scopes with their `accesses`, inactive ones too; the one of a name if it is given."""
        return self._list("scopes", {"name": name} if name else {})

    def _list(self, what: str, query: dict[str, str]) -> list[dict[str, Any]]:
        response = self._http.get(f"/control/{what}", params=query)
        found: list[dict[str, Any]] = response.raise_for_status().json()
        return found

    def stop(self) -> int:
        """Close the control connection, then end the process."""
        self._http.close()
        return super().stop()

    @property
    def well_known_url(self) -> str:
        """The address of Maskinporten's discovery document."""
        return f"{self.url}/.well-known/oauth-authorization-server"


class Operator(Process):
    """maskinporten-operator, configured for a simulator."""

    program: tuple[str, ...] = (str(BIN / "maskinporten-operator"),)

    def __init__(
        self, folder: Path, kubeconfig: Path, simulator: Simulator, log: str = "operator.log", **settings: str
    ) -> None:
        """Start it; `settings` are named as in its environment, without the prefix and in small letters."""
        claims = contextlib.ExitStack()
        self.health_port = claims.enter_context(free_ports(("health",)))["health"]
        weakref.finalize(self, claims.close)  # nobody else is given the port before it listens, nor after
        address = f"127.0.0.1:{self.health_port}"
        values = {
            "cluster_name": "test",
            "digdir_base_url": simulator.url,
            "maskinporten_well_known_url": simulator.well_known_url,
            "admin_client_id": "admin-client",
            "admin_jwk_file": str(simulator.admin_jwk_file),
            "default_client_scope": "nav:some/other/scope",
            "health_address": address,
            "metrics_address": address,
            **settings,
        }
        self.environment = {f"MASKINPORTEN_OPERATOR_{name.upper()}": value for name, value in values.items()}
        self.environment |= self.find_api_server(kubeconfig)
        super().__init__([*self.program, "run"], self.environment, folder / log)

    def find_api_server(self, kubeconfig: Path) -> dict[str, str]:
        """Give the variables by which it finds the API server."""
        return {"KUBECONFIG": str(kubeconfig)}

    def run_command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run another of its commands, configured as it is itself but for `settings`, to the end."""
        changed = {f"MASKINPORTEN_OPERATOR_{name.upper()}": value for name, value in settings.items()}
        environment = {**without_settings(os.environ), **self.environment, **changed}
        command = [*self.program, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        return self._says_well("readyz")

    def is_alive(self) -> bool:
        """Whether /livez says so."""
        return self._says_well("livez")

    def leads(self) -> bool:
        """Whether it says that it leads; one that doesn't answer doesn't."""
        try:
            return self.metric("maskinporten_operator_leader") == 1
        except httpx.HTTPError:
            return False

    def _says_well(self, endpoint: str) -> bool:
        try:
            return _local.get(f"http://127.0.0.1:{self.health_port}/{endpoint}").is_success
        except httpx.HTTPError:
            return False

    def metric(self, name: str) -> float:
        """Give a metric, summed over its labels; 0 if there is none of that name."""
        lines = self.metrics().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def metrics(self) -> str:
        """Give all metrics, as Prometheus reads them."""
        return _local.get(f"http://127.0.0.1:{self.health_port}/metrics").text

    def wait_ready(self, seconds: float = 30.0) -> Self:
        """Wait until it is ready.

        Raises:
            RuntimeError: It ended, or wasn't ready in time.
        """
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            if not self.running or time.monotonic() > deadline:
                raise RuntimeError(f"the operator isn't ready:\n{self.output()[-3000:]}")
            time.sleep(PAUSE)
        return self


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            found += [child, *_descendants(child)]
    return found


def _read_kib(path: Path, field: str) -> int:
    return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(field))
