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
    Fault,
    InvalidSpec,
    ObjectMeta,
    ResourceStatus,
    SpecModel,
    list_of,
    parse_meta,
    parse_spec,
)
from maskinporten_operator.model.status_hint import StatusHint, read_status

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
Url = Annotated[str, StringConstraints(max_length=2048)]
IntOrString = Annotated[int | str, WithJsonSchema({"x-kubernetes-int-or-string": True})]
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


class CpuScaling(SpecModel):
    """Scaling by the use of CPU."""

    threshold_percentage: Annotated[
        int, Field(default=50, ge=0, le=10_000, description="The share of the requested CPU that is aimed at.")
    ]


class ScalingStrategy(SpecModel):
    """By what the number of pods is chosen."""

    cpu: Annotated[CpuScaling | None, Field(default=None, description="By the use of CPU.")]
    scale_up_stabilization_window_seconds: Annotated[
        int, Field(default=0, ge=0, le=3600, description="Seconds for which more pods must be needed; 0 by default.")
    ]
    scale_down_stabilization_window_seconds: Annotated[
        int,
        Field(
            default=0,
            ge=0,
            le=3600,
            description="Seconds for which fewer pods must be enough; Kubernetes' 300 by default.",
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
            description="How many pods at least; 2 by default. A scaler may set more afterwards.",
        ),
    ]
    max: Annotated[
        int | None,
        Field(default=None, ge=0, le=10_000, description="How many pods at most: with more than `min`, autoscaled."),
    ]
    cpu_threshold_percentage: Annotated[
        int,
        Field(
            default=50,
            ge=0,
            le=10_000,
            description="The share of the requested CPU that is aimed at, where `scalingStrategy` says nothing.",
        ),
    ]
    disable_auto_scaling: Annotated[bool, Field(default=False, description="No autoscaler is made.")]
    scaling_strategy: Annotated[
        ScalingStrategy | None, Field(default=None, description="By what the number of pods is chosen.")
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


class EmptyDir(SpecModel):
    """A directory that is empty when a pod starts, and goes with it."""

    medium: Annotated[
        Literal["Disk", "Memory"], Field(default="Disk", description="Where its files are; `Disk` by default.")
    ]


class FilesFrom(SpecModel):
    """Files that are mounted into the container; of several sources in one the first counts, in this order."""

    configmap: Annotated[DnsName | None, Field(default=None, description="The name of a ConfigMap.")]
    secret: Annotated[DnsName | None, Field(default=None, description="The name of a Secret.")]
    persistent_volume_claim: Annotated[
        DnsName | None, Field(default=None, description="The name of a PersistentVolumeClaim.")
    ]
    empty_dir: Annotated[EmptyDir | None, Field(default=None, description="An empty directory; needs `mountPath`.")]
    mount_path: Annotated[
        str,
        Field(
            default="",
            max_length=1024,
            description="The directory; by default `/var/run/configmaps/<name>`, `/var/run/secrets` or "
            "`/var/run/pvc/<name>`.",
        ),
    ]

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the sources that are set, the one that counts first."""
        named = ("configmap", "secret", "persistentVolumeClaim")
        given = dict(zip(named, (self.configmap, self.secret, self.persistent_volume_claim), strict=True))
        empty = ("emptyDir",) if self.empty_dir else ()
        return (*(name for name, value in given.items() if value), *empty)


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


class Prometheus(SpecModel):
    """Where Prometheus reads metrics."""

    enabled: Annotated[bool, Field(default=False, description="Whether Prometheus is told of the pods.")]
    port: Annotated[
        IntOrString | None, Field(default=None, description="The port; that of the application by default.")
    ]
    path: Annotated[str, Field(default="/metrics", max_length=1024, description="The path; `/metrics` by default.")]


class HttpHook(SpecModel):
    """An HTTP request before the container ends."""

    path: Annotated[str, Field(min_length=1, max_length=1024, description="The path that is asked for.")]
    port: Annotated[Port | None, Field(default=None, description="The port; that of the application by default.")]


class ExecHook(SpecModel):
    """A command before the container ends."""

    command: Annotated[
        tuple[str, ...],
        Field(
            default=(),
            max_length=1000,
            json_schema_extra=list_of("atomic"),
            description="The command and its arguments; no shell.",
        ),
    ]


class PreStopHook(SpecModel):
    """What is done before the container is asked to end."""

    exec: Annotated[ExecHook | None, Field(default=None, description="Run a command in the container.")]
    http: Annotated[HttpHook | None, Field(default=None, description="Send it an HTTP request.")]


class RollingUpdate(SpecModel):
    """How many pods may be more or fewer while they are replaced."""

    max_surge: Annotated[IntOrString | None, Field(default=None, description="How many more; `25%` by default.")]
    max_unavailable: Annotated[IntOrString | None, Field(default=None, description="How many fewer; 0 by default.")]


class Strategy(SpecModel):
    """How a new version takes the place of the old."""

    type: Annotated[
        Literal["RollingUpdate", "Recreate"],
        Field(default="RollingUpdate", description="Pod by pod, or all at once; `RollingUpdate` by default."),
    ]
    rolling_update: Annotated[
        RollingUpdate | None, Field(default=None, description="How many pods may be more or fewer meanwhile.")
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
    """Another application, which this one calls or is called by."""

    application: Annotated[Target, Field(description="The application's name; `*` for all.")]
    namespace: Annotated[
        Target | None, Field(default=None, description="Its namespace, its own by default; `*` for all.")
    ]
    cluster: Annotated[
        str | None,
        Field(default=None, max_length=63, description="The only cluster in which the rule holds; in all by default."),
    ]

    def holds_in(self, cluster: str) -> bool:
        """Whether the rule is one of this cluster's."""
        return not self.cluster or self.cluster == cluster


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


class Inbound(SpecModel):
    """Who may call the application."""

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

    inbound: Annotated[
        Inbound | None,
        Field(default=None, description="Who may call it: where the cluster restricts that, nobody else."),
    ]
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
    files_from: Annotated[
        tuple[FilesFrom, ...],
        Field(
            default=(),
            max_length=100,
            json_schema_extra=list_of("atomic"),
            description="ConfigMaps, Secrets, volumes and empty directories that are mounted.",
        ),
    ]
    resources: Annotated[Resources, Field(default=Resources(), description="CPU and memory.")]
    liveness: Annotated[Probe | None, Field(default=None, description="Failing, the container is started anew.")]
    readiness: Annotated[Probe | None, Field(default=None, description="Failing, the pod gets no calls.")]
    prometheus: Annotated[
        Prometheus | None,
        Field(default=None, description="Where Prometheus reads metrics, by annotations of the pods and a PodMonitor."),
    ]
    startup: Annotated[
        Probe | None, Field(default=None, description="Until it succeeds once, the other two aren't asked.")
    ]
    pre_stop_hook: Annotated[
        PreStopHook | None,
        Field(default=None, description="Done before the container ends; a pause of 5 seconds by default."),
    ]
    pre_stop_hook_path: Annotated[
        str, Field(default="", max_length=1024, description="The path of an HTTP request that is made then instead.")
    ]
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
    ingresses: Annotated[
        tuple[Url, ...],
        Field(
            default=(),
            max_length=100,
            json_schema_extra=list_of("atomic"),
            description="By which URLs it is reached from outside the cluster: `https://`, a host, and a path if only "
            "what is below it leads here.",
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
    if fault := check_application_name(meta.name):
        spec = InvalidSpec(str(fault))
    return Application(meta, spec, read_status(body), (*(body.get(UNREAD) or ()), *unread))


def check_application_name(name: str) -> Fault | None:
    """Say what is wrong with the name of an Application that Kubernetes takes."""
    is_wrong = len(name) > MAX_NAME_LENGTH or "." in name
    return Fault("metadata.name", APPLICATION_NAME_RULE[1]) if is_wrong else None


class ApplicationStatus(ResourceStatus):
    """What the operator observed of an Application."""
