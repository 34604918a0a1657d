"""Writes the generated files, or with --check compares them with what would be written."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskinporten_operator.model.resources import APPLICATION, MASKINPORTEN_CLIENT
from tools.cluster import find_built
from tools.generate.chart import render_crd_template, render_schema, render_values
from tools.generate.chart_values import render_chart_values
from tools.generate.command_line import render_command_line
from tools.generate.configuration import render_configuration
from tools.generate.crds import DEFINITIONS, render_crd
from tools.generate.dashboard import render_dashboard
from tools.generate.decisions import render_decisions
from tools.generate.manifests import INSTALL, render_install
from tools.generate.metrics import render_metrics
from tools.generate.reasons import render_reasons
from tools.generate.resources import render_resources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).resolve().parents[2]
CONDITIONS = {
    MASKINPORTEN_CLIENT: ".Values.crds.install",
    APPLICATION: "and .Values.crds.install .Values.settings.applications",
}
"""When the chart installs a CRD: that of Applications may be another operator's."""
OUTPUTS: Mapping[str, Callable[[], str]] = {
    "docs/configuration.md": render_configuration,
    "docs/decisions/README.md": render_decisions,
    "docs/command-line.md": render_command_line,
    "docs/operating.md": render_metrics,
    "docs/resources.md": render_resources,
    "docs/using.md": render_reasons,
    "docs/values.md": render_chart_values,
    **{f"deploy/crds/{kind.plural}.{kind.group}.yaml": partial(render_crd, kind) for kind in DEFINITIONS},
    **{
        f"deploy/chart/templates/crds/{kind.plural}.yaml": partial(render_crd_template, kind, condition)
        for kind, condition in CONDITIONS.items()
    },
    "deploy/chart/files/dashboard.json": render_dashboard,
    "deploy/chart/values.yaml": render_values,
    "deploy/chart/values.schema.json": render_schema,
}


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Write nothing; fail if a file isn't what would be written.")
def main(*, check: bool) -> None:
    """Write or compare every file of OUTPUTS."""
    stale = find_stale(ROOT)
    helm = find_built("helm")
    if helm is None:
        print(f"{INSTALL} isn't looked at: helm isn't built yet, `make test` builds it and compares")
    if check and stale:
        sys.exit(f"not as generated: {', '.join(stale)}; run `make generate`")
    for name in stale:
        _write(ROOT / name, OUTPUTS[name]())
        print(f"wrote {name}")
    # Of the chart as it is now written.
    if helm and (rendered := render_install(helm)) != _read(ROOT / INSTALL):
        if check:
            sys.exit(f"not as generated: {INSTALL}; run `make generate`")
        _write(ROOT / INSTALL, rendered)
        print(f"wrote {INSTALL}")


def find_stale(root: Path) -> list[str]:
    """Name the files that are absent or aren't what would be written."""
    return [name for name, render in OUTPUTS.items() if _read(root / name) != render()]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    main()
