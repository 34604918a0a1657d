"""The image in a file, for the tests' node: built by buildah on a Debian base of its own, and kept in the cache.

No registry of images is asked. All work is done in mount and PID namespaces of its own, in memory; what is left of it
is the file, also when the build is killed.
"""

import ast
import configparser
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.host import cache_root, locked
from tools.image.builders import Buildah, ImageError, ask
from tools.image.context import BEGIN_OF_ZIP, ROOT, compute_digest, copy_sources
from tools.programs import LINES_OF_FAILURE
from tools.progress import Progress, progress

NAME = "localhost/maskinporten-operator:test"
"""The image's name in the archive, and so on a node that imported it."""

RELEASE = "bookworm"
PACKAGES = ("python3-venv",)
"""What the base has beyond Debian's smallest; the venv module is for the Dockerfile's build stage."""

KEPT = 4
"""How many archives the cache keeps of each kind, for checkouts side by side; those used last."""

PROGRAMS = {"buildah": "buildah", "debootstrap": "debootstrap", "setpriv": "util-linux", "unshare": "util-linux"}
"""What the build takes, and the Debian package of each."""

HERE = "/mnt"
"""Where the folder of a build is in its mount namespace."""

WORK = "/var/lib/containers"
"""Where buildah's storage is, and a cache for which it knows no other place."""

_PREPARE = f"""
umask 022
mount --bind "$1" {HERE}
shift
# Over its parent: as a mount point it would have to exist on the machine, and whoever removed it would take the mount
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir -m 711 {WORK}
cd {HERE}
"""

_BASE = f"""
container=$(buildah from scratch)
root=$(buildah mount "$container")
debootstrap --variant=minbase --include={",".join(PACKAGES)} {RELEASE} "$root" "$1"
(cd "$root" && rm -rf dev/* var/cache/apt/* var/lib/apt/lists/* var/log/*)
(cd "$root/usr/share" && rm -rf doc info locale man)
buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
buildah commit --quiet --timestamp={BEGIN_OF_ZIP} "$container" localhost/base
buildah push --quiet localhost/base oci-archive:base.tar
"""

_IMAGE = """
name=$1
shift
"$@"
buildah push --quiet "$name" "oci-archive:image.tar:$name"
"""

REACHING_THE_INDEX = frozenset({
    "index-url", "extra-index-url", "trusted-host", "proxy", "cert", "client-cert", "timeout", "default-timeout",
    "retries",
})  # fmt: skip
"""What of pip's configuration says how it gets at packages."""


def image_archive(root: Path = ROOT, name: str = NAME, kind: str = "image") -> Path:
    """Return an image as an OCI archive that names it; it is built first if need be.

    Args:
        root: The folder with its Dockerfile and .dockerignore; by default this checkout, for the operator's image.
        name: What it is called.
        kind: What its file in the cache begins with.

    Raises:
        ImageError: it can't be built; the message is for the person at the terminal.
    """
    path = _path(kind, _image_key(name, compute_digest(root)))
    if not path.exists():
        with _building() as (line, partial):
            context = partial / "context"
            # From a copy, so that what is edited meanwhile doesn't get into the archive of this key.
            copy_sources(context, root)
            path = _path(kind, _image_key(name, compute_digest(context)))
            if not path.exists():
                base = _find_or_build_base(line, partial)
                _build_image(line, partial, base, name, path)
    _use(path, kind)
    return path


def check_machine() -> str | None:
    """Return in a sentence why the archive can't be built on this machine, or None if it can."""
    if sys.platform != "linux":
        return "Building the image for the tests' node takes Linux."
    if os.geteuid():
        return "Building the image for the tests' node takes root."
    if missing := sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)}):
        return f"Building the image for the tests' node takes what is missing here: apt-get install {' '.join(missing)}"
    try:
        ask(*_apart("true"))
    except ImageError as error:
        return f"Building the image for the tests' node takes mounts and PIDs of its own: {error}"
    return None


def _path(kind: str, key: str) -> Path:
    return cache_root() / f"{kind}-{key}.tar"


def _base_key() -> str:
    return _hash(_BASE, platform.machine())


def _image_key(name: str, sources: str) -> str:
    return _hash(_base_key(), _IMAGE, str(BEGIN_OF_ZIP), name, sources)


def _hash(*parts: str) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _use(path: Path, kind: str) -> None:
    """Note that the archive was used, and remove those of its kind that weren't for longest."""
    os.utime(path)
    archives = sorted(path.parent.glob(f"{kind}-*.tar"), key=lambda archive: archive.stat().st_mtime)
    for archive in archives[:-KEPT]:
        archive.unlink(missing_ok=True)


@contextmanager
def _building() -> Iterator[tuple[Progress, Path]]:
    """Lend the line of progress and an empty folder, to one at a time."""
    partial = cache_root() / "image.partial"
    with (
        progress() as line,
        locked(partial.with_suffix(".lock"), lambda: line.step("Somebody else is building the image; waiting for it")),
    ):
        shutil.rmtree(partial, ignore_errors=True)  # of a build that was killed
        partial.mkdir(mode=0o700)
        try:
            yield line, partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _find_or_build_base(line: Progress, partial: Path) -> Path:
    path = _path("debian", _base_key())
    if not path.exists():
        _require_machine()
        line.step("Building the base of the image (about a minute and a half, once)")
        _run_apart(partial, _BASE, _find_mirror())
        (partial / "base.tar").rename(path)
    _use(path, "debian")
    return path


def _build_image(line: Progress, partial: Path, base: Path, name: str, path: Path) -> None:
    _require_machine()
    line.step("Building the image for the tests' node (about a minute)")
    (partial / "base.tar").hardlink_to(base)
    (partial / "pip").mkdir()
    _write_pip_configuration(partial / "pip")
    arguments = {"BASE_IMAGE": f"oci-archive:{HERE}/base.tar"}
    # Mounted, so that it's in no layer
    volume = f"--volume={HERE}/pip:/etc/xdg/pip:ro"
    _run_apart(
        partial, _IMAGE, name, *Buildah().build_command(Path(HERE, "context"), name, arguments, BEGIN_OF_ZIP, volume)
    )
    (partial / "image.tar").rename(path)


def _require_machine() -> None:
    if reason := check_machine():
        raise ImageError(reason)


def _find_mirror() -> str:
    """Return the address from which apt on this machine has the release.

    Raises:
        ImageError: it has it from nowhere.
    """
    wanted = ("Created-By: Packages", "Origin: Debian", f"Codename: {RELEASE}", "Component: main")
    try:
        found = ask("apt-get", "indextargets", "--format=$(REPO_URI)", *wanted).splitlines()
    except FileNotFoundError:
        found = []
    if not found:
        raise ImageError(f"The image's base is Debian {RELEASE}, and apt knows no source of it; try apt-get update.")
    return found[0]


def _write_pip_configuration(folder: Path) -> None:
    """Write into the folder, for pip in the build stage, how pip on this machine gets at its packages."""
    listed = ask(sys.executable, "-m", "pip", "config", "list").splitlines()
    options: dict[str, str] = {}
    # Those of the environment outrank those of files.
    for line in sorted(listed, key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section in {"global", ":env:"} and option in REACHING_THE_INDEX:
            options[option] = ast.literal_eval(value)
    for option in {"cert", "client-cert"} & options.keys():
        shutil.copyfile(options[option], folder / option)
        options[option] = f"/etc/xdg/pip/{option}"
    configuration = configparser.RawConfigParser()
    configuration["global"] = options
    with (folder / "pip.conf").open("w") as file:
        configuration.write(file)


def _apart(script: str, *arguments: str) -> list[str]:
    """Return the command that runs the script in mount and PID namespaces of its own, which end with this process."""
    return [
        "setpriv", "--pdeathsig=KILL",
        "unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc",
        "sh", "-euc", script, "sh", *arguments,
    ]  # fmt: skip


def _run_apart(partial: Path, script: str, *arguments: str) -> None:
    """Run the script where buildah keeps all that it keeps in memory, and where `partial` is `HERE`.

    Raises:
        ImageError: it fails.
    """
    (partial / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{WORK}/storage"\nrunroot = "{WORK}/run"\n'
    )
    environment = os.environ | {
        "BUILDAH_ISOLATION": "chroot",
        "CONTAINERS_STORAGE_CONF": f"{HERE}/storage.conf",
        "HOME": WORK,
        "LC_ALL": "C",
        "TMPDIR": WORK,
    }
    run = subprocess.run(
        _apart(_PREPARE + script, str(partial), *arguments),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if run.returncode:
        last = "\n".join(run.stdout.splitlines()[-LINES_OF_FAILURE:])
        raise ImageError(f"The image for the tests' node couldn't be built:\n{last}")
