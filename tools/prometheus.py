"""Prometheus and promtool, for the tests of alerts and dashboard: those of PATH, or Debian's, from the cache.

Debian's package is unpacked and not installed, since its installation starts a Prometheus.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml

from tools.host import cache_root, free_ports, locked
from tools.programs import MissingToolError, target
from tools.progress import progress
from tools.stack import NAMESPACE, RELEASE, Process

if TYPE_CHECKING:
    from tools.stack import Operator

LOOKBACK = "5s"
"""For how long a value counts that nobody reads any more."""


def prometheus() -> Path:
    """Get the folder of the two programs; they are fetched first where neither PATH nor the cache has them.

    Raises:
        MissingToolError: They are nowhere, and apt-get can't fetch them.
    """
    if (installed := shutil.which("prometheus")) and Path(installed).with_name("promtool").exists():
        return Path(installed).parent
    folder = cache_root() / f"prometheus-debian-{'-'.join(target())}"
    if not folder.exists():
        with locked(folder.with_suffix(".lock")):
            if not folder.exists():
                _fetch(folder)
    return folder / "usr" / "bin"


def _fetch(folder: Path) -> None:
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of one that was killed
    partial.mkdir(parents=True)
    try:
        with progress() as line:
            line.step("Fetching Prometheus from Debian (a few seconds, once)")
            _download(partial)
            (package,) = partial.glob("*.deb")
            _run("dpkg-deb", "--extract", package.name, "unpacked", where=partial)
        (partial / "unpacked").rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _download(where: Path) -> None:
    """Have apt-get fetch the package, which checks its signatures; as root it may fetch its lists first."""
    download = ("apt-get", "-qq", "download", "prometheus")
    try:
        _run(*download, where=where)
    except MissingToolError:
        if os.geteuid():
            raise
        _run("apt-get", "-qq", "update", where=where)
        _run(*download, where=where)


def _run(*command: str, where: Path) -> None:
    instead = "Prometheus is needed: prometheus and promtool in PATH, or Debian's apt-get"
    try:
        ended = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise MissingToolError(f"{instead}, and there is no {command[0]}") from None
    if ended.returncode:
        raise MissingToolError(f"{instead}, and that said: {(ended.stderr or ended.stdout).strip()[-400:]}")


class Prometheus(Process):
    """A Prometheus that reads the metrics of operators each second, with the labels that a ServiceMonitor's have."""

    def __init__(self, folder: Path, rules: str = "") -> None:
        """Start it, with a file of rules, and wait until it answers; `watch` says what it reads.

        Raises:
            MissingToolError: There is no Prometheus.
        """
        folder.mkdir(parents=True, exist_ok=True)
        program = prometheus() / "prometheus"
        self._targets = folder / "targets.json"
        self.watch()
        (folder / "rules.yaml").write_text(rules)
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": RELEASE, "file_sd_configs": [{"files": [self._targets.name]}]}],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
        with ExitStack() as claims:
            address = f"127.0.0.1:{claims.enter_context(free_ports(('prometheus',)))['prometheus']}"
            arguments = [
                *(str(program), f"--config.file={folder / 'prometheus.yaml'}", f"--web.listen-address={address}"),
                *(f"--storage.tsdb.path={folder / 'data'}", f"--query.lookback-delta={LOOKBACK}"),
            ]
            super().__init__(arguments, {}, folder / "prometheus.log")
            self._http = httpx.Client(base_url=f"http://{address}/api/v1/", trust_env=False)
            self.wait_for_output("Server is ready to receive web requests")

    def watch(self, *operators: Operator) -> None:
        """Read these operators from now on, and no others."""
        groups = [
            {
                "targets": [f"127.0.0.1:{one.health_port}"],
                "labels": {"namespace": NAMESPACE, "pod": f"{RELEASE}-{number}"},
            }
            for number, one in enumerate(operators)
        ]
        partial = self._targets.with_suffix(".partial")
        partial.write_text(json.dumps(groups))
        partial.rename(self._targets)

    def alerts(self) -> list[dict[str, Any]]:
        """Give the alerts that fire, with their labels and annotations."""
        found: list[dict[str, Any]] = self._get("alerts")["alerts"]
        return [one for one in found if one["state"] == "firing"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Evaluate an expression now; give its samples."""
        found: list[dict[str, Any]] = self._get("query", query=expression)["result"]
        return found

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """Evaluate an expression at each step from `start` to `end`, in seconds; give its series."""
        found: list[dict[str, Any]] = self._get("query_range", query=expression, start=start, end=end, step=step)[
            "result"
        ]
        return found

    def _get(self, path: str, **query: Any) -> Any:
        response = self._http.get(path, params=query)
        if response.is_error:
            raise httpx.HTTPStatusError(response.text[:600], request=response.request, response=response)
        return response.json()["data"]

    def stop(self) -> int:
        """Close the connection, then end the process."""
        self._http.close()
        return super().stop()
