"""Applications, in the words in which tests speak of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.resources import (
    APPLICATION,
    DEPLOYMENT,
    MASKINPORTEN_CLIENT,
    NETWORK_POLICY,
    POD_MONITOR,
    SECRET,
    SERVICE,
    Kind,
)
from maskinporten_operator.plan.children import build_secret_name
from tests.e2e.stage import PATIENCE, SCOPE, Stage
from tools.kube import is_ready, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGE = "example/app:1"
CHILDREN = (MASKINPORTEN_CLIENT, DEPLOYMENT, SERVICE, NETWORK_POLICY)
MERGE_PATCH = "application/merge-patch+json"
ENABLED = {"enabled": True, "scopes": {"consumes": [{"name": SCOPE}]}}


class Applications:
    """The Applications of one namespace."""

    def __init__(self, stage: Stage, namespace: str) -> None:
        self.stage = stage
        self.kube = stage.kube
        self.namespace = namespace

    def create(self, name: str = "app", **spec: Any) -> Any:
        """Create an Application with an image that consumes a scope, unless `spec` says otherwise."""
        whole = {"image": IMAGE, "maskinporten": ENABLED, **spec}
        manifest = {
            "apiVersion": APPLICATION.api_version,
            "kind": APPLICATION.name,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {key: value for key, value in whole.items() if value is not None},
        }
        return self.kube.request("POST", APPLICATION.path(self.namespace), manifest)

    def patch(self, name: str = "app", **spec: Any) -> Any:
        """Merge a patch into an Application's spec."""
        return self.edit(APPLICATION, {"spec": spec}, name)

    def edit(self, kind: Kind, patch: dict[str, Any], name: str = "app", manager: str = "somebody") -> Any:
        """Merge a patch into an Application or one of its children, as somebody else."""
        path = kind.path(self.namespace, name)
        return self.kube.request("PATCH", path, patch, MERGE_PATCH, fieldManager=manager)

    def find(self, kind: Kind = APPLICATION, name: str = "app") -> Any | None:
        """Read an Application or one of its children; None if there is none."""
        return self.kube.find(kind.path(self.namespace, name))

    def delete(self, kind: Kind = APPLICATION, name: str = "app", policy: str = "Background") -> None:
        """Delete an Application or one of its children."""
        self.kube.request("DELETE", kind.path(self.namespace, name), propagationPolicy=policy)

    def find_secret(self, name: str = "app") -> Any | None:
        """Read an Application's Secret."""
        return self.find(SECRET, build_secret_name(name))

    def find_condition(self, kind: str = "Ready", name: str = "app") -> dict[str, Any]:
        """Give a condition at the present generation, an empty one if there is none."""
        application = self.find(name=name) or {"metadata": {}}
        generation = application["metadata"].get("generation")
        return next(
            (
                one
                for one in application.get("status", {}).get("conditions", [])
                if one["type"] == kind and one["observedGeneration"] == generation
            ),
            {},
        )

    def wait_ready(self, name: str = "app") -> Any:
        """Wait until an Application is Ready at its present generation, and give it."""

        def look() -> Any:
            found = self.find(name=name)
            return found if found and is_ready(found) else None

        return self.wait(look, f"Ready of Application {name}", name)

    def wait_for_reason(self, reason: str, kind: str = "Ready", name: str = "app") -> dict[str, Any]:
        """Wait until a condition has a reason, and give it."""

        def look() -> dict[str, Any] | None:
            condition = self.find_condition(kind, name)
            return condition if condition.get("reason") == reason else None

        found: dict[str, Any] = self.wait(look, f"{reason} of Application {name}", name)
        return found

    def create_available(self, name: str = "app", **spec: Any) -> Any:
        """Create an Application, and wait until it is Ready and its pods are up."""
        self.create(name, **spec)
        self.wait_ready(name)
        self.wait_for_reason("MinimumReplicasAvailable", "Available", name)
        return self.find(name=name)

    def wait_gone(self, kind: Kind = APPLICATION, name: str = "app", seconds: float = PATIENCE) -> None:
        """Wait until an Application or one of its children is gone."""
        self.wait(lambda: self.find(kind, name) is None, f"end of {kind.name} {name}", name, seconds)

    def describe_children(self, name: str = "app") -> dict[str, Any]:
        """Give what the operator decides of the children: no uid, version, time or foreign field."""
        found = {}
        for kind in CHILDREN:
            if body := self.find(kind, name):
                spec = dict(body["spec"])
                spec.pop("clusterIP", None), spec.pop("clusterIPs", None)
                found[kind.name] = {
                    "labels": body["metadata"].get("labels"),
                    "annotations": {
                        key: value
                        for key, value in body["metadata"].get("annotations", {}).items()
                        if key == "digdir.nais.io/replicas"
                    },
                    "spec": spec,
                }
        return found

    def wait(self, look: Callable[[], Any], what: str, name: str = "app", seconds: float = PATIENCE) -> Any:
        """Wait for something, and tell how things stand if it doesn't come."""
        try:
            return wait_for(look, seconds, what)
        except TimeoutError as error:
            state = json.dumps((self.find(name=name) or {}).get("status"), indent=1)
            raise AssertionError(f"{error}\nstatus: {state}") from None


def build_open_crd(kind: Kind) -> dict[str, Any]:
    """Build a CRD of somebody else's kind that takes everything."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "names": {"kind": kind.name, "plural": kind.plural},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": kind.version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                }
            ],
        },
    }


def build_pod_monitor_crd() -> dict[str, Any]:
    """Build a CRD of PodMonitors with those fields of the served one that are set here; others are pruned."""
    text = {"type": "string"}
    endpoint = {"type": "object", "properties": {"port": text, "path": text}}
    selector = {"type": "object", "properties": {"matchLabels": {"type": "object", "additionalProperties": text}}}
    spec = {
        "type": "object",
        "required": ["podMetricsEndpoints", "selector"],
        "properties": {
            "jobLabel": text,
            "podTargetLabels": {"type": "array", "items": text},
            "podMetricsEndpoints": {"type": "array", "items": endpoint},
            "selector": selector,
        },
    }
    crd = build_open_crd(POD_MONITOR)
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = {
        "type": "object",
        "required": ["spec"],
        "properties": {"spec": spec},
    }
    return crd
