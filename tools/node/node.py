"""A node as its owner sees it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tools.cluster.administrator import Administrator, ControlPlaneError
from tools.cluster.binaries import control_plane
from tools.host import cache_root, locked, try_lock
from tools.node import messages
from tools.node.keeper import KEEPER_LOG, OWNER, remove_rest
from tools.node.layout import DNS_SERVICE, FILE, Layout
from tools.node.programs import node_programs
from tools.node.requirements import find_missing
from tools.programs import MissingToolError
from tools.progress import Progress, progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
DNS = (Path(__file__).parent / "coredns.yaml").read_text()
SECONDS_TO_END = 60.0


class Node(Administrator):
    """A one-node cluster with real pods; a context manager that ends it and removes all of it.

    Attributes:
        address: The node's address, which this machine reaches, and pods too.
        outside: This machine's address, as the node and its pods reach it.
        logs: Folder with a file for each program of the node.
    """

    def __init__(self, layout: Layout, keeper: subprocess.Popen[str] | None) -> None:
        """Describe a node that runs; `create` starts one."""
        super().__init__(layout.name, layout.folder, layout.control_plane)
        self.server = layout.server
        self.address = layout.address
        self.outside = layout.outside
        self.logs = layout.logs
        self._layout = layout
        self._keeper = keeper

    @classmethod
    def create(
        cls,
        *,
        images: Sequence[Path] = (),
        hosts: Mapping[str, str] | None = None,
        folder: Path | None = None,
        detached: bool = False,
    ) -> Self:
        """Start a node, and return when it takes pods and its cluster's DNS answers.

        Args:
            images: OCI archives whose images the node has from the start; it reaches no registry.
            hosts: Names that the cluster's DNS answers besides its own, with their addresses.
            folder: Where to keep it, instead of in the cache.
            detached: It outlives this process, until `end`. Otherwise it ends with it, however that ends.

        Raises:
            MissingToolError: It can't run on this machine, or its programs can't be built.
            ControlPlaneError: It did not start. Nothing is left of it.
        """
        require_node()
        remove_abandoned()
        name = f"mpo-{secrets.token_hex(4)}"
        layout = Layout(
            name=name,
            folder=(folder or cache_root() / "nodes" / name).resolve(),
            control_plane=control_plane(),
            programs=node_programs().get(),
            images=tuple(images),
            hosts=tuple((hosts or {}).items()),
        )
        with progress() as line:
            keeper = _start_keeper(layout, detached=detached)
            try:
                _wait_ready(keeper, line)
                node = cls(Layout.load(layout.folder), None if detached else keeper)
                line.step("Starting the cluster's DNS")
                node._start_dns()
                node.check()
            except BaseException:
                keeper.terminate()
                keeper.wait(SECONDS_TO_END)
                raise
        return node

    def check(self) -> None:
        """Return if all programs of the node have run on since its start.

        Raises:
            ControlPlaneError: One ended by itself: what was seen on the node since is worth nothing.
        """
        with suppress(FileNotFoundError):
            for line in (self.logs / KEEPER_LOG).read_text().splitlines():
                event = json.loads(line)
                raise ControlPlaneError(f"{event['ended']} ended with exit code {event['code']}:\n{event['log']}")

    def stop(self) -> None:
        """End it and remove all of it."""
        if self._keeper:
            self._keeper.terminate()
            self._keeper.communicate(timeout=SECONDS_TO_END)
        else:
            end(self.folder)

    def find_cgroup(self, hierarchy: str, pod: str) -> Path:
        """Find the cgroup of a pod, by its uid, in a hierarchy of version 1, such as `memory`.

        Raises:
            ControlPlaneError: There is none.
        """
        roots = dict(self._layout.cgroups)
        for path in roots[hierarchy].glob(f"kubepods/**/pod{pod}"):
            return path
        raise ControlPlaneError(f"Pod {pod} has no cgroup among {hierarchy}")

    def find_processes(self, pod: str, program: str) -> list[int]:
        """Find the ids, on this machine, of a pod's processes whose command line has `program` in it."""
        found = []
        for file in self.find_cgroup("pids", pod).glob("**/cgroup.procs"):
            for pid in map(int, file.read_text().split()):
                with suppress(OSError):  # it ended meanwhile
                    if program in Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace"):
                        found.append(pid)
        return sorted(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_dns(self) -> None:
        known = "".join(f"            {address} {name}\n" for name, address in self._layout.hosts)
        self.kubectl("apply", "-f=-", stdin=DNS.replace("@HOSTS@\n", known).replace("@DNS@", DNS_SERVICE))
        self.kubectl("rollout", "status", "deployment/coredns", "-n=kube-system", "--timeout=60s")


def require_node() -> None:
    """Return if a node can run on this machine.

    Raises:
        MissingToolError: It can't; the text says what is missing.
    """
    if missing := find_missing():
        raise MissingToolError(f"A node with real pods needs {', '.join(missing)}.")


def end(folder: Path) -> bool:
    """End the node that is kept in the folder, if any, and remove all of it; tell whether there was one."""
    if not (folder / FILE).exists():
        return False
    deadline = time.monotonic() + SECONDS_TO_END
    with suppress(FileNotFoundError):  # its keeper has removed it
        while (owner := try_lock(folder / OWNER)) is None:
            with suppress(ProcessLookupError, ValueError):
                os.kill(int((folder / OWNER).read_text()), signal.SIGTERM)
            if time.monotonic() > deadline:
                raise ControlPlaneError(f"The node in {folder} hasn't ended after {SECONDS_TO_END:.0f} s")
            time.sleep(0.1)
        with owner:
            remove_rest(folder)
    return True


def remove_abandoned() -> None:
    """Remove what is left of nodes in the cache whose keepers were killed."""
    folder = cache_root() / "nodes"
    with locked(cache_root() / "nodes.lock"):
        for one in folder.iterdir() if folder.exists() else ():
            if owner := try_lock(one / OWNER):
                with owner:
                    remove_rest(one)


def _start_keeper(layout: Layout, *, detached: bool) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tools.node.keeper", layout.serialize(), *(["--detached"] if detached else [])],
        cwd=ROOT,
        stdin=subprocess.DEVNULL if detached else subprocess.PIPE,
        stdout=subprocess.PIPE,
        # One that stays must not keep open what somebody reads to its end.
        stderr=subprocess.DEVNULL if detached else None,
        text=True,
        # Ctrl-C is for this process, whose end the keeper sees.
        start_new_session=True,
    )


def _wait_ready(keeper: subprocess.Popen[str], line: Progress) -> None:
    assert keeper.stdout
    said = "its keeper ended without a word"
    for message in messages.listen(keeper.stdout):
        if "step" in message:
            line.step(message["step"])
        elif "failed" in message:
            said = message["failed"]
        elif "ready" in message:
            return
    raise ControlPlaneError(f"The node didn't start: {said}")
