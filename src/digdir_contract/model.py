"""The contract's data, read from ``contract.yaml``."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

Confidence = Literal["official", "production", "test", "inference"]
"""How sure an item is: by DigDir's own documents or code; by others' code that runs against production; by tests
and their fixtures; or concluded."""

Type = Literal["string", "integer", "boolean", "array", "object"]
Limiter = Literal["service", "form"]
"""Whose limit it is: the API's own, or that of DigDir's web form, which may be stricter."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Item(_Model):
    """Something known, with where it is known from.

    Attributes:
        confidence: How sure it is; None as the contract's default.
        source: Names of `Contract.sources`; None as the contract's default.
        note: What else a reader should know.
    """

    confidence: Confidence | None = None
    source: tuple[str, ...] | None = None
    note: str | None = None


class Parameter(_Item):
    """A parameter of a query.

    Attributes:
        type: A boolean is ``true`` or ``false``, in any case.
        required: Whether the operation can't do without.
        enum: Name of the enum whose values it may have; None for any.
        any_case: Whether the case of such a value doesn't count.
    """

    type: Literal["string", "boolean"]
    required: bool = False
    enum: str | None = None
    any_case: bool = False


class Member(_Item):
    """A member of a body.

    Attributes:
        type: Its JSON type.
        items: Of an array: a JSON type, or the name of a schema.
        enum: Name of the enum whose values it, or each of its items, may have; None for any.
        format: ``date-time`` for RFC 3339; None for no certain one.
        needed: Whether a request must have it.
        default: What leaving it out stands for; None if that isn't known.
        immutable: Whether only the first request decides on it.
        minimum: Least number.
        min_length: Least number of characters.
        max_length: Greatest number of characters.
        min_items: Least number of items.
        max_items: Greatest number of items.
        pattern: Regular expression that the whole text matches.
        limit_by: Whose limits those six are.
        read_only: Whether the API alone sets it. In a request it is passed over.
        leave_out: Whether DigDir advises to leave it out of requests, as it is read-only.
        needs_right: The right that a request with it takes besides the operation's own.
    """

    type: Type
    items: str | None = None
    enum: str | None = None
    format: Literal["date-time"] | None = None
    needed: bool = False
    default: Any = None
    immutable: bool = False
    minimum: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    min_items: int | None = None
    max_items: int | None = None
    pattern: str | None = None
    limit_by: Limiter | None = None
    read_only: bool = False
    leave_out: bool = False
    needs_right: str | None = None

    @cached_property
    def expression(self) -> re.Pattern[str] | None:
        """The pattern, compiled."""
        return None if self.pattern is None else re.compile(self.pattern)


Schema = Mapping[str, Member]
"""The members of an object by their names."""


class Success(_Item):
    """How an operation answers when it succeeds.

    Attributes:
        statuses: The published HTTP status first, then those that were seen.
        schema_name: The schema of the body, key ``schema``; None for no body that matters.
        list: Whether the body is an array of such.
    """

    statuses: tuple[int, ...]
    schema_name: str | None = Field(default=None, alias="schema")
    list: bool = False


class ObservedRights(_Item):
    """Rights that suffice though the published types don't name them."""

    rights: tuple[str, ...]


class Operation(_Item):
    """One operation.

    Attributes:
        name: Its name here, such as ``create-client``.
        published_as: Its ``operationId`` in DigDir's types.
        version: The version of the API that has it.
        call: Method, and path below the version's prefix.
        creates: Whether it makes something, of which nothing that the API alone sets can be sent back.
        rights: The scopes of which the caller's token needs one; empty for an open operation.
        observed: Further such scopes.
        query: The parameters of its query.
        body: The schema of its JSON body; None if it takes none.
        text: What its body is if that is text; None otherwise.
        answer: How it answers when it succeeds.
    """

    name: str
    published_as: str
    version: Literal["v1", "v2"] = "v1"
    call: str = Field(pattern=r"^(GET|POST|PUT|DELETE) /\S*$")
    creates: bool = False
    rights: tuple[str, ...] = ()
    observed: ObservedRights | None = None
    query: Mapping[str, Parameter] = {}
    body: str | None = None
    text: str | None = None
    answer: Success

    @property
    def method(self) -> str:
        """HTTP method."""
        return self.call.partition(" ")[0]

    @property
    def path(self) -> str:
        """Path below the version's prefix, with its parameters in braces."""
        return self.call.partition(" ")[2]

    @property
    def open(self) -> bool:
        """Whether it takes no token."""
        return not self.rights

    @cached_property
    def sufficient_rights(self) -> frozenset[str]:
        """The scopes of which the caller's token needs one, observed ones too."""
        return frozenset(self.rights) | frozenset(self.observed.rights if self.observed else ())

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """Matches its paths, each parameter a group."""
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path))

    @cached_property
    def literals(self) -> int:
        """How many characters of the path are no parameters; of two that match, the greater is meant."""
        return len(re.sub(r"\{\w+\}", "", self.path))


class Rule(_Item):
    """A rule that no single member or parameter can say."""

    rule: str


class Unknown(_Model):
    """A question to which nothing public gives a certain answer.

    Attributes:
        asks: The question.
        values: The possible answers, as the simulator's setting of the same name has them.
        assumed: The answer that has the better evidence.
        evidence: What speaks for which.
    """

    asks: str
    values: tuple[bool | int | str, ...]
    assumed: bool | int | str
    evidence: str

    @model_validator(mode="after")
    def _assumes_one_of_them(self) -> Self:
        if self.assumed not in self.values:
            raise ValueError("assumed is none of the values")
        return self


class Service(_Model):
    """Where the API and the token server are, by environment; and the path before each version's operations."""

    hosts: Mapping[str, str]
    issuers: Mapping[str, str]
    prefixes: Mapping[str, str]


class Assertion(_Item):
    """What Maskinporten takes for a token.

    Attributes:
        algorithms: Of the signature.
        required: Claims that it must have.
        optional: Claims that it may have; any other makes it invalid.
        max_seconds: Greatest ``exp - iat`` that is documented.
        skew_seconds: By which ``iat`` may lie in the future.
    """

    algorithms: tuple[str, ...]
    required: tuple[str, ...]
    optional: tuple[str, ...]
    max_seconds: int
    skew_seconds: int


class Values(_Item):
    """Some values."""

    values: tuple[str, ...]


class Value(_Item):
    """A value."""

    value: str


class LaterStatuses(_Item):
    """HTTP statuses that newer documents add."""

    statuses: tuple[int, ...]


class Unauthenticated(_Item):
    """The answer without a valid token."""

    status: int


class EmptyList(_Item):
    """The text by which a list may say that it is empty."""

    text: str


class Errors(_Model):
    """How operations refuse.

    Attributes:
        schema_name: The schema of the body, key ``schema``.
        statuses: HTTP statuses that every operation documents.
        later: Those that newer documents add.
        unauthenticated: The answer without a valid token.
        empty_list: How a list may say that it is empty.
    """

    schema_name: str = Field(alias="schema")
    statuses: tuple[int, ...]
    later: LaterStatuses
    unauthenticated: Unauthenticated
    empty_list: EmptyList

    @cached_property
    def all_statuses(self) -> frozenset[int]:
        """Every HTTP status that some document tells of."""
        return frozenset((*self.statuses, *self.later.statuses, self.unauthenticated.status))


class DefaultSource(_Model):
    """Where an item is known from that doesn't say."""

    confidence: Confidence
    source: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """A path's operation, and its parameters by name, as they stand in the path."""

    operation: Operation
    parameters: Mapping[str, str]


class Contract(_Model):
    """All that is known of the API, and what isn't.

    Attributes:
        state: The month of its sources.
        sources: What each source is, by its name.
        enums: Values by the name of the enum.
        schemas: Members by the name of the schema.
        operations: By their names.
        known: Rules that no single member or parameter can say.
        unknown: Questions by the name of the simulator's setting.
    """

    state: str
    default: DefaultSource
    sources: Mapping[str, str]
    service: Service
    assertion: Assertion
    authorization_details_types: Values
    admin_integration_type: Value
    errors: Errors
    enums: Mapping[str, tuple[str, ...]]
    schemas: Mapping[str, Schema]
    operations: Mapping[str, Operation]
    known: tuple[Rule, ...]
    unknown: Mapping[str, Unknown]

    def match(self, method: str, path: str, *, version: str = "v1") -> Match | None:
        """Find the operation of a request; `path` is that below the version's prefix, without query."""
        best: Match | None = None
        for operation in self.operations.values():
            if operation.method != method or operation.version != version:
                continue
            found = operation.expression.fullmatch(path)
            if found and (best is None or operation.literals > best.operation.literals):
                best = Match(operation, found.groupdict())
        return best

    def list_items(self) -> Iterator[tuple[str, _Item]]:
        """Yield all members, parameters, operations and rules, each with its place."""
        for name, schema in self.schemas.items():
            yield from ((f"{name}.{member}", item) for member, item in schema.items())
        for name, operation in self.operations.items():
            yield name, operation
            yield from ((f"{name}?{parameter}", item) for parameter, item in operation.query.items())
            if operation.observed is not None:
                yield f"{name} observed", operation.observed
        yield from ((rule.rule, rule) for rule in self.known)

    def find_confidence(self, item: _Item) -> Confidence:
        """Tell how sure an item is."""
        return item.confidence or self.default.confidence

    def find_sources(self, item: _Item) -> tuple[str, ...]:
        """Name the sources of an item."""
        return item.source or self.default.source

    @model_validator(mode="after")
    def _refers_to_what_there_is(self) -> Self:
        enums: set[str | None] = set()
        schemas, sources = {self.errors.schema_name}, set(self.default.source)
        for _, item in self.list_items():
            sources.update(self.find_sources(item))
            if isinstance(item, Member | Parameter):
                enums.add(item.enum)
            elif isinstance(item, Operation):
                schemas |= {name for name in (item.body, item.answer.schema_name) if name is not None}
        missing = (enums - {None} - self.enums.keys()) | (schemas - self.schemas.keys())
        missing |= sources - self.sources.keys()
        if missing:
            message = f"not defined: {', '.join(sorted(map(str, missing)))}"
            raise ValueError(message)
        return self


@cache
def load() -> Contract:
    """Read the contract; the same object each time."""
    text = files("digdir_contract").joinpath("contract.yaml").read_bytes()
    document = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    for name, operation in document["operations"].items():
        operation["name"] = name
    return Contract.model_validate(document)
