"""The operator's configuration: one frozen model, from environment or flags."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from copy import copy
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    HttpUrl,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from maskinporten_operator.model.maskinportenclient import (
    ADMINISTRATIVE_SCOPE_PATTERN,
    FULL_SCOPE_PATTERN,
    ONE_LINE_PATTERN,
)
from maskinporten_operator.model.scopes import matches_any
from maskinporten_operator.model.signer_reference import PKCS11, Pkcs11Uri, find_provider
from maskinporten_operator.plan.ingress_classes import parse_controller, parse_ingress_class
from maskinporten_operator.plan.platform import guards_inbound, parse_caller, parse_dns_server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo

ENV_PREFIX = "MASKINPORTEN_OPERATOR_"
API_PATH = "/api/v1"
LAST_PORT = 65535
NAMESPACE_PATTERN = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_LABEL, _VALUE = r"[A-Za-z0-9][A-Za-z0-9./_-]*", r"[A-Za-z0-9._-]*"
_REQUIREMENT = (
    rf" *(?:!? *{_LABEL}|{_LABEL} *(?:=|==|!=) *{_VALUE}"
    rf"|{_LABEL} +(?:not)?in *\( *{_VALUE}(?: *, *{_VALUE})* *\)) *"
)
SELECTOR_PATTERN = rf"{_REQUIREMENT}(?:,{_REQUIREMENT})*"
SERVICE_LINK = re.compile(ENV_PREFIX + r"(SERVICE_(HOST|PORT\w*)|PORT(_\d+_(TCP|UDP)\w*)?)")
OBJECT_NAME_PATTERN = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
KEY_SECRET_PATTERN = rf"{NAMESPACE_PATTERN}/{OBJECT_NAME_PATTERN}/[-._a-zA-Z0-9]{{1,253}}"
OWN_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
SCOPES_PATTERN = r"[0-9A-Za-zæøåÆØÅ_./:*-]+"
"""A scope's characters, and * for any of them."""
HOST_NAME_PATTERN = r"[0-9A-Za-z]([-0-9A-Za-z.]{0,251}[0-9A-Za-z])?"
SERVED_ADDRESSES = frozenset({"metrics_address", "health_address"})
MAX_DURATION = timedelta(days=365)
INTERVALS = ("resync_interval", "grant_max_age")
"""Settings that say how often something is done, and so can't be next to nothing."""
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class ConfigError(Exception):
    """The configuration can't be used; the text names every wrong or missing value."""


def parse_duration(value: object) -> object:
    """Read seconds as a number, or a number with its unit: `90s`, `30m`, `12h`.

    Raises:
        ValueError: It is neither.
    """
    if not isinstance(value, str | int | float):
        return value
    if match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|)", str(value).strip()):
        try:
            return timedelta(seconds=float(match[1]) * _UNITS[match[2]])
        except OverflowError:
            raise ValueError("is too long") from None
    raise ValueError("write seconds as a number, or a number with a unit, such as 90s, 30m or 12h")


def split_words(value: object) -> object:
    """Read a list that is written with commas or spaces between its members."""
    return tuple(re.findall(r"[^,\s]+", value)) if isinstance(value, str) else value or ()


def _check_address(value: object) -> object:
    match = re.fullmatch(r"(?:\[[0-9a-fA-F:]+\]|[^:\s]*):([0-9]{1,5})", str(value))
    if value and not (match and int(match[1]) <= LAST_PORT):
        raise ValueError("write host:port, such as 0.0.0.0:8080")
    return value


Duration = Annotated[timedelta, BeforeValidator(parse_duration), Field(ge=timedelta(0), le=MAX_DURATION)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_words)]
Address = Annotated[str, BeforeValidator(_check_address)]


class Config(BaseSettings):
    """Every setting, with its meaning as `--help` shows it."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True)

    cluster_name: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9._-]+$",
            max_length=63,
            description="The cluster's name, the first part of the description of its registrations.",
        ),
    ]
    digdir_base_url: Annotated[
        HttpUrl, Field(description="DigDir's self-service API; the path /api/v1 is appended when absent.")
    ]
    maskinporten_well_known_url: Annotated[
        HttpUrl, Field(description="Maskinporten's discovery document, for tokens and for the Secrets.")
    ]
    admin_client_id: Annotated[
        str, Field(min_length=1, description="The client id with which the operator calls the self-service API.")
    ]
    admin_signer: Annotated[
        str | None,
        Field(
            default=None,
            description="A private RSA key of that client that somebody else holds and signs by, as its provider names "
            "it: a PKCS#11 URI (RFC 7512), an AWS KMS ARN, a Google Cloud KMS key version, or an Azure Key Vault key "
            "identifier with its version. Needs an extra of the package, and ADMIN_KEY_ID or ADMIN_CERT_CHAIN_FILE.",
        ),
    ]
    admin_key_id: Annotated[
        str | None,
        Field(
            default=None,
            pattern=r"^[A-Za-z0-9._-]+$",
            max_length=255,
            description="With ADMIN_SIGNER: the kid under which that key is registered on the client.",
        ),
    ]
    admin_cert_chain_file: Annotated[
        Path | None,
        Field(
            default=None,
            validate_default=True,
            description="With ADMIN_KEY_FILE, or ADMIN_SIGNER: a PEM file with a certificate of that client's "
            "organisation, first, and the certificates that issued it.",
        ),
    ]
    admin_key_file: Annotated[
        Path | None,
        Field(
            default=None,
            validate_default=True,
            description="The RSA key of that certificate, a PEM file without a password.",
        ),
    ]
    admin_jwk_file: Annotated[
        Path | None,
        Field(
            default=None,
            validate_default=True,
            description="A file with a private key that is registered on that client, an RSA JWK; instead, "
            "ADMIN_CERT_CHAIN_FILE and ADMIN_KEY_FILE, or ADMIN_SIGNER. One of these ways is required.",
        ),
    ]
    admin_key_rotation: Annotated[
        bool,
        Field(
            default=False,
            description="Whether the operator renews the key of ADMIN_JWK_FILE itself: it registers a new one beside "
            "it, writes that to ADMIN_KEY_SECRET once Maskinporten has issued a token by it, and removes the old one "
            "after KEY_GRACE, at least 15 minutes.",
        ),
    ]
    admin_key_max_age: Annotated[
        Duration,
        Field(
            default=timedelta(days=90),
            description="With ADMIN_KEY_ROTATION: the age at which that key is renewed; more than KEY_GRACE.",
        ),
    ]
    admin_key_secret: Annotated[
        str | None,
        Field(
            default=None,
            validate_default=True,
            description="With ADMIN_KEY_ROTATION: the Secret that ADMIN_JWK_FILE is a file of, and which of its "
            "entries, as namespace/name/entry.",
        ),
    ]
    admin_scopes: Annotated[
        Words,
        Field(
            default=("idporten:dcr.write", "idporten:dcr.read", "idporten:scopes.write"),
            description="The scopes of the operator's own token.",
        ),
    ]
    forbidden_scopes: Annotated[
        Words,
        Field(
            default=(),
            description="Scopes that no resource may consume, whatever DigDir grants; * stands for any characters. "
            "ADMIN_SCOPES, idporten:dcr* and idporten:scopes* are always forbidden.",
        ),
    ]
    client_name: Annotated[
        str,
        Field(
            default="maskinporten-operator",
            min_length=1,
            max_length=255,
            pattern=ONE_LINE_PATTERN,
            description="The name of registered clients whose spec gives none, usually the organisation's.",
        ),
    ]
    access_token_lifetime: Annotated[
        int, Field(default=3600, ge=1, le=86400, description="Of registered clients, in seconds.")
    ]
    scope_prefix: Annotated[
        str,
        Field(
            default="nav",
            pattern=r"^[a-z0-9æøå_-]+$",
            description="The prefix of exposed scopes; DigDir must have given it to the organisation.",
        ),
    ]
    withdrawn_scopes: Annotated[
        Literal["Keep", "Deactivate"],
        Field(
            default="Keep",
            description="What becomes of an exposed scope that leaves the spec. Keep: it stays as it is, since an "
            "emptied template must not cut off every consumer.",
        ),
    ]
    grant_max_age: Annotated[
        Duration,
        Field(
            default=timedelta(minutes=3),
            description="How long it is remembered which scopes the organisation may use, and so how soon access that "
            "is granted later is noticed.",
        ),
    ]
    deletion_policy: Annotated[
        Literal["Retain", "Delete"],
        Field(
            default="Retain",
            description="What becomes of client and scopes when a resource is deleted. Delete: they go for good, "
            "unless the resource is annotated with digdir.nais.io/preserve=true or digdir.nais.io/delete=false.",
        ),
    ]
    take_over_digdirator: Annotated[
        bool,
        Field(
            default=False,
            description="Whether finalizers of Digdirator, the operator of the NAIS platform, are removed when a "
            "resource is deleted; not while it still runs.",
        ),
    ]
    verify: Annotated[
        bool,
        Field(
            default=True,
            description="Whether Maskinporten is asked for a token by each client's credentials: once for each key and "
            "change of scopes, and before a new key takes the place of one that works. The condition Verified says "
            "what came of it.",
        ),
    ]
    default_client_scope: Annotated[
        str | None,
        Field(
            default=None,
            pattern=FULL_SCOPE_PATTERN,
            description="Registered on clients that consume no scope; DigDir may refuse a client without any.",
        ),
    ]
    namespaces: Annotated[Words, Field(default=(), description="The namespaces to manage; all of them when empty.")]
    namespace_selector: Annotated[
        str,
        Field(
            default="",
            description="A label selector: only namespaces that have the labels are managed. All of them when "
            "empty; not with NAMESPACES.",
        ),
    ]
    applications: Annotated[
        bool,
        Field(
            default=False,
            description="Whether Applications are managed too; not beside another operator that does.",
        ),
    ]
    workloads: Annotated[
        bool,
        Field(
            default=True,
            description="Whether Applications get a Deployment and a Service; else somebody else makes them.",
        ),
    ]
    platform: Annotated[
        Literal["gcp", "onprem", "generic"],
        Field(default="generic", description="Where the cluster stands: how pods get out differs."),
    ]
    egress: Annotated[
        Literal["auto", "networkpolicy", "fqdn-gke", "cilium", "none"],
        Field(
            default="auto",
            description="What opens the way out of Applications. auto: by what the API server serves, and nothing on "
            "a generic platform, since the first policy cuts off whatever it doesn't open.",
        ),
    ]
    maskinporten_hosts: Annotated[
        Words, Field(default=(), description="The hosts that are opened; by default that of the discovery document.")
    ]
    maskinporten_cidrs: Annotated[
        Words,
        Field(
            default=(),
            description="Their networks, for policies without host names; by default Maskinporten's published ones.",
        ),
    ]
    egress_dns: Annotated[
        Words,
        Field(
            default=("kube-system", "169.254.20.10"),
            description="Where pods ask for names: a namespace with labels or without, or an address, and the port of "
            "these pods (53), such as openshift-dns:5353 or kube-system/k8s-app=kube-dns:8053.",
        ),
    ]
    egress_always: Annotated[
        Words,
        Field(default=(), description="Networks that every policy opens, on each port, such as a metadata server's."),
    ]
    inbound: Annotated[
        Literal["auto", "networkpolicy", "none"],
        Field(
            default="auto",
            description="Who may call Applications. networkpolicy: those whom accessPolicy.inbound or INBOUND_ALWAYS "
            "names, and nobody else, as on NAIS. none: everybody. auto: networkpolicy on gcp and onprem, else none.",
        ),
    ]
    inbound_always: Annotated[
        Words,
        Field(
            default=("nais-system",),
            description="Who may call every Application nevertheless, such as ingress controllers and Prometheus: "
            "namespaces, with a label or without, and networks, such as ingress-nginx/app.kubernetes.io/name=x.",
        ),
    ]
    ingress_classes: Annotated[
        Words,
        Field(
            default=(),
            description="Which ingress class serves which hosts of spec.ingresses, by what they end in, the longest "
            "first, such as intern.example.com=internal and *=nginx; with none, no Ingresses are made.",
        ),
    ]
    ingress_controllers: Annotated[
        Words,
        Field(
            default=(),
            validate_default=True,
            description="From where the controllers of a class call, which are let in to the Applications that it "
            "serves, such as nginx=ingress-nginx or public=192.0.2.0/24. Required for each class where callers are "
            "restricted.",
        ),
    ]
    pod_monitors: Annotated[
        bool,
        Field(
            default=True,
            description="Whether Applications with spec.prometheus get a PodMonitor besides the annotations of their "
            "pods, where the API server serves that kind.",
        ),
    ]
    webproxy_address: Annotated[
        HttpUrl | None,
        Field(default=None, validate_default=True, description="The proxy by which pods on premises go out."),
    ]
    webproxy_exclude: Annotated[
        Words,
        Field(default=("localhost", "127.0.0.1", ".local", ".svc"), description="What is reached without it."),
    ]
    webproxy_cidrs: Annotated[
        Words,
        Field(
            default=(),
            description="Its networks, for policies without host names; unknown, its port is opened to all addresses.",
        ),
    ]
    run_as_user: Annotated[
        int | None,
        Field(
            default=1069,
            ge=1,
            le=2_147_483_647,
            description="The user and group that Applications run as; empty where the platform chooses, as OpenShift.",
        ),
    ]
    workload_defaults: Annotated[
        Literal["auto", "nais", "none"],
        Field(
            default="auto",
            description="What Applications get whose spec says nothing of it. nais: what the NAIS platform gives them, "
            "requests of 200m CPU and 256Mi and a limit of 512Mi memory, an autoscaler up to 4 pods, a read-only root "
            "file system with an empty /tmp, and pods on different nodes if possible. auto: that on gcp and onprem.",
        ),
    ]
    service_accounts: Annotated[
        bool, Field(default=False, description="Whether each Application's pods run as a ServiceAccount of its name.")
    ]
    image_pull_secrets: Annotated[
        Words,
        Field(
            default=(),
            description="Secrets by which the images of Applications are pulled, in each of their namespaces.",
        ),
    ]
    workers: Annotated[int, Field(default=24, ge=1, le=256, description="How many resources are worked on at once.")]
    key_pool_size: Annotated[
        int, Field(default=256, ge=0, le=4096, description="How many keys are minted ahead of need.")
    ]
    resync_interval: Annotated[
        Duration, Field(default=timedelta(minutes=30), description="How often everything is compared with DigDir.")
    ]
    list_lag: Annotated[
        Duration,
        Field(default=timedelta(seconds=10), description="How far DigDir's lists may lag behind its writes."),
    ]
    key_grace: Annotated[
        Duration,
        Field(default=timedelta(hours=24), description="How long a replaced key stays registered."),
    ]
    key_max_age: Annotated[
        Duration,
        Field(
            default=timedelta(days=180),
            description="The age at which a key is replaced by a new one, up to a tenth of it earlier; 0 for never.",
        ),
    ]
    leader_election: Annotated[
        bool,
        Field(
            default=False,
            description="Whether replicas agree by a Lease on the one that works. More than one needs it; one alone "
            "doesn't, nor the right to a Lease.",
        ),
    ]
    lease_name: Annotated[
        str, Field(default="maskinporten-operator", description="The Lease's name, which the replicas share.")
    ]
    lease_namespace: Annotated[
        str | None,
        Field(
            default=None, validate_default=True, description="The Lease's namespace; by default the operator pod's own."
        ),
    ]
    metrics_address: Annotated[
        Address, Field(default="0.0.0.0:8080", description="Where /metrics is served; empty for nowhere.")
    ]
    health_address: Annotated[
        Address, Field(default="0.0.0.0:8081", description="Where /livez and /readyz are served; empty for nowhere.")
    ]
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], Field(default="INFO", description="The least level logged.")
    ]
    log_format: Annotated[
        Literal["json", "text"], Field(default="json", description="One JSON object a line, or text for people.")
    ]
    tracing: Annotated[
        bool,
        Field(
            default=False,
            description="Whether traces are exported by OpenTelemetry, a span for each pass and each of its calls. "
            "Needs an extra of the package; its OTEL_* variables say where to.",
        ),
    ]
    ca_bundle: Annotated[
        Path | None,
        Field(default=None, description="Certificates to trust for DigDir and Maskinporten, instead of the system's."),
    ]

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Take an empty value for none at all; but an empty address is one: nothing is served there."""
        if values.get("run_as_user") == "":
            values = {**values, "run_as_user": None}  # nobody's user, where the default is one
        return {name: value for name, value in values.items() if value != "" or name in SERVED_ADDRESSES}

    @field_validator("digdir_base_url")
    @classmethod
    def _append_api_path(cls, url: HttpUrl) -> HttpUrl:
        path = (url.path or "").rstrip("/")
        return url if path.endswith(API_PATH) else HttpUrl(str(url).rstrip("/") + API_PATH)

    @field_validator(*INTERVALS)
    @classmethod
    def _check_interval(cls, interval: timedelta) -> timedelta:
        if interval < timedelta(seconds=1):
            raise ValueError("must be at least a second")
        return interval

    @field_validator("forbidden_scopes")
    @classmethod
    def _check_forbidden_scopes(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(SCOPES_PATTERN, one) for one in scopes):
            raise ValueError("write scopes, such as skatt:some.scope or skatt:*")
        return scopes

    @field_validator("default_client_scope")
    @classmethod
    def _check_default_scope(cls, scope: str | None, info: ValidationInfo) -> str | None:
        forbidden = (*info.data.get("admin_scopes", ()), *info.data.get("forbidden_scopes", ()))
        if scope and (re.match(ADMINISTRATIVE_SCOPE_PATTERN, scope) or matches_any(scope, forbidden)):
            raise ValueError("is a scope that no resource may consume, by ADMIN_SCOPES or FORBIDDEN_SCOPES")
        return scope

    @field_validator("maskinporten_hosts")
    @classmethod
    def _check_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(HOST_NAME_PATTERN, host) for host in hosts):
            raise ValueError("write names of hosts, such as maskinporten.no: no scheme, no port, no path")
        return hosts

    @field_validator("egress_dns")
    @classmethod
    def _check_dns(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        for one in servers:
            parse_dns_server(one)
        return servers

    @field_validator("inbound_always")
    @classmethod
    def _check_callers(cls, callers: tuple[str, ...]) -> tuple[str, ...]:
        for one in callers:
            parse_caller(one)
        return callers

    @field_validator("ingress_classes")
    @classmethod
    def _check_ingress_classes(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        for one in classes:
            parse_ingress_class(one)
        return classes

    @field_validator("ingress_controllers")
    @classmethod
    def _check_controllers(cls, controllers: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known = {parse_controller(one)[0] for one in controllers}
        data = info.data
        if data.get("applications") and guards_inbound(data.get("inbound", "none"), data.get("platform", "generic")):
            used = {parse_ingress_class(one).name for one in data.get("ingress_classes", ())}
            if missing := ", ".join(sorted(used - known)):
                raise ValueError(f"must name those of {missing}: callers are restricted, so nobody else is let in")
        return controllers

    @field_validator("image_pull_secrets")
    @classmethod
    def _check_pull_secrets(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(OBJECT_NAME_PATTERN, one) for one in names):
            raise ValueError("write names of Secrets")
        return names

    @field_validator("maskinporten_cidrs", "webproxy_cidrs", "egress_always")
    @classmethod
    def _check_cidrs(cls, cidrs: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(str(ipaddress.ip_network(one)) for one in cidrs)
        except ValueError:
            raise ValueError("write networks, such as 192.0.2.0/24") from None

    @field_validator("webproxy_address")
    @classmethod
    def _check_proxy(cls, url: HttpUrl | None, info: ValidationInfo) -> HttpUrl | None:
        if url is None and info.data.get("applications") and info.data.get("platform") == "onprem":
            raise ValueError("is needed where PLATFORM is onprem and APPLICATIONS is true")
        if url and (url.username or url.password or (url.path or "/") != "/"):
            raise ValueError("write http://host:port: it goes into every Application's variables, so no password")
        return url

    @field_validator("namespaces")
    @classmethod
    def _check_namespaces(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(NAMESPACE_PATTERN, name) for name in names):  # not shown: see _check_readable
            raise ValueError("write names of namespaces, such as my-team: small letters, digits and hyphens")
        return names

    @field_validator("namespace_selector")
    @classmethod
    def _check_selector(cls, selector: str, info: ValidationInfo) -> str:
        if selector and not re.fullmatch(SELECTOR_PATTERN, selector):
            raise ValueError("write a label selector, such as team=my-team or environment in (dev, test),!ignored")
        if selector and info.data.get("namespaces"):
            raise ValueError("can't be set beside NAMESPACES: those are managed whatever their labels")
        return selector

    @field_validator("lease_name")
    @classmethod
    def _check_lease_name(cls, name: str) -> str:
        if not re.fullmatch(OBJECT_NAME_PATTERN, name):
            raise ValueError("write a name such as maskinporten-operator: small letters, digits, hyphens and dots")
        return name

    @field_validator("lease_namespace")
    @classmethod
    def _find_lease_namespace(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is None and info.data.get("leader_election"):
            try:
                name = OWN_NAMESPACE_FILE.read_text().strip()
            except (OSError, ValueError):
                raise ValueError("is needed where LEADER_ELECTION is true and no pod's files tell its own") from None
        if name is not None and not re.fullmatch(NAMESPACE_PATTERN, name):
            raise ValueError("write the name of a namespace: small letters, digits and hyphens")
        return name

    @field_validator("admin_cert_chain_file", "admin_key_file", "admin_jwk_file", "ca_bundle")
    @classmethod
    def _check_readable(cls, path: Path | None) -> Path | None:
        try:
            readable = path is None or path.is_file()
        except OSError:
            readable = False
        if not readable:  # whose name isn't shown: whoever wrote the content of the file here wrote a private key
            raise ValueError("there is no such file")
        return path

    @field_validator("admin_signer")
    @classmethod
    def _check_signer(cls, reference: str | None) -> str | None:
        provider = find_provider(reference) if reference else None
        if reference and not provider:
            raise ValueError(
                "write a key's own name: pkcs11:token=…;object=…?module-path=…&pin-source=…, arn:aws:kms:…:key/…, "
                "projects/…/cryptoKeyVersions/1, or https://….vault.azure.net/keys/…/<version>"
            )
        if reference and provider == PKCS11:
            try:
                Pkcs11Uri.parse(reference)
            except ValueError as error:
                raise ValueError(f"a PKCS#11 URI {error}") from None
        return reference

    @field_validator("admin_key_id")
    @classmethod
    def _check_key_id(cls, kid: str | None, info: ValidationInfo) -> str | None:
        if kid and not info.data.get("admin_signer", ...):
            raise ValueError("is of use with ADMIN_SIGNER only: a JWK has its kid itself")
        return kid

    @field_validator("admin_cert_chain_file")
    @classmethod
    def _check_signers_key(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        signer, kid = info.data.get("admin_signer"), info.data.get("admin_key_id", ...)
        if signer and not path and not kid:
            raise ValueError("is needed with ADMIN_SIGNER, or ADMIN_KEY_ID: one of them tells whose the key is")
        if signer and path and kid:
            raise ValueError("can't be set beside ADMIN_KEY_ID: Maskinporten takes one or the other; unset one")
        return path

    @field_validator("admin_key_file")
    @classmethod
    def _check_pair(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if info.data.get("admin_signer", ...):
            if path:
                raise ValueError("can't be set beside ADMIN_SIGNER, which has the key: unset one")
            return path
        chain = info.data.get("admin_cert_chain_file", ...)  # ... if it is wrong, which was said
        if chain and not path:
            raise ValueError("is needed with ADMIN_CERT_CHAIN_FILE: set it to the file with the certificate's key")
        if path and not chain:
            raise ValueError("is of use with ADMIN_CERT_CHAIN_FILE only: set that too, or ADMIN_JWK_FILE alone")
        return path

    @field_validator("admin_jwk_file")
    @classmethod
    def _check_one_way(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if info.data.get("admin_signer", ...):
            if path:
                raise ValueError("can't be set beside ADMIN_SIGNER, which has the key: unset one")
            return path
        pair = [info.data.get(name, ...) for name in ("admin_cert_chain_file", "admin_key_file")]
        if path and any(one is not None for one in pair):
            raise ValueError("can't be set beside ADMIN_CERT_CHAIN_FILE and ADMIN_KEY_FILE: unset it, or those")
        if not path and pair == [None, None]:
            raise PydanticCustomError("missing", "is missing")
        return path

    @field_validator("admin_key_rotation")
    @classmethod
    def _check_rotation(cls, rotates: bool, info: ValidationInfo) -> bool:
        if rotates and info.data.get("admin_signer"):
            raise ValueError("can't be true beside ADMIN_SIGNER: a key that another holds is renewed there")
        if rotates and info.data.get("admin_jwk_file", ...) is None:
            raise ValueError("needs ADMIN_JWK_FILE: the operator can't renew a certificate")
        return rotates

    @field_validator("admin_key_max_age")
    @classmethod
    def _check_max_age(cls, age: timedelta, info: ValidationInfo) -> timedelta:
        if info.data.get("admin_key_rotation") and age < timedelta(days=1):
            raise ValueError("must be at least a day")
        return age

    @field_validator("admin_key_secret")
    @classmethod
    def _check_secret(cls, place: str | None, info: ValidationInfo) -> str | None:
        if place is None and info.data.get("admin_key_rotation"):
            raise ValueError("is needed where ADMIN_KEY_ROTATION is true: the Secret that ADMIN_JWK_FILE is a file of")
        if place is not None and not re.fullmatch(KEY_SECRET_PATTERN, place):  # not shown: see _check_readable
            raise ValueError("write namespace/name/entry, such as maskinporten-operator/admin/jwk.json")
        return place

    @field_validator("key_grace")
    @classmethod
    def _check_grace(cls, grace: timedelta, info: ValidationInfo) -> timedelta:
        if info.data.get("admin_key_rotation") and grace >= info.data.get("admin_key_max_age", MAX_DURATION * 2):
            raise ValueError("must be less than ADMIN_KEY_MAX_AGE: else a key is renewed while its old one is there")
        return grace

    @field_validator("ca_bundle")
    @classmethod
    def _check_certificates(cls, path: Path | None) -> Path | None:
        try:
            if path:
                ssl.create_default_context(cafile=path)
        except (ssl.SSLError, OSError):
            raise ValueError("the file holds no certificates") from None
        return path


def _make_optional(name: str, default: Any) -> tuple[Any, FieldInfo]:
    """Give a setting a default, for a model that is `Config` in everything else."""
    field = copy(Config.model_fields[name])
    field.default, field.validate_default = default, False
    return field.annotation, field


class _CheckedManifests(Config):
    @field_validator("ingress_controllers")
    @classmethod
    def _check_controllers(cls, controllers: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:  # noqa: ARG003 - as of `Config`
        """Who is let in is no matter of manifests."""
        return controllers


ManifestConfig: type[Config] = create_model(
    "ManifestConfig", __base__=_CheckedManifests, applications=_make_optional("applications", default=True)
)
"""The settings for commands that read manifests, whether or not the operator manages Applications."""

OfflineConfig: type[Config] = create_model(
    "OfflineConfig",
    __base__=ManifestConfig,
    cluster_name=_make_optional("cluster_name", ""),
    digdir_base_url=_make_optional("digdir_base_url", HttpUrl("https://digdir.invalid/api/v1")),
    maskinporten_well_known_url=_make_optional(
        "maskinporten_well_known_url", HttpUrl("https://maskinporten.no/.well-known/oauth-authorization-server")
    ),
    admin_client_id=_make_optional("admin_client_id", "none"),
    admin_jwk_file=_make_optional("admin_jwk_file", None),
)
"""These settings without DigDir: nothing is called, and the cluster may have no name."""


def load_config(model: type[Config] = Config, **flags: Any) -> Config:
    """Build the configuration from flags, which win, and the environment.

    Raises:
        ConfigError: Values are wrong or missing; the text has a line for each.
    """
    lines = [f"  {name}: there is no such setting" for name in _find_unknown_variables()]
    try:
        config = model(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        lines += [_explain(fault) for fault in error.errors(include_url=False, include_input=False)]
    if lines:
        raise ConfigError("the configuration can't be used:\n" + "\n".join(lines))
    return config


def _find_unknown_variables() -> list[str]:
    """Find what looks like a setting and isn't one, but for what Kubernetes sets for a Service of our name."""
    known = {ENV_PREFIX + name.upper() for name in Config.model_fields}
    names = sorted(name for name in os.environ if name.upper().startswith(ENV_PREFIX) and name.upper() not in known)
    return [name for name in names if not SERVICE_LINK.fullmatch(name)]


def _explain(fault: Any) -> str:
    name = str(fault["loc"][0])
    variable = f"{ENV_PREFIX}{name.upper()} (or --{name.replace('_', '-')})"
    if fault["type"] == "missing":
        return f"  {variable} is missing: {Config.model_fields[name].description}"
    return f"  {variable}: {fault['msg'].removeprefix('Value error, ')}"
