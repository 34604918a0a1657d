"""Children of an Application as an API server keeps them, without one: for tests of the plan."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.application import ApplicationSpec, parse_application
from maskinporten_operator.model.resources import APPLICATION, DEPLOYMENT, MASKINPORTEN_CLIENT
from maskinporten_operator.plan.application_plan import (
    ApplicationPlan,
    ApplicationSnapshot,
    ApplyChild,
    DeleteChild,
    SetReplicas,
    plan_application,
)
from maskinporten_operator.plan.children import ChildName, build_secret_name
from maskinporten_operator.plan.workload import build_replicas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.model.application import Application
    from maskinporten_operator.plan.platform import Platform

NAMESPACE = "some-team"
NAME = "app"
UID = "application-uid"
CLIENT_ID = "client-id"
FINGERPRINT = "fingerprint"

Objects = dict[ChildName, dict[str, Any]]


def application_body(spec: Mapping[str, Any], **metadata: Any) -> dict[str, Any]:
    """An Application as the API server gives it."""
    filled = {
        "name": NAME,
        "namespace": NAMESPACE,
        "uid": UID,
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    return {
        "apiVersion": APPLICATION.api_version,
        "kind": APPLICATION.name,
        "metadata": filled | metadata,
        "spec": copy.deepcopy(dict(spec)),
    }


def merge(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch: null removes."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def keep(manifest: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A child as the API server keeps it after an apply: a changed spec has a new generation, the status stays."""
    kept = copy.deepcopy(dict(manifest))
    if before is None:
        kept["metadata"] |= {"uid": f"{kept['kind'].lower()}-uid", "resourceVersion": "1", "generation": 1}
        return kept | {"status": {}}
    metadata = before["metadata"]
    for name in ("uid", "resourceVersion", "generation"):
        kept["metadata"][name] = metadata[name]
    kept["metadata"]["annotations"] = {**metadata.get("annotations", {}), **kept["metadata"].get("annotations", {})}
    if "replicas" in before["spec"]:
        kept["spec"].setdefault("replicas", before["spec"]["replicas"])
    if kept["spec"] != before["spec"]:
        kept["metadata"]["generation"] += 1
    return kept | {"status": before.get("status", {})}


def set_ready(client: Mapping[str, Any], *, secret: bool = True, **condition: str) -> dict[str, Any]:
    """A MaskinportenClient that has said how it is: ready, unless told otherwise."""
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Synchronized",
        "message": "The client is registered and its credentials are in the Secret",
        "observedGeneration": client["metadata"]["generation"],
    } | condition
    status: dict[str, Any] = {"conditions": [ready]}
    if secret:
        status |= {
            "clientID": CLIENT_ID,
            "synchronizationSecretName": build_secret_name(client["metadata"]["name"]),
            "synchronizationHash": FINGERPRINT,
        }
    return {**client, "status": status}


def set_available(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """A Deployment whose pods are up, all of its newest template."""
    return set_rollout(deployment, progressing="NewReplicaSetAvailable")


def set_rollout(
    deployment: Mapping[str, Any],
    *,
    old: int = 0,
    available: bool = True,
    progressing: str = "ReplicaSetUpdated",
    message: str = "",
    refusal: str = "",
) -> dict[str, Any]:
    """A Deployment that its controller has seen, as it tells of a rollout: `old` pods of another template are left."""
    count = deployment["spec"].get("replicas", 1)
    has_failed = progressing == "ProgressDeadlineExceeded"
    conditions = [
        {"type": "Available", "status": "True" if available else "False"},
        {"type": "Progressing", "status": str(not has_failed), "reason": progressing, "message": message},
    ]
    if refusal:
        conditions.append({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": refusal})
    status = {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": count + old,
        "updatedReplicas": count,
        "conditions": conditions,
    }
    return {**deployment, "status": status}


def look(application: Application, objects: Objects) -> ApplicationSnapshot:
    """What a pass sees when these objects are there."""
    assert isinstance(application.spec, ApplicationSpec), application.spec
    client = objects.get(ChildName(MASKINPORTEN_CLIENT, application.meta.name))
    return ApplicationSnapshot(application, application.spec, client, dict(objects))


def carry_out(plan: ApplicationPlan, application: Application, objects: Objects) -> Objects:
    """What is there after a plan was carried out."""
    after = dict(objects)
    deployment = ChildName(DEPLOYMENT, application.meta.name)
    for step in plan.steps:
        match step:
            case ApplyChild(child, manifest):
                after[child] = keep(manifest, after.get(child))
            case SetReplicas(asked, count):
                patch = build_replicas(application.meta, asked, count, after[deployment])
                after[deployment] = merge(after[deployment], patch)
            case DeleteChild(child):
                del after[child]
    return after


def settle(body: Mapping[str, Any], platform: Platform, objects: Objects, *, most: int = 5) -> Objects:
    """What is there when passes have nothing left to do, the client having become ready between them."""
    application = parse_application(body)
    for _ in range(most):
        plan = plan_application(look(application, objects), platform)
        if not plan.steps:
            return objects
        objects = {
            child: set_ready(one) if child.kind == MASKINPORTEN_CLIENT else one
            for child, one in carry_out(plan, application, objects).items()
        }
    raise AssertionError(f"not settled after {most} passes: {plan.steps}")
