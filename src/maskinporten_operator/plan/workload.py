"""The Deployment and the Service of an Application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.application import RollingUpdate
from maskinporten_operator.model.user_metadata import RESTART_ANNOTATION
from maskinporten_operator.plan.application_metadata import (
    build_change_cause,
    build_child_labels,
    build_child_metadata,
)
from maskinporten_operator.plan.container import PORT_NAME, build_container
from maskinporten_operator.plan.mounts import build_mounts
from maskinporten_operator.plan.scaling import REPLICAS_ANNOTATION
from maskinporten_operator.plan.scraping import build_scrape_annotations
from maskinporten_operator.plan.security_context import build_pod_security_context, has_read_only_root

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.model.application import ApplicationSpec
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.plan.platform import Platform

EVICTION_ANNOTATION = "cluster-autoscaler.kubernetes.io/safe-to-evict"
CREDENTIALS_ANNOTATION = "digdir.nais.io/credentials"
"""On the pod template: a hash that moves with the credentials, so that pods with old variables are replaced."""


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
    pod_labels = build_child_labels(meta) | ({"maskinporten": "enabled"} if secret_name else {})
    template: dict[str, Any] = {
        "metadata": {"labels": pod_labels},
        "spec": _build_pod(meta, spec, platform, secret_name),
    }
    annotations = build_scrape_annotations(spec)
    # An empty /tmp would keep the cluster's autoscaler from ever removing the node.
    if has_read_only_root(meta, platform):
        annotations[EVICTION_ANNOTATION] = "true"
    if fingerprint:
        annotations[CREDENTIALS_ANNOTATION] = fingerprint
    if annotations:
        template["metadata"]["annotations"] = annotations
    cause = build_change_cause(meta)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": build_child_metadata(meta) | ({"annotations": cause} if cause else {}),
        "spec": {
            "selector": {"matchLabels": {"app": meta.name}},
            "strategy": _build_strategy(spec),
            "template": template,
        },
    }


def choose_fingerprint(meta: ObjectMeta, fingerprint: str | None) -> str | None:
    """Give the fingerprint, or None if the user doesn't want pods to be restarted."""
    return None if meta.annotations.get(RESTART_ANNOTATION) == "false" else fingerprint


def build_replicas(meta: ObjectMeta, asked: int, count: int, deployment: Mapping[str, Any]) -> dict[str, Any]:
    """Build the number of pods, as a field manager of its own applies it to a Deployment that was read.

    `asked` is the spec's. Where `count` is rather what a scaler set, nobody must have set another since.
    """
    version = {"resourceVersion": deployment["metadata"]["resourceVersion"]} if count != asked else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": meta.name,
            "namespace": meta.namespace,
            "uid": deployment["metadata"]["uid"],
            **version,
            "annotations": {REPLICAS_ANNOTATION: str(asked)},
        },
        "spec": {"replicas": count},
    }


def build_service_account(meta: ObjectMeta) -> dict[str, Any]:
    """Build the ServiceAccount that the pods run as; none of them gets its token."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": build_child_metadata(meta),
        "automountServiceAccountToken": False,
    }


def build_service(meta: ObjectMeta, spec: ApplicationSpec) -> dict[str, Any]:
    """Build the Service."""
    port = {"name": spec.service.protocol, "port": spec.service.port, "targetPort": PORT_NAME, "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": build_child_metadata(meta),
        "spec": {"type": "ClusterIP", "selector": {"app": meta.name}, "ports": [port]},
    }


def _build_pod(meta: ObjectMeta, spec: ApplicationSpec, platform: Platform, secret_name: str | None) -> dict[str, Any]:
    """Build a pod that fits the restricted Pod Security standard, and has no credentials but those it asks for."""
    mounts = build_mounts(spec, secret_name, needs_scratch=has_read_only_root(meta, platform))
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "containers": [build_container(meta, spec, platform, secret_name, mounts)],
        "securityContext": build_pod_security_context(meta, platform),
    }
    if platform.service_accounts:
        pod["serviceAccountName"] = meta.name
    if platform.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": one} for one in platform.image_pull_secrets]
    if platform.has_nais_defaults:
        pod["affinity"] = _build_affinity(meta)
    if mounts:
        pod["volumes"] = [one.build_volume() for one in mounts]
    if spec.termination_grace_period_seconds is not None:
        pod["terminationGracePeriodSeconds"] = spec.termination_grace_period_seconds
    return pod


def _build_affinity(meta: ObjectMeta) -> dict[str, Any]:
    """Prefer nodes on which none of its pods runs."""
    term = {"labelSelector": {"matchLabels": {"app": meta.name}}, "topologyKey": "kubernetes.io/hostname"}
    preferred = [{"weight": 10, "podAffinityTerm": term}]
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


def _build_strategy(spec: ApplicationSpec) -> dict[str, Any]:
    """Build the strategy, with the defaults written out: no pod goes before another is ready, as on the NAIS platform.

    What the API server filled in would have no owner, and stay when the type changes to Recreate, which forbids it.
    """
    if spec.strategy.type == "Recreate":
        return {"type": "Recreate"}
    given = spec.strategy.rolling_update or RollingUpdate()
    surge = "25%" if given.max_surge is None else given.max_surge
    unavailable = given.max_unavailable
    if unavailable is None:
        unavailable = 1 if surge in {0, "0", "0%"} else 0  # one of the two must let a pod be replaced
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
