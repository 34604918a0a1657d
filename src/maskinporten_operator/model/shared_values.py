"""What is the same in many documents, kept in memory once: names of scopes, conditions, members of keys.

Nobody changes a document that was read, so it may have parts in common with others.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

import msgspec

MAX_REMEMBERED = 4096
"""Texts, and likewise lists and objects, that are remembered: those that came last."""
MAX_SIZE = 1024
"""Bytes as JSON of what is remembered. What is larger is seldom in several documents, and whoever writes one could fill
the memory."""


def share_values(fields: Any) -> Any:
    """Give the same fields, whose names and values are one object with those of all that have the same.

    What is no object is given back.
    """
    if not isinstance(fields, dict):
        return fields
    return {sys.intern(name): share(value) for name, value in fields.items()}


def share(value: Any) -> Any:
    """Give a value that is equal, and one object for all small ones that are.

    Of a large one the parts are shared; what is nested too deeply is given back.
    """
    if isinstance(value, str):
        return _remember_text(value) if len(value) <= MAX_SIZE else value
    if not isinstance(value, dict | list):
        return value
    try:
        encoded = msgspec.json.encode(value)
        return _remember_document(encoded) if len(encoded) <= MAX_SIZE else _share_parts(value)
    except (msgspec.MsgspecError, RecursionError, ValueError):  # whatever somebody wrote
        return value


def _share_parts(document: Any) -> Any:
    return [share(one) for one in document] if isinstance(document, list) else share_values(document)


@lru_cache(maxsize=MAX_REMEMBERED)
def _remember_text(text: str) -> str:
    return text


@lru_cache(maxsize=MAX_REMEMBERED)
def _remember_document(encoded: bytes) -> Any:
    return _share_parts(msgspec.json.decode(encoded))
