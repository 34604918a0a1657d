"""Print the change log's section of a release, if everything has its version.

usage: python -m tools.supply_chain.release_notes v1.2.3
"""

from __future__ import annotations

import re
import sys
import tomllib
from typing import TYPE_CHECKING

import yaml

from tools.supply_chain.pinned import ROOT

if TYPE_CHECKING:
    from pathlib import Path


class ReleaseError(Exception):
    """There is no such release to be made; the message is for the person at the terminal."""


def find_notes(tag: str, root: Path = ROOT) -> str:
    """Find what a release changes.

    Raises:
        ReleaseError: A version is another than the tag's, or the change log has no section of it.
    """
    version = tag.removeprefix("v")
    chart = yaml.safe_load((root / "deploy" / "chart" / "Chart.yaml").read_text())
    versions = {
        "pyproject.toml": tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"],
        "version in deploy/chart/Chart.yaml": chart["version"],
        "appVersion in deploy/chart/Chart.yaml": chart["appVersion"],
    }
    if wrong := [
        f"{where} has {found}" for where, found in versions.items() if str(found) != version or tag == version
    ]:
        raise ReleaseError(f"{tag} must be v and the version, but {', '.join(wrong)}")
    log = (root / "CHANGELOG.md").read_text()
    section = re.search(rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## \[|\Z)", log, re.MULTILINE | re.DOTALL)
    if not section or not section[1].strip():
        raise ReleaseError(f"CHANGELOG.md says nothing of [{version}]: give what is under [Unreleased] that heading")
    return section[1].strip() + "\n"


def main(arguments: list[str]) -> int:
    """Print it."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        print(find_notes(arguments[0]), end="")
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
