"""docker, podman and buildah: how each builds an image, looks into it, and runs it as a pod would."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.programs import ToolError


class ImageError(ToolError):
    """An image can't be had, or not be looked into; the text says what to do."""


@dataclass(frozen=True)
class Image:
    """What an image is.

    Attributes:
        identity: hash of its configuration, which names its layers.
        layers: digests of the layers, unpacked.
        user: as which it runs.
        sizes: bytes of each layer as it is pulled; empty if the builder doesn't tell.
        size: bytes of all of it, unpacked; None if the builder doesn't tell.
    """

    identity: str
    layers: tuple[str, ...]
    user: str
    sizes: tuple[int, ...] = ()
    size: int | None = None


@dataclass(frozen=True)
class Run:
    """How a command in the image ended, and what it said."""

    code: int
    output: str


def ask(*command: str) -> str:
    """Return what `command` says on standard output.

    Raises:
        ImageError: it fails.
    """
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise ImageError(f"{' '.join(command[:3])} … failed: {run.stderr.strip()}")
    return run.stdout.strip()


def _run(command: Sequence[str]) -> Run:
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return Run(run.returncode, run.stdout)


class Docker:
    """docker with BuildKit."""

    name = "docker"
    probe: tuple[str, ...] = ("version", "--format", "{{.Server.Version}}")

    def build_command(
        self, context: Path, tag: str, arguments: Mapping[str, str], instant: int, *more: str
    ) -> list[str]:
        """Return the command that builds the image from the Dockerfile in `context`, as of `instant`, epoch seconds."""
        named = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        return [self.name, "build", f"--tag={tag}", *named, *self._dated(instant), *more, str(context)]

    def build(self, context: Path, tag: str, arguments: Mapping[str, str], instant: int, *more: str) -> None:
        """Build the image from the Dockerfile in `context`, as of `instant`, in epoch seconds.

        Raises:
            ImageError: it can't be built; the builder has said why.
        """
        command = self.build_command(context, tag, arguments, instant, *more)
        environment = os.environ | {"SOURCE_DATE_EPOCH": str(instant), "DOCKER_BUILDKIT": "1"}
        if subprocess.run(command, env=environment, check=False).returncode:
            raise ImageError(f"{self.name} couldn't build {tag}, see above")

    def _dated(self, instant: int) -> list[str]:
        """Return the options that date layers and configuration; BuildKit takes the argument for it."""
        return [f"--build-arg=SOURCE_DATE_EPOCH={instant}"]

    def inspect(self, tag: str) -> Image:
        """Look into the image."""
        (found,) = json.loads(ask(self.name, "image", "inspect", tag))
        return Image(found["Id"], tuple(found["RootFS"]["Layers"]), found["Config"]["User"], size=found["Size"])

    @contextmanager
    def runner(self, tag: str) -> Iterator["Runner"]:
        """Lend a way to run commands in the image, on a read-only root file system with a /tmp."""
        yield Runner(
            self.name, "run", "--rm", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--network=none",
            "--security-opt=no-new-privileges", "--entrypoint={}", tag,
        )  # fmt: skip

    def remove(self, tag: str) -> None:
        """Remove the image."""
        ask(self.name, "image", "rm", "--force", tag)


class Runner:
    """Runs commands by a command line in which {} stands for the program."""

    def __init__(self, *command: str) -> None:
        """Run by `command`, followed by the program's arguments."""
        self._command = command

    def __call__(self, program: str, *arguments: str) -> Run:
        """Run a program of the image, as the image's own user."""
        return _run([*(part.replace("{}", program) for part in self._command), *arguments])


class Podman(Docker):
    """podman."""

    name = "podman"
    probe: tuple[str, ...] = ("info", "--format", "{{.Version.Version}}")

    def _dated(self, instant: int) -> list[str]:
        return [f"--build-arg=SOURCE_DATE_EPOCH={instant}", f"--timestamp={instant}"]


class Buildah(Podman):
    """buildah, which builds but has no `run` with a read-only root: that is made here, and takes root's rights."""

    name = "buildah"
    probe: tuple[str, ...] = ("--version",)

    def inspect(self, tag: str) -> Image:
        """Look into the image."""
        found: dict[str, Any] = json.loads(ask(self.name, "inspect", "--type=image", tag))
        with tempfile.TemporaryDirectory() as folder:
            ask(self.name, "push", "--quiet", tag, f"dir:{folder}")
            manifest = json.loads(Path(folder, "manifest.json").read_bytes())
        configuration = found["OCIv1"]
        return Image(
            found["FromImageID"],
            tuple(configuration["rootfs"]["diff_ids"]),
            configuration["config"].get("User", ""),
            tuple(layer["size"] for layer in manifest["layers"]),
        )

    @contextmanager
    def runner(self, tag: str) -> Iterator[Runner]:
        """Lend a way to run commands in the image, on a read-only root file system with a /tmp.

        Raises:
            ImageError: that takes root's rights.
        """
        if os.geteuid():
            raise ImageError("with buildah the check mounts the image read-only, so run it as root")
        configuration = json.loads(ask(self.name, "inspect", "--type=image", tag))["OCIv1"]["config"]
        user = configuration.get("User", "0")
        container = ask(self.name, "from", tag)
        try:
            root = ask(self.name, "mount", container)
            with tempfile.TemporaryDirectory() as folder:
                # Mounts and processes of its own, the image's variables, and no way to more rights
                steps = (
                    f"IMAGE_PATH=$PATH; PATH={os.environ['PATH']}",
                    f"mount --bind {root} {folder} && mount -o remount,bind,ro {folder} || exit 125",
                    f"mount -t proc proc {folder}/proc && mount --bind /dev {folder}/dev || exit 125",
                    f"mount -t tmpfs tmpfs {folder}/tmp || exit 125",  # noqa: S108 - in the image
                    f"SETPRIV=$(command -v setpriv) CHROOT=$(command -v chroot); PATH=$IMAGE_PATH; cd {folder}",
                    f'exec "$SETPRIV" --no-new-privs "$CHROOT" --userspec={user} {folder} "$@"',
                )
                yield Runner(
                    "env", "-i", *configuration.get("Env", []),
                    shutil.which("unshare") or "unshare", "--mount", "--pid", "--fork",
                    "/bin/sh", "-c", "\n".join(steps), "sh", "{}",
                )  # fmt: skip
        finally:
            ask(self.name, "rm", container)

    def remove(self, tag: str) -> None:
        """Remove the image."""
        ask(self.name, "rmi", "--force", tag)


Builder = Docker | Podman | Buildah

BUILDERS: tuple[Builder, ...] = (Docker(), Podman(), Buildah())


def find_builder(wanted: str | None) -> Builder:
    """Return the builder that is wanted, or else the first that works here.

    Raises:
        ImageError: none does.
    """
    if wanted is not None and wanted not in {builder.name for builder in BUILDERS}:
        raise ImageError(f"BUILDER={wanted} is none of {', '.join(builder.name for builder in BUILDERS)}")
    complaints = []
    for builder in BUILDERS:
        if wanted not in {None, builder.name}:
            continue
        if shutil.which(builder.name) is None:
            complaints.append(f"  {builder.name}: not installed")
            continue
        try:
            ask(builder.name, *builder.probe)
        except ImageError as error:
            complaints.append(f"  {builder.name}: {str(error).splitlines()[-1]}")
        else:
            return builder
    text = "Building the image takes docker, podman or buildah, and none works here:\n" + "\n".join(complaints)
    raise ImageError(text)
