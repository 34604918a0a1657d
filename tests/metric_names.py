"""The operator's metrics as its source declares them, and what of them an expression of Prometheus names."""

import ast
import re
from functools import cache

import yaml

from tools.generate.__main__ import ROOT

SOURCE = ROOT / "src" / "maskinporten_operator"
PREFIX = "maskinporten_operator_"
SUFFIXES = {"Counter": ("_total",), "Histogram": ("_bucket", "_count", "_sum"), "gauge": ("",), "gauges": ("",)}
ADDED = {"Histogram": {"le"}}
TARGET_LABELS = frozenset({"namespace", "job", "pod"})
"""What Prometheus adds to whatever it reads in a pod."""
ALERTS = yaml.safe_load((ROOT / "deploy" / "chart" / "files" / "alerts.yaml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
NAME = rf"{PREFIX}\w+"


@cache
def declared_metrics():
    """Find each metric's labels, by the name that Prometheus reads, without those that Prometheus adds."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and (kind := _name_kind(call.func)) and (name := _read_name(call)):
                labels = set(_read_labels(call)) | ADDED.get(kind, set())
                found |= {f"{PREFIX}{name}{suffix}": labels for suffix in SUFFIXES[kind]}
    return found


def find_unknown(expression):
    """Name what an expression asks for that the operator doesn't export: metrics, and labels of each."""
    metrics = declared_metrics()
    unknown = set(re.findall(NAME, expression)) - metrics.keys()
    for name, matchers in re.findall(rf"({NAME})\{{([^}}]*)\}}", expression):
        asked = set(re.findall(r"(\w+)\s*(?:=|!)", re.sub(r'"[^"]*"', '""', matchers)))
        unknown |= {f"{name}{{{label}}}" for label in asked - metrics.get(name, set()) - TARGET_LABELS}
    known = TARGET_LABELS.union(*(metrics.get(one, set()) for one in re.findall(NAME, expression)))
    grouped = {label for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in re.findall(r"\w+", group)}
    return unknown | (grouped - known)


def _name_kind(function):
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name if name in SUFFIXES else None


def _read_name(call):
    first = call.args[0] if call.args else None
    if isinstance(first, ast.JoinedStr):
        return first.values[-1].value.removeprefix("_")
    return first.value if isinstance(first, ast.Constant) else None


def _read_labels(call):
    listed = next((one for one in call.args[2:3] if isinstance(one, ast.List | ast.Tuple)), None)
    return [one.value for one in listed.elts] if listed else []
