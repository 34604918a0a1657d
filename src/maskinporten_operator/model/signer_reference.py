"""The names of keys that others hold, each as its provider writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import unquote

FILE_SCHEME = "file:"


@dataclass(frozen=True, slots=True)
class Provider:
    """Who holds keys and signs by them.

    Attributes:
        name: What it is called.
        extra: The extra of this package that brings its library.
        pattern: What the names of its keys look like.
    """

    name: str
    extra: str
    pattern: str


PKCS11 = Provider("PKCS#11", "pkcs11", r"pkcs11:.+")
PROVIDERS = (
    PKCS11,
    Provider("AWS KMS", "aws", r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]+:(?:key|alias)/[A-Za-z0-9/_-]+"),
    Provider(
        "Google Cloud KMS",
        "google",
        r"projects/[^/\s]+/locations/[^/\s]+/keyRings/[^/\s]+/cryptoKeys/[^/\s]+/cryptoKeyVersions/[0-9]+",
    ),
    Provider("Azure Key Vault", "azure", r"https://[A-Za-z0-9.-]+/keys/[A-Za-z0-9-]+/[0-9a-f]{32}"),
)


def find_provider(reference: str) -> Provider | None:
    """Find whose key a name is of; None if it is none of those."""
    return next((one for one in PROVIDERS if re.fullmatch(one.pattern, reference)), None)


@dataclass(frozen=True, slots=True)
class Pkcs11Uri:
    """A private key on a token, as RFC 7512 names it.

    Attributes:
        module: The token's library.
        pin_file: A file with the user's PIN.
        token: The token's label.
        label: The key's CKA_LABEL, if given.
        key_id: The key's CKA_ID, if given.
    """

    module: Path
    pin_file: Path
    token: str
    label: str | None
    key_id: bytes | None

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Take the attributes apart; each stands once, and none that isn't known is passed over.

        Raises:
            ValueError: It isn't such a URI; the text quotes nothing of it.
        """
        path, _, query = uri.removeprefix("pkcs11:").partition("?")
        given = _read_attributes(path, ";", {"token", "object", "id", "type"})
        options = _read_attributes(query, "&", {"module-path", "pin-source"})
        if given.pop("type", "private") != "private":
            raise ValueError("names another object than a private key")
        if "token" not in given or not given.keys() & {"object", "id"}:
            raise ValueError("must have token, and object or id")
        pin = options.get("pin-source", "").removeprefix(FILE_SCHEME)
        if not options.get("module-path") or not pin:
            raise ValueError("must have module-path and pin-source, each a file")
        key_id = given["id"].encode("latin-1") if "id" in given else None
        return cls(Path(options["module-path"]), Path(pin), given["token"], given.get("object"), key_id)


def _read_attributes(text: str, separator: str, known: set[str]) -> dict[str, str]:
    """Read `name=value` pairs, percent-decoded; an `id` byte by byte."""
    found: dict[str, str] = {}
    for pair in filter(None, text.split(separator)):
        name, equals, value = pair.partition("=")
        if not equals or name not in known or name in found:
            raise ValueError(
                f"may have each of {', '.join(sorted(known))} once, and nothing else, on its side of the ?"
            )
        found[name] = unquote(value, encoding="latin-1" if name == "id" else "utf-8", errors="strict")
    return found
