"""Client registrations at DigDir's self-service API: one method per operation (`/api/v1`, group "External OIDC")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from maskinporten_operator.adapters.digdir.wire import OwnedClients, read_keys, read_registration, read_registrations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maskinporten_operator.adapters.digdir.calls import Calls
    from maskinporten_operator.model.jwk import PublicJwk
    from maskinporten_operator.model.registrations import Registration

PLAUSIBLE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._:-]{0,127}")


class ClientApi:
    """The operations on clients and their keys. Every method raises `OperatorError`s only."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def list_clients(self) -> tuple[Registration, ...]:
        """List the organisation's active clients."""
        return await self._calls.list("/clients", "list clients", read_registrations)

    async def list_owned_clients(self, owned: OwnedClients) -> tuple[Registration, ...]:
        """List the organisation's active clients whose description begins with a prefix."""
        owned.begin()
        return await self._calls.list_each("/clients", "list clients", owned.read)

    async def find_client(self, client_id: str) -> Registration | None:
        """Read a client; None if there is none. It may be inactive, and its keys may be missing."""
        if not PLAUSIBLE_ID.fullmatch(str(client_id)):
            return None  # ids come from Secrets and statuses too, which users write; the API gave out none like this
        return await self._calls.read(_path(client_id), "read a client", read_registration)

    async def create_client(self, fields: Mapping[str, Any]) -> Registration:
        """Register a client; not safe to repeat."""
        return await self._calls.write("POST", "/clients", "register a client", read_registration, body=fields)

    async def update_client(self, client_id: str, fields: Mapping[str, Any]) -> Registration:
        """Replace a client's fields; what is left out gets its default."""
        return await self._calls.write("PUT", _path(client_id), "update a client", read_registration, body=fields)

    async def delete_client(self, client_id: str) -> bool:
        """Deactivate a client for good; False if there is none."""
        return await self._calls.delete(_path(client_id), "delete a client")

    async def list_keys(self, client_id: str) -> tuple[PublicJwk, ...]:
        """List a client's keys; a 404 is an empty set."""
        return await self._calls.read(f"{_path(client_id)}/jwks", "list a client's keys", read_keys) or ()

    async def replace_keys(self, client_id: str, keys: Sequence[PublicJwk]) -> tuple[PublicJwk, ...]:
        """Make these the client's complete set, at least one and at most five."""
        body = {"keys": [dict(key.members) for key in keys]}
        path = f"{_path(client_id)}/jwks"
        return await self._calls.write("POST", path, "replace a client's keys", read_keys, body=body)

    async def delete_keys(self, client_id: str) -> None:
        """Remove all keys of a client; done when it has none."""
        await self._calls.delete(f"{_path(client_id)}/jwks", "delete a client's keys")


def _path(client_id: str) -> str:
    return f"/clients/{quote(client_id, safe='')}"
