"""The cgroups of a node: one below the caller's own in each hierarchy of version 1, all removed at the end."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tools.programs import ToolError

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


def plan(name: str) -> tuple[tuple[str, Path], ...]:
    """Give the cgroup of that name in each hierarchy, by the hierarchies' names; `create` makes them."""
    return tuple((hierarchy, own / name) for hierarchy, own in find_own().items())


def create(planned: Iterable[tuple[str, Path]]) -> None:
    """Create cgroups, as `plan` gives them. Whoever asks for them must know how to remove them before."""
    for hierarchy, path in planned:
        path.mkdir()
        if "cpuset" in hierarchy.split(","):
            for file in ("cpuset.cpus", "cpuset.mems"):  # empty in a new one, which then takes no process
                (path / file).write_text((path.parent / file).read_text())


def remove(paths: Iterable[Path]) -> None:
    """Remove cgroups with all below them, as soon as their processes have ended.

    Raises:
        ToolError: Some still have processes.
    """
    deadline = time.monotonic() + SECONDS_TO_REMOVE
    left = list(paths)
    while left := [path for path in left if not _try_to_remove(path)]:
        if time.monotonic() > deadline:
            raise ToolError(f"cgroups still in use after {SECONDS_TO_REMOVE:.0f} s: {', '.join(map(str, left))}")
        time.sleep(0.02)


def _try_to_remove(path: Path) -> bool:
    for below in sorted((one for one in path.rglob("*") if one.is_dir()), reverse=True):
        with suppress(OSError):  # not empty yet
            below.rmdir()
    with suppress(OSError):
        path.rmdir()
    return not path.exists()
