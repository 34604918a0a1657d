"""What an administrator does with a cluster of ours, by the programs that were built for it."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import yaml

from tools.programs import ToolError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class ControlPlaneError(ToolError):
    """A cluster doesn't start, or refuses what it is asked; the message says what."""


class Administrator:
    """A cluster, and all rights in it.

    Attributes:
        name: Unique on this machine.
        folder: Everything this cluster writes lies here.
        admin_kubeconfig: Path of a kubeconfig that may do everything.
        server: The API server's address, on this machine only.
        programs: Folder of kubectl, Helm and the control plane.
    """

    def __init__(self, name: str, folder: Path, programs: Path) -> None:
        """Describe a cluster; its kubeconfig appears when it starts."""
        self.name = name
        self.folder = folder
        self.admin_kubeconfig = folder / "kubeconfig"
        self.server = ""
        self.programs = programs

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig to use where nothing calls for fewer rights."""
        return self.admin_kubeconfig

    def kubectl(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """Run kubectl as an administrator and return what it prints.

        Raises:
            ControlPlaneError: kubectl failed; the message is what it said.
        """
        # Never the terminal: a kubectl that waits for input there would look like a hang.
        return self._run(self.programs / "kubectl", arguments, stdin)

    def helm(self, *arguments: str | Path, stdin: str | None = None, program: str | Path = "helm") -> str:
        """Run helm as an administrator and return what it prints; repositories and plugins of the user's are not seen.

        Args:
            arguments: helm's.
            stdin: What it reads.
            program: The path of another than the pinned Helm 4.

        Raises:
            ControlPlaneError: helm failed; the message is what it said.
        """
        return self._run(self.programs / program, arguments, stdin)

    def kubeconfig_of(self, service_account: str, namespace: str, duration: str = "1h") -> Path:
        """Write a kubeconfig that has the rights of an existing ServiceAccount and no others."""
        token = self.kubectl("create", "token", service_account, f"-n={namespace}", f"--duration={duration}")
        known = yaml.safe_load(self.admin_kubeconfig.read_text())
        (context,) = (one for one in known["contexts"] if one["name"] == known["current-context"])
        context["context"].update(user=service_account, namespace=namespace)
        known["users"] = [{"name": service_account, "user": {"token": token.strip()}}]
        path = self.folder / f"kubeconfig-{namespace}-{service_account}"
        path.touch(mode=0o600)
        path.write_text(json.dumps(known))
        return path

    def _run(self, program: Path, arguments: Sequence[str | Path], stdin: str | None) -> str:
        homes = {f"HELM_{name}_HOME": str(self.folder / "helm") for name in ("CACHE", "CONFIG", "DATA")}
        # What kubectl remembers of an address isn't true of the cluster that has it next.
        homes["KUBECACHEDIR"] = str(self.folder / "kubectl")
        done = subprocess.run(
            [program, "--kubeconfig", self.admin_kubeconfig, *arguments],
            input=stdin or "",
            env={**os.environ, **homes},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ControlPlaneError(f"{program.name} {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done.stdout
