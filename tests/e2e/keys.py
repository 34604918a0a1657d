"""Keys for tests: RSA keys as JWKs."""

from __future__ import annotations

import functools
import json
from typing import Any

from maskinporten_operator.adapters.minting import mint_key
from maskinporten_operator.model.jwk import PrivateJwk


@functools.cache
def make_jwk(kid: str) -> PrivateJwk:
    """Make a key; the same one for the same `kid`."""
    return PrivateJwk(kid, mint_key())


def private_jwk(kid: str) -> str:
    """Give a key as it stands in a Secret."""
    return make_jwk(kid).serialize()


def public_jwk(kid: str, **members: Any) -> dict[str, Any]:
    """Give its public half, as DigDir knows it."""
    return {**make_jwk(kid).public().members, **members}


def edit(jwk: str, **members: str) -> str:
    """Replace members of a JWK."""
    return json.dumps({**json.loads(jwk), **members})
