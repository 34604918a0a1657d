"""What the lock files of Python and Go pin, and the program that lints workflows."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement

from tools.programs import Pins, Programs

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = re.compile(r"^(?:require )?\s*(?P<module>[\w.-]+\.[\w./~-]+) v(?P<version>\S+)", re.MULTILINE)
LINUX = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
"""The image's platform, as markers of requirements know it (PEP 508)."""


def read_lock_file(path: Path) -> list[Requirement]:
    """Read what a lock file pins, each with its marker."""
    lines = path.read_text().splitlines()
    return [Requirement(line.rstrip(" \\")) for line in lines if line and line[0] not in " #"]


def get_version(requirement: Requirement) -> str:
    """Get the version that a requirement of a lock file pins."""
    (specifier,) = requirement.specifier
    return specifier.version


def is_for_linux(requirement: Requirement) -> bool:
    """Whether the image has what is required."""
    return requirement.marker is None or requirement.marker.evaluate(dict(LINUX))


def list_lock_files() -> list[Path]:
    """List the lock files of Python packages: of the image, the tests and the tests' workload."""
    return [*sorted((ROOT / "requirements").glob("*.txt")), ROOT / "tools" / "node" / "workload" / "requirements.txt"]


def read_go_modules(path: Path) -> list[tuple[str, str]]:
    """Read the modules and versions that a go.mod pins, those that others need among them (since Go 1.17)."""
    return [(one["module"], one["version"]) for one in REQUIRED.finditer(path.read_text())]


def list_go_files() -> list[Path]:
    """List the go.mod files of the programs that the tests and checks are run with."""
    return sorted((ROOT / "tools").rglob("go.mod"))


def find_actionlint() -> Path:
    """Get the program that lints workflows; it is built first where the cache doesn't have it.

    Raises:
        ToolError: There is no Go that could build it, or Go could not.
    """
    pins = Pins(ROOT / "tools" / "supply_chain" / "actionlint")
    packages = {"actionlint": (pins, "github.com/rhysd/actionlint/cmd/actionlint")}
    return Programs("actionlint", "actionlint", "about ten seconds", packages).get() / "actionlint"
