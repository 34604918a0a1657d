"""A call, the operation it asks for, and its answer: what the modules of operations have in common."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from digdir_simulator.errors import ApiError, Problem, to_json

if TYPE_CHECKING:
    from digdir_simulator.simulator import Simulator

JSON = "application/json;charset=UTF-8"

DCR_READ = "idporten:dcr.read"
DCR_WRITE = "idporten:dcr.write"
DCR_MODIFY = "idporten:dcr.modify"
SCOPES_READ = "idporten:scopes.read"
SCOPES_WRITE = "idporten:scopes.write"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who an access token was issued to.

    Attributes:
        client_id: the client.
        orgno: the consumer organisation.
        scopes: the scopes of the token.
        expires: epoch seconds.
    """

    client_id: str
    orgno: str
    scopes: frozenset[str]
    expires: float


ANYONE = Caller(client_id="", orgno="", scopes=frozenset(), expires=float("inf"))
"""The caller of an open operation."""


@dataclass(slots=True)
class Call:
    """One request, its body read.

    Attributes:
        now: the instant at which the operation is carried out, epoch seconds.
        client_id: the client that the call concerns, for the ledger.
        scope: the scope that the call concerns, for the ledger.
        consumer: the organisation whose access the call gives or takes, for the ledger.
    """

    method: str
    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    now: float
    caller: Caller = ANYONE
    client_id: str | None = None
    scope: str | None = None
    consumer: str | None = None

    def document(self) -> dict[str, Any]:
        """Return the body, a JSON object.

        Raises:
            ApiError: 400, it is none.
        """
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise ApiError(400, Problem("The request body is not valid JSON")) from error
        if not isinstance(document, dict):
            raise ApiError(400, Problem("The request body must be a JSON object"))
        return document

    def flag(self, name: str) -> bool:
        """Tell whether the query has this boolean parameter as ``true``.

        Raises:
            ApiError: 400, it is neither ``true`` nor ``false``; that DigDir refuses such words is assumed.
        """
        word = self.query.get(name, "").lower()
        if word not in {"", "true", "false"}:
            raise ApiError(400, Problem(f"The query parameter {name} must be true or false"))
        return word == "true"


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


Handler = Callable[["Simulator", Call], Answer]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the admin API.

    Attributes:
        name: its name in the ledger.
        method: HTTP method.
        path: path below the API prefix, with parameters in braces.
        handler: carries it out; a plain function, so that operations never interleave.
        scopes: the caller's token needs one of these; empty for an open operation.
    """

    name: str
    method: str
    path: str
    handler: Handler
    scopes: frozenset[str] = field(default=frozenset())


def list_answer(simulator: "Simulator", documents: list[bytes], what: str) -> Answer:
    """Answer with a list; or, when it is empty and so set, with the error that DigDir is known to give.

    The text "does not have any" is what DigDir's own web interface looks for; the status 404 is assumed.
    """
    if not documents and simulator.settings.empty_list_is_error:
        raise ApiError(404, Problem(f"The organization does not have any {what}", object_name="Organization"))
    return Answer(200, b"[" + b",".join(documents) + b"]")


def deleted_answer(simulator: "Simulator", document: bytes) -> Answer:
    """Answer a DELETE with what became of the thing, or, when so set, with a 204."""
    if simulator.settings.deleted_status == 204:
        return Answer(204)
    return Answer(200, document)
