"""What commands print, in the manner of kubectl: tables, lines with labels, ages."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from maskinporten_operator.model.conditions import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

LABEL_WIDTH = 12


def echo(text: str, *, err: bool = False) -> None:
    """Print a text, in colours on a terminal unless NO_COLOR is set."""
    click.echo(text, err=err, color=False if os.environ.get("NO_COLOR") else None)


def render_rows(rows: Sequence[Sequence[str]]) -> list[str]:
    """Render rows, the headings first, in columns of which the last may be of any length."""
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    return [
        "   ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]


def list_labelled(label: str, lines: Sequence[str]) -> Iterator[str]:
    """List lines below one another, the first of them with a label."""
    for number, line in enumerate(lines):
        yield f"  {(label if number == 0 else '').ljust(LABEL_WIDTH)}{escape(line)}"


def render_age(since: datetime | None, now: datetime) -> str:
    """Render how long ago something was, in its largest unit."""
    if since is None:
        return "-"
    seconds = max(int((now - since).total_seconds()), 0)
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
