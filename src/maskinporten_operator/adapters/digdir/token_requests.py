"""Asks Maskinporten for a token as a workload would, to see whether its credentials work (RFC 7523 §2.1)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
from jose.exceptions import JOSEError

from maskinporten_operator.adapters.digdir.credentials import AdminCredentials, MintedKey
from maskinporten_operator.adapters.digdir.http_errors import find_detail, translate_exception, translate_response
from maskinporten_operator.model.registrations import JWT_BEARER
from maskinporten_operator.model.tokens import TokenAnswer, TokenOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskinporten_operator.adapters.digdir.metadata import MaskinportenMetadata
    from maskinporten_operator.model.tokens import TokenRequest

SCOPE_ERRORS = frozenset({"invalid_scope", "forbidden"})
"""OAuth's `error` of refusals that come after the client was authenticated: MP-200, MP-201, MP-250 and MP-251."""
OPERATION = "get a token by a client's key"


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
        server = await self._metadata.get()
        try:
            credentials = AdminCredentials(request.client_id, MintedKey(request.key))
            assertion = credentials.build_assertion(server.issuer, request.scopes, self._now())
        except (JOSEError, ValueError):  # a key that somebody else made may be too short
            return TokenAnswer("Refused", "the key can't sign an assertion")
        form = {"grant_type": JWT_BEARER, "assertion": assertion}
        try:
            response = await self._http.post(server.token_endpoint, data=form)
        except httpx.HTTPError as error:
            raise translate_exception(error, OPERATION, writes=False) from None
        outcome = _judge(response)
        if outcome is None:
            raise translate_response(response, OPERATION, writes=False)
        return TokenAnswer(outcome, find_detail(response).removeprefix(": ") if response.is_error else "")


def _judge(response: httpx.Response) -> TokenOutcome | None:
    """Read what an answer says of the client; None if it says nothing of it."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    if response.is_success:
        return "Issued" if isinstance(body.get("access_token"), str) else None
    error = body.get("error")
    if response.status_code not in {httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return None
    if error in SCOPE_ERRORS:
        return "ScopeRefused"
    return "KeyRefused" if error in {"invalid_grant", "invalid_client"} else "Refused"
