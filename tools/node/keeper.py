"""The process beside a node's namespaces: makes them, and removes all of the node when its time is over.

That is when standard input ends, as it does with whoever holds its other end, however that ends; a detached one ends
when it is asked to by SIGTERM. Only `node.py` starts it. Should it be killed itself, the kernel ends what is in the
namespaces with it, and the next node that starts removes the rest.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tools.host import cache_root, locked, try_lock
from tools.node import cgroups, messages
from tools.node.inside import DEVICE, run
from tools.node.layout import Layout
from tools.node.requirements import NAMESPACES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

NETWORK = "10.213"
"""The first numbers of the networks between this machine and its nodes, which differ in the third."""
KEEPER_LOG = "keeper.log"
"""Where it says which programs of the node ended by themselves."""
OWNER = "owner"
"""The file that a keeper holds locked, with its process id in it."""

# A shell's work, since whoever makes the namespaces must be in the cgroups first: they become the roots that are seen
# inside.
_ENTER_CGROUPS = 'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs"; shift; done; shift; exec "$@"'


def keep(layout: Layout, *, detached: bool) -> None:
    """Make the node, tell on standard output how far it is, and remove it when its time is over.

    Raises:
        RuntimeError: It can't be made. Nothing is left of it.
    """
    events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    signal.signal(signal.SIGTERM, lambda *_: events.put({"over": True}))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not detached:
        threading.Thread(target=_wait_for_the_end_of_the_owner, args=(events,), daemon=True).start()
    with ExitStack() as stack:
        stack.enter_context(_own_folder(layout.folder))
        subnet = stack.enter_context(_claim_subnet())
        layout = replace(layout, subnet=subnet, cgroups=cgroups.plan(layout.name))
        # Before there is anything to remove: should this process be killed, the next one finds it here.
        layout.save()
        stack.callback(remove_rest, layout.folder)
        cgroups.create(layout.cgroups)
        inside = stack.enter_context(_namespaces(layout))
        threading.Thread(target=_relay, args=(inside, events), daemon=True).start()
        _follow(layout, inside, events)


def remove_rest(folder: Path) -> None:
    """Remove all of a node whose namespaces have ended or are about to; what isn't there is no fault."""
    with suppress(FileNotFoundError):
        layout = Layout.load(folder)
        # The kernel ends a network namespace in its own time, and the link with it.
        subprocess.run(["ip", "link", "delete", layout.link], capture_output=True, check=False)
        cgroups.remove(path for _, path in layout.cgroups)
    shutil.rmtree(folder, ignore_errors=True)


def _follow(layout: Layout, inside: subprocess.Popen[str], events: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Do what is to be done on the way to a node that is ready, and return at its end."""
    while "over" not in (event := events.get()):
        if "inside" in event:
            _connect(layout, _find_child(inside.pid))
        elif "ended" in event:
            with (layout.logs / KEEPER_LOG).open("a") as log:
                log.write(json.dumps(event) + "\n")
        else:
            messages.say(**event)


def _wait_for_the_end_of_the_owner(events: queue.SimpleQueue[dict[str, Any]]) -> None:
    sys.stdin.read()
    events.put({"over": True})


def _relay(inside: subprocess.Popen[str], events: queue.SimpleQueue[dict[str, Any]]) -> None:
    said: IO[str] | None = inside.stdout
    assert said
    for message in messages.listen(said):
        events.put(message)
    events.put({"over": True})


@contextmanager
def _own_folder(folder: Path) -> Iterator[None]:
    """Make the folder, and hold its lock: whoever finds it unlocked may remove it."""
    with locked(cache_root() / "nodes.lock"):
        for part in ("etc", "logs"):
            (folder / part).mkdir(parents=True, mode=0o700)
        owner = try_lock(folder / OWNER)
        assert owner, "nobody else knows the name"
        owner.write(f"{os.getpid()}\n".encode())
        owner.flush()
    try:
        with owner:
            yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _claim_subnet() -> Iterator[str]:
    """Claim a network that no other node of this machine has."""
    folder = cache_root() / "subnets"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(256):
        claim: BinaryIO | None = try_lock(folder / str(number))
        if claim:
            with claim:
                yield f"{NETWORK}.{number}"
            return
    raise RuntimeError(f"All networks of {NETWORK}.0.0/16 are in use")


@contextmanager
def _namespaces(layout: Layout) -> Iterator[subprocess.Popen[str]]:
    """Start the node's first process in cgroups and namespaces of its own, and end all of them."""
    entered = [str(path) for _, path in layout.cgroups]
    first = [sys.executable, "-m", "tools.node.inside", str(layout.folder)]
    unshare = ["unshare", *NAMESPACES, "--kill-child", "--propagation=private", "--mount-proc", *first]
    with (layout.logs / "inside.log").open("wb") as errors:
        process = subprocess.Popen(
            # The kernel kills unshare when this process ends, and unshare's death kills the first process inside.
            ["sh", "-c", _ENTER_CGROUPS, "sh", *entered, "--", "setpriv", "--pdeathsig=KILL", *unshare],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _find_child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _connect(layout: Layout, inside: int) -> None:
    run("ip", "link", "add", layout.link, "type", "veth", "peer", "name", DEVICE, "netns", str(inside))
    run("ip", "address", "add", f"{layout.outside}/24", "dev", layout.link)
    run("ip", "link", "set", layout.link, "up")


def main(layout: str, *options: str) -> None:
    """Keep a node."""
    try:
        keep(Layout.parse(json.loads(layout)), detached="--detached" in options)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and all is removed
        messages.say(failed=f"{type(error).__name__}: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
