"""Writes the generated files, or with --check compares them with what would be written."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tools.generate.configuration import render_configuration
from tools.generate.crds import DEFINITIONS, render_crd

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).resolve().parents[2]
OUTPUTS: Mapping[str, Callable[[], str]] = {
    "docs/configuration.md": render_configuration,
    **{f"deploy/crds/{kind.plural}.{kind.group}.yaml": partial(render_crd, kind) for kind in DEFINITIONS},
}


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Write nothing; fail if a file isn't what would be written.")
def main(*, check: bool) -> None:
    """Write or compare every file of OUTPUTS."""
    stale = find_stale(ROOT)
    if check and stale:
        sys.exit(f"not as generated: {', '.join(stale)}; run `make generate`")
    for name in stale:
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(OUTPUTS[name](), encoding="utf-8")
        print(f"wrote {name}")


def find_stale(root: Path) -> list[str]:
    """Name the files that are absent or aren't what would be written."""
    return [name for name, render in OUTPUTS.items() if _read(root / name) != render()]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    main()
