"""Scopes at DigDir's self-service API: one method per operation (`/api/v1`, group "Scopes")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from maskinporten_operator.adapters.digdir.wire import (
    read_delegation_sources,
    read_grants,
    read_prefixes,
    read_scope,
    read_scopes,
)
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import RejectedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.adapters.digdir.calls import Calls
    from maskinporten_operator.adapters.digdir.wire import Grant
    from maskinporten_operator.model.scopes import RegisteredScope

MAX_NAME_LENGTH = 512
ORGNO = re.compile(r"[0-9]{9}")
TRUE = "true"


class ScopeApi:
    """The operations on scopes and access lists. Every method raises `OperatorError`s only.

    A scope's name goes into the query, since it may hold `/` (DigDir's documentation of the API).
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def list_own(self) -> tuple[RegisteredScope, ...]:
        """List the organisation's own scopes, private and inactive ones too."""
        return await self._calls.list("/scopes", "list own scopes", read_scopes, {"inactive": TRUE})

    async def find(self, name: str) -> RegisteredScope | None:
        """Read a scope, which may be inactive; None if there is none.

        Raises:
            RejectedError: It is another organisation's.
        """
        if len(name) > MAX_NAME_LENGTH:
            return None  # names come from statuses too, which users write
        return await self._calls.read("/scopes/scope", "read a scope", read_scope, {"scope": name})

    async def create(self, fields: Mapping[str, Any]) -> RegisteredScope:
        """Create a scope; refused if there is one of that name, inactive ones too."""
        return await self._calls.write("POST", "/scopes", "create a scope", read_scope, body=fields)

    async def update(self, name: str, fields: Mapping[str, Any]) -> RegisteredScope:
        """Replace a scope's fields; one without `active` becomes inactive."""
        return await self._calls.write("PUT", "/scopes", "update a scope", read_scope, body=fields, query=_of(name))

    async def deactivate(self, name: str) -> None:
        """Deactivate a scope; done when there is none. Its access list stays."""
        await self._calls.delete("/scopes", "deactivate a scope", _of(name))

    async def list_accesses(self, name: str) -> tuple[Grant, ...]:
        """List the accesses that were given to a scope, those taken back perhaps among them."""
        return await self._calls.list("/scopes/access", "list a scope's accesses", read_grants, _of(name))

    async def grant(self, name: str, orgno: str) -> None:
        """Give an organisation access, at once; safe to repeat."""
        await self._calls.write("PUT", _path(orgno), "grant access to a scope", lambda body: body, query=_of(name))

    async def revoke(self, name: str, orgno: str) -> None:
        """Take an organisation's access back; done when it has none."""
        await self._calls.delete(_path(orgno), "revoke access to a scope", _of(name))

    async def list_granted(self) -> tuple[Grant, ...]:
        """List the accesses that were given to the organisation, and those that were taken back."""
        query = {"inactive": TRUE}
        return await self._calls.list("/scopes/access/all", "list granted scopes", read_grants, query)

    async def list_open(self) -> tuple[RegisteredScope, ...]:
        """List the public scopes of all organisations that anyone may use."""
        query = {"accessible_for_all": TRUE}
        return await self._calls.list("/scopes/all", "list open scopes", read_scopes, query)

    async def list_delegated(self) -> tuple[RegisteredScope, ...]:
        """List the public scopes of all organisations that consumers may delegate; each tells the issuer at which."""
        query = {"delegated_sources": TRUE}
        return await self._calls.list("/scopes/all", "list delegated scopes", read_scopes, query)

    async def list_prefixes(self) -> tuple[str, ...]:
        """List the prefixes that the organisation's scopes may have."""
        return await self._calls.list("/prefix", "list own prefixes", read_prefixes)

    async def list_delegation_sources(self) -> Mapping[str, str]:
        """Give the issuers of the delegation sources by their names in small letters."""
        operation = "list delegation sources"
        return dict(await self._calls.list("/delegationsources", operation, read_delegation_sources))


def is_orgno(text: str) -> bool:
    """Whether a text can be an organisation number, and stand in a path."""
    return ORGNO.fullmatch(text) is not None


def _of(name: str) -> dict[str, str]:
    return {"scope": name}


def _path(orgno: str) -> str:
    """Build the path of an organisation's access; any other text could reach another endpoint, as `..` would."""
    if not is_orgno(orgno):
        raise RejectedError(Reason.REFUSED_BY_DIGDIR, "An organisation number has nine digits")
    return f"/scopes/access/{orgno}"
