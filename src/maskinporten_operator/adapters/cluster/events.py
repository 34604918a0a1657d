"""Kubernetes Events (core/v1)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from maskinporten_operator.model.user_metadata import DEPLOYMENT_ANNOTATION
from maskinporten_operator.plan.deployment_news import COMPLETE, DEPLOYMENT_REPORTER, FAILED, find_deployment

if TYPE_CHECKING:
    from maskinporten_operator.adapters.cluster.api import ClusterApi
    from maskinporten_operator.model.resources import ObjectMeta

COMPONENT = "maskinporten-operator"
MAX_NOTE_LENGTH = 1000


async def post_event(api: ClusterApi, meta: ObjectMeta, kind: str, reason: str, message: str) -> None:
    """Post an Event about a resource.

    Raises:
        OperatorError: The API server didn't take it, as in a namespace that is being deleted.
    """
    deployment = find_deployment(meta)
    annotations = {"annotations": {DEPLOYMENT_ANNOTATION: deployment}} if deployment else {}
    reporter = DEPLOYMENT_REPORTER if reason in {COMPLETE, FAILED} else COMPONENT
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{meta.name[:200]}.", "namespace": meta.namespace, **annotations},
        "involvedObject": {
            "apiVersion": meta.kind.api_version,
            "kind": meta.kind.name,
            "namespace": meta.namespace,
            "name": meta.name,
            "uid": meta.uid,
            "resourceVersion": str(meta.resource_version),
        },
        "type": kind,
        "reason": reason,
        "message": message[:MAX_NOTE_LENGTH],
        "source": {"component": COMPONENT},
        "reportingComponent": reporter,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
    await api.request("POST", f"/api/v1/namespaces/{meta.namespace}/events", body=body)
