"""What proves to Maskinporten who the operator is: a registered key, or a certificate of the organisation's.

The private key of either is in a file, or held by somebody else who signs by it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from jose import jwk, jwt
from jose.backends.cryptography_backend import CryptographyRSAKey
from jose.exceptions import JOSEError
from jose.utils import base64url_decode

from maskinporten_operator.adapters.digdir.remote_key import RemoteKey, find_signing_error
from maskinporten_operator.adapters.signers.signer import SigningError, SigningThread, open_signer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
    from jose.backends.base import Key

    from maskinporten_operator.model.jwk import PrivateJwk, PublicJwk, RsaKey

T = TypeVar("T")
ALGORITHM = "RS256"
ASSERTION_LIFETIME = 60
"""Seconds; Maskinporten takes at most 120."""
MINUTE = 60.0
DAY = 86400.0
WARN_BEFORE = 30 * DAY
PROBE = b"maskinporten-operator: is this the key?"
"""What is signed to compare keys. It is no assertion, so whoever sees the signature can do nothing with it."""
LAST_INSTANT = 253_402_300_799
"""The end of the year 9999, which a certificate without an end has, and after which there are no dates."""
UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)
log = structlog.get_logger()


class CredentialsError(Exception):
    """The operator's own credentials can't be used; the text says why and quotes nothing of them."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A private key, parsed once since that costs a hundred times a signature, and what tells whose it is."""

    header: Mapping[str, Any]
    key: Key = field(repr=False)
    expires: float | None
    """Epoch seconds; None if that is unknown."""
    certified: Key | None = None
    """The public key that a certificate says; None without one."""


class Source(Protocol):
    """Where a credential comes from."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are read."""

    def read(self) -> Credential:
        """Read it.

        Raises:
            CredentialsError: It can't be used.
        """


@dataclass(frozen=True, slots=True)
class JwkFile:
    """A file with a private key that is registered on the operator's client."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The one file."""
        return (self.path,)

    def read(self) -> Credential:
        """Read the key; its `kid` says which of the registered ones it is.

        Raises:
            CredentialsError: The file can't be read, or has no private RSA JWK with a `kid`.
        """
        try:
            members = json.loads(self.path.read_text())
            header = {"kid": str(members["kid"])}
            key = jwk.construct(members, ALGORITHM)
            key.sign(b"")  # a public key can't
        except (OSError, ValueError, KeyError, TypeError, RecursionError, JOSEError):
            raise CredentialsError(f"{self.path} holds no private RSA JWK with a kid") from None
        return Credential(header, key, _parse_expiry(members.get("exp")))


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A key that is in no file."""

    key: PrivateJwk

    @property
    def files(self) -> tuple[Path, ...]:
        """None."""
        return ()

    def read(self) -> Credential:
        """Read the key."""
        return Credential({"kid": self.key.kid}, CryptographyRSAKey(_build_key(self.key.key), ALGORITHM), None)


def _build_key(numbers: RsaKey) -> rsa.RSAPrivateKey:
    """Build a key from numbers that hold together, as those of a `PrivateJwk` do.

    Whether its factors are primes isn't tested, which takes a hundred times as long as a signature: if they aren't, its
    signatures are refused, as those of any wrong key are.
    """
    n, e, d, p, q, dp, dq, qi = (int.from_bytes(base64url_decode(one.encode())) for one in astuple(numbers))
    private = rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, rsa.RSAPublicNumbers(e, n))
    return private.private_key(unsafe_skip_rsa_key_validation=True)


def _parse_expiry(exp: object) -> float | None:
    """Read `exp` as RFC 7519 has it; of a JWK it is no standard member, so anything else is ignored."""
    if isinstance(exp, int | float) and not isinstance(exp, bool) and 0 < exp <= LAST_INSTANT:
        return float(exp)
    return None


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """A certificate of the organisation's with the certificates that issued it, and its private key."""

    chain_file: Path
    key_file: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The two files, or one that holds both."""
        return tuple({self.chain_file: None, self.key_file: None})

    def read(self) -> Credential:
        """Read both; whether the issuer is trusted is checked by Maskinporten only.

        Raises:
            CredentialsError: A file can't be read or used, or the key isn't that of the first certificate.
        """
        chain, key = _read_chain(self.chain_file), _read_key(self.key_file)
        certified, expires = _read_leaf(chain, self.chain_file)
        if certified != key.public_key():
            raise CredentialsError(
                f"the key in {self.key_file} isn't that of the first certificate in {self.chain_file}: the certificate "
                "of that key must come first, then the certificates that issued it"
            )
        return Credential({"x5c": _encode(chain)}, CryptographyRSAKey(key, ALGORITHM), expires)


class SignerSource:
    """A key that somebody else holds, which is registered on the operator's client or is that of a certificate."""

    def __init__(self, reference: str, kid: str | None, chain_file: Path | None) -> None:
        """`reference` is the provider's name of the key; either `kid` or `chain_file` is given.

        Raises:
            CredentialsError: The provider's library isn't there, or can't be used.
        """
        try:
            self._key = RemoteKey(open_signer(reference), ALGORITHM)
        except SigningError as error:
            raise CredentialsError(str(error)) from None
        self._kid = kid
        self._chain_file = chain_file

    @property
    def files(self) -> tuple[Path, ...]:
        """The certificate's, if there is one."""
        return (self._chain_file,) if self._chain_file else ()

    def read(self) -> Credential:
        """Read the certificate. Whether the key is that of it, only a signature can tell.

        Raises:
            CredentialsError: It can't be used.
        """
        if self._chain_file is None:
            return Credential({"kid": self._kid}, self._key, None)
        chain = _read_chain(self._chain_file)
        certified, expires = _read_leaf(chain, self._chain_file)
        if not isinstance(certified, rsa.RSAPublicKey):
            raise CredentialsError(f"the first certificate in {self._chain_file} isn't of an RSA key")
        return Credential({"x5c": _encode(chain)}, self._key, expires, CryptographyRSAKey(certified, ALGORITHM))


def _read_leaf(chain: Sequence[x509.Certificate], path: Path) -> tuple[CertificatePublicKeyTypes, float]:
    """Give the first certificate's key, and when it ends."""
    try:
        return chain[0].public_key(), chain[0].not_valid_after_utc.timestamp()
    except UNREADABLE:
        raise CredentialsError(f"the first certificate in {path} can't be read") from None


def _encode(chain: Sequence[x509.Certificate]) -> list[str]:
    return [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in chain]


def _read_chain(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError:
        raise CredentialsError(f"{path} can't be read") from None
    except UNREADABLE:
        raise CredentialsError(f"{path} holds no certificates in PEM") from None


def _read_key(path: Path) -> rsa.RSAPrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError:
        raise CredentialsError(f"{path} can't be read") from None
    except TypeError:
        raise CredentialsError(f"the key in {path} is encrypted: write it there without a password") from None
    except UNREADABLE:
        raise CredentialsError(f"{path} holds no private key in PEM") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise CredentialsError(f"the key in {path} isn't an RSA key")
    return key


def _identify(path: Path) -> tuple[int, int, int] | None:
    """Identify a file, through symlinks, so that its replacement is noticed; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


class AdminCredentials:
    """The operator's own client id, with the credential that it proves to be that client by."""

    def __init__(self, client_id: str, source: Source, now: Callable[[], float] = time.time) -> None:
        """Read the credential.

        Raises:
            CredentialsError: It can't be used.
        """
        self.client_id = client_id
        self._source = source
        self._now = now
        self._seen = self._look()
        self._credential = source.read()
        self._is_broken = False
        self._thread = SigningThread()

    def refresh(self) -> None:
        """Read the files again if they changed; the old credential stays in force if they can't be used.

        What is broken is tried again each time, since a change of rights can fix it and changes no file.
        """
        seen = self._look()  # before reading: what changes meanwhile is found by the next look
        changed = seen != self._seen
        if not changed and not self._is_broken:
            return
        self._seen = seen
        try:
            self._credential = self._source.read()
        except CredentialsError as error:
            self._is_broken = True
            if changed:
                log.warning("the new credentials can't be used, the old ones stay in force", message=str(error))
        else:
            self._is_broken = False
            log.info("credentials read again", files=[str(path) for path in self._source.files])
            self.report_expiry()

    @property
    def kid(self) -> str | None:
        """The id of the key in force; None if a certificate tells whose it is."""
        return self._credential.header.get("kid")

    def read_kid(self) -> str | None:
        """Give likewise the id of the key that signs next, by what the files hold now."""
        self.refresh()
        return self.kid

    @property
    def expires(self) -> float | None:
        """When the credential in force ends, in epoch seconds; None if that is unknown."""
        return self._credential.expires

    def report_expiry(self) -> None:
        """Log it if the credential in force ends soon or has ended; it is used all the same."""
        expires = self.expires
        if expires is None or expires - self._now() >= WARN_BEFORE:
            return
        end = {
            "expires": datetime.fromtimestamp(expires, UTC).isoformat(),
            "files": [str(path) for path in self._source.files],
        }
        if expires <= self._now():
            log.error("the operator's own credentials have expired: a cluster admin must renew them", **end)
        else:
            days = int((expires - self._now()) / DAY)
            log.warning("the operator's own credentials end soon: a cluster admin must renew them", days=days, **end)

    async def watch_expiry(self, every: float = MINUTE) -> None:
        """Read what files changed each minute, which a standby does for nothing else, and report the end each day.

        Until cancelled.
        """
        reported = self._now()
        while True:
            await asyncio.sleep(every)
            self.refresh()
            if self._now() - reported >= DAY:
                reported = self._now()
                self.report_expiry()

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_identify(path) for path in self._source.files]

    def build_assertion(
        self, audience: str, scopes: Sequence[str], now: float, more: Mapping[str, Any] = MappingProxyType({})
    ) -> str:
        """Sign a client assertion with `more` claims, by what the files hold now; each is used once."""
        self.refresh()
        return self._encode(self._build_claims(audience, scopes, now) | dict(more))

    async def sign_assertion(self, audience: str, scopes: Sequence[str], now: float) -> str:
        """Sign likewise; where somebody else holds the key, beside the event loop and within `MAX_SECONDS`.

        Raises:
            SigningError: That one doesn't sign.
        """
        self.refresh()
        return await self._sign(partial(self._encode, self._build_claims(audience, scopes, now)))

    async def prove(self) -> bool | None:
        """Sign once, and tell whether that is by the key of the certificate; None without one.

        Raises:
            SigningError: Nothing was signed.
        """
        signature = await self._sign(partial(self._credential.key.sign, PROBE))
        certified = self._credential.certified
        return bool(certified.verify(PROBE, signature)) if certified else None

    async def proves(self, registered: PublicJwk) -> bool:
        """Sign once, and tell whether that is by a registered key.

        Raises:
            SigningError: Nothing was signed.
        """
        signature = await self._sign(partial(self._credential.key.sign, PROBE))
        try:
            return bool(jwk.construct(dict(registered.members), ALGORITHM).verify(PROBE, signature))
        except JOSEError:  # of another kind
            return False

    async def _sign(self, sign: Callable[[], T]) -> T:
        try:
            return await self._thread.run(sign) if isinstance(self._credential.key, RemoteKey) else sign()
        except JOSEError as error:
            raise find_signing_error(error) or error from None

    def _build_claims(self, audience: str, scopes: Sequence[str], now: float) -> dict[str, Any]:
        issued = int(now)
        return {
            "aud": audience,
            "iss": self.client_id,
            "scope": " ".join(scopes),
            "iat": issued,
            "exp": issued + ASSERTION_LIFETIME,
            "jti": str(uuid.uuid4()),
        }

    def _encode(self, claims: dict[str, Any]) -> str:
        credential = self._credential
        return str(jwt.encode(claims, credential.key, algorithm=ALGORITHM, headers=credential.header))
