"""What the simulator's page shows: a little of each kind of thing, the newest first, and nothing secret.

There may be tens of thousands of each, so nothing here returns all, and nothing is read twice by a page that knows
the version of what it shows.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from digdir_simulator.config import Settings
from digdir_simulator.faults import Faults
from digdir_simulator.ledger import Entry
from digdir_simulator.state import Access, Client, Scope, State

NEWEST = 50
"""How many of each kind are shown."""

MAX_TEXT = 300
"""How many characters are shown of a text that tenants choose."""

MAX_PARTS = 20
"""How many scopes, keys or consumers are shown of one thing."""

_TOKEN = re.compile(r"eyJ[\w-]{8,}(\.[\w-]*)*")
"""What looks like a JWT, which somebody may have sent in a path."""

T = TypeVar("T")


def shorten(text: str | None) -> str | None:
    """Return what is shown of a text that others chose."""
    if text is None:
        return None
    text = _TOKEN.sub("[token]", text)
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"


def list_clients(state: State, wanted: str) -> dict[str, Any]:
    """Return the newest clients that have `wanted` in their texts, of all organisations, and their keys."""
    newest = (versions.current for versions in reversed(state.clients.values()))
    return _list(newest, len(state.clients), wanted, _texts_of_client, lambda client: _show_client(state, client))


def list_scopes(state: State, wanted: str) -> dict[str, Any]:
    """Return the newest scopes that have `wanted` in their texts, the organisation's own ones first."""
    newest = (versions.current for versions in reversed(state.scopes.values()))
    ordered = sorted(newest, key=lambda scope: scope.owner_orgno != state.organisation)
    return _list(ordered, len(state.scopes), wanted, _texts_of_scope, lambda scope: _show_scope(state, scope))


def list_accesses(state: State, wanted: str) -> dict[str, Any]:
    """Return the accesses that have `wanted` in their texts, those to the newest scopes first."""
    newest = (access.current for given in reversed(state.accesses.values()) for access in reversed(given.values()))
    total = sum(map(len, state.accesses.values()))

    def texts(access: Access) -> Iterator[str]:
        yield from (access.scope, access.consumer_orgno, access.state, state.names.get(access.consumer_orgno, ""))

    return _list(newest, total, wanted, texts, lambda access: _show_access(state, access))


def _list(
    things: Iterable[T],
    total: int,
    wanted: str,
    texts: Callable[[T], Iterable[str]],
    show: Callable[[T], dict[str, Any]],
) -> dict[str, Any]:
    words = wanted.casefold().split()
    matching = total
    if words:
        found = [thing for thing in things if _has(" ".join(texts(thing)).casefold(), words)]
        things, matching = found, len(found)
    return {"total": total, "matching": matching, "shown": [show(thing) for thing in islice(things, NEWEST)]}


def _has(text: str, words: list[str]) -> bool:
    return all(word in text for word in words)


def _texts_of_client(client: Client) -> Iterator[str]:
    yield from (client.client_id, client.client_orgno, client.integration_type)
    yield from (str(client.fields.get(name, "")) for name in ("client_name", "description"))
    yield from client.scopes
    yield from (key.kid for key in client.keys)


def _texts_of_scope(scope: Scope) -> Iterator[str]:
    yield from (scope.name, scope.owner_orgno, scope.description)


def _show_client(state: State, client: Client) -> dict[str, Any]:
    return {
        "client_id": shorten(client.client_id),
        "name": shorten(str(client.fields.get("client_name", ""))),
        "description": shorten(str(client.fields.get("description", ""))),
        "owner": _show_organisation(state, client.client_orgno),
        "integration_type": client.integration_type,
        "active": client.active,
        "created": client.created,
        "scopes": [shorten(scope) for scope in client.scopes[:MAX_PARTS]],
        "more_scopes": max(0, len(client.scopes) - MAX_PARTS),
        "keys": [{"kid": shorten(key.kid), "created": key.created, "exp": key.exp} for key in client.keys[:MAX_PARTS]],
    }


def _show_scope(state: State, scope: Scope) -> dict[str, Any]:
    accesses = state.accesses.get(scope.name, {})
    states = [access.current.state for access in accesses.values()]
    return {
        "name": shorten(scope.name),
        "prefix": shorten(scope.prefix),
        "description": shorten(scope.description),
        "owner": _show_organisation(state, scope.owner_orgno),
        "exposed": scope.owner_orgno == state.organisation,
        "visibility": scope.visibility,
        "active": scope.active,
        "open": scope.accessible_for_all,
        "delegated": scope.delegation_source is not None,
        "consumers": states.count("APPROVED"),
    }


def _show_access(state: State, access: Access) -> dict[str, Any]:
    return {
        "scope": shorten(access.scope),
        "consumer": _show_organisation(state, access.consumer_orgno),
        "state": access.state,
        "changed": access.last_updated,
    }


def _show_organisation(state: State, orgno: str) -> dict[str, Any]:
    return {"orgno": shorten(orgno), "name": shorten(state.names.get(orgno))}


def show_call(state: State, entry: Entry) -> dict[str, Any]:
    """Return a call of the ledger without its query, which has what somebody sent."""
    return {
        "sequence": entry.sequence,
        "wall": entry.wall,
        "operation": entry.operation,
        "method": shorten(entry.method),
        "path": shorten(entry.path),
        "caller": _name_client(state, entry.caller or (entry.client_id if entry.operation == "token" else None)),
        "client": None if entry.operation == "token" else _name_client(state, entry.client_id),
        "scope": shorten(entry.scope),
        "consumer": shorten(entry.consumer),
        "status": entry.status,
        "fault": entry.fault,
        "duration_ms": entry.duration_ms,
        "violations": [shorten(text) for text in entry.violations[:MAX_PARTS]],
    }


def _name_client(state: State, client_id: str | None) -> str | None:
    """Return what people know a client by: its description, which has namespace and name of what it is for."""
    client = None if client_id is None else state.client(client_id)
    return shorten(client_id if client is None else str(client.fields.get("description") or client_id))


def show_switches(settings: Settings, faults: Faults) -> dict[str, Any]:
    """Return each setting with its value and what it may be, and the newest faults with the newest first."""
    properties = Settings.model_json_schema()["properties"]
    newest = islice(reversed(list(faults)), NEWEST)
    return {
        "settings": [
            {"name": name, "value": getattr(settings, name), **_choices(schema)} for name, schema in properties.items()
        ],
        "faults": [{name: value for name, value in fault.document().items() if name != "body"} for fault in newest],
    }


def _choices(schema: dict[str, Any]) -> dict[str, Any]:
    """Return what a control for a setting needs: its default, its bounds, and the values to choose from."""
    return {
        "description": schema["description"],
        "default": schema["default"],
        "type": "choice" if "enum" in schema else schema["type"],
        "values": schema.get("enum", []),
        "maximum": schema.get("maximum"),
    }
