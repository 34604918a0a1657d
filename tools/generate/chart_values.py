"""The values of the chart, from its schema and its defaults, as a page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from tools.generate.chart import render_schema, render_values
from tools.generate.marked import cell

if TYPE_CHECKING:
    from collections.abc import Iterator

INTRODUCTION = """\
<!-- Generated from the chart's schema by `make generate`; edit tools/generate/values_schema.py instead. -->
# Values of the chart

`deploy/chart/values.yaml` has all of them with their defaults, and [operating](operating.md#install) says which to set.
Those of `settings` are the operator's own [settings](configuration.md), `KEY_GRACE` as `settings.keyGrace`.

| Value | Default | Meaning |
|---|---|---|
"""


def render_chart_values() -> str:
    """Render docs/values.md."""
    return INTRODUCTION + "".join(_list_rows(json.loads(render_schema()), yaml.safe_load(render_values()), ""))


def _list_rows(schema: dict[str, Any], defaults: Any, path: str) -> Iterator[str]:
    for name, value in schema.get("properties", {}).items():
        where = f"{path}{name}"
        default = defaults.get(name) if isinstance(defaults, dict) else None
        if where == "settings":
            continue
        if value.get("properties") and value.get("description"):
            yield f"| **`{where}`** | | {cell(value['description'])} |\n"
        elif value.get("description"):
            yield f"| `{where}` | {_write(default)} | {_describe(value)} |\n"
        yield from _list_rows(value, default, f"{where}.")


def _describe(value: dict[str, Any]) -> str:
    choices = ", ".join(f"`{one}`" for one in value.get("enum", ()))
    return cell(value["description"]) + (f" One of {choices}." if choices else "")


def _write(default: Any) -> str:
    return "–" if default in (None, "", [], {}) else cell(f"`{json.dumps(default)}`")
