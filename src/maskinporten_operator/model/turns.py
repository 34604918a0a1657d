"""A queue for each namespace, served round-robin."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

T = TypeVar("T", bound="Hashable")


class Turns(Generic[T]):
    """Items that wait, each once; every operation takes constant time, and nothing is kept of an empty line."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, OrderedDict[T, None]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        """How many items wait."""
        return self._count

    def __iter__(self) -> Iterator[str]:
        """Give the namespaces that have items, in the order of their turns."""
        return iter(self._lines)

    def count(self, namespace: str) -> int:
        """How many items of a namespace wait."""
        return len(self._lines.get(namespace, ()))

    def add(self, namespace: str, item: T) -> None:
        """Put an item at the end of its namespace's line; the turn of a namespace that had none comes last."""
        line = self._lines.setdefault(namespace, OrderedDict())
        self._count += item not in line
        line[item] = None

    def discard(self, namespace: str, item: T) -> None:
        """Take an item out of its line, if it is there; the namespace keeps its turn."""
        line = self._lines.get(namespace)
        if line is None or item not in line:
            return
        del line[item]
        self._count -= 1
        if not line:
            del self._lines[namespace]

    def take(self, namespace: str | None = None) -> T:
        """Take the first item of a namespace, by default of the one whose turn it is; its next turn comes last."""
        namespace = namespace if namespace is not None else next(iter(self._lines))
        line = self._lines[namespace]
        item, _ = line.popitem(last=False)
        self._count -= 1
        if line:
            self._lines.move_to_end(namespace)
        else:
            del self._lines[namespace]
        return item

    def drop_newest(self, namespace: str) -> None:
        """Drop the last item of a namespace, which keeps its turn."""
        self.discard(namespace, next(reversed(self._lines[namespace])))

    def clear(self) -> None:
        """Drop all."""
        self._lines.clear()
        self._count = 0
