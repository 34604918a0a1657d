"""Images of one program without a file system around it, as OCI archives."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

from tools.programs import target

if TYPE_CHECKING:
    from pathlib import Path

_MEDIA = "application/vnd.oci.image"


def write_image(archive: Path, name: str, program: Path) -> None:
    """Write an image that has nothing but a static program, and runs it.

    The form is that of the OCI image layout (https://github.com/opencontainers/image-spec/blob/main/image-layout.md).
    """
    layer = _pack({program.name: program.read_bytes()}, mode=0o755)
    blobs: dict[str, bytes] = {}

    def add(kind: str, content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": f"{_MEDIA}.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    layers = [add("layer.v1.tar", layer)]
    system, architecture = target()
    configuration = {
        "os": system,
        "architecture": architecture,
        "config": {"Entrypoint": [f"/{program.name}"]},
        "rootfs": {"type": "layers", "diff_ids": [layers[0]["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}.manifest.v1+json",
        "config": add("config.v1+json", _serialize(configuration)),
        "layers": layers,
    }
    described = add("manifest.v1+json", _serialize(manifest))
    # containerd takes the name from its own annotation, others the tag from that of the specification.
    described["annotations"] = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name.rpartition(":")[2],
    }
    files = {
        "oci-layout": _serialize({"imageLayoutVersion": "1.0.0"}),
        "index.json": _serialize({"schemaVersion": 2, "manifests": [described]}),
    }
    archive.write_bytes(_pack(files | blobs))


def _serialize(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


def _pack(files: dict[str, bytes], mode: int = 0o644) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
