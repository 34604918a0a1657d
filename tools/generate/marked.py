"""Parts of a document that come from the code, between two marks."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def replace_marked(document: str, part: str, text: str) -> str:
    """Give a document with the text between the marks of a part replaced.

    Args:
        document: Path from the repository's root.
        part: The name in the marks, `<!-- generated: metrics -->` and `<!-- end: metrics -->`.
        text: What belongs between them.

    Raises:
        ValueError: A mark is missing.
    """
    before, begin, rest = (ROOT / document).read_text(encoding="utf-8").partition(f"<!-- generated: {part} -->\n")
    _, end, after = rest.partition(f"<!-- end: {part} -->\n")
    if not begin or not end:
        raise ValueError(f"{document} has no marks of {part}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def cell(text: str) -> str:
    """Write a text so that it is one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
