"""Maskinporten as the issuer of access tokens: it signs them, recognises them, and remembers used assertions."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from digdir_simulator import jws
from digdir_simulator.errors import ApiError, Problem, to_json

_BEARER_CACHE_SIZE = 2_000


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


class UsedGrants:
    """Remembers the assertions that were used, each until its own expiry and no longer."""

    def __init__(self) -> None:
        """Begin with none."""
        self._used: set[tuple[str, str]] = set()
        self._by_expiry: list[tuple[float, tuple[str, str]]] = []

    def __len__(self) -> int:
        return len(self._used)

    def use(self, issuer: str, identifier: str, expires: float, now: float) -> bool:
        """Note the use of a grant; False if it was used before."""
        while self._by_expiry and self._by_expiry[0][0] <= now:
            self._used.discard(heapq.heappop(self._by_expiry)[1])
        grant = (issuer, identifier)
        if grant in self._used:
            return False
        self._used.add(grant)
        heapq.heappush(self._by_expiry, (expires, grant))
        return True


class Issuer:
    """Signs access tokens, and recognises its own when the admin API is called with them."""

    def __init__(self, identifier: str, kid: str, key: rsa.RSAPrivateKey) -> None:
        """Sign as `identifier` with `key`, published under `kid`."""
        self.identifier = identifier
        self._key = key
        self._public_key = key.public_key()
        self._header = {"kid": kid, "alg": "RS256", "typ": "JWT"}
        self.jwks_body = to_json({"keys": [jws.as_public_jwk(self._public_key, kid)]})
        self._known: dict[str, Caller] = {}

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return `claims` as a signed token."""
        return jws.sign(self._header, claims, self._key)

    def caller(self, authorization: str | None, now: float) -> Caller:
        """Return who an Authorization header speaks for.

        Raises:
            ApiError: 401; the text of its body is assumed.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise ApiError(401, Problem("A bearer token is required", object_name="Authorization"), challenge="Bearer")
        caller = self._known.get(token) or self._recognise(token)
        if caller is None:
            raise self._invalid("The access token is not valid")
        if caller.expires <= now:
            self._known.pop(token, None)
            raise self._invalid("The access token has expired")
        return caller

    def _invalid(self, message: str) -> ApiError:
        return ApiError(401, Problem(message, object_name="Authorization"), challenge='Bearer error="invalid_token"')

    def _recognise(self, token: str) -> Caller | None:
        """Verify a token that wasn't seen before; calls come in bursts with the same one."""
        try:
            header, claims = jws.parse(token)
        except jws.MalformedJwsError:
            return None
        if header != self._header or not jws.verifies(token, self._public_key, "RS256"):
            return None
        if claims["iss"] != self.identifier:
            return None
        if len(self._known) >= _BEARER_CACHE_SIZE:
            self._known.clear()
        caller = Caller(
            client_id=claims["client_id"],
            orgno=claims["consumer"]["ID"].removeprefix("0192:"),
            scopes=frozenset(claims["scope"].split()),
            expires=claims["exp"],
        )
        self._known[token] = caller
        return caller
