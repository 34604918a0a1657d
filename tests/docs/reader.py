"""Somebody who does what a page says, in a folder with the checkout's files, by the programs that it names."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.docs.blocks import Command, Heading, SavedFile, matches, read_page
from tools.generate.__main__ import ROOT
from tools.stack import BIN, without_settings

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from tests.docs.kubelet import Kubelet

MAX_SECONDS = 120.0
"""How long a command may take: the machine may be busy with something else."""


@dataclass
class Reading:
    """How a page was read: seconds that each command took, and those that weren't run."""

    seconds: dict[str, float] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def seconds_until(self, begin: str) -> float:
        """How long all commands took, up to the one that begins like this."""
        commands = list(self.seconds)
        (last,) = (index for index, one in enumerate(commands) if one.startswith(begin))
        return sum(self.seconds[one] for one in commands[: last + 1])


class Reader:
    """Has a shell, and a kubeconfig of an administrator."""

    def __init__(self, kubelet: Kubelet, folder: Path, admin_jwk: Path) -> None:
        """Make the folder look like the checkout, with the private key of the operator's own client."""
        self.kubelet, self.folder = kubelet, folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "deploy").symlink_to(ROOT / "deploy")
        shutil.copy(admin_jwk, folder / "admin.jwk")
        cluster = kubelet.cluster
        homes = {f"HELM_{name}_HOME": str(folder / ".helm") for name in ("CACHE", "CONFIG", "DATA")}
        self._environment = {
            **without_settings(os.environ),
            **homes,
            "HOME": str(folder),
            "KUBECACHEDIR": str(folder / ".kube"),
            "KUBECONFIG": str(cluster.admin_kubeconfig),
            "PATH": os.pathsep.join((str(cluster.programs), str(BIN), os.environ["PATH"])),
        }

    def read(self, page: str, given: Mapping[str, Sequence[str]], left_out: Collection[str]) -> Reading:
        """Do all that a page says, section by section.

        Args:
            page: Its text.
            given: What is there before a section begins, as the commands that make it; by the section's heading.
            left_out: How commands begin that aren't run.

        Raises:
            AssertionError: A command fails, or prints something else than what is shown.
        """
        reading = Reading()
        for one in read_page(page):
            if isinstance(one, Heading):
                self.run(*given.get(one.text, ()))
            elif isinstance(one, SavedFile):
                self._save(one)
            elif any(one.text.startswith(begin) for begin in left_out):
                reading.left_out.append(one.text)
            else:
                began = time.monotonic()
                self.run(one)
                reading.seconds[one.text] = time.monotonic() - began
        return reading

    def run(self, *commands: Command | str) -> None:
        """Run commands, one after the other, while the node keeps up with what they change.

        Raises:
            AssertionError: One fails, or prints something else than what is shown.
        """
        for one in commands:
            self._run(one if isinstance(one, Command) else Command(one, "", 0))

    def _save(self, file: SavedFile) -> None:
        path = self.folder / file.name
        if path.exists():  # the checkout has it, and the page shows it
            assert path.read_text() == file.text, f"{file.name} is another than the page shows"
        else:
            path.write_text(file.text)

    def _run(self, command: Command) -> None:
        log = self.folder / ".printed"
        with log.open("wb") as output:
            shell = ["bash", "-euc", command.text]
            process = subprocess.Popen(
                shell,
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            deadline = time.monotonic() + MAX_SECONDS
            while process.poll() is None:
                if time.monotonic() > deadline:
                    process.kill()
                self.kubelet.sync()
                time.sleep(0.05)
        printed = log.read_text()
        where = f"line {command.line}: {command.text}"
        assert not process.returncode, f"{where}\nends with {process.returncode}:\n{printed}"
        assert not command.shown or matches(command.shown, printed), (
            f"{where}\nprints\n{printed}\nand not\n{command.shown}"
        )
        self.kubelet.wait_ready()
