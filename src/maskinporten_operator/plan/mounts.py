"""The volumes of an Application's pods, and where the container has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maskinporten_operator.model.application import ApplicationSpec, FilesFrom

CREDENTIALS_PATH = "/var/run/secrets/nais.io/maskinporten"
CREDENTIALS_VOLUME = "maskinporten-credentials"
SCRATCH_PATH = "/tmp"  # noqa: S108 - of a container, not of this process
SCRATCH_VOLUME = "tmp"


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume and its place in the container.

    Attributes:
        source: What the volume is made of, as in a Pod.
    """

    name: str
    path: str
    source: dict[str, Any]
    is_read_only: bool

    def build_volume(self) -> dict[str, Any]:
        """Build the pod's part."""
        return {"name": self.name, **self.source}

    def build_mount(self) -> dict[str, Any]:
        """Build the container's part."""
        return {"name": self.name, "mountPath": self.path, **({"readOnly": True} if self.is_read_only else {})}


def build_mounts(spec: ApplicationSpec, secret_name: str | None, *, needs_scratch: bool) -> list[Mount]:
    """Build the mounts of what the spec names, of the credentials if there are any, and of a directory to write to."""
    mounts = [*_build_files(spec), *([_build_credentials(secret_name)] if secret_name else [])]
    if needs_scratch and all(one.path.rstrip("/") != SCRATCH_PATH for one in mounts):
        mounts.append(Mount(SCRATCH_VOLUME, SCRATCH_PATH, {"emptyDir": {}}, is_read_only=False))
    return mounts


def find_unmounted(spec: ApplicationSpec) -> Iterator[str]:
    """Find the files that can't be mounted as they are written, each with the reason."""
    for number, one in enumerate(spec.files_from):
        path, sources = f"spec.filesFrom[{number}]", one.sources
        if not sources:
            yield f"{path} (no source)"
        elif sources[1:]:
            yield f"{path}.{sources[1]} (only one source counts)"
        elif sources[0] == "emptyDir" and not one.mount_path:
            yield f"{path}.emptyDir (no mountPath)"


def _build_files(spec: ApplicationSpec) -> Iterator[Mount]:
    for number, one in enumerate(spec.files_from):
        if mount := _build_file(f"files-{number}", one):
            yield mount


def _build_file(name: str, one: FilesFrom) -> Mount | None:
    """Build a mount at the path where the NAIS platform has it by default."""
    path = one.mount_path
    if one.configmap:
        default = f"/var/run/configmaps/{one.configmap}"
        return Mount(name, path or default, {"configMap": {"name": one.configmap}}, is_read_only=True)
    if one.secret:
        return Mount(name, path or "/var/run/secrets", {"secret": {"secretName": one.secret}}, is_read_only=True)
    if claim := one.persistent_volume_claim:
        source = {"persistentVolumeClaim": {"claimName": claim}}
        return Mount(name, path or f"/var/run/pvc/{claim}", source, is_read_only=False)
    if one.empty_dir and path:
        medium = {"medium": "Memory"} if one.empty_dir.medium == "Memory" else {}
        return Mount(name, path, {"emptyDir": medium}, is_read_only=False)
    return None


def _build_credentials(secret_name: str) -> Mount:
    # Readable for the pod's group, which is fsGroup, and for nobody else.
    source = {"secret": {"secretName": secret_name, "defaultMode": 0o440}}
    return Mount(CREDENTIALS_VOLUME, CREDENTIALS_PATH, source, is_read_only=True)
