"""The table of metrics, from where the source declares them."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskinporten_operator.runtime.metrics import PREFIX
from tools.generate.marked import ROOT, cell, replace_marked

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT = "docs/operating.md"
SOURCE = ROOT / "src" / "maskinporten_operator"
TYPES = {"Counter": "counter", "Histogram": "histogram", "gauge": "gauge", "gauges": "gauge"}
"""What declares a metric, and the metric's type."""


@dataclass(frozen=True, order=True, slots=True)
class Metric:
    """A metric as the source declares it: `name` is without the prefix, and a counter's without `_total`."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


def find_metrics() -> list[Metric]:
    """Find what the operator exports, by name."""
    return sorted({one for path in SOURCE.rglob("*.py") for one in _read_declarations(ast.parse(path.read_text()))})


def render_metrics() -> str:
    """Render the page with the table of metrics."""
    rows = [_render_row(one) for one in find_metrics()]
    table = "\n".join(["| Metric | Meaning |", "|---|---|", *rows])
    return replace_marked(DOCUMENT, "metrics", f"{table}\n")


def _render_row(metric: Metric) -> str:
    name = f"{PREFIX}_{metric.name}{'_total' if metric.type == 'counter' else ''}"
    labels = f"{{{','.join(metric.labels)}}}" if metric.labels else ""
    return f"| `{name}{labels}` | {cell(metric.help).removesuffix('.')} ({metric.type}) |"


def _read_declarations(module: ast.Module) -> Iterator[Metric]:
    for call in ast.walk(module):
        if not isinstance(call, ast.Call) or len(call.args) < 2:
            continue
        declares = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        name, text = _read_name(call.args[0]), call.args[1]
        if declares in TYPES and name and isinstance(text, ast.Constant):
            yield Metric(name, TYPES[declares], tuple(_read_labels(call)), str(text.value))


def _read_name(node: ast.expr) -> str | None:
    """Read a name that is given as it is, or as an f-string after the prefix."""
    if isinstance(node, ast.JoinedStr):
        node = node.values[-1]
        return str(node.value).removeprefix("_") if isinstance(node, ast.Constant) else None
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _read_labels(call: ast.Call) -> list[str]:
    listed = next((one for one in call.args[2:3] if isinstance(one, ast.List | ast.Tuple)), None)
    return [str(one.value) for one in listed.elts if isinstance(one, ast.Constant)] if listed else []
