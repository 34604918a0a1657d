"""Findings as SARIF 2.1.0 (OASIS), which code hosts show beside the lines of a pull request."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from maskinporten_operator.plan.manifest_findings import Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maskinporten_operator.assembly.manifest_check import Located

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def build_sarif(found: Iterable[Located]) -> dict[str, Any]:
    """Build the log of one run."""
    rules = list(Rule)
    driver = {
        "name": "maskinporten-operator",
        "version": version("maskinporten-operator"),
        "rules": [_build_rule(rule) for rule in rules],
    }
    results = [_build_result(one, rules.index(one.finding.rule)) for one in found]
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _build_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.description},
        "help": {"text": f"{rule.remedy}."},
        "defaultConfiguration": {"level": rule.level},
    }


def _build_result(one: Located, rule_index: int) -> dict[str, Any]:
    finding = one.finding
    physical: dict[str, Any] = {"artifactLocation": {"uri": _build_uri(one.file)}}
    if one.line:
        physical["region"] = {"startLine": one.line}
    location: dict[str, Any] = {"physicalLocation": physical}
    if finding.path:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.path}]
    return {
        "ruleId": finding.rule.id,
        "ruleIndex": rule_index,
        "level": finding.rule.level,
        "message": {"text": f"{finding}. {finding.rule.remedy}."},
        "locations": [location],
    }


def _build_uri(file: str) -> str:
    """Build the file's URI, relative to where the command runs unless its path is absolute."""
    path = Path(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
