"""A record of requests and answers, for `doctor`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from jose import jwt
from jose.exceptions import JOSEError

from maskinporten_operator.adapters.digdir.http_errors import find_detail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

NOT_JSON: Any = object()
"""Stands for a body that isn't JSON, or isn't there."""
HALF_A_SECOND = 0.5
"""Of a Date, which tells whole seconds, on the average."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer.

    Attributes:
        url: Without user, password and query.
        media_type: Of the body; empty if the answer doesn't say.
        seconds: From the request to the end of the answer.
        document: The body, read from JSON, or `NOT_JSON`. May hold a token, so no text form shows it.
        is_empty: Whether there is no body.
        detail: What an error says, without anything that was sent in confidence; empty, or beginning with `: `.
        lead: Seconds by which this machine's clock is ahead of that of whoever answered; None if it tells no time.
    """

    method: str
    url: str
    query: Mapping[str, str]
    status: int
    media_type: str
    seconds: float
    document: Any = field(repr=False)
    is_empty: bool
    detail: str
    lead: float | None

    @property
    def is_refusal(self) -> bool:
        """Whether it is an error."""
        return self.status >= 400

    def read_claims(self) -> Mapping[str, Any]:
        """Read the claims of the access token in the answer, unverified; empty if it has none that can be read."""
        token = self.document.get("access_token") if isinstance(self.document, dict) else None
        try:
            return dict(jwt.get_unverified_claims(token)) if isinstance(token, str) else {}
        except JOSEError:
            return {}


class Recorder:
    """Keeps exchanges, in the order in which they ended."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        """`now` is the clock that assertions are made by, in epoch seconds."""
        self.exchanges: list[Exchange] = []
        self._now = now

    async def record(self, response: httpx.Response) -> None:
        """Take in an answer, reading it to its end."""
        await response.aread()
        request, seconds = response.request, response.elapsed.total_seconds()
        try:
            document = response.json() if response.content else NOT_JSON
        except (ValueError, RecursionError):
            document = NOT_JSON
        self.exchanges.append(
            Exchange(
                request.method,
                f"{request.url.scheme}://{request.url.netloc.decode()}{request.url.path}",
                dict(request.url.params),
                response.status_code,
                response.headers.get("Content-Type", "").partition(";")[0].strip().lower(),
                seconds,
                document,
                not response.content,
                find_detail(response) if response.is_error else "",
                _measure_lead(response.headers, self._now() - seconds / 2),
            )
        )


def _measure_lead(headers: httpx.Headers, now: float) -> float | None:
    """Measure by Date (RFC 9110 §6.6.1), and by Age where a cache answered."""
    try:
        server_time = parsedate_to_datetime(headers["Date"]).timestamp() + float(headers.get("Age", "0"))
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
    return now - server_time - HALF_A_SECOND
