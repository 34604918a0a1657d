"""A call, its answer, and what an operation works with: what the modules of operations have in common."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from cryptography.x509 import Certificate

from digdir_simulator.config import Settings
from digdir_simulator.errors import ApiError, Problem, to_json
from digdir_simulator.issuer import ANYONE, Caller, Issuer, UsedGrants
from digdir_simulator.state import Scope, State

JSON = "application/json;charset=UTF-8"


class Digdir(Protocol):
    """What an operation works with.

    Attributes:
        state: what DigDir knows.
        settings: how it behaves.
        issuer: signs access tokens, and recognises them.
        used_grants: the assertions that were used.
        trusted: the certificates that the token endpoint trusts.
    """

    state: State
    settings: Settings
    issuer: Issuer
    used_grants: UsedGrants
    trusted: tuple[Certificate, ...]


@dataclass(slots=True)
class Call:
    """One request, its body read.

    Attributes:
        query: the decoded query; of a repeated parameter the last.
        document: the JSON object in the body, of an operation that takes one.
        now: the instant at which the operation is carried out, epoch seconds.
        client_id: the client that the call concerns, for the ledger.
        scope: the scope that the call concerns, for the ledger.
        consumer: the organisation whose access the call gives or takes, for the ledger.
        violations: in what the call breaks the contract of the API, for the ledger.
    """

    method: str
    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    now: float
    document: Mapping[str, Any] = field(default_factory=dict)
    caller: Caller = ANYONE
    client_id: str | None = None
    scope: str | None = None
    consumer: str | None = None
    violations: list[str] = field(default_factory=list)

    def flag(self, name: str) -> bool:
        """Tell whether the query has this boolean parameter as ``true``; other words but ``false`` came no further."""
        return self.query.get(name, "").lower() == "true"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: HTTP status, body, and headers besides the content type."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, value: Any, status: int = 200) -> "Answer":
        """Answer with `value` as JSON."""
        return cls(status, to_json(value))


Handler = Callable[[Digdir, Call], Answer]
"""Carries out an operation; a plain function, so that operations never interleave."""


def may_use(digdir: Digdir, orgno: str, scope: Scope, at: float | None = None) -> bool:
    """Tell whether the organisation may have tokens with `scope`, now or at the instant `at`."""
    return digdir.state.may_use(orgno, scope, at, owner_needs_access=digdir.settings.owner_needs_access)


def list_answer(digdir: Digdir, documents: list[bytes], what: str) -> Answer:
    """Answer with a list; or, when it is empty and so set, with the error that DigDir is known to give.

    The text "does not have any" is what DigDir's own web interface looks for; the status 404 is assumed.
    """
    if not documents and digdir.settings.empty_list_is_error:
        raise ApiError(404, Problem(f"The organization does not have any {what}", object_name="Organization"))
    return Answer(200, b"[" + b",".join(documents) + b"]")


def deleted_answer(digdir: Digdir, document: bytes = b"") -> Answer:
    """Answer a DELETE with what became of the thing, or, when so set, with a 204."""
    if digdir.settings.deleted_status == 204:
        return Answer(204)
    return Answer(200, document)
