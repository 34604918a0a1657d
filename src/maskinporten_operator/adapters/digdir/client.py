"""DigDir's self-service API: one method per operation (`/api/v1`, group "External OIDC")."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from maskinporten_operator.adapters.digdir.errors import (
    is_api_error,
    says_empty,
    translate_exception,
    translate_response,
    unexpected_answer,
)
from maskinporten_operator.adapters.digdir.wire import read_keys, read_registration, read_registrations
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import WaitingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from maskinporten_operator.model.keys import PublicJwk
    from maskinporten_operator.model.registrations import Registration

    Observer = Callable[[str, str, float], None]  # told of every call: operation, status or "error", seconds

PLAUSIBLE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._:-]{0,127}")


class SelfServiceClient:
    """The client-registration part of the API. Every method raises `OperatorError`s only.

    A 429 holds all calls back for the time that the API asked for: one resource's answer is every resource's.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        base_url: str,
        observe: Observer,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._observe = observe
        self._now = now
        self._held_until = 0.0

    async def list_clients(self) -> tuple[Registration, ...]:
        """List the organisation's active clients; the API has no pages."""
        operation = "list clients"
        response = await self._send("GET", "/clients", operation, accept=says_empty)
        if not response.is_success:
            return ()
        body = self._decode(response, operation, writes=False)
        try:
            return read_registrations(body)
        except ValueError:
            raise unexpected_answer(operation, writes=False) from None

    async def find_client(self, client_id: str) -> Registration | None:
        """Read a client; None if there is none. It may be inactive, and its keys may be missing."""
        if not PLAUSIBLE_ID.fullmatch(str(client_id)):
            return None  # ids come from Secrets and statuses too, which users write; the API gave out none like this
        operation = "read a client"
        response = await self._send("GET", f"/clients/{_segment(client_id)}", operation, accept=_is_absent)
        return None if _is_absent(response) else self._read_registration(response, operation, writes=False)

    async def create_client(self, fields: Mapping[str, Any]) -> Registration:
        """Register a client; not safe to repeat."""
        operation = "register a client"
        response = await self._send("POST", "/clients", operation, json=fields)
        return self._read_registration(response, operation, writes=True)

    async def update_client(self, client_id: str, fields: Mapping[str, Any]) -> Registration:
        """Replace a client's fields; what is left out gets its default."""
        operation = "update a client"
        response = await self._send("PUT", f"/clients/{_segment(client_id)}", operation, json=fields)
        return self._read_registration(response, operation, writes=True)

    async def delete_client(self, client_id: str) -> bool:
        """Deactivate a client for good; False if there is none."""
        return not _is_absent(await self._delete(f"/clients/{_segment(client_id)}", "delete a client"))

    async def list_keys(self, client_id: str) -> tuple[PublicJwk, ...]:
        """List a client's keys; a 404 is an empty set."""
        operation = "list a client's keys"
        response = await self._send("GET", f"/clients/{_segment(client_id)}/jwks", operation, accept=_is_absent)
        return () if _is_absent(response) else self._read_keys(response, operation, writes=False)

    async def replace_keys(self, client_id: str, keys: Sequence[PublicJwk]) -> tuple[PublicJwk, ...]:
        """Make these the client's complete set, at least one and at most five."""
        operation = "replace a client's keys"
        body = {"keys": [dict(key.members) for key in keys]}
        response = await self._send("POST", f"/clients/{_segment(client_id)}/jwks", operation, json=body)
        return self._read_keys(response, operation, writes=True)

    async def delete_keys(self, client_id: str) -> None:
        """Remove all keys of a client; done when it has none."""
        await self._delete(f"/clients/{_segment(client_id)}/jwks", "delete a client's keys")

    async def _delete(self, path: str, operation: str) -> httpx.Response:
        response = await self._send("DELETE", path, operation, accept=_is_absent)
        if response.content:
            self._decode(response, operation, writes=True)  # a gateway's page deletes nothing
        return response

    async def _send(
        self,
        method: str,
        path: str,
        operation: str,
        *,
        json: Any = None,
        accept: Callable[[httpx.Response], bool] = lambda _: False,
    ) -> httpx.Response:
        """Send a request; give the answer if it is a success or one that `accept` knows."""
        if (wait := self._held_until - self._now()) > 0:
            raise WaitingError(Reason.RATE_LIMITED, f"DigDir asks for fewer calls ({operation})", wait)
        writes = method != "GET"
        started, told = self._now(), "error"
        try:
            response = await self._http.request(method, self._base_url + path, json=json)
            told = str(response.status_code)
        except httpx.HTTPError as error:
            raise translate_exception(error, operation, writes=writes) from None
        except WaitingError as error:  # of the token endpoint
            self._held_until = self._now() + error.retry_after
            raise
        finally:
            self._observe(operation, told, self._now() - started)
        if response.is_success or accept(response):
            return response
        refusal = translate_response(response, operation, writes=writes)
        if isinstance(refusal, WaitingError):
            self._held_until = self._now() + refusal.retry_after
        raise refusal

    def _read_registration(self, response: httpx.Response, operation: str, *, writes: bool) -> Registration:
        body = self._decode(response, operation, writes=writes)
        try:
            return read_registration(body)
        except ValueError:
            raise unexpected_answer(operation, writes=writes) from None

    def _read_keys(self, response: httpx.Response, operation: str, *, writes: bool) -> tuple[PublicJwk, ...]:
        body = self._decode(response, operation, writes=writes)
        try:
            return read_keys(body)
        except ValueError:
            raise unexpected_answer(operation, writes=writes) from None

    @staticmethod
    def _decode(response: httpx.Response, operation: str, *, writes: bool) -> Any:
        try:
            return response.json()
        except (ValueError, RecursionError):
            raise unexpected_answer(operation, writes=writes) from None


def _is_absent(response: httpx.Response) -> bool:
    """Whether the API says that there is no such thing; a gateway's 404, which isn't JSON, says nothing of the kind."""
    return response.status_code == httpx.codes.NOT_FOUND and is_api_error(response)


def _segment(client_id: str) -> str:
    """Encode a path segment."""
    return quote(client_id, safe="")
