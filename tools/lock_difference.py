"""Leaves in one lock file only the packages that another doesn't have."""

from __future__ import annotations

import re
import sys
from pathlib import Path

REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==.*\n(?:^ +.*\n)*", re.MULTILINE)


def subtract(text: str, other: str) -> str:
    """Give the requirements of a lock file whose names another doesn't have, each with its hashes."""
    known = {match["name"] for match in REQUIREMENT.finditer(other)}
    return "".join(match[0] for match in REQUIREMENT.finditer(text) if match["name"] not in known)


def main(path: Path, other: Path) -> None:
    """Rewrite the first file."""
    path.write_text(subtract(path.read_text(), other.read_text()))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
