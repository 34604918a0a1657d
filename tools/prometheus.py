"""Prometheus and promtool, for the tests of alerts and dashboard: those of PATH, or Debian's, from the cache.

Debian's package is unpacked and not installed, since its installation starts a Prometheus.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tools.host import cache_root, locked
from tools.programs import MissingToolError, target
from tools.progress import progress


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
