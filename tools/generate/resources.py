"""The fields of the resources, from the schemas of their CRDs, as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from maskinporten_operator.model.resources import APPLICATION, MASKINPORTEN_CLIENT
from tools.generate.crds import render_crd
from tools.generate.marked import cell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maskinporten_operator.model.resources import Kind

INTRODUCTION = """\
<!-- Generated from src/maskinporten_operator/model by `make generate`; edit the models instead. -->
# Fields of the resources

What the CRDs say of each field, as `kubectl explain` does. [Using it](using.md) says how they work together.
"""


def render_resources() -> str:
    """Render docs/resources.md."""
    return INTRODUCTION + "".join(_render_kind(kind) for kind in (MASKINPORTEN_CLIENT, APPLICATION))


def _render_kind(kind: Kind) -> str:
    (version,) = yaml.safe_load(render_crd(kind))["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"]
    parts = [f"\n## {kind.name}\n\n`{kind.api_version}`\n"]
    for part in ("spec", "status"):
        rows = "".join(_list_rows(schema[part], part))
        parts.append(f"\n### {kind.name} {part}\n\n| Field | Value | Meaning |\n|---|---|---|\n{rows}")
    return "".join(parts)


def _list_rows(schema: dict[str, Any], path: str) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        where = f"{path}.{name}"
        required = "**Required.** " if name in schema.get("required", ()) else ""
        yield f"| `{where}` | {_describe_value(field)} | {required}{cell(field.get('description', ''))} |\n"
        yield from _list_rows(field, where)
        yield from _list_rows(field.get("items", {}), f"{where}[]")


def _describe_value(field: dict[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{one}`" for one in field["enum"])
    if field.get("x-kubernetes-int-or-string"):
        return "integer or string"
    kind = str(field.get("type", "any"))
    if kind == "array" and (items := field.get("items", {}).get("type")):
        return f"list of {items}s"
    if kind == "integer" and ("minimum" in field or "maximum" in field):
        return f"integer, {field.get('minimum', '…')} to {field.get('maximum', '…')}"
    return kind
