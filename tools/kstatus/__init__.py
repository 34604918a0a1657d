"""How kstatus, by which Flux and others wait, judges objects: the library itself, in a small program."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.programs import Pins, Programs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FOLDER = Path(__file__).resolve().parent / "program"


def judge(bodies: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Judge objects in one run: of each, `status` and `message`. The program is built first if the cache lacks it.

    Raises:
        MissingToolError: It isn't in the cache, and there is no Go that could build it.
        ToolError: Go could not build it.
    """
    packages = {"kstatus": (Pins(_FOLDER), ".")}
    program = Programs("kstatus", "kstatus", "about a minute", packages).get() / "kstatus"
    judged = subprocess.run([program], input=json.dumps(bodies), capture_output=True, text=True, check=True)
    results: list[dict[str, str]] = json.loads(judged.stdout)
    return results
