"""A process as a strict pod has it, without a container: with a uid that nobody knows, and nothing to write to.

As a program, `python -m tools.bare UID GID TMP FILES COMMAND…` runs a command so, by means of Linux namespaces: as UID,
which has no passwd entry, though files open as they do for whoever calls it; in a file system that is read-only as a
whole, with FILES, a folder, as `/run/secrets`; with a `/tmp` that is `absent` or `full`; and with no environment but
settings and where the API server is.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tools.stack import BIN, Operator, Simulator

if TYPE_CHECKING:
    from collections.abc import Sequence

UIDS = {65532: 65532, 1000660000: 0}
"""Uids and their groups: the image's own, and one as OpenShift gives it to a namespace."""
WAYS = ((65532, "absent"), (1000660000, "full"))
"""With what `/tmp` each is tried."""
KEPT = ("MASKINPORTEN_OPERATOR_", "KUBERNETES_SERVICE_")
FILES = "/run/secrets"
ACCOUNT = "kubernetes.io/serviceaccount"
"""Where a pod finds its ServiceAccount's token, below `FILES`."""
PROBE = """
import getpass, os, pathlib
for folder in ("/", "/run", "/tmp", "/var/tmp", "/dev/shm", os.getcwd()):
    try:
        with open(f"{folder}/x", "w") as file:
            file.write("x")
        print(folder, "can be written to")
    except OSError:
        pass
for ask in (getpass.getuser, pathlib.Path.home):
    try:
        print(ask())
    except (KeyError, RuntimeError):
        pass
print(os.getuid(), os.getgid())
"""
"""A program that says its uid and group, and whatever it shouldn't have found."""


class NoNamespacesError(Exception):
    """This machine doesn't let us have namespaces, or not with this checkout; the text is the reason."""


def bare(uid: int, tmp: str, files: Path, command: Sequence[str | Path]) -> list[str]:
    """Give the command that runs `command` so."""
    return [sys.executable, "-m", "tools.bare", str(uid), str(UIDS[uid]), tmp, str(files), *map(str, command)]


def probe(uid: int, tmp: str, files: Path) -> str:
    """Give what `PROBE` says.

    Raises:
        NoNamespacesError: It can't be run.
    """
    if Path(sys.prefix).is_relative_to("/tmp"):  # noqa: S108 - where it must not be
        raise NoNamespacesError(f"{sys.prefix} is below /tmp, which is taken away here: check out elsewhere")
    run = subprocess.run(
        bare(uid, tmp, files, [sys.executable, "-c", PROBE]), capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise NoNamespacesError(run.stderr.strip().rpartition("\n")[2])
    return run.stdout.strip()


class BareOperator(Operator):
    """The operator as such a process. It finds the API server as a pod does."""

    def __init__(
        self, folder: Path, kubeconfig: Path, simulator: Simulator, log: str, *, uid: int, tmp: str, **settings: str
    ) -> None:
        """Start it with the rights that a kubeconfig of `Cluster.kubeconfig_of` has."""
        files = folder / f"{log}.files"
        account = files / ACCOUNT
        account.mkdir(parents=True)
        config = json.loads(kubeconfig.read_text())
        (server,) = (one["cluster"] for one in config["clusters"])
        (user,) = (one["user"] for one in config["users"])
        (account / "token").write_text(user["token"])
        (account / "ca.crt").write_text(Path(server["certificate-authority"]).read_text())
        (files / "admin.jwk").write_text(simulator.admin_jwk_file.read_text())
        self._server = urlsplit(server["server"])
        self.program = tuple(bare(uid, tmp, files, [BIN / "maskinporten-operator"]))
        super().__init__(folder, kubeconfig, simulator, log, admin_jwk_file=f"{FILES}/admin.jwk", **settings)

    def find_api_server(self, kubeconfig: Path) -> dict[str, str]:  # noqa: ARG002 - its content is in files
        """Give the variables that a pod has."""
        return {
            "KUBERNETES_SERVICE_HOST": str(self._server.hostname),
            "KUBERNETES_SERVICE_PORT": str(self._server.port),
        }


def _run(uid: int, gid: int, tmp: str, files: Path, command: Sequence[str]) -> None:
    _enter_namespaces(uid, gid)
    _enter_root(tmp, files)
    os.execve(command[0], list(command), {name: value for name, value in os.environ.items() if name.startswith(KEPT)})  # noqa: S606


def _enter_namespaces(uid: int, gid: int) -> None:
    """Become a user by another number, who is still the same to the kernel."""
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    _call("unshare", ctypes.c_int(_CLONE_NEWUSER | _CLONE_NEWNS))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1")
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)


def _enter_root(tmp: str, files: Path) -> None:
    """Have a root with what this machine's has, but for what is written to."""
    root = files / "root"
    root.mkdir(exist_ok=True)
    _mount("tmpfs", root, "tmpfs", 0, "size=1m")
    for one in Path("/").iterdir():
        if one.is_symlink():
            (root / one.name).symlink_to(one.readlink())
        elif one.is_dir() and one.name not in {"tmp", "run"}:
            (root / one.name).mkdir()
            _mount(one, root / one.name, None, _MS_BIND | _MS_REC)
    (root / FILES[1:]).mkdir(parents=True)
    _mount(files, root / FILES[1:], None, _MS_BIND)
    if tmp == "full":
        (root / "tmp").mkdir()
    _make_read_only(root)
    if tmp == "full":
        _fill(root / "tmp")
        _fill(root / "dev/shm")
    os.chroot(root)
    os.chdir("/")


def _fill(folder: Path) -> None:
    """Have a folder that may be written to, and is full."""
    _mount("tmpfs", folder, "tmpfs", 0, "size=4k,mode=1777")
    (folder / "full").write_bytes(bytes(4096))


def _mount(
    source: Path | str | None, target: Path | str, kind: str | None, flags: int, options: str | None = None
) -> None:
    texts = [None if one is None else os.fsencode(one) for one in (source, target, kind)]
    _call("mount", *texts, ctypes.c_ulong(flags), options and options.encode())


def _make_read_only(root: Path) -> None:
    """Make it read-only with all that is mounted below: mount(8) does so from version 2.39 on only."""
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    arguments = (_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(root), _AT_RECURSIVE)
    numbers = [one if isinstance(one, bytes) else ctypes.c_long(one) for one in arguments]
    _call("syscall", *numbers, attributes, ctypes.c_size_t(ctypes.sizeof(attributes)))


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1


if __name__ == "__main__":
    try:
        _run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), sys.argv[5:])
    except OSError as error:
        sys.exit(f"no namespaces here: {error}")
