"""Write the SBOM of the image's Python packages (CycloneDX 1.6, JSON), the same for the same lock file.

SIGNER   pkcs11, aws, google or azure: what the image has besides, as of its build argument of that name
TRACING   any text: what exports traces is in the image, likewise
SOURCE_DATE_EPOCH   the instant that it is of; by default that of the commit
"""

from __future__ import annotations

import os
import sys
import tomllib
import uuid
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, metadata, requires
from typing import TYPE_CHECKING

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseAcknowledgement
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.image.__main__ import instant
from tools.supply_chain.pinned import LINUX, ROOT, get_version, is_for_linux, read_lock_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cyclonedx.model.license import License

OUTPUT = ROOT / "build" / "sbom.cdx.json"
SIGNERS = ("pkcs11", "aws", "google", "azure")
LICENCES = LicenseFactory()


class SbomError(Exception):
    """The SBOM can't be written; the message is for the person at the terminal."""


def build_sbom(lock_files: Iterable[Path], epoch: int) -> str:
    """Build the SBOM of an image that has these lock files' packages, as of an instant in epoch seconds.

    Raises:
        SbomError: The environment has other versions than the lock files.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = [one for path in lock_files for one in read_lock_file(path) if is_for_linux(one)]
    components: dict[str, Component] = {
        canonicalize_name(one.name): _build_component(one.name, get_version(one)) for one in pinned
    }
    root = _build_root(project)
    bom = Bom(components=components.values())
    bom.metadata.component = root
    bom.metadata.timestamp = datetime.fromtimestamp(epoch, UTC)
    extras = [one for names in project["optional-dependencies"].values() for one in names]
    direct: set[str] = {canonicalize_name(Requirement(one).name) for one in (*project["dependencies"], *extras)}
    bom.register_dependency(root, [components[name] for name in sorted(direct & components.keys())])
    for name, component in components.items():
        bom.register_dependency(component, [components[one] for one in _list_needed(name) if one in components])
    # By what it says, so that two that say the same are the same
    bom.serial_number = uuid.UUID(int=0)
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_OID, JsonV1Dot6(bom).output_as_string())
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _build_root(project: dict[str, str]) -> Component:
    return Component(
        type=ComponentType.APPLICATION,
        name=project["name"],
        version=project["version"],
        description=project["description"],
        licenses=[LICENCES.make_from_string(project["license"])],
        bom_ref=project["name"],
    )


def _build_component(name: str, version: str) -> Component:
    url = PackageURL("pypi", name=name, version=version)
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=version,
        purl=url,
        licenses=_find_licences(name, version),
        bom_ref=url.to_string(),
    )


def _find_licences(name: str, version: str) -> list[License]:
    """Find what a package's own metadata say of its licence; nothing of one that isn't installed here.

    Raises:
        SbomError: Another version is installed.
    """
    try:
        found = metadata(name)
    except PackageNotFoundError:  # of a signer
        return []
    if found["Version"] != version:
        raise SbomError(f"{name} {found['Version']} is installed, and {version} locked: run 'make venv'")
    expression = next((found[one] for one in ("License-Expression", "License") if one in found), None)
    texts = [expression] if expression and len(expression) < 100 else _read_classifiers(found.get_all("Classifier"))
    declared = LicenseAcknowledgement.DECLARED
    return [LICENCES.make_from_string(one, license_acknowledgement=declared) for one in texts]


def _read_classifiers(classifiers: list[str] | None) -> list[str]:
    return [one.rpartition(" :: ")[2] for one in classifiers or () if one.startswith("License ::")]


def _list_needed(name: str) -> list[str]:
    """List what an installed package needs on Linux, without its extras."""
    try:
        needed = [Requirement(one) for one in requires(name) or ()]
    except PackageNotFoundError:
        return []
    return sorted(
        canonicalize_name(one.name)
        for one in needed
        if one.marker is None or one.marker.evaluate({**LINUX, "extra": ""})
    )


def main() -> int:
    """Write the SBOM, and say where it is."""
    signer = os.environ.get("SIGNER", "")
    if signer and signer not in SIGNERS:
        print(f"SIGNER must be one of {', '.join(SIGNERS)}", file=sys.stderr)
        return 2
    names = ["runtime", *([signer] if signer else []), *(["tracing"] if os.environ.get("TRACING") else [])]
    try:
        text = build_sbom([ROOT / "requirements" / f"{name}.txt" for name in names], instant())
    except SbomError as error:
        print(error, file=sys.stderr)
        return 1
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(text)
    print(f"wrote {OUTPUT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
