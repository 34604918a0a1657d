"""How Prometheus finds an Application's metrics: by annotations of the pods, and by a PodMonitor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.resources import POD_MONITOR
from maskinporten_operator.plan.application_metadata import TEAM_LABEL, build_child_metadata
from maskinporten_operator.plan.owner_references import APP_LABEL

if TYPE_CHECKING:
    from maskinporten_operator.model.application import ApplicationSpec, Prometheus
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.plan.platform import Platform

METRICS_PORT_NAME = "metrics"
"""Of the container's port with metrics, if the application has another for them."""
MAX_PORT = 65535


def build_scrape_annotations(spec: ApplicationSpec) -> dict[str, str]:
    """Build the annotations of pods by which Prometheus is commonly configured to find them."""
    asked = _find_asked(spec)
    if asked is None:
        return {}
    values = {"scrape": "true", "port": str(asked.port or spec.port), "path": _find_path(asked)}
    return {f"prometheus.io/{name}": value for name, value in values.items()}


def has_pod_monitor(spec: ApplicationSpec, platform: Platform) -> bool:
    """Whether a PodMonitor is made."""
    return platform.pod_monitors and _find_asked(spec) is not None and _find_port(spec) is not None


def find_metrics_port(spec: ApplicationSpec, platform: Platform) -> int | None:
    """Find the port that the container must name for its PodMonitor; None if it needs none but its own."""
    port = _find_port(spec) if has_pod_monitor(spec, platform) else None
    return None if port == spec.port else port


def build_pod_monitor(meta: ObjectMeta, spec: ApplicationSpec, platform: Platform, own_port: str) -> dict[str, Any]:
    """Build the PodMonitor; `own_port` is the name of the port on which the application listens."""
    asked = _find_asked(spec)
    endpoint = {"port": METRICS_PORT_NAME if find_metrics_port(spec, platform) else own_port, "path": _find_path(asked)}
    return {
        "apiVersion": POD_MONITOR.api_version,
        "kind": POD_MONITOR.name,
        "metadata": build_child_metadata(meta),
        "spec": {
            "jobLabel": "app.kubernetes.io/name",
            "podTargetLabels": [APP_LABEL, TEAM_LABEL],
            "selector": {"matchLabels": {APP_LABEL: meta.name}},
            "podMetricsEndpoints": [endpoint],
        },
    }


def find_unscraped(spec: ApplicationSpec) -> list[str]:
    """Find what is said of metrics and leads nowhere."""
    if _find_asked(spec) is None or _find_port(spec):
        return []
    return ["spec.prometheus.port (no number of a port)"]


def _find_asked(spec: ApplicationSpec) -> Prometheus | None:
    return spec.prometheus if spec.prometheus and spec.prometheus.enabled else None


def _find_path(asked: Prometheus | None) -> str:
    return (asked.path if asked else "") or "/metrics"


def _find_port(spec: ApplicationSpec) -> int | None:
    """Find the number of the port with metrics; None if what is written is none."""
    written = str((spec.prometheus.port if spec.prometheus else None) or spec.port)
    number = int(written) if re.fullmatch("[0-9]{1,5}", written) else 0
    return number if 0 < number <= MAX_PORT else None
