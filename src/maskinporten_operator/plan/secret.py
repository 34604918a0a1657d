"""The Secret that carries the credentials: what is in it, whose it is, what should be in it."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.jwk import PrivateJwk
from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT
from maskinporten_operator.plan.owner_references import (
    build_metadata,
    find_owners,
    is_owned_by,
    was_owned_by_namesake,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from maskinporten_operator.model.registrations import AuthorizationServer
    from maskinporten_operator.model.resources import ObjectMeta

CLIENT_ID = "MASKINPORTEN_CLIENT_ID"
CLIENT_JWK = "MASKINPORTEN_CLIENT_JWK"


@dataclass(frozen=True, slots=True, repr=False)
class ObservedSecret:
    """A Secret as read. It holds a private key, so its text form is its name."""

    manifest: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"ObservedSecret({self.manifest['metadata']['name']})"

    @property
    def uid(self) -> str:
        """The Secret's own uid."""
        return str(self.manifest["metadata"]["uid"])

    @property
    def owners(self) -> tuple[Mapping[str, Any], ...]:
        """The owner references to MaskinportenClients."""
        return find_owners(self.manifest, MASKINPORTEN_CLIENT)

    def is_owned_by(self, meta: ObjectMeta) -> bool:
        """Whether this very resource owns it; one of the same name with another uid doesn't."""
        return is_owned_by(self.manifest, meta)

    def was_owned_by_namesake(self, meta: ObjectMeta) -> bool:
        """Whether an earlier resource of the same name owns it: the garbage collector will remove it."""
        return was_owned_by_namesake(self.manifest, meta)

    @property
    def client_id(self) -> str | None:
        """The client id in it, if any."""
        return self._find(CLIENT_ID)

    @property
    def jwk(self) -> PrivateJwk | None:
        """The private key in it, if it is whole and usable."""
        return PrivateJwk.find(self._find(CLIENT_JWK))

    def _find(self, key: str) -> str | None:
        encoded = (self.manifest.get("data") or {}).get(key)
        try:
            return b64decode(encoded).decode() or None if encoded else None
        except ValueError:
            return None


def build_secret(
    meta: ObjectMeta,
    name: str,
    *,
    client_id: str,
    jwk: PrivateJwk,
    scopes: Iterable[str],
    server: AuthorizationServer,
) -> dict[str, Any]:
    """Build the Secret as it is applied; byte-stable for the same input. `data`, since removed `stringData` stays."""
    values = {
        CLIENT_ID: client_id,
        CLIENT_JWK: jwk.serialize(),
        "MASKINPORTEN_SCOPES": " ".join(scopes),
        "MASKINPORTEN_WELL_KNOWN_URL": server.well_known_url,
        "MASKINPORTEN_ISSUER": server.issuer,
        "MASKINPORTEN_JWKS_URI": server.jwks_uri,
        "MASKINPORTEN_TOKEN_ENDPOINT": server.token_endpoint,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": build_metadata(meta, name) | {"annotations": {"reloader.stakater.com/match": "true"}},
        "type": "Opaque",
        "data": {key: b64encode(value.encode()).decode() for key, value in values.items()},
    }


def build_fingerprint(client_id: str, kid: str, scopes: Iterable[str], server: AuthorizationServer) -> str:
    """Build a hash that changes with what is in the Secret, of nothing secret: the key is represented by its id."""
    parts = (client_id, kid, *scopes, "", server.well_known_url, server.issuer, server.jwks_uri, server.token_endpoint)
    return sha256("\n".join(parts).encode()).hexdigest()[:16]


def check_secret(current: ObservedSecret | None, desired: Mapping[str, Any]) -> str | None:
    """Say why the Secret must be written, or None. What others added to it is left alone."""
    if current is None:
        return "it doesn't exist"
    metadata, wanted = current.manifest["metadata"], desired["metadata"]
    data = current.manifest.get("data") or {}
    differing = [key for key, value in desired["data"].items() if data.get(key) != value]
    differing += [
        f"{part} {key}"
        for part in ("labels", "annotations")
        for key, value in wanted[part].items()
        if (metadata.get(part) or {}).get(key) != value
    ]
    if wanted["ownerReferences"][0] not in (metadata.get("ownerReferences") or ()):
        differing.append("ownerReferences")
    return f"{', '.join(differing)} differ" if differing else None
