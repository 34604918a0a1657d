"""Application (`nais.io/v1alpha1`): what we read of it, as pydantic models. Everything else is kept, and named.

Manifests of the NAIS platform apply unchanged, so every object within the spec keeps fields that no model declares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, StringConstraints
from pydantic.json_schema import WithJsonSchema

from maskinporten_operator.model.declared import UNREAD, name_unread
from maskinporten_operator.model.maskinportenclient import Scopes
from maskinporten_operator.model.resources import (
    APPLICATION,
    DNS_SUBDOMAIN_PATTERN,
    MAX_NAME_LENGTH,
    InvalidSpec,
    ObjectMeta,
    ResourceStatus,
    SpecModel,
    list_of,
    parse_meta,
    parse_spec,
)
from maskinporten_operator.model.status_hint import StatusHint, read_status

RESTART_ANNOTATION = "digdir.nais.io/restart-on-rotation"
"""On an Application: `false` leaves the pods alone when the credentials change."""

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
APPLICATION_NAME_RULE = (
    f"self.metadata.name.size() <= {MAX_NAME_LENGTH} && self.metadata.name.matches(r'{NAME_PATTERN}')",
    f"must have at most {MAX_NAME_LENGTH} characters, and no dots: it names Services and labels",
)
# A host name and nothing else: no scheme, no port, no path. A first label of `*` stands for any.
HOST_PATTERN = r"^(\*\.)?[0-9A-Za-z_]([-0-9A-Za-z_]*[0-9A-Za-z_])?(\.[0-9A-Za-z_]([-0-9A-Za-z_]*[0-9A-Za-z_])?)*$"
_OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4_PATTERN = rf"^{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}$"
ENV_NAME_PATTERN = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"
PORT_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

Port = Annotated[int, Field(ge=1, le=65535)]
Quantity = Annotated[str | int | float, WithJsonSchema({"x-kubernetes-int-or-string": True})]
AnyObject = Annotated[dict[str, JsonValue], WithJsonSchema({"type": "object"})]
Quantities = Annotated[
    dict[str, Quantity],
    WithJsonSchema({"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": True}}),
]
DnsName = Annotated[str, StringConstraints(pattern=DNS_SUBDOMAIN_PATTERN, max_length=253)]
Target = Annotated[str, StringConstraints(pattern=r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$", max_length=63)]


class Service(SpecModel):
    """How others in the cluster reach the application."""

    port: Annotated[Port, Field(default=80, description="The Service's port; 80 by default.")]
    protocol: Annotated[
        str,
        Field(
            default="http",
            pattern=PORT_NAME_PATTERN,
            max_length=15,
            description="The name of the port, which meshes take for its protocol; `http` by default.",
        ),
    ]


class Replicas(SpecModel):
    """How many pods."""

    min: Annotated[
        int,
        Field(
            default=2,
            ge=0,
            le=10_000,
            description="How many pods to begin with; 2 by default. A scaler may change it afterwards.",
        ),
    ]


class EnvVar(SpecModel):
    """A variable of the container."""

    name: Annotated[str, Field(pattern=ENV_NAME_PATTERN, max_length=255, description="The variable's name.")]
    value: Annotated[str | None, Field(default=None, description="Its value.")]
    value_from: Annotated[AnyObject | None, Field(default=None, description="Where its value comes from, as in a Pod.")]


class EnvFrom(SpecModel):
    """A ConfigMap or Secret all of whose values become variables."""

    configmap: Annotated[DnsName | None, Field(default=None, description="The ConfigMap's name.")]
    secret: Annotated[DnsName | None, Field(default=None, description="The Secret's name.")]


class Resources(SpecModel):
    """What the container gets, and what it may use at most."""

    limits: Annotated[Quantities, Field(default={}, description="The most it may use, such as `memory: 512Mi`.")]
    requests: Annotated[Quantities, Field(default={}, description="What is set aside for it, such as `cpu: 200m`.")]


class Probe(SpecModel):
    """An HTTP request that tells how the application is."""

    path: Annotated[str, Field(min_length=1, max_length=1024, description="The path that is asked for.")]
    port: Annotated[Port | None, Field(default=None, description="The port; that of the application by default.")]
    initial_delay: Annotated[
        int, Field(default=0, ge=0, le=86_400, description="Seconds before the first request; 0 by default.")
    ]
    period_seconds: Annotated[
        int, Field(default=10, ge=1, le=86_400, description="Seconds between requests; 10 by default.")
    ]
    timeout: Annotated[int, Field(default=1, ge=1, le=86_400, description="Seconds for an answer; 1 by default.")]
    failure_threshold: Annotated[
        int, Field(default=3, ge=1, le=1000, description="Failures in a row that count; 3 by default.")
    ]


class Strategy(SpecModel):
    """How a new version takes the place of the old."""

    type: Annotated[
        Literal["RollingUpdate", "Recreate"],
        Field(default="RollingUpdate", description="Pod by pod, or all at once; `RollingUpdate` by default."),
    ]


class ExternalPort(SpecModel):
    """A port of an external address."""

    name: Annotated[
        str | None, Field(default=None, max_length=63, description="A comment for readers of the manifest.")
    ]
    port: Annotated[Port, Field(description="The port's number.")]
    protocol: Annotated[
        str,
        Field(
            default="TCP",
            max_length=16,
            description="`UDP` or `SCTP`; `TCP` by default, and for what goes over it, such as `HTTPS`.",
        ),
    ]


class External(SpecModel):
    """An address outside the cluster that the application calls."""

    host: Annotated[
        str | None,
        Field(default=None, pattern=HOST_PATTERN, max_length=253, description="A host name, without scheme or path."),
    ]
    ipv4: Annotated[str | None, Field(default=None, pattern=IPV4_PATTERN, max_length=15, description="An address.")]
    ports: Annotated[
        tuple[ExternalPort, ...],
        Field(
            default=(),
            max_length=100,
            json_schema_extra=list_of("atomic"),
            description="The ports; by default 443 of a host, and every port of an address.",
        ),
    ]


class Rule(SpecModel):
    """Another application that this one calls."""

    application: Annotated[Target, Field(description="The application's name; `*` for all.")]
    namespace: Annotated[
        Target | None, Field(default=None, description="Its namespace, its own by default; `*` for all.")
    ]
    cluster: Annotated[
        str | None,
        Field(default=None, max_length=63, description="The only cluster in which the rule holds; in all by default."),
    ]


class Outbound(SpecModel):
    """What the application may call."""

    external: Annotated[
        tuple[External, ...],
        Field(
            default=(),
            max_length=200,
            json_schema_extra=list_of("atomic"),
            description="Addresses outside the cluster.",
        ),
    ]
    rules: Annotated[
        tuple[Rule, ...],
        Field(
            default=(),
            max_length=500,
            json_schema_extra=list_of("atomic"),
            description="Applications in the cluster.",
        ),
    ]


class AccessPolicy(SpecModel):
    """Whom the application may talk to."""

    outbound: Annotated[
        Outbound | None, Field(default=None, description="What it may call. Maskinporten's hosts need no mention.")
    ]


class Maskinporten(SpecModel):
    """Whether and how the application uses Maskinporten."""

    enabled: Annotated[bool, Field(default=False, description="Whether it gets a client and its credentials.")]
    scopes: Annotated[Scopes, Field(default=Scopes(), description="The scopes used and offered.")]


class ApplicationSpec(SpecModel):
    """What is read of an application's manifest."""

    image: Annotated[
        str | None,
        Field(
            default=None, min_length=1, max_length=1024, description="The container image; without one, no workload."
        ),
    ]
    command: Annotated[
        tuple[str, ...],
        Field(
            default=(),
            max_length=1000,
            json_schema_extra=list_of("atomic"),
            description="What to run instead of the image's own command.",
        ),
    ]
    port: Annotated[Port, Field(default=8080, description="The port on which it listens; 8080 by default.")]
    service: Annotated[Service, Field(default=Service(), description="How others reach it.")]
    replicas: Annotated[Replicas, Field(default=Replicas(), description="How many pods.")]
    env: Annotated[
        tuple[EnvVar, ...],
        Field(
            default=(),
            max_length=1000,
            json_schema_extra=list_of("atomic"),
            description="Variables of the container; of those with one name the last counts.",
        ),
    ]
    env_from: Annotated[
        tuple[EnvFrom, ...],
        Field(
            default=(),
            max_length=100,
            json_schema_extra=list_of("atomic"),
            description="ConfigMaps and Secrets whose values become variables.",
        ),
    ]
    resources: Annotated[Resources, Field(default=Resources(), description="CPU and memory.")]
    liveness: Annotated[Probe | None, Field(default=None, description="Failing, the container is started anew.")]
    readiness: Annotated[Probe | None, Field(default=None, description="Failing, the pod gets no calls.")]
    termination_grace_period_seconds: Annotated[
        int | None,
        Field(default=None, ge=0, le=86_400, description="Seconds to end in; Kubernetes' 30 by default."),
    ]
    strategy: Annotated[Strategy, Field(default=Strategy(), description="How a new version takes over.")]
    webproxy: Annotated[
        bool,
        Field(
            default=False,
            description="On premises: go out by the web proxy, by variables in the container. Maskinporten needs it.",
        ),
    ]
    access_policy: Annotated[
        AccessPolicy, Field(default=AccessPolicy(), description="Whom the application may talk to.")
    ]
    gcp: Annotated[
        AnyObject | None,
        Field(default=None, description="What it uses of Google Cloud, which others make: its tokens are let through."),
    ]
    maskinporten: Annotated[Maskinporten, Field(default=Maskinporten(), description="Its use of Maskinporten.")]

    @property
    def variables(self) -> tuple[EnvVar, ...]:
        """The variables, of those with one name the last: a container's list may name each once."""
        last = {one.name: number for number, one in enumerate(self.env)}
        return tuple(one for number, one in enumerate(self.env) if last[one.name] == number)


@dataclass(frozen=True, slots=True)
class Application:
    """A parsed resource.

    Attributes:
        unread: Paths of the fields that were set and that no model declares, `MAX_UNREAD` of them at most.
    """

    meta: ObjectMeta
    spec: ApplicationSpec | InvalidSpec
    status: StatusHint
    unread: tuple[str, ...] = ()


def parse_application(body: Mapping[str, Any]) -> Application:
    """Turn the raw body into a model; never raises for anything that a user can write."""
    meta, spec = parse_meta(APPLICATION, body), parse_spec(ApplicationSpec, body)
    unread = name_unread(ApplicationSpec, body.get("spec"))
    if len(meta.name) > MAX_NAME_LENGTH or "." in meta.name:
        spec = InvalidSpec(f"metadata.name: {APPLICATION_NAME_RULE[1]}")
    return Application(meta, spec, read_status(body), (*(body.get(UNREAD) or ()), *unread))


class ApplicationStatus(ResourceStatus):
    """What the operator observed of an Application."""
