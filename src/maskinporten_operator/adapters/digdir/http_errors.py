"""Translation of DigDir's answers and httpx's errors into `model.errors`."""

from __future__ import annotations

import re
import socket
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import (
    AlreadyExistsError,
    BadRequestError,
    OperatorError,
    OutcomeUnknownError,
    RejectedError,
    TransientError,
    WaitingError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_DETAIL_LENGTH = 400
JWT = re.compile(r"\beyJ[\w-]{6,}(?:\.[\w-]*){0,4}")
"""A token or an assertion, whole or cut: base64url of a JSON object, and what follows."""
MIN_WAIT = 1.0
MAX_WAIT = 600.0

NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


def translate_exception(error: httpx.HTTPError, operation: str, *, writes: bool) -> OperatorError:
    """Translate an exception of a request; a write that was sent may have been carried out."""
    kind = OutcomeUnknownError if writes and not isinstance(error, NEVER_SENT) else TransientError
    cause = f"{type(error).__name__}{find_cause(error)}"
    return kind(Reason.DIGDIR_UNAVAILABLE, f"DigDir can't be reached: {operation} failed ({cause})")


def find_cause(error: BaseException) -> str:
    """Say why a connection failed, if that is known, without quoting the error's text."""
    for cause in _list_causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ": the certificate there isn't trusted"
        if isinstance(cause, socket.gaierror):
            return ": the name of the host isn't known"
        if isinstance(cause, ConnectionRefusedError):
            return ": nothing listens there"
    return ""


def _list_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for one in error.exceptions:
                yield from _list_causes(one)
        error = error.__cause__ or error.__context__


def translate_response(response: httpx.Response, operation: str, *, writes: bool) -> OperatorError:
    """Translate an answer that isn't a success."""
    status = response.status_code
    detail = find_detail(response)
    if status == httpx.codes.NOT_FOUND and not is_api_error(response):
        return unexpected_answer(operation, writes=writes)
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return WaitingError(
            Reason.RATE_LIMITED, f"DigDir asks for fewer calls ({operation})", parse_retry_after(response.headers)
        )
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return RejectedError(
            Reason.FORBIDDEN_BY_DIGDIR,
            f"DigDir doesn't allow the operator to {operation} (HTTP {status}{detail}): "
            "a cluster admin must check the rights of the operator's own client",
        )
    if httpx.codes.BAD_REQUEST <= status < httpx.codes.INTERNAL_SERVER_ERROR and status != httpx.codes.REQUEST_TIMEOUT:
        message = (
            f"DigDir refused to {operation} (HTTP {status}{detail}): correct the spec, or ask the cluster admin "
            "if it names nothing of the spec"
        )
        if status == httpx.codes.BAD_REQUEST:
            return BadRequestError(Reason.REFUSED_BY_DIGDIR, message, detail.removeprefix(": "))
        kind = AlreadyExistsError if status == httpx.codes.CONFLICT else RejectedError
        return kind(Reason.REFUSED_BY_DIGDIR, message)
    fault = OutcomeUnknownError if writes else TransientError
    return fault(Reason.DIGDIR_UNAVAILABLE, f"DigDir has a fault: {operation} gave HTTP {status}")


def unexpected_answer(operation: str, *, writes: bool) -> OperatorError:
    """Describe a success whose body isn't what the API documents, such as a gateway's HTML page."""
    kind = OutcomeUnknownError if writes else TransientError
    return kind(
        Reason.DIGDIR_UNAVAILABLE,
        f"DigDir's answer to {operation} can't be read: if it stays so, a cluster admin must check the address",
    )


def find_detail(response: httpx.Response) -> str:
    """Give what the error body says, cut and on one line, without the ids that differ from call to call."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return ""
    if not isinstance(body, dict):
        return ""
    messages = [str(one["errorMessage"]) for one in _faults(body) if one.get("errorMessage")]
    text = "; ".join(messages) or str(body.get("error_description") or body.get("error") or "")
    text = " ".join(text.split(" (trace_id")[0].split(" (correlation id")[0].split()).strip(", ")
    return f": {_conceal(text, response)[:MAX_DETAIL_LENGTH]}" if text else ""


def _conceal(text: str, response: httpx.Response) -> str:
    """Take out tokens and assertions, which a gateway may quote."""
    token = response.request.headers.get("Authorization", "").removeprefix("Bearer ")
    return JWT.sub("…", text.replace(token, "…") if token else text)


def is_api_error(response: httpx.Response) -> bool:
    """Whether an error answer is the API's own, and not a gateway's page."""
    try:
        return isinstance(response.json(), dict)
    except (ValueError, RecursionError):
        return False


def says_empty(response: httpx.Response) -> bool:
    """Whether an error is the API's way to say that a list is empty.

    It says of a token too that it "does not have any of the required scopes", with a 403. A refusal is no list.
    """
    is_telling = response.status_code in {httpx.codes.BAD_REQUEST, httpx.codes.NOT_FOUND}
    detail = find_detail(response)
    return is_telling and "does not have any" in detail and "required scope" not in detail


def says_invalid_scope(response: httpx.Response) -> bool:
    """Whether Maskinporten refuses a token because of the scopes that were asked for (RFC 6749 §5.2)."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return False
    return isinstance(body, dict) and body.get("error") == "invalid_scope"


def parse_retry_after(headers: Mapping[str, str]) -> float:
    """Read Retry-After, seconds or a date (RFC 9110 §10.2.3), as seconds within bounds."""
    text = headers.get("retry-after", "").strip()
    try:
        seconds = (
            float(text) if text[:1].isdigit() else (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        )
    except (ValueError, TypeError, OverflowError):
        seconds = 5.0
    return min(max(seconds, MIN_WAIT), MAX_WAIT)


def _faults(body: Mapping[str, object]) -> list[Mapping[str, object]]:
    faults = body.get("errors")
    return [one for one in faults if isinstance(one, dict)] if isinstance(faults, list) else []
