"""A shared list that lags behind our own writes, merged with these."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from maskinporten_operator.adapters.digdir.listing import SharedListing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

T = TypeVar("T")


class LaggingListing(SharedListing[tuple[T, ...]]):
    """What DigDir has of one kind, by key, and by the ownership in its description.

    A list proves what exists, not what doesn't, since it may lag behind writes by `lag` seconds. So what was written or
    read alone within that time before a list's start outranks the list, and what a creation whose answer was lost
    has made may be missing from it.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[tuple[T, ...]]],
        lag: float,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        *,
        key: Callable[[T], str],
        owner: Callable[[T], str | None],
    ) -> None:
        """`owner` gives None for what is no resource's of this cluster."""
        super().__init__(read, self._replace, monotonic, sleep)
        self._key = key
        self._owner = owner
        self._lag = lag
        self._by_key: dict[str, T] = {}
        self._by_owner: dict[str, tuple[str, ...]] = {}
        self._touched: dict[str, float] = {}  # by key: when it was last written or read alone
        self._unconfirmed: dict[str, float] = {}  # by key: when a write to it was begun that has no answer so far
        self._lost_answers: dict[str, float] = {}  # by owner: when the answer to a creation was lost

    def __len__(self) -> int:
        return sum(map(len, self._by_owner.values()))

    def find_owned(self, ownership: str) -> tuple[T, ...]:
        """Give what has this ownership in its description."""
        return tuple(self._by_key[key] for key in sorted(self._by_owner.get(ownership, ())))

    def is_unconfirmed(self, key: str) -> bool:
        """Whether a write to it was left without an answer since it was last read."""
        return key in self._unconfirmed

    def complete_at(self, ownership: str, *, had_finalizer: bool) -> float:
        """Say when (monotonic seconds) a list has all that a resource owns.

        `had_finalizer` says that our finalizer was on the resource when this process first saw it: an earlier process
        may have created something just before it ended.
        """
        started = self.alone_since if had_finalizer else -float("inf")
        return max(started, self._lost_answers.get(ownership, -float("inf"))) + self._lag

    def _choose_recent(self, moments: Mapping[str, float], started: float) -> dict[str, float]:
        """Choose what happened so late that a list which was started at `started` may lack it."""
        return {one: at for one, at in moments.items() if started <= at + self._lag}

    def _replace(self, listed: Iterable[T], started: float) -> None:
        self._touched = self._choose_recent(self._touched, started)
        self._lost_answers = self._choose_recent(self._lost_answers, started)
        newly = {key: item for item in listed if (key := self._key(item)) not in self._touched}
        for key in self._by_key.keys() - newly.keys() - self._touched.keys():
            self._drop(key)
        for key, item in newly.items():
            if self._by_key.get(key) is not item:
                self._drop(key)
                self._store(item)
        recent = self._choose_recent(self._unconfirmed, started)
        self._unconfirmed = {key: at for key, at in self._unconfirmed.items() if key in self._by_key or key in recent}

    def _store(self, item: T) -> None:
        key = self._key(item)
        self._by_key[key] = item
        if owner := self._owner(item):
            self._by_owner[owner] = (*self._by_owner.get(owner, ()), key)

    def _drop(self, key: str) -> None:
        known = self._by_key.pop(key, None)
        if known is None or not (owner := self._owner(known)):
            return
        if left := tuple(one for one in self._by_owner[owner] if one != key):
            self._by_owner[owner] = left
        else:
            del self._by_owner[owner]

    def _record(self, item: T) -> None:
        """Record an item as a write or a read returned it."""
        self._forget(self._key(item))
        self._store(item)

    def _begin_write(self, key: str) -> None:
        """Mark as unconfirmed what is about to be written."""
        self._unconfirmed[key] = self._monotonic()

    def _forget(self, key: str) -> None:
        self._touched[key] = self._monotonic()
        self._unconfirmed.pop(key, None)
        self._drop(key)
