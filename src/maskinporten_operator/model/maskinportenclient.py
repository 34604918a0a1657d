"""MaskinportenClient (`nais.io/v1`): what users write, as pydantic models."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator
from pydantic.alias_generators import to_camel

from maskinporten_operator.model.resources import (
    DNS_SUBDOMAIN_PATTERN,
    MASKINPORTEN_CLIENT,
    MAX_NAME_LENGTH,
    NAME_RULE,
    Fault,
    InvalidSpec,
    ObjectMeta,
    ResourceStatus,
    SpecModel,
    list_of,
    parse_meta,
    parse_spec,
    rules,
)
from maskinporten_operator.model.status_hint import StatusHint, read_status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FINALIZER = "digdir.nais.io/finalizer"
DIGDIRATOR_FINALIZERS = ("digdirator.nais.io/finalizer", "finalizer.digdirator.nais.io")
"""Those of Digdirator, the operator of the NAIS platform, from which resources may be taken over."""
DELETE_ANNOTATION = "digdir.nais.io/delete"
PRESERVE_ANNOTATION = "digdir.nais.io/preserve"
ROTATE_ANNOTATION = "digdir.nais.io/rotate"
RESYNC_ANNOTATION = "digdir.nais.io/resync"

# The NAIS rule for a subscope. It is matched by linear engines only (pydantic's, the API server's): in Python's `re`
# it backtracks exponentially.
SUBSCOPE_PATTERN = r"^([a-zæøå0-9]+\/?)+(\:[a-zæøå0-9]+)*[a-zæøå0-9]+(\.[a-zæøå0-9]+)*$"
# RFC 6749 §3.3 forbids white space, quotes and backslashes in a scope; DigDir's names hold these characters.
FULL_SCOPE_PATTERN = r"^[0-9A-Za-zæøåÆØÅ_./-]+:[0-9A-Za-zæøåÆØÅ_.:/-]+$"
# DigDir's scopes for administering clients and scopes: whoever had one could give itself every other. In any case of
# letters, since nothing says that DigDir tells them apart.
ADMINISTRATIVE_SCOPE_PATTERN = r"^(?i:idporten:(dcr|scopes))"
_IS_ADMINISTRATIVE = "can't be consumed: it is for administering clients and scopes at DigDir"

# No control characters, nor what changes the order in which a line is read, or ends it: others read the name at DigDir.
# For linear engines too; Python's `re` knows no such classes.
ONE_LINE_PATTERN = r"^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*$"

Subscope = Annotated[str, Field(pattern=SUBSCOPE_PATTERN, max_length=255)]
_SUBSCOPE = TypeAdapter(Subscope)

# The same in CEL, for rules that the API server checks: what `ExposedScope.subscope` is in Python.
_SEPARATOR_IN_CEL = "(has(self.separator) ? self.separator : (self.name.contains('/') ? '/' : ':'))"
_SUBSCOPE_IN_CEL = f"(self.product + {_SEPARATOR_IN_CEL} + self.name)"


def find_separator(separator: str | None, name: str) -> str:
    """Give the separator written, or the default that a scope's name implies."""
    return separator or ("/" if "/" in name else ":")


def find_secret_name(body: Mapping[str, Any]) -> str | None:
    """Find the name of the Secret in a spec, whether or not that is valid as a whole."""
    spec = body.get("spec")
    name = spec.get("secretName") if isinstance(spec, dict) else None
    return name if isinstance(name, str) else None


def build_subscope(product: str, separator: str | None, name: str) -> str:
    """Build what stands after an exposed scope's prefix."""
    return f"{product}{find_separator(separator, name)}{name}"


class ConsumedScope(SpecModel):
    """A scope of an API that the client asks tokens for."""

    model_config = ConfigDict(
        json_schema_extra=rules((f"!self.name.matches(r'{ADMINISTRATIVE_SCOPE_PATTERN}')", _IS_ADMINISTRATIVE))
    )

    name: Annotated[
        str,
        Field(
            pattern=FULL_SCOPE_PATTERN,
            max_length=255,
            description="The full scope, `prefix:subscope`. Its owner must have granted it to the organisation.",
        ),
    ]

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if re.match(ADMINISTRATIVE_SCOPE_PATTERN, name):
            raise ValueError(_IS_ADMINISTRATIVE)
        return name


class Consumer(SpecModel):
    """An organisation that may use an exposed scope."""

    orgno: Annotated[
        str, Field(pattern=r"^[0-9]{9}$", max_length=9, description="The organisation number, nine digits.")
    ]
    name: Annotated[
        str | None, Field(default=None, max_length=255, description="A comment for readers of the manifest.")
    ]


class ExposedScope(SpecModel):
    """A scope that the organisation offers to others."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                f"{_SUBSCOPE_IN_CEL}.matches(r'{SUBSCOPE_PATTERN}')",
                f"product, separator and name together must match {SUBSCOPE_PATTERN}",
            ),
            (
                "self.product.size() + self.name.size() < 255",
                "product, separator and name together must have at most 255 characters",
            ),
            (
                "!has(self.allowedIntegrations) || 'maskinporten' in self.allowedIntegrations",
                "allowedIntegrations must contain maskinporten",
            ),
            (
                f"!has(self.delegationSource) || {_SEPARATOR_IN_CEL} == '/'",
                'separator must be "/" when delegationSource is set',
            ),
        )
    )

    name: Annotated[
        str,
        Field(
            pattern=SUBSCOPE_PATTERN,
            max_length=255,
            description="The last part of the scope, `<prefix>:<product><separator><name>`.",
        ),
    ]
    product: Annotated[
        str,
        Field(pattern=r"^[a-z0-9]+$", max_length=100, description="The product area that the scope belongs to."),
    ]
    enabled: Annotated[bool, Field(description="False deactivates the scope, true activates it again.")]
    separator: Annotated[
        Literal["/", ":", "."] | None,
        Field(
            default=None,
            description="What stands between product and name: by default `:`, or `/` if the name contains `/`.",
        ),
    ]
    at_max_age: Annotated[
        int,
        Field(
            default=30,
            ge=30,
            le=680,
            description="The longest life of an access token, in seconds; 30 by default.",
        ),
    ]
    allowed_integrations: Annotated[
        tuple[Literal["maskinporten", "idporten", "krr", "ansattporten", "api_klient"], ...],
        Field(
            default=("maskinporten",),
            min_length=1,
            max_length=10,
            json_schema_extra=list_of("atomic"),
            description="The integration types that may use the scope; `maskinporten` must be among them, and is the "
            "only one by default.",
        ),
    ]
    consumers: Annotated[
        tuple[Consumer, ...],
        Field(
            default=(),
            max_length=1000,
            json_schema_extra=list_of("atomic"),
            description="The organisations that may ask for tokens with the scope.",
        ),
    ]
    accessible_for_all: Annotated[
        bool, Field(default=False, description="Whether every organisation may use the scope; false by default.")
    ]
    delegation_source: Annotated[
        Literal["altinn"] | None,
        Field(
            default=None,
            description="Where consumers may delegate the scope to a supplier; needs the separator `/`.",
        ),
    ]
    visibility: Annotated[
        Literal["public", "private"],
        Field(default="public", description="Whether the scope is in the public listing; `public` by default."),
    ]

    @property
    def subscope(self) -> str:
        """Product, separator and name: what stands after the prefix."""
        return build_subscope(self.product, self.separator, self.name)

    @property
    def effective_separator(self) -> str:
        """The separator written, or the default that the name implies."""
        return find_separator(self.separator, self.name)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _SUBSCOPE.validate_python(self.subscope)
        if "maskinporten" not in self.allowed_integrations:
            raise ValueError("allowedIntegrations must contain maskinporten")
        if self.delegation_source and self.effective_separator != "/":
            raise ValueError('separator must be "/" when delegationSource is set')
        return self


class Scopes(SpecModel):
    """The scopes that an application uses and offers."""

    consumes: Annotated[
        tuple[ConsumedScope, ...],
        Field(
            default=(),
            max_length=500,
            # Not told apart by name: an apply of the whole list must take out what somebody else put in.
            json_schema_extra=list_of("atomic"),
            description="Scopes that the client asks tokens for. One that is written more than once counts once.",
        ),
    ]
    exposes: Annotated[
        tuple[ExposedScope, ...],
        Field(
            default=(),
            # Each is judged by rules in CEL, for which the API server has a budget.
            max_length=500,
            json_schema_extra=list_of("atomic"),
            description="Scopes that the organisation offers to others. Of one that is written more than once the "
            "last counts.",
        ),
    ]

    @property
    def repeated_consumed(self) -> tuple[str, ...]:
        """The consumed scopes that are written more than once."""
        return _find_repeated(scope.name for scope in self.consumes)

    @property
    def repeated_exposed(self) -> tuple[str, ...]:
        """The exposed scopes that are written more than once, by what stands after the prefix."""
        return _find_repeated(scope.subscope for scope in self.exposes)


def _find_repeated(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name, count in Counter(names).items() if count > 1)


class MaskinportenClientSpec(SpecModel):
    """The desired client registration and where its credentials go."""

    secret_name: Annotated[
        str,
        Field(
            pattern=DNS_SUBDOMAIN_PATTERN,
            max_length=253,
            description="The Secret that receives the client id and the private key.",
        ),
    ]
    client_name: Annotated[
        str | None,
        Field(
            default=None,
            min_length=1,
            max_length=255,
            pattern=ONE_LINE_PATTERN,
            description="The name shown at DigDir; by default the one that the operator is configured with.",
        ),
    ]
    scopes: Annotated[Scopes, Field(default=Scopes(), description="The scopes used and offered.")]

    @property
    def consumed_scopes(self) -> tuple[str, ...]:
        """The full names of the consumed scopes, each once, in the order written."""
        return tuple(dict.fromkeys(scope.name for scope in self.scopes.consumes))

    @property
    def exposed_scopes(self) -> Mapping[str, ExposedScope]:
        """The exposed scopes by what stands after the prefix; the last of those written more than once."""
        return {scope.subscope: scope for scope in self.scopes.exposes}


@dataclass(frozen=True, slots=True)
class MaskinportenClient:
    """A parsed resource."""

    meta: ObjectMeta
    spec: MaskinportenClientSpec | InvalidSpec
    status: StatusHint

    @property
    def has_finalizer(self) -> bool:
        """Whether our finalizer is on the resource."""
        return FINALIZER in self.meta.finalizers


def parse(body: Mapping[str, Any]) -> MaskinportenClient:
    """Turn the raw body into a model; never raises for anything that a user can write."""
    meta = parse_meta(MASKINPORTEN_CLIENT, body)
    spec = parse_spec(MaskinportenClientSpec, body)
    if fault := check_name(meta.name):
        spec = InvalidSpec(str(fault))
    return MaskinportenClient(meta, spec, read_status(body))


def check_name(name: str) -> Fault | None:
    """Say what is wrong with the name of a MaskinportenClient that Kubernetes takes."""
    return Fault("metadata.name", NAME_RULE[1]) if len(name) > MAX_NAME_LENGTH else None


class ExposedScopeStatus(BaseModel):
    """What the operator observed of an exposed scope."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    name: Annotated[str, Field(description="The full scope, with its prefix.")]
    state: Annotated[
        str,
        Field(
            description="Active, Inactive, Absent, Conflict if it is somebody else's, or Withdrawn if it left the spec "
            "and is still active."
        ),
    ]
    consumers: Annotated[int, Field(description="How many organisations have access.")]


class KeyStatus(BaseModel):
    """What the operator tells of the key in the Secret."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    id: Annotated[str, Field(description="Its key id.")]
    created: Annotated[datetime | None, Field(default=None, description="When it was registered at DigDir.")]
    next_rotation: Annotated[
        datetime | None, Field(default=None, description="When it reaches its age, and is replaced soon after.")
    ]
    rotation_request: Annotated[
        str | None,
        Field(default=None, description="The latest value of `digdir.nais.io/rotate` that was carried out."),
    ]


class MaskinportenClientStatus(ResourceStatus):
    """What the operator observed of a MaskinportenClient."""

    key_ids: Annotated[
        tuple[str, ...] | None,
        Field(
            default=None,
            alias="keyIDs",
            json_schema_extra=list_of("atomic"),
            description="The key ids registered on the client.",
        ),
    ]
    key: Annotated[KeyStatus | None, Field(default=None, description="The key in the Secret.")]
    registered_scopes: Annotated[
        tuple[str, ...] | None,
        Field(default=None, json_schema_extra=list_of("atomic"), description="The scopes registered on the client."),
    ]
    synchronization_secret_name: Annotated[
        str | None, Field(default=None, description="The Secret that holds the credentials.")
    ]
    exposed_scopes: Annotated[
        tuple[ExposedScopeStatus, ...] | None,
        Field(
            default=None,
            max_length=1000,
            json_schema_extra=list_of("atomic"),
            description="The scopes that the resource exposes, and those that it exposed and that are still active.",
        ),
    ]
    synchronization_hash: Annotated[
        str | None, Field(default=None, description="Changes with what is in the Secret; nothing secret goes into it.")
    ]
