"""Asks Maskinporten for a token as a workload would, to see whether its credentials work (RFC 7523 §2.1)."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import httpx
from jose.exceptions import JOSEError

from maskinporten_operator.adapters.digdir.credentials import AdminCredentials, MintedKey
from maskinporten_operator.adapters.digdir.http_errors import find_detail, translate_exception, translate_response
from maskinporten_operator.model.registrations import JWT_BEARER
from maskinporten_operator.model.tokens import SCOPE_REFUSALS, TokenAnswer, TokenOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskinporten_operator.adapters.digdir.metadata import MaskinportenMetadata
    from maskinporten_operator.model.registrations import AuthorizationServer
    from maskinporten_operator.model.tokens import TokenRequest

OPERATION = "get a token by a client's key"
CODE = re.compile(r"/errors/(MP-\d{1,5})")
"""Maskinporten's code, at the end of an answer's `error_uri`."""
ERROR = re.compile(r"[a-z_]{1,40}")
"""OAuth's `error`; any other text isn't quoted."""


class TokenRequests:
    """The token endpoint, asked in the name of clients."""

    def __init__(
        self, http: httpx.AsyncClient, metadata: MaskinportenMetadata, now: Callable[[], float] = time.time
    ) -> None:
        """`now` is the clock that assertions are made by, in epoch seconds."""
        self._http = http
        self._metadata = metadata
        self._now = now

    async def ask(self, request: TokenRequest) -> TokenAnswer:
        """Ask once. The token is thrown away.

        Raises:
            OperatorError: Maskinporten gave no answer that says anything of the client.
        """
        return await request_token(self._http, await self._metadata.get(), request, self._now())


async def request_token(
    http: httpx.AsyncClient, server: AuthorizationServer, request: TokenRequest, now: float
) -> TokenAnswer:
    """Ask a token endpoint once; `now` is the time of the assertion, in epoch seconds.

    Raises:
        OperatorError: Maskinporten gave no answer that says anything of the client.
    """
    try:
        credentials = AdminCredentials(request.client_id, MintedKey(request.key))
        assertion = credentials.build_assertion(server.issuer, request.scopes, now, _build_claims(request))
    except (JOSEError, ValueError):  # a key that somebody else made may be too short
        return TokenAnswer("Refused", "the key can't sign an assertion")
    form = {"grant_type": JWT_BEARER, "assertion": assertion}
    try:
        response = await http.post(server.token_endpoint, data=form)
    except httpx.HTTPError as error:
        raise translate_exception(error, OPERATION, writes=False) from None
    answer = _judge(response)
    if answer is None:
        raise translate_response(response, OPERATION, writes=False)
    return answer


def _build_claims(request: TokenRequest) -> dict[str, Any]:
    """Build the claims that not every request has: one resource as a text, several as a list (RFC 8707 §2)."""
    resource = request.resource[0] if len(request.resource) == 1 else list(request.resource)
    claims = {"resource": resource, "consumer_org": request.consumer}
    return {name: value for name, value in claims.items() if value}


def _judge(response: httpx.Response) -> TokenAnswer | None:
    """Read what an answer says of the client; None if it says nothing of it."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    if response.is_success:
        return TokenAnswer("Issued") if isinstance(body.get("access_token"), str) else None
    if response.status_code not in {httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return None
    error = str(body.get("error"))
    code = CODE.search(str(body.get("error_uri")))
    return TokenAnswer(
        _sort(error),
        find_detail(response).removeprefix(": "),
        error if ERROR.fullmatch(error) else "",
        code[1] if code else "",
    )


def _sort(error: str) -> TokenOutcome:
    if error in SCOPE_REFUSALS:
        return "ScopeRefused"
    return "KeyRefused" if error in {"invalid_grant", "invalid_client"} else "Refused"
