"""What an application does with the Secret: a signed assertion becomes an access token, which an API verifies."""

from __future__ import annotations

import json
import time
import uuid
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import httpx
from jose import jwk, jwt

from maskinporten_operator.adapters.minting import mint_key
from maskinporten_operator.model.jwk import PrivateJwk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jose.backends.base import Key

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_http = httpx.Client(trust_env=False)  # one for all: each reads the CA bundle, which takes 20 ms of CPU


def get_token(secret: Mapping[str, str]) -> str:
    """Get an access token with nothing but what is in the Secret.

    Raises:
        httpx.HTTPStatusError: Maskinporten refused; its answer is in the error's text.
    """
    kid, key = _load_key(secret["MASKINPORTEN_CLIENT_JWK"])
    now = int(time.time())
    claims = {
        "iss": secret["MASKINPORTEN_CLIENT_ID"],
        "aud": secret["MASKINPORTEN_ISSUER"],
        "scope": secret["MASKINPORTEN_SCOPES"],
        "iat": now,
        "exp": now + 60,
        "jti": str(uuid.uuid4()),
    }
    assertion = jwt.encode(claims, key, algorithm="RS256", headers={"kid": kid})
    form = {"grant_type": GRANT, "assertion": assertion}
    response = _http.post(secret["MASKINPORTEN_TOKEN_ENDPOINT"], data=form)
    if response.is_error:
        raise httpx.HTTPStatusError(response.text, request=response.request, response=response)
    return str(response.json()["access_token"])


@lru_cache(maxsize=1024)
def _load_key(text: str) -> tuple[str, Key]:
    """Give a JWK's id and the key itself, which takes tens of milliseconds to check."""
    members = json.loads(text)
    return members["kid"], jwk.construct(members, "RS256")


def find_refusal(secret: Mapping[str, str]) -> str | None:
    """Say why Maskinporten refuses a token, in its words; None if it gives one."""
    try:
        get_token(secret)
    except httpx.HTTPStatusError as error:
        return str(json.loads(str(error))["error_description"]).partition(" (trace_id")[0]
    return None


def new_key() -> dict[str, str]:
    """Make a private key, a JWK."""
    return dict(json.loads(PrivateJwk(str(uuid.uuid4()), mint_key()).serialize()))


def verify_token(secret: Mapping[str, str], token: str) -> dict[str, Any]:
    """Verify signature, issuer and times as an API does; give the claims.

    Raises:
        jose.JWTError: It isn't one of this issuer's, or has expired.
    """
    keys = _http.get(secret["MASKINPORTEN_JWKS_URI"]).raise_for_status().json()
    return jwt.decode(token, keys, algorithms=["RS256"], issuer=secret["MASKINPORTEN_ISSUER"])
