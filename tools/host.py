"""What clusters on one machine share and must not get wrong: locks, ports, processes."""

import fcntl
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

# Below the ports that the kernel hands to outgoing connections, so that none of those
# takes one between its choice here and the moment its server listens.
PORTS = range(20000, 32768)


def cache_root() -> Path:
    """The folder, outside every checkout, that all clusters of this user share."""
    if own := os.environ.get("MASKINPORTEN_OPERATOR_CACHE"):
        return Path(own).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().resolve() / "maskinporten-operator"


def try_lock(path: Path) -> BinaryIO | None:
    """The open file that holds the lock until it is closed, or None while somebody else holds it.

    The kernel releases it when its holder ends, however that happens. Nothing has to be tidied up.
    """
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock for the block; `waiting` is called again and again while somebody else has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while (file := try_lock(path)) is None:
        waiting()
        time.sleep(0.2)
    with file:
        yield


@contextmanager
def free_ports(names: tuple[str, ...]) -> Iterator[dict[str, int]]:
    """A free port for each name, claimed against every other cluster that starts during the block.

    Whoever asks for a free port and gives it back before its server listens may see it given
    to a neighbour too. A claim is a locked file named by the port: other clusters pass it by.
    """
    folder = cache_root() / "ports"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as claims:
        ports: list[int] = []
        for port in random.sample(PORTS, len(PORTS)):
            if len(ports) == len(names):
                break
            if (claim := try_lock(folder / str(port))) is None:
                continue
            claims.enter_context(claim)
            claims.callback((folder / str(port)).unlink, missing_ok=True)
            if _is_free(port):
                ports.append(port)
        yield dict(zip(names, ports, strict=True))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Ports of connections closed a moment ago are free to servers, which set the same option.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def running(folder: Path) -> dict[int, list[str]]:
    """The command lines, by process id, of all programs started from below the folder.

    Found by where the program lies instead of by a recorded id: that finds a process whose starter
    was ended before it could record anything, and never one that got an old id.
    """
    if Path("/proc/self/cmdline").exists():
        found = dict(_command_lines())
    else:
        listing = subprocess.run(["ps", "-axww", "-o", "pid=,args="], capture_output=True, text=True, check=True)
        found = {int(words[0]): words[1:] for words in map(str.split, listing.stdout.splitlines())}
    return {pid: words for pid, words in found.items() if words and words[0].startswith(f"{folder}/")}


def _command_lines() -> Iterator[tuple[int, list[str]]]:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            yield int(file.parent.name), file.read_bytes().decode(errors="replace").split("\0")[:-1]


def end_all(folder: Path, patience: float = 10.0) -> None:
    """End all programs started from below the folder, at once, until none is left.

    Their data goes with them, so nobody has to save anything. Asked instead to end, a kube-apiserver
    waits for its watchers, and indefinitely for an etcd that was quicker.
    """
    deadline = time.monotonic() + patience
    looks_without_any = 0
    # Two looks: a program that is just being started shows no command line for an instant.
    while looks_without_any < 2:
        left = running(folder)
        looks_without_any = 0 if left else looks_without_any + 1
        if left and time.monotonic() > deadline:
            raise TimeoutError(f"Still running after {patience:.0f} s: {sorted(left)}")
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
