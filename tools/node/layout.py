"""Where everything of one node lies, and the addresses in it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

FILE = "layout.json"
HOSTNAME = "node"
PODS = "10.244.0.0/24"
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
API_PORT = 6443
IMAGES = {"pause": "node.local/pause:1", "coredns": "node.local/coredns:1"}
"""Images that are made of the node's own programs; no registry has them."""


@dataclass(frozen=True)
class Layout:
    """One node, as those on both sides of its namespaces must know it.

    Attributes:
        name: Unique on this machine; its cgroups and this machine's end of its link are named after it.
        folder: Everything that it writes lies below.
        control_plane: Folder of the control plane's programs.
        programs: Folder of the node's programs.
        subnet: The first three numbers of the link's network: .1 is this machine, .2 the node. The keeper claims it.
        images: OCI archives that are imported at the start.
        hosts: Names that the cluster's DNS answers, with their addresses.
        sync_seconds: How often the kubelet brings mounted Secrets up to date.
        cgroups: The cgroup of each hierarchy, by the hierarchy's name.
    """

    name: str
    folder: Path
    control_plane: Path
    programs: Path
    subnet: str = ""
    images: tuple[Path, ...] = ()
    hosts: tuple[tuple[str, str], ...] = ()
    sync_seconds: int = 5
    cgroups: tuple[tuple[str, Path], ...] = ()

    @property
    def outside(self) -> str:
        """This machine's address on the link."""
        return f"{self.subnet}.1"

    @property
    def address(self) -> str:
        """The node's address on the link, at which its API server answers."""
        return f"{self.subnet}.2"

    @property
    def server(self) -> str:
        """The API server's address, on this machine only."""
        return f"https://{self.address}:{API_PORT}"

    @property
    def link(self) -> str:
        """This machine's end of the link; the kernel allows 15 characters."""
        return self.name

    @property
    def logs(self) -> Path:
        """Folder with a file for each program of the node."""
        return self.folder / "logs"

    @property
    def etc(self) -> Path:
        """Folder with the programs' configuration, keys among it."""
        return self.folder / "etc"

    @property
    def memory(self) -> Path:
        """Where a file system in memory is mounted, inside, for what comes and goes in many files."""
        return self.folder / "memory"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "kubeconfig"

    def save(self) -> None:
        """Write it down for the other side, and for whoever tidies up."""
        (self.folder / FILE).write_text(self.serialize())

    def serialize(self) -> str:
        """Write it as JSON."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what was saved.

        Raises:
            FileNotFoundError: Nothing was.
        """
        return cls.parse(json.loads((folder / FILE).read_text()))

    @classmethod
    def parse(cls, known: dict[str, Any]) -> Self:
        """Read it from the document that `serialize` writes."""
        paths = {name: Path(known[name]) for name in ("folder", "control_plane", "programs")}
        return cls(
            **{
                **known,
                **paths,
                "images": tuple(map(Path, known["images"])),
                "hosts": tuple((name, address) for name, address in known["hosts"]),
                "cgroups": tuple((name, Path(path)) for name, path in known["cgroups"]),
            }
        )
