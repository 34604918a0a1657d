"""The programs of the control plane, built once from the pinned Go tools into a cache folder."""

import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tools.cluster.host import cache_root, locked
from tools.cluster.progress import Progress, progress

PINS = Path(__file__).resolve().parents[1] / "control-plane"

PACKAGES = {
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    "kwokctl": "sigs.k8s.io/kwok/cmd/kwokctl",
    "helm": "helm.sh/helm/v4/cmd/helm",
}

ARCHITECTURES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}
LINES_OF_FAILURE = 15


class ControlPlaneError(Exception):
    """The control plane can't be had; the message is for the person at the terminal."""

    exit_code = 1


class MissingToolError(ControlPlaneError):
    """Something has to be installed first; the message says what."""

    exit_code = 2


def kubernetes_version(pins: Path = PINS) -> str:
    """The pinned version of Kubernetes, such as v1.37.2."""
    return _pinned(r"^\s*k8s\.io/kubernetes (v\S+)", pins)


def cache_key(pins: Path = PINS) -> str:
    """Twelve digits that change with the pins, the way of building, or the machine's kind."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        digest.update((pins / name).read_bytes())
    digest.update(repr((sorted(PACKAGES.items()), _flags(pins), _target())).encode())
    return digest.hexdigest()[:12]


def control_plane() -> Path:
    """The folder of the programs; they are built first where the cache doesn't have them.

    Raises:
        MissingToolError: There is no cache, and no Go that could fill it.
        ControlPlaneError: Go could not build them.
    """
    folder = cache_root() / f"control-plane-{cache_key()}"
    if not folder.exists():
        with (
            progress() as line,
            locked(
                folder.with_suffix(".lock"),
                lambda: line.step("Somebody else is building the control plane; waiting for it"),
            ),
        ):
            if not folder.exists():
                _require_go()
                _build(folder, line)
    return folder / "bin"


def find_built(name: str) -> Path | None:
    """Find one of the programs if they are built; nothing is built for it."""
    path = cache_root() / f"control-plane-{cache_key()}" / "bin" / name
    return path if path.exists() else None


def _pinned(pattern: str, pins: Path) -> str:
    found = re.search(pattern, (pins / "go.mod").read_text(), re.MULTILINE)
    if not found:
        raise ControlPlaneError(f"{pins / 'go.mod'} has no line like {pattern}")
    return found[1]


def _target() -> tuple[str, str]:
    machine = platform.machine()
    return sys.platform, ARCHITECTURES.get(machine, machine)


def _flags(pins: Path) -> list[str]:
    version = kubernetes_version(pins)
    major, minor, _ = version.removeprefix("v").split(".", 2)
    # Without these the API server calls itself v0.0.0-master, which clients and charts refuse.
    stamps = {
        "k8s.io/component-base/version.gitVersion": version,
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        "k8s.io/client-go/pkg/version.gitVersion": version,
    }
    return ["-trimpath", "-ldflags", " ".join(["-s -w", *(f"-X {k}={v}" for k, v in stamps.items())])]


def _require_go() -> None:
    needed = _pinned(r"^go (\S+)", PINS)
    # Asked among the pins, where a Go that fetches newer toolchains by itself answers as the newer one.
    try:
        answer = subprocess.run(
            ["go", "env", "GOVERSION"],
            cwd=PINS,
            env=_environment(),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        answer = ""
    found = re.search(r"go(\d+(?:\.\d+)*)", answer)
    if not found or _numbers(found[1]) < _numbers(needed):
        raise MissingToolError(
            f"Building the local control plane needs Go {needed} or newer (https://go.dev/dl/); "
            "without it, use CLUSTER=kind or CLUSTER=current."
        )


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))


def _environment() -> dict[str, str]:
    goos, goarch = _target()
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOOS": goos,
        "GOARCH": goarch,
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOWORK": "off",
    }


def _build(folder: Path, line: Progress) -> None:
    # The name is ours alone while the lock is held; what a killed build left there goes first.
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    for part in ("bin", "tmp"):
        (partial / part).mkdir(parents=True)
    try:
        for number, (name, package) in enumerate(PACKAGES.items(), start=1):
            line.step(f"Building {name}, {number} of {len(PACKAGES)} (about ten minutes in all, once)")
            _go_build(package, partial / "bin" / name, partial / "tmp")
        shutil.rmtree(partial / "tmp")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _go_build(package: str, output: Path, scratch: Path) -> None:
    log = scratch / "go.log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            ["go", "build", *_flags(PINS), "-o", output, package],
            cwd=PINS,
            env={**_environment(), "GOTMPDIR": str(scratch)},
            stdout=file,
            stderr=file,
            start_new_session=True,
        ) as go,
    ):
        try:
            go.wait()
        except BaseException:
            # Its compilers too: they share the session that started with it.
            with suppress(ProcessLookupError):
                os.killpg(go.pid, signal.SIGKILL)
            go.wait()
            raise
    if go.returncode:
        last = "\n".join(log.read_text().splitlines()[-LINES_OF_FAILURE:])
        raise ControlPlaneError(f"Go could not build {package}:\n{last}")
