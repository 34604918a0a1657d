"""Translation of the API server's answers into `model.errors`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import (
    ConflictError,
    ForbiddenError,
    OperatorError,
    RejectedError,
    TerminatingError,
    TransientError,
    WaitingError,
)
from maskinporten_operator.model.resources import GROUP

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DETAIL_LENGTH = 400
RIGHTS_RECHECK_SECONDS = 60.0
MAX_WAIT = 60.0
SCHEMA_MISMATCH = "failed to create typed patch object"


class AbsentError(TransientError):
    """There is no such object (404)."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.REFUSED_BY_CLUSTER, message)


class ExpiredError(OperatorError):
    """The resourceVersion of a watch is too old (410): list anew."""

    def __init__(self) -> None:
        super().__init__(Reason.CLUSTER_UNAVAILABLE, "The watch's resourceVersion expired")


def translate_exception(error: Exception) -> OperatorError:
    """Translate an exception of a request."""
    return TransientError(Reason.CLUSTER_UNAVAILABLE, f"The API server can't be reached ({type(error).__name__})")


def translate_response(code: int, body: bytes, headers: Mapping[str, str]) -> OperatorError:
    """Translate an answer that isn't a success."""
    return translate_status({**_decode(body), "code": code}, headers.get("Retry-After"))


def translate_status(status: Mapping[str, Any], retry_after: str | None = None) -> OperatorError:  # noqa: PLR0911 - a table
    """Translate a Status object, from an answer or from a watch's ERROR event."""
    code = status.get("code")
    message = str(status.get("message") or f"HTTP {code}")[:MAX_DETAIL_LENGTH]
    if _is_terminating(status):
        return TerminatingError(Reason.TERMINATING, "The namespace is being deleted")
    match code:
        case 404:
            return AbsentError(message)
        case 409:
            # Told only if it stays: then it is no other writer's, but perhaps an admission webhook's.
            return ConflictError(
                Reason.REFUSED_BY_CLUSTER,
                "The API server refuses it as a conflict: a cluster admin must check admission webhooks, and what "
                f"else writes to the object ({message})",
            )
        case 410:
            return ExpiredError()
        case 429:
            delay = (
                min(float(retry_after), MAX_WAIT)
                if retry_after and retry_after.isdecimal() and retry_after.isascii()
                else 1.0
            )
            return WaitingError(Reason.CLUSTER_UNAVAILABLE, "The API server asks for fewer calls", delay)
        case 401 | 403:
            # Also seen for a moment while a control plane is upgraded.
            return (ForbiddenError if code == 403 else WaitingError)(
                Reason.REFUSED_BY_CLUSTER,
                f"The API server doesn't allow it: a cluster admin must check rights and quotas ({message})",
                RIGHTS_RECHECK_SECONDS,
            )
        case 500 if SCHEMA_MISMATCH in message:
            # Server-side apply answers so when a field isn't in the schema: trying again can't help.
            return RejectedError(Reason.REFUSED_BY_CLUSTER, f"{_explain_schema(message)} ({message})")
        case int() if 400 <= code < 500:
            return RejectedError(
                Reason.REFUSED_BY_CLUSTER,
                f"The API server refused it: correct the spec, or tell a cluster admin ({message})",
            )
        case _:
            return TransientError(Reason.CLUSTER_UNAVAILABLE, f"The API server has a fault (HTTP {code}: {message})")


def _explain_schema(message: str) -> str:
    """Say whose schema doesn't fit: the message names the group of what was applied, such as `apps/v1`."""
    if f"; {GROUP}/" in message:
        return "The served CRD has another schema: a cluster admin must install the operator's"
    return "The API server knows no such field: correct the spec, or tell a cluster admin"


def _is_terminating(status: Mapping[str, Any]) -> bool:
    """Match the cause and not the text, which differs between versions."""
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    causes = causes if isinstance(causes, list) else []
    return any(isinstance(one, dict) and one.get("reason") == "NamespaceTerminating" for one in causes)


def _decode(body: bytes) -> Mapping[str, Any]:
    try:
        status = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return status if isinstance(status, dict) else {}
