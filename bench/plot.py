"""Draws how the operator's cost grows, from the figures of `python -m bench --only growth`.

python -m bench.plot bench/results/20260101-120000.json docs/growth.svg
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pygal
from pygal.style import CleanStyle

CPU = {"restart (s)": "restart, CPU", "resync (s)": "resync, CPU"}
MEMORY = {"memory, peak (MiB)": "memory, peak"}


def find_series(document: dict[str, Any], what: str) -> dict[int, float]:
    """Find a figure for each number of resources."""
    figures = next(one["figures"] for one in document["sections"] if one["name"] == "growth")
    pairs = [(one["what"].partition(": "), one["value"]) for one in figures]
    return {int(size.removeprefix("N = ")): value for (size, _, name), value in pairs if name == what}


def draw(document: dict[str, Any]) -> bytes:
    """Draw CPU for each resource, and memory of the process, over the number of resources; give it as SVG."""
    chart = pygal.XY(
        style=CleanStyle,
        title=f"Cost by number of resources, {document['measured'][:10]}, {document['machine']['cores']} cores",
        x_title="resources",
        y_title="seconds of CPU",
        secondary_range=(0, None),
        range=(0, None),
        js=(),
        show_legend=True,
        legend_at_bottom=True,
        dots_size=3,
    )
    chart.uuid = "growth"  # which would be random
    for label, what in (CPU | MEMORY).items():
        chart.add(label, sorted(find_series(document, what).items()), secondary=label in MEMORY)
    return re.sub(rb"<!--.*?-->", b"", chart.render())  # pygal's name and the day


def main(source: str, target: str) -> None:
    """Draw the figures of a file into another."""
    Path(target).write_bytes(draw(json.loads(Path(source).read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main(*sys.argv[1:])
