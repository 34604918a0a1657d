"""What all resources share: kinds, metadata, conditions, and how a spec that can't be parsed is explained.

The CRDs are generated from the models (`make generate`), so a rule stands once and is enforced twice: by the API
server, and by `parse`, since a cluster may serve the platform's own, laxer CRDs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

GROUP = "nais.io"

DNS_SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"

MAX_NAME_LENGTH = 63
"""Characters: the name is a label's value on what the resource owns, and a part of the registration's description."""
NAME_RULE = (f"self.metadata.name.size() <= {MAX_NAME_LENGTH}", f"must have at most {MAX_NAME_LENGTH} characters")

INT64 = {"format": "int64"}

MAX_BYTES = 256 * 1024
"""Of each part of an object, such as its spec, as JSON: what is larger isn't read."""
MAX_DEPTH = 32
"""How many objects and lists may lie within each other in such a part; in our own specs it is eight."""
UNREADABLE = "unreadable"
"""Where a body that was read says which part is missing in it, and why."""


ROTATION_MANAGERS = "rotationManagers"
"""Where the metadata that was read names the field managers of the annotation that asks for a new key."""


NAMED_BY_USERS = frozenset({"metadata.labels", "metadata.annotations"})
QUOTED_NEVER = frozenset({"value", "command"})
"""Fields in which somebody may have written what is secret."""
KEY = "[key]"
"""How pydantic says that a member's name is wrong, and not its value."""


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """A kind of resource, and where the API server serves it."""

    api_version: str
    name: str
    plural: str

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version within the group."""
        return self.api_version.rpartition("/")[2]

    @property
    def root(self) -> str:
        """The path under which the API server serves the group's version."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Build the path of one object, of a namespace's, or of all."""
        within = f"/namespaces/{namespace}" if namespace else ""
        return f"{self.root}{within}/{self.plural}" + (f"/{name}" if name else "")


MASKINPORTEN_CLIENT = Kind(f"{GROUP}/v1", "MaskinportenClient", "maskinportenclients")
APPLICATION = Kind(f"{GROUP}/v1alpha1", "Application", "applications")
NAMESPACE = Kind("v1", "Namespace", "namespaces")
SECRET = Kind("v1", "Secret", "secrets")
POD = Kind("v1", "Pod", "pods")
ACCESS_REVIEW = Kind("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews")
EVENT = Kind("v1", "Event", "events")
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
SERVICE = Kind("v1", "Service", "services")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
HORIZONTAL_POD_AUTOSCALER = Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
POD_DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
WORKLOAD_KINDS = (SERVICE_ACCOUNT, SERVICE, DEPLOYMENT, POD_DISRUPTION_BUDGET, HORIZONTAL_POD_AUTOSCALER)
"""What an application runs by."""
INGRESS = Kind("networking.k8s.io/v1", "Ingress", "ingresses")
POD_MONITOR = Kind("monitoring.coreos.com/v1", "PodMonitor", "podmonitors")
"""Prometheus Operator's: from which pods metrics are read."""
EXPOSURE_KINDS = (INGRESS, POD_MONITOR)
"""By what it is reached and measured from elsewhere."""
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
FQDN_POLICY = Kind("networking.gke.io/v1alpha3", "FQDNNetworkPolicy", "fqdnnetworkpolicies")
"""That of the add-on which resolves the names itself."""
GKE_FQDN_POLICY = Kind("networking.gke.io/v1alpha1", "FQDNNetworkPolicy", "fqdnnetworkpolicies")
"""GKE's own, which its data plane enforces."""
CILIUM_POLICY = Kind("cilium.io/v2", "CiliumNetworkPolicy", "ciliumnetworkpolicies")


def list_of(kind: Literal["atomic", "map"], *keys: str) -> dict[str, Any]:
    """Build the schema extension that says how an apply merges a list, and by which keys its members are identified."""
    return {"x-kubernetes-list-type": kind} | ({"x-kubernetes-list-map-keys": list(keys)} if keys else {})


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """Build the schema extension of CEL rules with messages. A validator of the model enforces each rule too."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


class SpecModel(BaseModel):
    """A part of a spec: camelCase on the wire, frozen, unknown fields left to the API server's own rules."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


S = TypeVar("S", bound=SpecModel)


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """The metadata that decisions may depend on. `resource_version` is comparable as an integer."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    resource_version: int
    generation: int
    created: str
    deleting: bool
    finalizers: tuple[str, ...]
    annotations: Mapping[str, str]
    rotation_managers: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    def asks(self, annotation: str) -> bool:
        """Whether the annotation is set to exactly `true`. Annotations are requests, never facts."""
        return self.annotations.get(annotation) == "true"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a field, in words for its author; `path` begins at the object, as in `spec.env[0].name`."""

    path: str
    message: str

    def __str__(self) -> str:
        """Say where and what."""
        return f"{self.path}: {self.message}"


@dataclass(frozen=True, slots=True)
class InvalidSpec:
    """A spec that can't be parsed, and why, in words for its author. An outcome, not an exception."""

    message: str


@dataclass(frozen=True, slots=True)
class UnreadableSpec(InvalidSpec):
    """The spec of a resource that exceeds the limits of `adapters.cluster.bodies`; its status is written rarely."""


def parse_meta(kind: Kind, body: Mapping[str, Any]) -> ObjectMeta:
    """Read the metadata of an object as the API server sent it; in a list or a watch it needn't name its kind."""
    meta = body["metadata"]
    return ObjectMeta(
        kind=kind,
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=int(meta["resourceVersion"]),
        generation=meta.get("generation", 0),
        created=meta["creationTimestamp"],
        deleting=bool(meta.get("deletionTimestamp")),
        finalizers=tuple(meta.get("finalizers") or ()),
        annotations=meta.get("annotations") or {},
        rotation_managers=tuple(meta.get(ROTATION_MANAGERS) or ()),
        labels=meta.get("labels") or {},
    )


def parse_spec(model: type[S], body: Mapping[str, Any]) -> S | InvalidSpec:
    """Read an object's spec; never raises for anything that a user can write."""
    if reason := body.get(UNREADABLE):
        return UnreadableSpec(f"The resource can't be read: {reason}")
    try:
        return model.model_validate(body.get("spec") or {})
    except ValidationError as error:
        return InvalidSpec(_explain(error))


def find_faults(model: type[BaseModel], value: Any, root: str) -> list[Fault]:
    """Find what the API server refuses of a part of an object, by the types of the schema: no text for a number."""
    try:
        model.model_validate_json(to_json(value), strict=True)
    except ValidationError as error:
        return _list_faults(error, root)
    return []


def _explain(error: ValidationError, max_faults: int = 5) -> str:
    """Say what is wrong and where, at most `max_faults` faults, each value cut to a readable length."""
    faults = _list_faults(error, "spec")
    lines = [str(fault) for fault in faults[:max_faults]]
    if len(faults) > max_faults:
        lines.append(f"and {len(faults) - max_faults} more")
    return "; ".join(lines)


def _list_faults(error: ValidationError, root: str) -> list[Fault]:
    return [Fault(build_path(root, fault["loc"]), _explain_fault(fault)) for fault in error.errors(include_url=False)]


def build_path(root: str, parts: Iterable[str | int]) -> str:
    """Build the path of a field; names of labels and annotations, which have dots in them, stand in brackets."""
    path = root
    for part in parts:
        if part != KEY:
            path += f"[{part}]" if isinstance(part, int) or path in NAMED_BY_USERS else f".{part}"
    return path


def _explain_fault(fault: Mapping[str, Any]) -> str:
    message = str(fault["msg"]).removeprefix("Value error, ")
    if isinstance(value := fault["input"], str | int) and QUOTED_NEVER.isdisjoint(fault["loc"]):
        message += f" (it is {str(value)[:60]!r})"
    return message


class Condition(BaseModel):
    """One aspect of a resource's state, as the Kubernetes API conventions define it."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    type: Annotated[str, Field(max_length=316, description="The aspect, in CamelCase.")]
    status: Annotated[Literal["True", "False", "Unknown"], Field(description="Whether the aspect holds.")]
    reason: Annotated[str, Field(min_length=1, max_length=1024, description="Why, one CamelCase word.")]
    message: Annotated[str, Field(max_length=32768, description="What it means and who can fix it.")]
    last_transition_time: Annotated[datetime, Field(description="When the status last changed.")]
    observed_generation: Annotated[
        int | None,
        Field(default=None, ge=0, json_schema_extra=INT64, description="The generation that was judged."),
    ]


class ResourceStatus(BaseModel):
    """What the operator observed. For people and tools; decisions don't rest on it."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    client_id: Annotated[str | None, Field(default=None, alias="clientID", description="The client id at DigDir.")]
    conditions: Annotated[
        tuple[Condition, ...] | None,
        Field(default=None, json_schema_extra=list_of("map", "type"), description="The state, aspect by aspect."),
    ]
    observed_generation: Annotated[
        int | None, Field(default=None, json_schema_extra=INT64, description="The generation last acted on.")
    ]
    synchronization_state: Annotated[
        str | None, Field(default=None, description="The Ready condition in the words of earlier tools.")
    ]
    synchronization_time: Annotated[
        datetime | None, Field(default=None, description="When something in this status last changed.")
    ]
    correlation_id: Annotated[
        str | None,
        Field(
            default=None,
            alias="correlationID",
            description="Names the pass that last changed something, in logs; of an Application that a deployment tool "
            "of NAIS applied, the deployment.",
        ),
    ]
