"""A client registration at DigDir's self-service API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.model.jwk import PublicJwk

INTEGRATION_TYPE = "maskinporten"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Registration:
    """A client as read. `fields` are all its members but the keys; `keys` is None if the answer lacks them."""

    client_id: str
    fields: Mapping[str, Any]
    keys: tuple[PublicJwk, ...] | None

    @property
    def description(self) -> str:
        """The ownership, `<cluster>:<namespace>:<name>`, on ours."""
        return str(self.fields.get("description") or "")

    @property
    def scopes(self) -> tuple[str, ...]:
        """The registered scopes, in the API's order."""
        return tuple(self.fields.get("scopes") or ())

    @property
    def created(self) -> str:
        """When it was made, as the API wrote it; empty if it didn't."""
        return str(self.fields.get("created") or "")

    @property
    def usable(self) -> bool:
        """Whether it is active and of type maskinporten; an inactive client is a deleted one."""
        return self.fields.get("active", True) is True and self.fields.get("integration_type") == INTEGRATION_TYPE


@dataclass(frozen=True, slots=True)
class AuthorizationServer:
    """Maskinporten's metadata (RFC 8414), each value byte for byte as published."""

    well_known_url: str
    issuer: str
    jwks_uri: str
    token_endpoint: str
