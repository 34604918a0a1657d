"""Page sizes of lists, in objects, bounded by bytes."""

from __future__ import annotations

import math

FIRST_OBJECTS = 50
MAX_OBJECTS = 2500
MAX_PAGE_BYTES = 4 * 1024 * 1024
"""Of a page; one that is larger is given up, and asked for again with fewer objects."""


class PageSize:
    """The number of objects to ask for next, by how large those were that came."""

    def __init__(self) -> None:
        self.limit = FIRST_OBJECTS

    @property
    def max_bytes(self) -> float:
        """The maximum size of the next page; infinity for a page of one object."""
        return MAX_PAGE_BYTES if self.limit > 1 else math.inf

    def shrink(self) -> None:
        """A page was too large, or didn't come."""
        self.limit = max(1, self.limit // 8)

    def grow(self, size: int) -> None:
        """A page of so many bytes came."""
        self.limit = min(MAX_OBJECTS, self.limit * max(1, MAX_PAGE_BYTES // 2 // (size + 1)))
