"""Calls of DigDir's API of which only reads are sent. Writes are recorded, and seen by later reads."""

from __future__ import annotations

import asyncio
import itertools
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httpx

from maskinporten_operator.adapters.digdir.calls import Calls
from maskinporten_operator.adapters.digdir.http_errors import translate_response
from maskinporten_operator.model.errors import WaitingError
from maskinporten_operator.plan.planned_writes import NEW_CLIENT, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    Document = dict[str, Any]

KEY_LIFE = timedelta(days=365)
"""How long a key lives at DigDir that doesn't say (its documentation of clients)."""
MAX_PAUSES = 5
"""How often a read is repeated that DigDir asked to wait with."""
CLIENT = re.compile(r"/clients/([^/]+)")
KEYS = re.compile(r"/clients/([^/]+)/jwks")
ACCESS = re.compile(r"/scopes/access/([0-9]{9})")


class DryRunCalls(Calls):
    """Reads each thing once, and answers from then on as DigDir would after the writes that were recorded.

    It assumes that DigDir takes every write.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        base_url: str,
        observe: Callable[[str, str, float], None],
        *,
        record: Callable[[Write], None],
        now: Callable[[], datetime],
    ) -> None:
        """`record` is told of every write; `now` gives the time at which it would be made."""
        super().__init__(http, base_url, observe)
        self._record = record
        self._planned = _Planned(now)
        self._read: dict[tuple[str, tuple[tuple[str, str], ...]], httpx.Response] = {}
        self._listed: dict[str, dict[str, Document]] = {}  # by the list's path, what it has by name

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
        """Answer a request; only a read that is the first of its kind is sent.

        Raises:
            OperatorError: DigDir refused a read, or couldn't be reached.
        """
        path, query = unquote(path), dict(query or {})
        if method == "GET":
            response = self._planned.find(path, query)
            if response is None:
                response = self._planned.amend(path, query, await self._read_once(path, operation, query))
            if response.is_success or accept(response):
                return response
            raise translate_response(response, operation, writes=False)
        before = self._find_before(path, query)
        self._record(Write(method, path, operation, query, body, before))
        if match := KEYS.fullmatch(path):
            return self._planned.take_keys(match[1], body, before, self._find_client(match[1]))
        return self._planned.take(method, path, query, body, before)

    async def _read_once(self, path: str, operation: str, query: Mapping[str, str]) -> httpx.Response:
        key = _key(path, query)
        if key not in self._read:
            self._read[key] = await self._send_patiently(path, operation, query)
        return self._read[key]

    async def _send_patiently(self, path: str, operation: str, query: Mapping[str, str]) -> httpx.Response:
        """Send a read, and again when DigDir asked for fewer calls: nothing but that is waited for."""
        for _ in range(MAX_PAUSES):
            try:
                return await super().send("GET", path, operation, query=query or None, accept=_says_something)
            except WaitingError as error:
                await asyncio.sleep(error.retry_after)
        return await super().send("GET", path, operation, query=query or None, accept=_says_something)

    def _find_before(self, path: str, query: Mapping[str, str]) -> Document | None:
        """Find what a write is about, as the newest read or write left it."""
        if match := KEYS.fullmatch(path):
            client_id = match[1]
            known = self._planned.keys.get(client_id) or self._find_document(path, {})
            return known or (self._find_client(client_id) or {}).get("jwks")
        if match := CLIENT.fullmatch(path):
            return self._find_client(match[1])
        if path == "/scopes" and (name := query.get("scope")):
            alone = self._planned.scopes.get(name) or self._find_document("/scopes/scope", query)
            return alone or self._find_listed("/scopes", _name_scope, name)
        return None

    def _find_client(self, client_id: str) -> Document | None:
        if client_id in self._planned.clients:
            return self._planned.clients[client_id]
        alone = self._find_document(f"/clients/{client_id}", {})
        return alone or self._find_listed("/clients", _name_client, client_id)

    def _find_document(self, path: str, query: Mapping[str, str]) -> Document | None:
        response = self._read.get(_key(path, query))
        return dict(response.json()) if response is not None and response.is_success else None

    def _find_listed(self, path: str, name_of: Callable[[Document], str], name: str) -> Document | None:
        if path not in self._listed:
            lists = (response for (one, _), response in self._read.items() if one == path)
            if (response := next(lists, None)) is None:
                return None
            self._listed[path] = {name_of(document): document for document in _items(response)}
        return self._listed[path].get(name)


@dataclass(slots=True)
class _Planned:
    """What there would be at DigDir after the writes so far, where that differs from what there is.

    Attributes:
        clients: By id; None for one that would be deleted.
        keys: The key sets by the client's id.
        scopes: By full name.
        accesses: By scope and organisation number, whether it would have access.
    """

    now: Callable[[], datetime]
    clients: dict[str, Document | None] = field(default_factory=dict)
    keys: dict[str, Document] = field(default_factory=dict)
    scopes: dict[str, Document] = field(default_factory=dict)
    accesses: dict[str, dict[str, bool]] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def find(self, path: str, query: Mapping[str, str]) -> httpx.Response | None:
        """Answer a read of one thing that would have been written to; None for any other."""
        if (match := KEYS.fullmatch(path)) and match[1] in self.keys:
            return _answer(self.keys[match[1]])
        if (match := CLIENT.fullmatch(path)) and match[1] in self.clients:
            client = self.clients[match[1]]
            return _answer(client) if client is not None else _answer({"error": "not_found"}, 404)
        if path == "/scopes/scope" and query["scope"] in self.scopes:
            return _answer(self.scopes[query["scope"]])
        return None

    def amend(self, path: str, query: Mapping[str, str], response: httpx.Response) -> httpx.Response:
        """Give the answer to a read as it would be after the writes."""
        if path == "/clients" and self.clients:
            left = [one for one in _items(response) if _name_client(one) not in self.clients]
            return _answer([*left, *(one for one in self.clients.values() if one is not None)])
        if path == "/scopes" and self.scopes:
            left = [one for one in _items(response) if _name_scope(one) not in self.scopes]
            return _answer([*left, *self.scopes.values()])
        if path == "/scopes/access" and (written := self.accesses.get(query["scope"])):
            left = [one for one in _items(response) if one.get("consumer_orgno") not in written]
            given = [orgno for orgno, has_access in written.items() if has_access]
            return _answer([*left, *(_build_access(query["scope"], orgno) for orgno in given)])
        return response

    def take(
        self, method: str, path: str, query: Mapping[str, str], body: Any, before: Document | None
    ) -> httpx.Response:
        """Take in a write, and give DigDir's answer."""
        if match := ACCESS.fullmatch(path):
            self.accesses.setdefault(query["scope"], {})[match[1]] = method == "PUT"
            return _answer(_build_access(query["scope"], match[1]))
        if path == "/scopes":
            return self._take_scope(method, query, body, before)
        return self._take_client(method, path, body, before)

    def _take_client(self, method: str, path: str, body: Any, before: Document | None) -> httpx.Response:
        if method == "DELETE":
            self.clients[path.rpartition("/")[2]] = None
            return httpx.Response(204)
        if method == "POST":
            client_id = f"{NEW_CLIENT}{next(self.numbers)}"
            self.keys[client_id] = {"keys": []}
            before = {"active": True, "created": self._stamp()}
        else:
            client_id = path.rpartition("/")[2]
        document = {**(before or {}), **body, "client_id": client_id, "last_updated": self._stamp()}
        self.clients[client_id] = document
        return _answer(document)

    def take_keys(self, client_id: str, body: Any, before: Document | None, client: Document | None) -> httpx.Response:
        """Take in the key set of a client, which may be shown with its keys, and give DigDir's answer."""
        known = {one["kid"]: one for one in (before or {}).get("keys") or ()}
        expires = int((self.now() + KEY_LIFE).timestamp())
        keys = [
            {"created": self._stamp(), "exp": expires, **known.get(one["kid"], {}), **one}
            for one in (body or {}).get("keys", ())
        ]
        self.keys[client_id] = {"keys": keys}
        if client and "jwks" in client:
            self.clients[client_id] = {**client, "jwks": self.keys[client_id]}
        return _answer(self.keys[client_id])

    def _take_scope(self, method: str, query: Mapping[str, str], body: Any, before: Document | None) -> httpx.Response:
        if method == "POST":
            name = f"{body['prefix']}:{body['subscope']}"
            before = {"active": True, "created": self._stamp()}
        else:
            name = query["scope"]
        # A PUT without `active` makes a scope inactive, as a deletion does.
        changes = {"active": False, **(body or {})} if method != "POST" else body
        self.scopes[name] = {**(before or {}), **changes, "name": name, "last_updated": self._stamp()}
        return _answer(self.scopes[name])

    def _stamp(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _key(path: str, query: Mapping[str, str]) -> tuple[str, tuple[tuple[str, str], ...]]:
    return path, tuple(sorted(query.items()))


def _answer(document: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=document)


def _says_something(response: httpx.Response) -> bool:
    """Whether an answer says something about what is there: that there is no such thing does too."""
    return response.status_code in {400, 404}


def _items(response: httpx.Response) -> list[Document]:
    return list(response.json()) if response.is_success else []


def _name_client(document: Document) -> str:
    return str(document.get("client_id"))


def _name_scope(document: Document) -> str:
    return str(document.get("name") or f"{document.get('prefix')}:{document.get('subscope')}")


def _build_access(scope: str, orgno: str) -> Document:
    return {"scope": scope, "consumer_orgno": orgno, "state": "APPROVED"}
