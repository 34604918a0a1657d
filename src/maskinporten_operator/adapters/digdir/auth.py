"""The operator's own token: a JWT grant (RFC 7523) as an httpx auth flow."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import httpx

from maskinporten_operator.adapters.digdir.http_errors import (
    find_detail,
    says_invalid_scope,
    translate_exception,
    translate_response,
)
from maskinporten_operator.adapters.digdir.shared_failure import SharedFailure
from maskinporten_operator.adapters.signers.signer import SigningError
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import TransientError
from maskinporten_operator.model.registrations import JWT_BEARER

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from maskinporten_operator.adapters.digdir.credentials import AdminCredentials
    from maskinporten_operator.adapters.digdir.metadata import MaskinportenMetadata

RENEW_BEFORE = 10.0
"""Seconds before its end at which a token is replaced, so that it doesn't end under way."""


class JwtGrantAuth(httpx.Auth):
    """Puts the token on every call: one, shared by all, renewed before it ends and once on a 401."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        metadata: MaskinportenMetadata,
        credentials: AdminCredentials,
        scopes: Sequence[str],
        now: Callable[[], float] = time.time,
        observe: Callable[[str], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now` is for assertions.

        `observe` is told of every request for a token: its HTTP status, `error`, or `unsigned` if the signer failed.
        """
        self._http = http
        self._metadata = metadata
        self._credentials = credentials
        self._scopes = scopes
        self._now = now
        self._monotonic = monotonic
        self._observe = observe
        self._token = ""
        self._asked = 0.0
        self._renew_at = 0.0
        self._lock = asyncio.Lock()
        self._failure = SharedFailure(monotonic)

    @property
    def token_age(self) -> float | None:
        """How many seconds ago the token was asked for; None if there is none yet."""
        return self._monotonic() - self._asked if self._token else None

    async def obtain_token(self) -> None:
        """Get a token ahead of the calls that take it.

        Raises:
            OperatorError: There is none.
        """
        await self._get_token(refused=None)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Authorize the request; on a 401 once more with a new token."""
        token = await self._get_token(refused=None)
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED:
            token = await self._get_token(refused=token)
            request.headers["Authorization"] = f"Bearer {token}"
            yield request

    async def _get_token(self, refused: str | None) -> str:
        async with self._lock:  # all that wait take what the first one gets
            if self._token == (refused or "") or self._monotonic() >= self._renew_at:
                await self._failure.guard(self._request_token)
            return self._token

    async def _request_token(self) -> None:
        operation = "get the operator's token"
        server = await self._metadata.get()
        assertion = await self._sign(server.issuer)
        asked = self._monotonic()
        try:
            response = await self._http.post(
                server.token_endpoint, data={"grant_type": JWT_BEARER, "assertion": assertion}
            )
        except httpx.HTTPError as error:
            self._observe("error")
            raise translate_exception(error, operation, writes=False) from None
        self._observe(str(response.status_code))
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise translate_response(response, operation, writes=False)
        if response.is_client_error:
            raise TransientError(
                Reason.FORBIDDEN_BY_DIGDIR,
                f"Maskinporten refuses the operator's own client a token (HTTP {response.status_code}"
                f"{find_detail(response)}): a cluster admin must check {self._suspect(response)}",
            )
        try:
            body = response.raise_for_status().json()
            self._token = str(body["access_token"])
            lifetime = float(body["expires_in"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            raise TransientError(
                Reason.DIGDIR_UNAVAILABLE, f"Maskinporten gave no token (HTTP {response.status_code})"
            ) from None
        self._asked = asked
        self._renew_at = asked + max(lifetime - RENEW_BEFORE, lifetime / 2)

    async def _sign(self, issuer: str) -> str:
        try:
            return await self._credentials.sign_assertion(issuer, self._scopes, self._now())
        except SigningError as error:
            self._observe("unsigned")
            raise TransientError(
                Reason.SIGNER_UNAVAILABLE,
                f"The operator's own token can't be asked for, since {error}: a cluster admin must check ADMIN_SIGNER",
            ) from None

    def _suspect(self, response: httpx.Response) -> str:
        """Say what of the operator's own client a refusal is about."""
        if not says_invalid_scope(response):
            return "its client id, key and scopes"
        named = [scope for scope in self._scopes if scope in find_detail(response)] or self._scopes
        return f"that DigDir has given it {', '.join(named)}, or leave that out of ADMIN_SCOPES"
