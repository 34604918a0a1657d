"""Renders the list of the decisions, by their headings."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "decisions"
_HEAD = """# Decisions

Why things are as they are, each in some ten lines. What no longer holds is rewritten or removed.
"""


def render_decisions() -> str:
    """Render docs/decisions/README.md."""
    lines = [f"* [{_read_heading(path)}]({path.name})" for path in sorted(FOLDER.glob("[0-9]*.md"))]
    return "\n".join([_HEAD, *lines, ""])


def _read_heading(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().removeprefix("# ").strip()
