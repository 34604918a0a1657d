"""X.509: the certificates that the token endpoint trusts, and what it reads in those of an assertion.

Which authorities Maskinporten trusts, and how far it looks into a chain, isn't documented. Assumed here: it knows the
authorities itself, so a chain may end before its root, or after the leaf; every certificate that is sent must be valid
now; and of the two places for an organisation number ``organizationIdentifier`` counts before ``serialNumber``.
"""

import base64
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

_ORGANISATION_NUMBER = {
    NameOID.ORGANIZATION_IDENTIFIER: re.compile(r"NTRNO-([0-9]{9})"),
    NameOID.SERIAL_NUMBER: re.compile(r"([0-9]{9})"),
}
"""Where a subject has its organisation number (EN 319 412-1, and SEID before it), and how."""

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for certificates that are broken, or by algorithms that it doesn't know."""


class MalformedChainError(ValueError):
    """What stands in ``x5c`` is no chain of certificates with an RSA key at its beginning."""


def load_trusted(pem: str) -> tuple[x509.Certificate, ...]:
    """Return the certificates in `pem`.

    Raises:
        ValueError: it holds none.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(pem.encode()))
    except ValueError as error:
        raise ValueError("no certificates in PEM") from error


class Chain:
    """The certificates that an assertion brings along (RFC 7515 section 4.1.6), its signer's first."""

    def __init__(self, x5c: object) -> None:
        """Read the member ``x5c`` of a header.

        Raises:
            MalformedChainError: it isn't an array of certificates.
        """
        if not isinstance(x5c, list) or not x5c:
            raise MalformedChainError("must be an array of certificates")
        try:
            self._certificates = [x509.load_der_x509_certificate(base64.b64decode(one, validate=True)) for one in x5c]
            key = self._certificates[0].public_key()
            self.orgno = _find_orgno(self._certificates[0].subject)
        except _UNREADABLE as error:
            raise MalformedChainError("has something that is no certificate") from error
        if not isinstance(key, rsa.RSAPublicKey):
            raise MalformedChainError("the first certificate isn't for an RSA key")
        self.public_key = key

    def is_valid(self, now: float) -> bool:
        """Tell whether `now` is within the dates of every certificate."""
        instant = datetime.fromtimestamp(now, UTC)
        return all(one.not_valid_before_utc <= instant < one.not_valid_after_utc for one in self._certificates)

    def leads_to(self, trusted: Sequence[x509.Certificate]) -> bool:
        """Tell whether the first certificate is trusted, or issued by way of the others by one that is."""
        certificate, *others = self._certificates
        for issuer in others:
            if _is_trusted(certificate, trusted):
                return True
            if not _has_issued(issuer, certificate):
                return False
            certificate = issuer
        return _is_trusted(certificate, trusted)


def _is_trusted(certificate: x509.Certificate, trusted: Sequence[x509.Certificate]) -> bool:
    return certificate in trusted or any(_has_issued(issuer, certificate) for issuer in trusted)


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        if not issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        certificate.verify_directly_issued_by(issuer)
    except (*_UNREADABLE, x509.ExtensionNotFound, InvalidSignature):
        return False
    return True


def _find_orgno(subject: x509.Name) -> str | None:
    for oid, form in _ORGANISATION_NUMBER.items():
        for attribute in subject.get_attributes_for_oid(oid):
            if match := form.fullmatch(str(attribute.value)):
                return match[1]
    return None
