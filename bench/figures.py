"""Figures: what was measured, how it was counted, and what it should be."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import textwrap
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from tools.cluster.binaries import kubernetes_version

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value.

    Attributes:
        what: What was measured, in words.
        value: The value.
        unit: Its unit; empty for counts.
        most: What it should be at most, if that was set.
        exactly: What it should be, if that was set.
    """

    what: str
    value: float
    unit: str = ""
    most: float | None = None
    exactly: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether it is as it should be; None if nothing was set."""
        if self.exactly is not None:
            return self.value == self.exactly
        return self.value <= self.most if self.most is not None else None

    @property
    def target(self) -> str:
        """What it should be, in signs."""
        if self.exactly is not None:
            return f"= {_format(self.exactly)}"
        return f"≤ {_format(self.most)}" if self.most is not None else ""


@dataclass(slots=True)
class Section:
    """The figures of one benchmark."""

    name: str
    title: str
    counted: str
    figures: list[Figure] = field(default_factory=list)

    def add(
        self, what: str, value: float, unit: str = "", *, most: float | None = None, exactly: float | None = None
    ) -> None:
        """Note a figure."""
        self.figures.append(Figure(what, round(value, 4), unit, most, exactly))

    def add_spread(self, what: str, values: Sequence[float], unit: str, *, most: float | None = None) -> None:
        """Note smallest, median and largest of several runs; the limit is for the largest."""
        self.add(f"{what}: min of {len(values)}", min(values), unit)
        self.add(f"{what}: median", median(values), unit)
        self.add(f"{what}: max", max(values), unit, most=most)


def percentile(values: Sequence[float], percent: int) -> float:
    """Give a percentile, by the value that so many percent don't exceed."""
    return quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


def render(section: Section) -> str:
    """Give a section as a table for people."""
    width = max((len(one.what) for one in section.figures), default=0)
    lines = [f"{section.name}: {section.title}", ""]
    for one in section.figures:
        mark = {True: "✓", False: "✗", None: ""}[one.met]
        value = f"{_format(one.value)} {one.unit}".rstrip()
        lines.append(f"  {one.what:<{width}}  {value:>12}  {one.target:>8} {mark}".rstrip())
    counted = textwrap.fill(f"Counted: {section.counted}.", 110, initial_indent="  ", subsequent_indent="  ")
    return "\n".join([*lines, "", counted, ""])


def write(path: Path, sections: Sequence[Section], scale: str) -> None:
    """Write everything as JSON, with what it was measured on."""
    document = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "scale": scale,
        "commit": _ask("git", "rev-parse", "HEAD"),
        "changed_files": len(_ask("git", "status", "--porcelain").splitlines()),
        "machine": describe_machine(),
        "sections": [
            {**asdict(one), "figures": [{**asdict(figure), "met": figure.met} for figure in one.figures]}
            for one in sections
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def describe_machine() -> dict[str, Any]:
    """Say what the figures were measured on, and how busy it was."""
    return {
        "cores": os.cpu_count(),
        "load": [round(one, 2) for one in os.getloadavg()],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "kubernetes": kubernetes_version(),
    }


def _format(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _ask(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
