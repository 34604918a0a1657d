"""The container of an Application's pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskinporten_operator.plan.comparison import is_less
from maskinporten_operator.plan.scraping import METRICS_PORT_NAME, find_metrics_port
from maskinporten_operator.plan.security_context import build_container_security_context
from maskinporten_operator.plan.webproxy import build_proxy_variables

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maskinporten_operator.model.application import ApplicationSpec, Probe
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.plan.mounts import Mount
    from maskinporten_operator.plan.platform import Platform

PORT_NAME = "http"
PAUSE_SECONDS = 5
DEFAULT_REQUESTS = {"cpu": "200m", "memory": "256Mi"}
DEFAULT_LIMITS = {"memory": "512Mi"}


def build_container(
    meta: ObjectMeta, spec: ApplicationSpec, platform: Platform, secret_name: str | None, mounts: Iterable[Mount]
) -> dict[str, Any]:
    """Build the container; `secret_name` is that of the credentials, if it has any."""
    container: dict[str, Any] = {
        "name": meta.name,
        "image": spec.image,
        "ports": _build_ports(spec, platform),
        "securityContext": build_container_security_context(meta, platform),
    }
    optional = {
        "command": list(spec.command),
        "env": _build_env(meta, spec, platform),
        "envFrom": _build_env_from(spec, secret_name),
        "resources": build_resources(spec, platform),
        "livenessProbe": _build_probe(spec, spec.liveness),
        "readinessProbe": _build_probe(spec, spec.readiness),
        "startupProbe": _build_probe(spec, spec.startup),
        "lifecycle": _build_lifecycle(spec),
        "volumeMounts": [one.build_mount() for one in mounts],
    }
    return container | {name: value for name, value in optional.items() if value}


def _build_ports(spec: ApplicationSpec, platform: Platform) -> list[dict[str, Any]]:
    ports = {PORT_NAME: spec.port, METRICS_PORT_NAME: find_metrics_port(spec, platform)}
    return [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items() if port]


def _build_env(meta: ObjectMeta, spec: ApplicationSpec, platform: Platform) -> list[dict[str, Any]]:
    """Build the platform's variables, then the user's, which may refer to those before them and win over them."""
    written = [one.model_dump(by_alias=True, exclude_none=True) for one in spec.variables]
    names = {one["name"] for one in written}
    proxied = {name.upper() for name in names}  # libraries differ in which case wins
    given = [one for one in _build_platform_variables(meta, spec, platform) if one["name"] not in names]
    if platform.uses_webproxy(wanted=spec.webproxy) and platform.webproxy:
        proxy = build_proxy_variables(platform.webproxy)
        given += [{"name": name, "value": value} for name, value in proxy.items() if name.upper() not in proxied]
    return given + written


def _build_platform_variables(meta: ObjectMeta, spec: ApplicationSpec, platform: Platform) -> list[dict[str, Any]]:
    """Build the variables by which an application on NAIS knows itself."""
    values = {
        "NAIS_APP_NAME": meta.name,
        "NAIS_NAMESPACE": meta.namespace,
        "NAIS_APP_IMAGE": spec.image or "",
        "NAIS_CLUSTER_NAME": platform.cluster,
        "NAIS_CLIENT_ID": f"{platform.cluster}:{meta.namespace}:{meta.name}",
        "PORT": str(spec.port),
        "BIND_ADDRESS": f"0.0.0.0:{spec.port}",
    }
    pod = {"name": "NAIS_POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}
    return [*({"name": name, "value": value} for name, value in values.items()), pod]


def _build_env_from(spec: ApplicationSpec, secret_name: str | None) -> list[dict[str, Any]]:
    sources: list[dict[str, Any]] = []
    for one in spec.env_from:
        if one.configmap:
            sources.append({"configMapRef": {"name": one.configmap}})
        if one.secret:
            sources.append({"secretRef": {"name": one.secret}})
    # Last, since of two sources with one variable the later wins.
    return sources + ([{"secretRef": {"name": secret_name}}] if secret_name else [])


def find_unused_hooks(spec: ApplicationSpec) -> list[str]:
    """Find what is to be done before the end and isn't, each with the reason."""
    hook = spec.pre_stop_hook
    if hook is None:
        return []
    given = [spec.pre_stop_hook_path, hook.exec and hook.exec.command, hook.http]
    if not any(given):
        return ["spec.preStopHook (neither exec.command nor http)"]
    if sum(bool(one) for one in given) > 1:
        return ["spec.preStopHook (only one of preStopHookPath, exec and http counts, in this order)"]
    return []


def _build_lifecycle(spec: ApplicationSpec) -> dict[str, Any] | None:
    """Build what is done before the container ends; by default a pause in which those who call the pod learn of it."""
    hook = spec.pre_stop_hook
    if spec.pre_stop_hook_path:
        return {"preStop": {"httpGet": _build_request(spec.pre_stop_hook_path, spec.port)}}
    if hook and hook.exec and hook.exec.command:
        return {"preStop": {"exec": {"command": list(hook.exec.command)}}}
    if hook and hook.http:
        return {"preStop": {"httpGet": _build_request(hook.http.path, hook.http.port or spec.port)}}
    grace = spec.termination_grace_period_seconds
    # The pause is part of the time to end in: half of that at least is the application's own.
    pause = PAUSE_SECONDS if grace is None else min(PAUSE_SECONDS, grace // 2)
    return {"preStop": {"sleep": {"seconds": pause}}} if pause else None


def _build_request(path: str, port: int) -> dict[str, Any]:
    return {"path": path if path.startswith("/") else f"/{path}", "port": port, "scheme": "HTTP"}


def build_resources(spec: ApplicationSpec, platform: Platform) -> dict[str, dict[str, str]]:
    """Build the resources, with the NAIS platform's defaults where they contradict nothing."""
    limits = {name: str(value) for name, value in spec.resources.limits.items()}
    requests = {name: str(value) for name, value in spec.resources.requests.items()}
    if platform.has_nais_defaults:
        fitting = {name: one for name, one in DEFAULT_REQUESTS.items() if not is_less(limits.get(name), one)}
        if not is_less(DEFAULT_LIMITS["memory"], requests.get("memory")):
            limits = DEFAULT_LIMITS | limits
        requests = fitting | requests
    return {part: one for part, one in (("limits", limits), ("requests", requests)) if one}


def _build_probe(spec: ApplicationSpec, probe: Probe | None) -> dict[str, Any] | None:
    if probe is None:
        return None
    return {
        "httpGet": _build_request(probe.path, probe.port or spec.port),
        "initialDelaySeconds": probe.initial_delay,
        "periodSeconds": probe.period_seconds,
        "timeoutSeconds": probe.timeout,
        "failureThreshold": probe.failure_threshold,
    }
