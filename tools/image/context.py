"""What the image is built from, and what identifies that."""

import hashlib
import os
import shutil
from fnmatch import fnmatchcase
from pathlib import Path

from tools.image.builders import ImageError

ROOT = Path(__file__).resolve().parents[2]

BEGIN_OF_ZIP = 315532800
"""1980, the earliest instant that a wheel can say, in epoch seconds."""


def list_sources(root: Path = ROOT) -> list[Path]:
    """Return, relative to `root`, the Dockerfile, .dockerignore and each file that the latter lets through; sorted.

    Raises:
        ImageError: .dockerignore has a line that is neither `*`, nor `!name`, nor `**/pattern`.
    """
    named, ignored = ["Dockerfile", ".dockerignore"], []
    for line in (root / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            named.append(line[1:])
        elif line.startswith("**/"):
            ignored.append(line[3:])
        elif line not in {"", "*"} and not line.startswith("#"):
            raise ImageError(f"tools/image can't read this line of .dockerignore: {line}")
    found = [path for name in named for path in (root / name, *(root / name).rglob("*")) if path.is_file()]
    relative = sorted(path.relative_to(root) for path in found)
    return [
        path for path in relative if not any(fnmatchcase(part, pattern) for part in path.parts for pattern in ignored)
    ]


def compute_digest(root: Path = ROOT) -> str:
    """Return a SHA-256, in hexadecimal, of the names and contents of what the image is built from."""
    digest = hashlib.sha256()
    for path in list_sources(root):
        content = (root / path).read_bytes()
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def copy_sources(target: Path, root: Path = ROOT) -> None:
    """Copy what the image is built from, as another checkout would have it: other times, modes and order."""
    for path in reversed(list_sources(root)):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, target / path)
    for number, path in enumerate(target.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.utime(path, (number, number))
