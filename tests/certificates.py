"""An authority of the tests' own, and the certificates that it issues to organisations."""

import base64
import functools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

ORGNO = "889640782"
DAY = timedelta(days=1)


@functools.cache
def rsa_key(number):
    """A private key; the same one for the same number, since making one takes a while."""
    return rsa.generate_private_key(65537, 2048)


@functools.cache
def ec_key():
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key, password=None):
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


def subject(orgno=ORGNO, form="serialNumber"):
    oid, value = {
        "serialNumber": (NameOID.SERIAL_NUMBER, orgno),
        "organizationIdentifier": (NameOID.ORGANIZATION_IDENTIFIER, f"NTRNO-{orgno}"),
    }[form]
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Some Organisation"), x509.NameAttribute(oid, value)])


def common_name(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@dataclass(frozen=True)
class Certified:
    """A private key with the certificates that say whose it is, the leaf first."""

    key: object
    certificates: tuple

    @property
    def leaf(self):
        return self.certificates[0]

    @property
    def chain_pem(self):
        return "".join(one.public_bytes(Encoding.PEM).decode() for one in self.certificates)

    @property
    def key_pem(self):
        return private_pem(self.key)

    @property
    def x5c(self):
        return [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in self.certificates]

    @property
    def expires(self):
        return self.leaf.not_valid_after_utc.timestamp()

    def issue(self, name=None, key=None, *, start=None, lasts=365 * DAY, ca=False):
        """Issue a certificate, by default to the organisation."""
        name, key, start = subject() if name is None else name, key or rsa_key(1), start or datetime.now(UTC) - DAY
        return Certified(key, (_build(name, key, self.leaf.subject, self.key, start, lasts, ca), *self.certificates))


def authority(name="Some Authority", number=0):
    """An authority with a certificate by itself."""
    key, name = rsa_key(number), common_name(name)
    return Certified(key, (_build(name, key, name, key, datetime.now(UTC) - 3650 * DAY, 7300 * DAY, ca=True),))


def _build(name, key, issuer, issuer_key, start, lasts, ca):
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + lasts)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    return builder.sign(issuer_key, hashes.SHA256())
