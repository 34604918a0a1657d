"""What is the same in many documents, kept in memory once: names of scopes, conditions, members of keys.

Nobody changes a document that was read, so it may have parts in common with others.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_REMEMBERED = 4096
"""Texts, and likewise lists and objects, that are remembered: those that came last."""


def share_values(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give the same fields, whose names and values are one object with those of all that have the same."""
    return {sys.intern(name): share(value) for name, value in fields.items()}


def share(value: Any) -> Any:
    """Give a value that is equal, and one object for all that are; what is nested too deeply is given back."""
    if isinstance(value, str):
        return _remember_text(value)
    if not isinstance(value, dict | list):
        return value
    try:
        return _remember_document(msgspec.json.encode(value))
    except (msgspec.MsgspecError, RecursionError, ValueError):  # whatever somebody wrote
        return value


@lru_cache(maxsize=MAX_REMEMBERED)
def _remember_text(text: str) -> str:
    return text


@lru_cache(maxsize=MAX_REMEMBERED)
def _remember_document(encoded: bytes) -> Any:
    document = msgspec.json.decode(encoded)
    return share_values(document) if isinstance(document, dict) else [share(one) for one in document]
