"""Keys as JSON Web Keys (RFC 7517, RFC 7518 §6.3)."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from hashlib import blake2b, sha256
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

OUR_KID_PREFIX = "mpo-"
KEY_LIMIT = 5
_MARKED = re.compile(rf"{OUR_KID_PREFIX}\w+-\w+-([0-9a-f]{{8}})")
MAX_JWK_LENGTH = 16_384
"""Characters; a private JWK of 4096 bits has about 3,200."""


def build_kid(uid: str, random_hex: str, request: str | None = None) -> str:
    """Name a key after the resource's uid, so that a reader sees whose it is, and 16 random hex digits.

    The mark of the rotation request that stands when the key is made comes last: so the key itself tells, whatever
    else is lost, that the request was carried out.
    """
    kid = f"{build_kid_prefix(uid)}{random_hex}"
    return kid if request is None else f"{kid}-{_build_mark(request)}"


def build_kid_prefix(uid: str) -> str:
    """Build how the ids of all keys begin that were made for the resource of this uid."""
    return f"{OUR_KID_PREFIX}{uid.replace('-', '')[:8]}-"


def find_mark(kid: str) -> str | None:
    """Find the mark of a rotation request in a key id of ours."""
    return found[1] if (found := _MARKED.fullmatch(kid)) else None


def _build_mark(request: str) -> str:
    return sha256(request.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class RsaKey:
    """The numbers of an RSA private key, each unpadded base64url. Its text form hides all of them."""

    n: str
    e: str
    d: str
    p: str
    q: str
    dp: str
    dq: str
    qi: str

    def __repr__(self) -> str:
        return "RsaKey(…)"


@dataclass(frozen=True, slots=True)
class PrivateJwk:
    """An RSA private key with its key id. Its text form shows the key id only."""

    kid: str
    key: RsaKey

    def __repr__(self) -> str:
        return f"PrivateJwk({self.kid})"

    def serialize(self) -> str:
        """Give the JWK as one JSON object on one line, byte-stable."""
        members = {"use": "sig", "kty": "RSA", "kid": self.kid, "alg": "RS256"}
        members |= {field.name: getattr(self.key, field.name) for field in fields(self.key)}
        return json.dumps(members, separators=(",", ":"))

    @classmethod
    def find(cls, text: str | None) -> Self | None:
        """Read a private JWK; None when it isn't a whole, usable one. Whoever may edit the Secret wrote it."""
        if not text or len(text) > MAX_JWK_LENGTH:
            return None
        try:
            members = json.loads(text)
            jwk = cls(str(members["kid"]), RsaKey(**{field.name: members[field.name] for field in fields(RsaKey)}))
            return jwk if _holds_together(jwk.key) else None
        except (ValueError, TypeError, KeyError, RecursionError):
            return None

    @property
    def digest(self) -> KeyDigest:
        """What tells it without a secret."""
        return KeyDigest.build(self.kid, self.key.n, self.key.e)

    def public(self) -> PublicJwk:
        """Give the public half, as it is uploaded."""
        return PublicJwk(
            {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": self.key.n, "e": self.key.e}
        )


@dataclass(frozen=True, slots=True)
class KeyDigest:
    """A private key told by its key id and a digest of its public half."""

    kid: str
    digest: bytes

    @classmethod
    def build(cls, kid: object, n: object, e: object) -> Self:
        """Build it from members of a JWK as they were read."""
        return cls(str(kid), blake2b(repr((kid, n, e)).encode(), digest_size=16).digest())


@dataclass(frozen=True, slots=True)
class PublicJwk:
    """A registered public key, every member as the API gave it."""

    members: Mapping[str, Any]

    @property
    def kid(self) -> str:
        """The key id."""
        return str(self.members["kid"])

    @property
    def ours(self) -> bool:
        """Whether this operator made the key. Others are foreign: sent again as read, never dropped."""
        return self.kid.startswith(OUR_KID_PREFIX)

    @property
    def expires(self) -> float | None:
        """When the key stops working, seconds since the epoch, if the API said so."""
        exp = self.members.get("exp")
        return float(exp) if exp is not None else None

    @property
    def created(self) -> datetime | None:
        """When the key was registered, in UTC, if the API said so in a way that can be compared."""
        try:
            moment = datetime.fromisoformat(str(self.members["created"]))
            return moment.astimezone(UTC) if moment.tzinfo else None
        except (KeyError, ValueError, OverflowError):
            return None

    def answers(self, request: str) -> bool:
        """Whether the key was made while this rotation request stood."""
        return find_mark(self.kid) == _build_mark(request)

    def matches(self, private: PrivateJwk | KeyDigest) -> bool:
        """Whether this is the public half of `private`."""
        own = self.members
        if isinstance(private, KeyDigest):
            return private == KeyDigest.build(own["kid"], own.get("n"), own.get("e"))
        return (own["kid"], own.get("n"), own.get("e")) == (private.kid, private.key.n, private.key.e)


def _holds_together(key: RsaKey) -> bool:
    """Whether the numbers are one key: an edited Secret must not survive because its public part is intact."""
    n, e, d, p, q, dp, dq, qi = (_decode(getattr(key, field.name)) for field in fields(key))
    return (
        min(p, q) > 1
        and p * q == n
        and (d * e - 1) % (p - 1) == 0
        and (d * e - 1) % (q - 1) == 0
        and dp == d % (p - 1)
        and dq == d % (q - 1)
        and qi * q % p == 1
    )


def _decode(number: str) -> int:
    """Read unpadded base64url, in its one canonical form: Python's decoder takes what a workload's may refuse."""
    raw = urlsafe_b64decode(number + "=" * (-len(number) % 4))
    if urlsafe_b64encode(raw).rstrip(b"=") != number.encode():
        raise ValueError("not base64url")
    return int.from_bytes(raw)
