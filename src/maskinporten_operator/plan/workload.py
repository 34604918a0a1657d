"""The Deployment and the Service of an Application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.application import RESTART_ANNOTATION
from maskinporten_operator.plan.owner_references import build_labels, build_metadata
from maskinporten_operator.plan.webproxy import build_proxy_variables

if TYPE_CHECKING:
    from maskinporten_operator.model.application import ApplicationSpec, Probe
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.plan.platform import Platform

CREDENTIALS_PATH = "/var/run/secrets/nais.io/maskinporten"
CREDENTIALS_VOLUME = "maskinporten-credentials"
CREDENTIALS_ANNOTATION = "digdir.nais.io/credentials"
"""On the pod template: a hash that moves with the credentials, so that pods with old variables are replaced."""
REPLICAS_ANNOTATION = "digdir.nais.io/replicas"
"""On the Deployment: the number of pods that the spec asked for when it was last applied."""
PORT_NAME = "http"


def build_deployment(
    meta: ObjectMeta, spec: ApplicationSpec, platform: Platform, secret_name: str | None, fingerprint: str | None
) -> dict[str, Any]:
    """Build the Deployment without its number of pods, which scalers change too; see `build_replicas`.

    Args:
        meta: The Application's metadata.
        spec: Its spec.
        platform: Where it runs.
        secret_name: The Secret with its credentials, if it uses Maskinporten.
        fingerprint: Of what is in the Secret; None if its changes shall leave the pods alone.
    """
    labels = build_labels(meta)
    pod_labels = labels | ({"maskinporten": "enabled"} if secret_name else {})
    template: dict[str, Any] = {
        "metadata": {"labels": pod_labels},
        "spec": _build_pod(meta, spec, platform, secret_name),
    }
    if fingerprint:
        template["metadata"]["annotations"] = {CREDENTIALS_ANNOTATION: fingerprint}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": build_metadata(meta),
        "spec": {
            "selector": {"matchLabels": {"app": meta.name}},
            "strategy": _build_strategy(spec),
            "template": template,
        },
    }


def choose_fingerprint(meta: ObjectMeta, fingerprint: str | None) -> str | None:
    """Give the fingerprint, or None if the user doesn't want pods to be restarted."""
    return None if meta.annotations.get(RESTART_ANNOTATION) == "false" else fingerprint


def build_replicas(meta: ObjectMeta, count: int, uid: str) -> dict[str, Any]:
    """Build the number of pods, as a field manager of its own applies it to the Deployment with this uid."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": meta.name,
            "namespace": meta.namespace,
            "uid": uid,
            "annotations": {REPLICAS_ANNOTATION: str(count)},
        },
        "spec": {"replicas": count},
    }


def build_service(meta: ObjectMeta, spec: ApplicationSpec) -> dict[str, Any]:
    """Build the Service."""
    port = {"name": spec.service.protocol, "port": spec.service.port, "targetPort": PORT_NAME, "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": build_metadata(meta),
        "spec": {"type": "ClusterIP", "selector": {"app": meta.name}, "ports": [port]},
    }


def _build_pod(meta: ObjectMeta, spec: ApplicationSpec, platform: Platform, secret_name: str | None) -> dict[str, Any]:
    """Build a pod that fits the restricted Pod Security standard, and has no credentials but those it asks for."""
    user = platform.run_as_user
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "containers": [_build_container(meta, spec, platform, secret_name)],
        "securityContext": {
            "runAsNonRoot": True,
            **({"runAsUser": user, "runAsGroup": user, "fsGroup": user} if user else {}),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if secret_name:
        # Readable for the pod's group, which is fsGroup, and for nobody else.
        pod["volumes"] = [{"name": CREDENTIALS_VOLUME, "secret": {"secretName": secret_name, "defaultMode": 0o440}}]
    if spec.termination_grace_period_seconds is not None:
        pod["terminationGracePeriodSeconds"] = spec.termination_grace_period_seconds
    return pod


def _build_strategy(spec: ApplicationSpec) -> dict[str, Any]:
    """Build the strategy, with the API server's defaults written out.

    Defaults that it filled in would have no owner, and stay when the type changes to Recreate, which forbids them.
    """
    if spec.strategy.type == "Recreate":
        return {"type": "Recreate"}
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}


def _build_container(
    meta: ObjectMeta, spec: ApplicationSpec, platform: Platform, secret_name: str | None
) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": meta.name,
        "image": spec.image,
        "ports": [{"name": PORT_NAME, "containerPort": spec.port, "protocol": "TCP"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    optional = {
        "command": list(spec.command),
        "env": _build_env(meta, spec, platform),
        "envFrom": _build_env_from(spec, secret_name),
        "resources": _build_resources(spec),
        "livenessProbe": _build_probe(spec, spec.liveness),
        "readinessProbe": _build_probe(spec, spec.readiness),
    }
    if secret_name:
        optional["volumeMounts"] = [{"name": CREDENTIALS_VOLUME, "mountPath": CREDENTIALS_PATH, "readOnly": True}]
    return container | {name: value for name, value in optional.items() if value}


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


def _build_resources(spec: ApplicationSpec) -> dict[str, Any]:
    given = {"limits": spec.resources.limits, "requests": spec.resources.requests}
    return {part: {name: str(value) for name, value in given[part].items()} for part in given if given[part]}


def _build_probe(spec: ApplicationSpec, probe: Probe | None) -> dict[str, Any] | None:
    if probe is None:
        return None
    return {
        "httpGet": {"path": probe.path, "port": probe.port or spec.port, "scheme": "HTTP"},
        "initialDelaySeconds": probe.initial_delay,
        "periodSeconds": probe.period_seconds,
        "timeoutSeconds": probe.timeout,
        "failureThreshold": probe.failure_threshold,
    }
