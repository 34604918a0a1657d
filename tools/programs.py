"""Sets of Go programs, built once from pinned modules into the cache folder."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tools.host import cache_root, locked
from tools.progress import Progress, progress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}
LINES_OF_FAILURE = 15


class ToolError(Exception):
    """Something that was asked for can't be had; the message is for the person at the terminal."""

    exit_code = 1


class MissingToolError(ToolError):
    """Something has to be installed first; the message says what."""

    exit_code = 2


@dataclass(frozen=True)
class Pins:
    """A folder with a go.mod and a go.sum, and how the programs of its modules are built.

    Attributes:
        folder: Where the two files are; Go source beside them is built from there, and changes the key too.
        stamps: Variables that the linker sets, by name: versions that a program otherwise doesn't know of itself.
        tags: Go's build tags.
    """

    folder: Path
    stamps: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

    @property
    def flags(self) -> list[str]:
        """What `go build` is told besides the package."""
        linked = " ".join(["-s -w", *(f"-X {name}={value}" for name, value in self.stamps.items())])
        return ["-trimpath", *([f"-tags={','.join(self.tags)}"] if self.tags else []), "-ldflags", linked]

    def find(self, pattern: str) -> str:
        """Find the first group of a regular expression in go.mod.

        Raises:
            ToolError: No line is like it.
        """
        found = re.search(pattern, (self.folder / "go.mod").read_text(), re.MULTILINE)
        if not found:
            raise ToolError(f"{self.folder / 'go.mod'} has no line like {pattern}")
        return found[1]

    def digest(self) -> bytes:
        """A digest of all that is in the folder, and of the flags."""
        digest = hashlib.sha256()
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            digest.update(f"{path.relative_to(self.folder)}\0".encode() + path.read_bytes())
        digest.update(repr(self.flags).encode())
        return digest.digest()


@dataclass(frozen=True)
class Programs:
    """Programs that are built and kept together.

    Attributes:
        name: What the folder in the cache begins with.
        title: What it is in a sentence, such as "the local control plane".
        duration: How long the build takes on two cores, in a sentence.
        packages: The Go package of each program, with its pins.
        instead: What can be done without Go, as the end of a sentence.
    """

    name: str
    title: str
    duration: str
    packages: Mapping[str, tuple[Pins, str]]
    instead: str = ""

    @property
    def key(self) -> str:
        """Twelve digits that change with the pins, the way of building, or the machine's kind."""
        digest = hashlib.sha256()
        for name, (pins, package) in sorted(self.packages.items()):
            digest.update(f"{name}\0{package}\0".encode() + pins.digest())
        digest.update(repr(target()).encode())
        return digest.hexdigest()[:12]

    @property
    def folder(self) -> Path:
        """The folder in the cache, which is there once all of them are built."""
        return cache_root() / f"{self.name}-{self.key}"

    def find(self, program: str) -> Path | None:
        """Find one of the programs if they are built; nothing is built for it."""
        path = self.folder / "bin" / program
        return path if path.exists() else None

    def get(self) -> Path:
        """Get the folder of the programs; they are built first where the cache doesn't have them.

        Raises:
            MissingToolError: They aren't in the cache, and there is no Go that could build them.
            ToolError: Go could not build them.
        """
        folder = self.folder
        if not folder.exists():
            with (
                progress() as line,
                locked(
                    folder.with_suffix(".lock"),
                    lambda: line.step(f"Somebody else is building {self.title}; waiting for it"),
                ),
            ):
                if not folder.exists():
                    self._require_go()
                    self._build(folder, line)
        return folder / "bin"

    def _require_go(self) -> None:
        needed = max((pins.find(r"^go (\S+)") for pins in self._pins()), key=_numbers)
        # Asked among the pins, where a Go that fetches newer toolchains by itself answers as the newer one.
        where = next(pins.folder for pins in self._pins() if pins.find(r"^go (\S+)") == needed)
        try:
            answer = subprocess.run(
                ["go", "env", "GOVERSION"], cwd=where, env=_environment(), capture_output=True, text=True, check=True
            ).stdout
        except (OSError, subprocess.CalledProcessError):
            answer = ""
        found = re.search(r"go(\d+(?:\.\d+)*)", answer)
        if not found or _numbers(found[1]) < _numbers(needed):
            instead = f"; {self.instead}" if self.instead else ""
            raise MissingToolError(f"Building {self.title} needs Go {needed} or newer (https://go.dev/dl/){instead}.")

    def _pins(self) -> list[Pins]:
        return [pins for pins, _ in self.packages.values()]

    def _build(self, folder: Path, line: Progress) -> None:
        # The name is ours alone while the lock is held; what a killed build left there goes first.
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        for part in ("bin", "tmp"):
            (partial / part).mkdir(parents=True)
        try:
            for number, (name, (pins, package)) in enumerate(self.packages.items(), start=1):
                line.step(f"Building {name}, {number} of {len(self.packages)} ({self.duration} in all, once)")
                _go_build(pins, package, partial / "bin" / name, partial / "tmp")
            shutil.rmtree(partial / "tmp")
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def target() -> tuple[str, str]:
    """Operating system and architecture that programs are built for, in Go's words."""
    machine = platform.machine()
    return sys.platform, ARCHITECTURES.get(machine, machine)


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))


def _environment() -> dict[str, str]:
    goos, goarch = target()
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOOS": goos,
        "GOARCH": goarch,
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOWORK": "off",
    }


def _go_build(pins: Pins, package: str, output: Path, scratch: Path) -> None:
    log = scratch / "go.log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            ["go", "build", *pins.flags, "-o", output, package],
            cwd=pins.folder,
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
        raise ToolError(f"Go could not build {package}:\n{last}")
