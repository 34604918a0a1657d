"""Calls of DigDir's self-service API, delayed when it asks for that (429)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import msgspec

from maskinporten_operator.adapters.digdir.http_errors import (
    is_api_error,
    says_empty,
    translate_exception,
    translate_response,
    unexpected_answer,
)
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import OperatorError, WaitingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Observer = Callable[[str, str, float], None]  # operation; HTTP status, `error` or `unsent`; seconds

T = TypeVar("T")
SLICE = 200
"""Items of a long list that are read before others get their turn: they take a few milliseconds."""
READ = httpx.ByteStream(b"")
"""Takes the place of an answer's stream, which holds the answer: a long one would stay until garbage is collected."""
_items = msgspec.json.Decoder(list[msgspec.Raw])


class Calls:
    """What the operations of the API have in common. Every method raises `OperatorError`s only.

    A 429 delays all calls for the time that the API asked for.
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
        self._paused_until = 0.0

    async def read(
        self, path: str, operation: str, parse: Callable[[Any], T], query: Mapping[str, str] | None = None
    ) -> T | None:
        """Read something; None if the API says that there is no such thing."""
        response = await self.send("GET", path, operation, query=query, accept=is_absent)
        return None if is_absent(response) else self.decode(response, operation, parse, writes=False)

    async def list(
        self,
        path: str,
        operation: str,
        parse: Callable[[Any], tuple[T, ...]],
        query: Mapping[str, str] | None = None,
    ) -> tuple[T, ...]:
        """Read a list; the API has no pages, and says of an empty one that there isn't any."""
        response = await self.send("GET", path, operation, query=query, accept=says_empty)
        return self.decode(response, operation, parse, writes=False) if response.is_success else ()

    async def list_each(self, path: str, operation: str, read: Callable[[msgspec.Raw], T | None]) -> tuple[T, ...]:
        """Read a long list as `list` does, item by item; what `read` gives None for is left out.

        `read` raises ValueError for an item of another form than the list's.
        """
        response = await self.send("GET", path, operation, accept=says_empty)
        if not response.is_success:
            return ()
        found: list[T] = []
        try:
            items = _items.decode(response.content)
            for begin in range(0, len(items), SLICE):
                read_items = map(read, items[begin : begin + SLICE])
                found += [one for one in read_items if one is not None]
                await asyncio.sleep(0)
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
            raise unexpected_answer(operation, writes=False) from None
        return tuple(found)

    async def write(
        self,
        method: str,
        path: str,
        operation: str,
        parse: Callable[[Any], T],
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
    ) -> T:
        """Write something, and give what it became."""
        response = await self.send(method, path, operation, body=body, query=query)
        return self.decode(response, operation, parse, writes=True)

    async def delete(self, path: str, operation: str, query: Mapping[str, str] | None = None) -> bool:
        """Delete something; False if there is no such thing."""
        response = await self.send("DELETE", path, operation, query=query, accept=is_absent)
        if response.content:
            self.decode(response, operation, lambda body: body, writes=True)  # a gateway's page deletes nothing
        return not is_absent(response)

    async def send(
        self,
        method: str,
        path: str,
        operation: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        accept: Callable[[httpx.Response], bool] = lambda _: False,
    ) -> httpx.Response:
        """Send a request; give the answer if it is a success or one that `accept` knows."""
        if (wait := self._paused_until - self._now()) > 0:
            raise WaitingError(Reason.RATE_LIMITED, f"DigDir asks for fewer calls ({operation})", wait)
        writes = method != "GET"
        started, status_label = self._now(), "error"
        try:
            response = await self._http.request(method, self._base_url + path, json=body, params=query)
            status_label = str(response.status_code)
            response.stream = READ
        except httpx.HTTPError as error:
            raise translate_exception(error, operation, writes=writes) from None
        except OperatorError as error:  # of the token, the signer or the fence
            status_label = "unsent"
            if isinstance(error, WaitingError):
                self._paused_until = self._now() + error.retry_after
            raise
        finally:
            self._observe(operation, status_label, self._now() - started)
        if response.is_success or accept(response):
            return response
        refusal = translate_response(response, operation, writes=writes)
        if isinstance(refusal, WaitingError):
            self._paused_until = self._now() + refusal.retry_after
        raise refusal

    @staticmethod
    def decode(response: httpx.Response, operation: str, parse: Callable[[Any], T], *, writes: bool) -> T:
        """Read an answer's body with `parse`, which raises ValueError for one of another form."""
        try:
            return parse(response.json())
        except (ValueError, RecursionError):
            raise unexpected_answer(operation, writes=writes) from None


def is_absent(response: httpx.Response) -> bool:
    """Whether the API says that there is no such thing; a gateway's 404, which isn't JSON, says nothing of the kind."""
    return response.status_code == httpx.codes.NOT_FOUND and is_api_error(response)
