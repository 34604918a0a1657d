"""The cgroups of a node: one below the caller's own in each hierarchy of version 1, all removed at the end."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path("/sys/fs/cgroup")
NEEDED = ("cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids")
"""Controllers that kubelet and runc can't do without."""
SECONDS_TO_REMOVE = 20.0


def find_own() -> dict[str, Path]:
    """Find this process's own cgroup in each hierarchy of version 1, by the hierarchy's name.

    A hierarchy without controllers is named as the kernel writes it, such as `name=systemd`.
    """
    found = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, name, path = line.split(":", 2)
        if name:  # version 2 has none
            found[name] = ROOT / name.removeprefix("name=") / path.lstrip("/")
    return found


def find_missing() -> list[str]:
    """Find the controllers that have no hierarchy of version 1 here."""
    there = {name for names, path in find_own().items() if path.is_dir() for name in names.split(",")}
    return [name for name in NEEDED if name not in there]


def create(name: str) -> tuple[tuple[str, Path], ...]:
    """Create a cgroup of that name in each hierarchy, and give them by the hierarchies' names."""
    created: list[tuple[str, Path]] = []
    try:
        for hierarchy, own in find_own().items():
            path = own / name
            path.mkdir()
            created.append((hierarchy, path))
            if "cpuset" in hierarchy.split(","):
                for file in ("cpuset.cpus", "cpuset.mems"):  # empty in a new one, which then takes no process
                    (path / file).write_text((own / file).read_text())
    except BaseException:
        remove(path for _, path in created)
        raise
    return tuple(created)


def remove(paths: Iterable[Path]) -> None:
    """Remove cgroups with all below them, as soon as their processes have ended.

    Raises:
        TimeoutError: Some still have processes.
    """
    deadline = time.monotonic() + SECONDS_TO_REMOVE
    left = list(paths)
    while left := [path for path in left if not _try_to_remove(path)]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"Still in use after {SECONDS_TO_REMOVE:.0f} s: {', '.join(map(str, left))}")
        time.sleep(0.02)


def _try_to_remove(path: Path) -> bool:
    for below in sorted((one for one in path.rglob("*") if one.is_dir()), reverse=True):
        with suppress(OSError):  # not empty yet
            below.rmdir()
    with suppress(OSError):
        path.rmdir()
    return not path.exists()
