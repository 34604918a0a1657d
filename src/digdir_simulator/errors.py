"""The two error bodies: that of the admin API and that of the token endpoint."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


def timestamp(epoch: float) -> str:
    """Format `epoch` seconds as the admin API does: ISO 8601 in UTC with microseconds and ``Z``."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def to_json(value: Any) -> bytes:
    """Serialise `value` compactly as UTF-8; half a surrogate pair, which UTF-8 can't have, becomes "?"."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


@dataclass(frozen=True, slots=True)
class Problem:
    """One entry of the ``errors`` list of the admin API.

    Attributes:
        message: what is wrong.
        field: the field of the request that it concerns, None if it concerns the request as a whole.
        object_name: the kind of object, such as ``Client``.
    """

    message: str
    field: str | None = None
    object_name: str = "Client"


class ApiError(Exception):
    """A refusal by the admin API, answered with `status` and the documented error body."""

    def __init__(self, status: int, *problems: Problem | str, challenge: str | None = None) -> None:
        """Refuse with `problems`; `challenge` is the value of WWW-Authenticate (RFC 6750)."""
        self.status = status
        self.problems = [Problem(p) if isinstance(p, str) else p for p in problems]
        self.challenge = challenge
        super().__init__(status, *(problem.message for problem in self.problems))

    def body(self, now: float) -> bytes:
        """Return the ``ApiErrorResponse`` of DigDir's OpenAPI document.

        ``error`` and ``error_description`` are the messages, each with a leading ", ", and the
        timestamp has nanoseconds: both as observed from the live API.
        """
        return api_error_body(self.status, self.problems, now)


def api_error_body(status: int, problems: Sequence[Problem], now: float) -> bytes:
    """Return the admin API's error body for `problems`."""
    joined = "".join(f", {problem.message}" for problem in problems)
    return to_json(
        {
            "status": status,
            "timestamp": timestamp(now).replace("Z", "000Z"),
            "correlation_id": uuid.uuid4().hex,
            "errors": [
                {
                    "errorMessage": problem.message,
                    "isFieldError": problem.field is not None,
                    "objectName": problem.object_name,
                    "fieldIdentifier": problem.field,
                }
                for problem in problems
            ],
            "error": joined,
            "error_description": joined,
        }
    )


class TokenError(Exception):
    """A refusal by the token endpoint (RFC 6749 section 5.2 with Maskinporten's MP codes)."""

    def __init__(self, error: str, description: str, *, code: str | None = None, status: int = 400) -> None:
        """Refuse with OAuth's `error`, Maskinporten's `code` such as ``MP-100``, and a `description`."""
        self.error = error
        self.description = description
        self.code = code
        self.status = status
        super().__init__(status, error, code, description)

    def body(self, public_url: str) -> bytes:
        """Return the error body; ``error_uri`` is there when the error has a code."""
        document = {
            "error": self.error,
            "error_description": f"{self.description} (trace_id: {uuid.uuid4().hex})",
        }
        if self.code:
            document["error_uri"] = f"{public_url}/errors/{self.code}"
        return to_json(document)
