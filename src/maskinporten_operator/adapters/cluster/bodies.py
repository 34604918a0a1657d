"""What the API server sends, read within limits, so that a huge object affects its own resource only.

Whoever may write an object decides how large and how deeply nested it is. Of `managedFields` only those managers are
kept that ask for a new key, under `ROTATION_MANAGERS`, and a part beyond a limit is replaced by the reason, under
`UNREADABLE`; of the rest, all is as it was sent.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from decimal import Decimal
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

import ijson
import msgspec
from msgspec import Raw

from maskinporten_operator.model.maskinportenclient import ROTATE_ANNOTATION
from maskinporten_operator.model.resources import MAX_BYTES, MAX_DEPTH, ROTATION_MANAGERS, UNREADABLE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    import aiohttp

    Body = dict[str, Any]
    Reduce = Callable[[Mapping[str, Any]], Mapping[str, Any]]

MAX_DOCUMENT_DEPTH = 100
"""Levels of a whole document that a decoder is given: more than are read, also where an object is one of a list."""
ALWAYS_READ = "metadata.annotations"
"""Whatever its size: the API server bounds it, and a deletion must not miss what the annotations say."""
CHANGES = frozenset({"ADDED", "MODIFIED", "DELETED"})
CHUNK = 64 * 1024
MAX_MANAGERS = 3
_members = msgspec.json.Decoder(dict[str, Raw])
_items = msgspec.json.Decoder(list[Raw] | None)
_value = msgspec.json.Decoder()
_BRACKETS = {"start_map": b"{", "end_map": b"}", "start_array": b"[", "end_array": b"]"}


class UnreadableError(Exception):
    """A part of an object is beyond a limit; the text says what is wrong with it."""


@contextmanager
def _translate() -> Iterator[None]:
    try:
        yield
    except (msgspec.DecodeError, ijson.JSONError, KeyError) as error:
        raise JSONDecodeError(f"not what the API server sends ({type(error).__name__})", "", 0) from None


def read_object(data: bytes | Raw) -> Body:
    """Read an object, or another answer that is a JSON object.

    Raises:
        JSONDecodeError: It isn't JSON, or no JSON object.
    """
    faults: list[str] = []
    members = _read_members(data)
    metadata = _read_members(members.pop("metadata", b"{}"))
    managed = metadata.pop("managedFields", None)
    members.pop(UNREADABLE, None)
    body = {
        "metadata": dict(_read_parts(metadata, "metadata.", faults)),
        **dict(_read_parts(members, "", faults)),
    }
    if managed is not None and ROTATE_ANNOTATION in (body["metadata"].get("annotations") or {}):
        body["metadata"][ROTATION_MANAGERS] = _find_managers(managed, ROTATE_ANNOTATION)
    return body | ({UNREADABLE: faults[0]} if faults else {})


def read_event(line: bytes) -> Body:
    """Read an event of a watch.

    Raises:
        JSONDecodeError: It isn't one.
    """
    event = _read_members(line)
    with _translate():
        kind, raw = _value.decode(event["type"]), event["object"]
    return {"type": kind, "object": read_object(raw)}


def read_list(data: bytes, reduce: Callable[[Body], Any] = lambda body: body) -> Body:
    """Read a list; `reduce` is given each of its objects before the next one is read.

    Raises:
        JSONDecodeError: It isn't one.
    """
    rest, items = _split(data)
    return {**rest, "items": [reduce(read_object(raw)) for raw in items]}


def split_list(data: bytes) -> tuple[Body, Sequence[Raw]]:
    """Read a list's metadata, and give its objects unread, for `read_object`.

    Raises:
        JSONDecodeError: It isn't one.
    """
    rest, items = _split(data)
    with _translate():
        return rest["metadata"], items


def _split(data: bytes) -> tuple[Body, Sequence[Raw]]:
    members = _read_members(data)
    with _translate():
        items = _items.decode(members.pop("items", b"null")) or ()  # an empty list of metadata is null
        return {name: _value.decode(raw) for name, raw in members.items()}, items


async def read_lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Give the lines of an answer, however long: aiohttp's own reading fails at the length of a few buffers."""
    begun: list[bytes] = []
    async for chunk in content.iter_chunked(CHUNK):
        first, *others = chunk.split(b"\n")
        begun.append(first)
        for other in others:
            if line := b"".join(begun):
                yield line
            begun = [other]
    if line := b"".join(begun):
        yield line


async def read_at_most(content: aiohttp.StreamReader, size: float) -> bytes | None:
    """Read an answer; None if it is larger."""
    chunks: list[bytes] = []
    async for chunk in content.iter_chunked(CHUNK):
        chunks.append(chunk)
        size -= len(chunk)
        if size < 0:
            return None
    return b"".join(chunks)


def _read_members(data: bytes | Raw) -> dict[str, Raw]:
    with _translate():
        try:
            return _members.decode(data)
        except RecursionError:
            return _members.decode(cut_depth(bytes(data)))


def _find_managers(managed: Raw, annotation: str) -> list[str]:
    """Find the field managers of an annotation, a few at most."""
    try:
        entries = _read_part(managed, MAX_BYTES)
    except UnreadableError:
        return []
    managers = []
    for entry in entries or ():
        fields = ((entry.get("fieldsV1") or {}).get("f:metadata") or {}).get("f:annotations") or {}
        if f"f:{annotation}" in fields:
            managers.append(str(entry.get("manager")))
    return managers[:MAX_MANAGERS]


def _read_parts(members: Mapping[str, Raw], path: str, faults: list[str]) -> Iterator[tuple[str, Any]]:
    for name, raw in members.items():
        try:
            yield name, _read_part(raw, math.inf if path + name == ALWAYS_READ else MAX_BYTES)
        except UnreadableError as error:
            faults.append(f"{path}{name} {error}")


def _read_part(raw: Raw, max_bytes: float) -> Any:
    if len(memoryview(raw)) > max_bytes:
        raise UnreadableError(f"is larger than {MAX_BYTES // 1024} KiB as JSON")
    try:
        value = _value.decode(raw)
        too_deep = is_deeper(value, MAX_DEPTH)
    except RecursionError:
        too_deep = True
    except msgspec.DecodeError:  # such as a number that no decoder takes
        raise UnreadableError("has a value that can't be read") from None
    if too_deep:
        raise UnreadableError(f"is nested more than {MAX_DEPTH} levels deep")
    return value


def is_deeper(value: Any, max_depth: int) -> bool:
    """Whether more than `max_depth` objects and lists lie within each other."""
    level = [value]
    for _ in range(max_depth + 1):
        level = [one for one in level if isinstance(one, dict | list)]
        if not level:
            return False
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return True


def cut_depth(data: bytes, max_depth: int = MAX_DOCUMENT_DEPTH) -> bytes:
    """Copy JSON, with null for every object and list that lies deeper: no decoder but one of events can take it.

    Raises:
        ValueError: It isn't JSON.
    """
    copy = bytearray()
    depth = 0
    separator = b""
    for event, value in ijson.basic_parse(data):
        opens, closes, is_key = event.startswith("start"), event.startswith("end"), event == "map_key"
        depth += opens
        if depth <= max_depth:
            copy += b"" if closes else separator
            copy += _BRACKETS.get(event) or _encode(value)
            copy += b":" if is_key else b""
            separator = b"" if opens or is_key else b","
        elif opens and depth == max_depth + 1:
            copy += separator + b"null"
            separator = b","
        depth -= closes
    return bytes(copy)


def _encode(value: Any) -> bytes:
    return str(value).encode() if isinstance(value, Decimal) else msgspec.json.encode(value)
