"""How many pods an Application has: its autoscaler, what evictions leave of them, and when the number itself is set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.resources import HORIZONTAL_POD_AUTOSCALER, POD_DISRUPTION_BUDGET
from maskinporten_operator.plan.application_metadata import build_child_metadata
from maskinporten_operator.plan.container import build_resources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.model.application import ApplicationSpec
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.plan.platform import Platform

REPLICAS_ANNOTATION = "digdir.nais.io/replicas"
"""On the Deployment: the number of pods that the spec asked for when it was last applied."""
DEFAULT_MAX = 4
"""Pods at most on the NAIS platform, where the spec says nothing."""
DEFAULT_CPU_PERCENTAGE = 50


def find_max(spec: ApplicationSpec, platform: Platform) -> int:
    """Find how many pods there may be at most."""
    replicas = spec.replicas
    if replicas.max is not None:
        return replicas.max
    return max(replicas.min, DEFAULT_MAX) if platform.has_nais_defaults else replicas.min


def is_autoscaled(spec: ApplicationSpec, platform: Platform) -> bool:
    """Whether an autoscaler is made."""
    replicas = spec.replicas
    can_scale = 0 < replicas.min < find_max(spec, platform) and not replicas.disable_auto_scaling
    return can_scale and not (replicas.scaling_strategy and replicas.scaling_strategy.cpu is None)


def build_autoscaler(meta: ObjectMeta, spec: ApplicationSpec, platform: Platform) -> dict[str, Any]:
    """Build the HorizontalPodAutoscaler."""
    target = {"type": "Utilization", "averageUtilization": _find_cpu_percentage(spec)}
    behavior = _build_behavior(spec)
    return {
        "apiVersion": HORIZONTAL_POD_AUTOSCALER.api_version,
        "kind": HORIZONTAL_POD_AUTOSCALER.name,
        "metadata": build_child_metadata(meta),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": meta.name},
            "minReplicas": spec.replicas.min,
            "maxReplicas": find_max(spec, platform),
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            **({"behavior": behavior} if behavior else {}),
        },
    }


def has_disruption_budget(spec: ApplicationSpec, platform: Platform) -> bool:
    """Whether there are several pods, of which evictions may then take one at a time."""
    return spec.replicas.min != 1 and find_max(spec, platform) > 1


def build_disruption_budget(meta: ObjectMeta) -> dict[str, Any]:
    """Build the PodDisruptionBudget; a pod that isn't ready anyway never holds up the drain of a node."""
    return {
        "apiVersion": POD_DISRUPTION_BUDGET.api_version,
        "kind": POD_DISRUPTION_BUDGET.name,
        "metadata": build_child_metadata(meta),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": {"app": meta.name}},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def find_new_count(spec: ApplicationSpec, platform: Platform, deployment: Mapping[str, Any] | None) -> int | None:
    """Find the number of pods to set, if the spec's minimum isn't the one that was applied last.

    What a scaler set isn't lowered, whoever's the scaler is: only a spec with a maximum equal to its minimum does that.
    """
    asked = spec.replicas.min
    annotations = (deployment["metadata"].get("annotations") or {}) if deployment else {}
    last = annotations.get(REPLICAS_ANNOTATION)
    current: int | None = (deployment or {}).get("spec", {}).get("replicas")
    if last == str(asked):
        return None
    was_scaled = last != str(current) or is_autoscaled(spec, platform)
    if spec.replicas.max == asked or current is None or not was_scaled:
        return asked
    return max(asked, current)


def find_unscaled(spec: ApplicationSpec, platform: Platform) -> list[str]:
    """Find what is said of scaling and has no effect, each with the reason."""
    replicas = spec.replicas
    if not platform.workloads or replicas.max is None or replicas.disable_auto_scaling or replicas.max == replicas.min:
        return []
    if replicas.max < replicas.min:
        return ["spec.replicas.max (less than min)"]
    if replicas.min == 0:
        return ["spec.replicas.max (nothing is scaled up from no pods: set min)"]
    if is_autoscaled(spec, platform) and not has_cpu_request(spec, platform):
        return ["spec.replicas.max (the autoscaler needs resources.requests.cpu, which isn't set)"]
    return []


def has_cpu_request(spec: ApplicationSpec, platform: Platform) -> bool:
    """Whether there is something of which the load is a percentage; a limit is a request too."""
    return any("cpu" in one for one in build_resources(spec, platform).values())


def _find_cpu_percentage(spec: ApplicationSpec) -> int:
    strategy = spec.replicas.scaling_strategy
    given = strategy.cpu.threshold_percentage if strategy and strategy.cpu else spec.replicas.cpu_threshold_percentage
    return given or DEFAULT_CPU_PERCENTAGE


def _build_behavior(spec: ApplicationSpec) -> dict[str, Any]:
    strategy = spec.replicas.scaling_strategy
    if strategy is None:
        return {}
    windows = {
        "scaleUp": strategy.scale_up_stabilization_window_seconds,
        "scaleDown": strategy.scale_down_stabilization_window_seconds,
    }
    return {way: {"stabilizationWindowSeconds": seconds} for way, seconds in windows.items() if seconds}
