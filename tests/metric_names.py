"""The operator's metrics as its source declares them, and what of them an expression of Prometheus names."""

import re
from functools import cache

import yaml

from tools.generate.__main__ import ROOT
from tools.generate.metrics import find_metrics

PREFIX = "maskinporten_operator_"
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
ADDED = {"histogram": {"le"}}
TARGET_LABELS = frozenset({"namespace", "job", "pod", "instance", "endpoint", "container"})
"""What Prometheus adds to whatever it reads in a pod."""
ALERTS = yaml.safe_load((ROOT / "deploy" / "chart" / "files" / "alerts.yaml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
NAME = rf"{PREFIX}\w+"


@cache
def declared_metrics():
    """Find each metric's labels, by the name that Prometheus reads, without those that Prometheus adds."""
    return {
        f"{PREFIX}{one.name}{suffix}": set(one.labels) | ADDED.get(one.type, set())
        for one in find_metrics()
        for suffix in SUFFIXES[one.type]
    }


def find_unknown(expression):
    """Name what an expression asks for that the operator doesn't export: metrics, and labels of each."""
    metrics = declared_metrics()
    unknown = set(re.findall(NAME, expression)) - metrics.keys()
    for name, matchers in re.findall(rf"({NAME})\{{([^}}]*)\}}", expression):
        asked = set(re.findall(r"(\w+)\s*(?:=|!)", re.sub(r'"[^"]*"', '""', matchers)))
        unknown |= {f"{name}{{{label}}}" for label in asked - metrics.get(name, set()) - TARGET_LABELS}
    known = TARGET_LABELS.union(*(metrics.get(one, set()) for one in re.findall(NAME, expression)))
    groups = re.findall(r"\b(?:by|without) \(([^)]*)\)", expression)
    return unknown | (set(re.findall(r"\w+", " ".join(groups))) - known)
