"""What follows passes and calls, if anything does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager


class NoteEnd(Protocol):
    """Notes how something ended."""

    def __call__(self, result: str, *, failed: bool) -> None:
        """`result` is a word without a secret: a reason, or the status of HTTP."""


class Tracer(Protocol):
    """Follows what is done within its blocks."""

    def follow_pass(self, attributes: Mapping[str, str]) -> AbstractContextManager[NoteEnd]:
        """Follow a pass over what the attributes tell."""

    def follow_call(self, system: str, method: str, route: str) -> AbstractContextManager[NoteEnd]:
        """Follow a call of an API; of its path the route is told, with the names of its parts for their values."""
