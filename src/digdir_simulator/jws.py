"""RSA keys as JWK (RFC 7517) and compact JWS (RFC 7515), directly on `cryptography`.

Not python-jose: the operator signs with that, and two implementations that check each other find
faults that one implementation hides from itself.
"""

import base64
import binascii
import json
import uuid
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from digdir_simulator.errors import to_json

PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})
"""Members of an RSA JWK that are secret (RFC 7518 section 6.3.2)."""

HASHES: dict[str, hashes.HashAlgorithm] = {
    "RS256": hashes.SHA256(),
    "RS384": hashes.SHA384(),
    "RS512": hashes.SHA512(),
}
"""The signature algorithms that Maskinporten takes."""

_PARTS_OF_COMPACT_JWS = 3


class MalformedJwsError(ValueError):
    """The text is no compact JWS with a JSON object as payload, or its key is none."""


def encode(data: bytes) -> str:
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Decode base64url without padding.

    Raises:
        MalformedJwsError: `text` has other characters, or padding.
    """
    try:
        # altchars with validate: urlsafe_b64decode would skip foreign characters in silence
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedJwsError("not base64url") from error


def encode_number(number: int) -> str:
    """Encode a positive integer as Base64urlUInt (RFC 7518 section 2)."""
    return encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _number(jwk: Mapping[str, Any], member: str) -> int:
    value = jwk.get(member)
    if not isinstance(value, str) or not value:
        raise MalformedJwsError(f"{member} is missing")
    return int.from_bytes(decode(value), "big")


def public_key(jwk: Mapping[str, Any]) -> rsa.RSAPublicKey:
    """Return the public key that the members ``n`` and ``e`` describe.

    Raises:
        MalformedJwsError: they describe none.
    """
    try:
        return rsa.RSAPublicNumbers(_number(jwk, "e"), _number(jwk, "n")).public_key()
    except ValueError as error:
        raise MalformedJwsError("n and e are no RSA key") from error


def new_private_key() -> rsa.RSAPrivateKey:
    """Make a private RSA key of 2048 bits."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def as_public_jwk(key: rsa.RSAPublicKey, kid: str) -> dict[str, str]:
    """Return `key` as a JWK for checking signatures."""
    numbers = key.public_numbers()
    members = {"n": encode_number(numbers.n), "e": encode_number(numbers.e)}
    return {"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", **members}


def new_private_jwk() -> dict[str, str]:
    """Make a private RSA JWK for signing, its kid a UUID."""
    key = new_private_key()
    numbers = key.private_numbers()
    members = {"d": numbers.d, "p": numbers.p, "q": numbers.q}
    members |= {"dp": numbers.dmp1, "dq": numbers.dmq1, "qi": numbers.iqmp}
    secret = {name: encode_number(number) for name, number in members.items()}
    return as_public_jwk(key.public_key(), str(uuid.uuid4())) | secret


def public_jwk(jwk: Mapping[str, Any]) -> dict[str, Any]:
    """Return `jwk` without its secret members."""
    return {name: value for name, value in jwk.items() if name not in PRIVATE_MEMBERS}


def sign(header: Mapping[str, Any], payload: Mapping[str, Any], key: rsa.RSAPrivateKey) -> str:
    """Sign `payload` with the algorithm that `header` names; return the compact form."""
    signed = f"{encode(to_json(header))}.{encode(to_json(payload))}"
    signature = key.sign(signed.encode(), padding.PKCS1v15(), HASHES[header["alg"]])
    return f"{signed}.{encode(signature)}"


def parse(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and payload of a compact JWS without checking its signature.

    Raises:
        MalformedJwsError: it is none.
    """
    parts = token.split(".")
    if len(parts) != _PARTS_OF_COMPACT_JWS:
        raise MalformedJwsError("a compact JWS has three parts")
    try:
        header, payload = json.loads(decode(parts[0])), json.loads(decode(parts[1]))
    except (ValueError, RecursionError) as error:
        raise MalformedJwsError("header or payload is no JSON") from error
    if not isinstance(header, dict) or not isinstance(payload, dict):
        raise MalformedJwsError("header or payload is no JSON object")
    return header, payload


def verifies(token: str, key: rsa.RSAPublicKey, algorithm: str) -> bool:
    """Tell whether the signature of a compact JWS is by `key` with `algorithm`."""
    signed, _, signature = token.rpartition(".")
    try:
        key.verify(decode(signature), signed.encode(), padding.PKCS1v15(), HASHES[algorithm])
    except (InvalidSignature, MalformedJwsError):
        return False
    return True
