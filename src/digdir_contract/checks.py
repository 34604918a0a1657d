"""Comparison of requests and answers with the contract."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from digdir_contract.model import Member, Operation, Schema, load


class Kind(StrEnum):
    """What can be wrong."""

    UNKNOWN = "unknown"
    """The contract has no such parameter or member, or no body here."""
    MISSING = "missing"
    """Needed, and not there."""
    REPEATED = "repeated"
    """A parameter that is there more than once."""
    TYPE = "type"
    """Of another type, or in another form."""
    ENUM = "enum"
    """None of the values that it may have."""
    LIMIT = "limit"
    """Beyond a limit of the API."""
    FORM_LIMIT = "form-limit"
    """Beyond a limit of DigDir's web form, which may be stricter than the API."""
    READ_ONLY = "read-only"
    """Set by the API alone, and not sent back as it was read, or DigDir advises to leave it out."""
    STATUS = "status"
    """An HTTP status of which nothing tells."""


_REFUSED = frozenset({Kind.MISSING, Kind.TYPE, Kind.ENUM, Kind.LIMIT})
_MAX_INT64 = 2**63
_NAME = re.compile(r"[A-Za-z][\w.#-]{0,39}")
"""Of an unknown member whose name is told; another may be a value that stands in a name's place."""
_TYPES: Mapping[str, type] = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}


@dataclass(frozen=True, slots=True)
class Finding:
    """One way in which a request or an answer differs from the contract.

    Attributes:
        kind: What is wrong.
        place: Where: ``query``, ``path``, ``body`` or ``answer``.
        name: The parameter or member, such as ``scopes`` or ``keys[].use``; empty for the whole.
        wrong: What is wrong, as a predicate such as ``must be a string``. It holds no value of the request.
    """

    kind: Kind
    place: str
    name: str
    wrong: str

    @property
    def refused(self) -> bool:
        """Whether the API refuses such a request with a 400; else it is known to pass over it, or may."""
        return self.kind in _REFUSED

    def __str__(self) -> str:
        return " ".join(filter(None, (self.place, self.name, self.wrong)))


def check_query(operation: Operation, query: Iterable[tuple[str, str]]) -> list[Finding]:
    """Compare the query of a request with the operation's parameters; `query` is decoded, in order."""
    findings = []
    given: set[str] = set()
    for name, value in query:
        parameter = operation.query.get(name)
        if parameter is None:
            findings.append(Finding(Kind.UNKNOWN, "query", name, "is no parameter of the operation"))
            continue
        if name in given:
            findings.append(Finding(Kind.REPEATED, "query", name, "is there more than once"))
        given.add(name)
        if parameter.type == "boolean" and value.lower() not in {"true", "false"}:
            findings.append(Finding(Kind.TYPE, "query", name, "must be true or false"))
        if parameter.enum is not None:
            values = load().enums[parameter.enum]
            if (value.lower() if parameter.any_case else value) not in values:
                # what DigDir makes of it isn't known, so it isn't said to be refused
                findings.append(Finding(Kind.UNKNOWN, "query", name, f"is none of {', '.join(values)}"))
    findings += [
        Finding(Kind.MISSING, "query", name, "is required")
        for name, parameter in operation.query.items()
        if parameter.required and name not in given
    ]
    return findings


def check_path(parameters: Mapping[str, str]) -> list[Finding]:
    """Compare the parameters of a path with the form that they must have, which a consumer's number alone has."""
    orgno = parameters.get("consumer_orgno", "000000000")
    if len(orgno) == 9 and orgno.isdecimal() and orgno.isascii():
        return []
    return [Finding(Kind.LIMIT, "path", "consumer_orgno", "must have nine digits")]


NO_BODY: Any = object()
"""Stands for a request without a body, which isn't the same as ``null``."""


def check_body(operation: Operation, document: Any = NO_BODY) -> list[Finding]:
    """Compare the body of a request, read from JSON, with what the operation takes."""
    if operation.body is None:
        wrong = document is not NO_BODY and operation.text is None
        return [Finding(Kind.UNKNOWN, "body", "", "must not be there")] if wrong else []
    if not isinstance(document, dict):
        return [Finding(Kind.TYPE, "body", "", "must be a JSON object")]
    return _Check("body", request=True, creates=operation.creates).check_object(operation.body, document, "")


def check_answer(operation: Operation, status: int, document: Any = NO_BODY) -> list[Finding]:
    """Compare an answer with what the operation is known to give.

    Args:
        operation: The operation that was asked for.
        status: The HTTP status.
        document: The body, read from JSON; left out if there is none, or if it isn't JSON.
    """
    errors, answer = load().errors, operation.answer
    if status >= 400:
        findings = [] if status in errors.all_statuses else [_status(status)]
        # A gateway refuses too, and then with a body of its own
        return findings + (_check_one(errors.schema_name, document) if isinstance(document, dict) else [])
    findings = [] if status in answer.statuses else [_status(status)]
    may_be_empty = status == 204 or operation.method == "DELETE"
    if answer.schema_name is None or (may_be_empty and document is NO_BODY):
        return findings
    return findings + (_check_list if answer.list else _check_one)(answer.schema_name, document)


def _status(status: int) -> Finding:
    return Finding(Kind.STATUS, "answer", "", f"has the HTTP status {status}, of which nothing tells")


def _check_one(schema: str, document: Any) -> list[Finding]:
    if not isinstance(document, dict):
        return [Finding(Kind.TYPE, "answer", "", "must be a JSON object")]
    return _Check("answer", request=False).check_object(schema, document, "")


def _check_list(schema: str, rows: Any) -> list[Finding]:
    if not isinstance(rows, list):
        return [Finding(Kind.TYPE, "answer", "", "must be a JSON array")]
    check = _Check("answer", request=False)
    findings: dict[Finding, None] = {}  # what is wrong with many rows is told once
    for row in rows:
        if isinstance(row, dict):
            findings.update(dict.fromkeys(check.check_object(schema, row, "[].")))
        else:
            findings[Finding(Kind.TYPE, "answer", "[]", "must be a JSON object")] = None
    return list(findings)


class _Check:
    """One check of a document."""

    def __init__(self, place: str, *, request: bool, creates: bool = False) -> None:
        """Check what is at `place`; limits, and what is needed, hold for a request only."""
        self._place = place
        self._request = request
        self._creates = creates

    def _found(self, kind: Kind, name: str, wrong: str) -> Finding:
        return Finding(kind, self._place, name, wrong)

    def check_object(self, schema_name: str, document: Mapping[str, Any], path: str) -> list[Finding]:
        """Check the members of an object; `path` is what its members' names begin with."""
        schema: Schema = load().schemas[schema_name]
        findings: list[Finding] = []
        for name, value in document.items():
            member = schema.get(name)
            if member is None:
                shown = name if _NAME.fullmatch(name) else "…"
                findings.append(self._found(Kind.UNKNOWN, path + shown, "is not known"))
            elif value is not None:  # null is as good as left out
                findings += self._check_member(member, value, path + name)
        if self._request:
            findings += [
                self._found(Kind.MISSING, path + name, "is needed")
                for name, member in schema.items()
                if member.needed and document.get(name) is None
            ]
        return findings

    def _check_member(self, member: Member, value: Any, name: str) -> list[Finding]:
        if self._request and member.read_only:
            is_wrong = member.leave_out or self._creates
            return [self._found(Kind.READ_ONLY, name, "should be left out")] if is_wrong else []
        if not _is(member.type, value):
            return [self._found(Kind.TYPE, name, f"must be {_describe(member.type)}")]
        if member.format == "date-time" and not _is_instant(value):
            return [self._found(Kind.TYPE, name, "must be an instant as in RFC 3339")]
        if member.type == "array":
            return self._check_items(member, value, name)
        return self._check_enum(member, value, name) + self._check_limits(member, value, name)

    def _check_items(self, member: Member, items: list[Any], name: str) -> list[Finding]:
        findings = self._check_limits(member, items, name)
        kind = member.items or "object"
        for item in items:
            if kind not in _TYPES:
                if isinstance(item, dict):
                    findings += self.check_object(kind, item, f"{name}[].")
                else:
                    findings.append(self._found(Kind.TYPE, f"{name}[]", "must be an object"))
            elif not _is(kind, item):
                findings.append(self._found(Kind.TYPE, f"{name}[]", f"must be {_describe(kind)}"))
            else:
                findings += self._check_enum(member, item, f"{name}[]")
        return list(dict.fromkeys(findings))

    def _check_enum(self, member: Member, value: Any, name: str) -> list[Finding]:
        if member.enum is None or value in (values := load().enums[member.enum]):
            return []
        return [self._found(Kind.ENUM, name, f"must be one of {', '.join(values)}")]

    def _check_limits(self, member: Member, value: Any, name: str) -> list[Finding]:
        if not self._request or member.limit_by is None:
            return []
        kind = Kind.LIMIT if member.limit_by == "service" else Kind.FORM_LIMIT
        return [self._found(kind, name, wrong) for wrong in _beyond_limits(member, value)]


def _beyond_limits(member: Member, value: Any) -> Iterable[str]:
    if isinstance(value, int):
        if member.minimum is not None and value < member.minimum:
            yield f"must be at least {member.minimum}"
        return
    what = "characters" if isinstance(value, str) else "items"
    least = member.min_length if isinstance(value, str) else member.min_items
    most = member.max_length if isinstance(value, str) else member.max_items
    if least is not None and len(value) < least:
        yield f"must have at least {least} {what}"
    if most is not None and len(value) > most:
        yield f"must have at most {most} {what}"
    if member.expression is not None and not member.expression.fullmatch(value):
        yield f"must match {member.pattern}"


def _is(type_name: str, value: Any) -> bool:
    if type_name == "integer":  # of 64 bits; in Python a boolean is an integer too
        return isinstance(value, int) and not isinstance(value, bool) and -_MAX_INT64 <= value < _MAX_INT64
    return isinstance(value, _TYPES[type_name])


def _describe(type_name: str) -> str:
    return f"{'an' if type_name[0] in 'aio' else 'a'} {type_name}"


def _is_instant(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
