"""Ask OSV what vulnerabilities are known of what is locked: of Python packages, and of the Go modules of tests.

OSV_URL   where OSV answers queries; by default osv.dev

Exit codes: 0 if none are known, 1 if there are some, 3 if OSV couldn't be asked, as without a network: then nothing is
known.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from tools.supply_chain.pinned import (
    ROOT,
    get_version,
    list_go_files,
    list_lock_files,
    read_go_modules,
    read_lock_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FOUND, NOT_ASKED = 1, 3
OSV_URL = "https://api.osv.dev/v1/query"
TIMEOUT = 15
"""Seconds for an answer of OSV."""


class NotAskedError(Exception):
    """OSV couldn't be asked; the message says about what, and why."""


@dataclass(frozen=True, order=True)
class Vulnerability:
    """One that is known of something that is locked."""

    name: str
    version: str
    id: str
    fixed: tuple[str, ...]
    places: tuple[str, ...]

    def __str__(self) -> str:
        """Say what it is, what fixes it, and what locks it."""
        fixed = f", fixed in {', '.join(self.fixed)}" if self.fixed else ""
        return f"{self.name} {self.version}: {self.id}{fixed} ({', '.join(self.places)})"


def audit_python(lock_files: Iterable[Path], osv_url: str) -> list[Vulnerability]:
    """Ask OSV about all that the lock files pin, each version once.

    Raises:
        NotAskedError: OSV can't be asked.
    """
    places: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in lock_files:
        for one in read_lock_file(path):
            places[one.name][get_version(one)].append(_show(path))
    found = []
    for number in range(max(map(len, places.values()))):  # pip-audit takes one version of each package
        versions = [(name, list(known)[number]) for name, known in places.items() if len(known) > number]
        for name, version, row in _ask_osv(versions, osv_url):
            where = tuple(places[name][version])
            found.append(Vulnerability(name, version, row["id"], tuple(row.get("fix_versions") or ()), where))
    return found


def _ask_osv(versions: Iterable[tuple[str, str]], osv_url: str) -> Iterator[tuple[str, str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        pinned, answer = Path(folder, "pinned.txt"), Path(folder, "answer.json")
        pinned.write_text("".join(f"{name}=={version}\n" for name, version in versions))
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(pinned), "--no-deps", "--disable-pip"]
        command += ["--vulnerability-service", "osv", "--timeout", str(TIMEOUT), "--progress-spinner", "off"]
        command += ["--format", "json", "--output", str(answer), "--osv-url", osv_url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        try:
            dependencies = json.loads(answer.read_text())["dependencies"]
        except (OSError, ValueError, KeyError):  # its exit code is 1 for what it found too
            raise NotAskedError(f"OSV couldn't be asked about Python packages: {_find_cause(done.stderr)}") from None
        for one in dependencies:
            yield from ((one["name"], one["version"], row) for row in one.get("vulns", ()))


def audit_go(files: Iterable[Path], osv_url: str) -> list[Vulnerability]:
    """Ask OSV about all modules that go.mod files pin, at once.

    Raises:
        NotAskedError: OSV can't be asked.
    """
    places: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for path in files:
        for pinned in read_go_modules(path):
            places[pinned].append(_show(path))
    queries = [{"package": {"name": name, "ecosystem": "Go"}, "version": version} for name, version in places]
    try:
        # One answer to many queries has the ids alone
        response = httpx.post(f"{osv_url}batch", json={"queries": queries}, timeout=TIMEOUT).raise_for_status()
        results = response.json()["results"]
        rows = [[str(one["id"]) for one in result.get("vulns", ())] for result in results]
    except (httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise NotAskedError(f"OSV couldn't be asked about Go modules: {error}") from None
    return [
        Vulnerability(*pinned, one, (), tuple(where))
        for (pinned, where), ids in zip(places.items(), rows, strict=True)
        for one in ids
    ]


def _find_cause(errors: str) -> str:
    lines = [line for line in errors.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it says nothing"


def _show(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def main() -> int:
    """Ask about everything, and tell what is known and what isn't."""
    found, unknown = [], []
    osv_url = os.environ.get("OSV_URL") or OSV_URL
    for audit, files in ((audit_python, list_lock_files()), (audit_go, list_go_files())):
        try:
            found += audit(files, osv_url)
        except NotAskedError as error:
            unknown.append(str(error))
    for vulnerability in sorted(found):
        print(vulnerability)
    for text in unknown:
        print(f"Not known: {text}", file=sys.stderr)
    if unknown:
        print("Not all could be looked at, which takes a network that reaches OSV", file=sys.stderr)
    else:
        print(f"{len(found)} known vulnerabilities")
    return FOUND if found else NOT_ASKED if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
