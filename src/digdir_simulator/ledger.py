"""The ledger: every call of the admin API and the token endpoint, in order of arrival."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

RECENT_CHANGES = 400
"""How many changes are remembered for those who follow: the arrival and the end of the latest 200 calls."""


@dataclass(slots=True)
class Entry:
    """One call. It is entered on arrival, so that a call still under way can be seen.

    Attributes:
        sequence: counts up from 1, never used twice while the simulator runs.
        monotonic: arrival on the machine's monotonic clock, seconds; comparable between processes.
        wall: arrival on the simulator's clock, epoch seconds.
        operation: such as ``create-client``; ``token`` for the token endpoint.
        path: without query.
        query: as sent.
        client_id: the client that the call concerns; for ``token`` the one that asked.
        scope: the scope that the call concerns.
        consumer: the organisation whose access to the scope the call gives or takes.
        caller: client_id of the access token, None for ``token`` and open operations.
        status: HTTP status, or what it would have been for a call whose answer was dropped; None
            while under way and for a call dropped before it was carried out.
        fault: the faults that struck, None if none did.
        duration_ms: None while under way.
        violations: in what it breaks the contract of the API, also where the API passes over that. They hold no
            values of the request.
    """

    sequence: int
    monotonic: float
    wall: float
    operation: str
    method: str
    template: str
    path: str
    query: str
    client_id: str | None = None
    scope: str | None = None
    consumer: str | None = None
    caller: str | None = None
    status: int | None = None
    fault: str | None = None
    duration_ms: float | None = None
    violations: list[str] = field(default_factory=list)

    def concern(self, client_id: str | None, scope: str | None, consumer: str | None) -> None:
        """Note what the call concerns."""
        self.client_id = client_id
        self.scope = scope
        self.consumer = consumer


class Ledger:
    """The latest calls, up to a fixed number; older ones are dropped, and that is told.

    Attributes:
        changes: number of changes so far: calls that arrived, calls that ended, and clearings.
        cleared_by: the number of the change that last cleared it, 0 before the first.
    """

    def __init__(self, size: int, on_change: Callable[[], None] = lambda: None) -> None:
        """Keep at most `size` entries, and tell of each change."""
        self._entries: deque[Entry] = deque(maxlen=size)
        self._violating: deque[Entry] = deque(maxlen=size)
        self._sequence = 0
        self._cleared = 0
        self._recent: deque[Entry] = deque(maxlen=RECENT_CHANGES)
        self._on_change = on_change
        self.changes = 0
        self.cleared_by = 0

    def open(self, *, operation: str, method: str, template: str, path: str, query: str, wall: float) -> Entry:
        """Enter a call that has just arrived."""
        self._sequence += 1
        entry = Entry(
            sequence=self._sequence,
            monotonic=time.monotonic(),
            wall=wall,
            operation=operation,
            method=method,
            template=template,
            path=path,
            query=query,
        )
        self._entries.append(entry)
        self._note(entry)
        return entry

    def close(self, entry: Entry, status: int | None) -> None:
        """Note the end of a call."""
        entry.status = status
        entry.duration_ms = round((time.monotonic() - entry.monotonic) * 1000, 3)
        self._note(entry)

    def _note(self, entry: Entry) -> None:
        self._recent.append(entry)
        self.changes += 1
        self._on_change()

    def changed_after(self, change: int) -> tuple[list[Entry], int]:
        """Return the entries of the changes after that number, in order of arrival, each once.

        Of more than are remembered the latest are returned, and how many are missing.
        """
        new = self.changes - max(change, self.cleared_by)
        remembered = min(new, len(self._recent))
        entries = {entry.sequence: entry for entry in islice(reversed(self._recent), remembered)}
        return [entries[sequence] for sequence in sorted(entries)], new - remembered

    def violate(self, entry: Entry, violations: list[str]) -> None:
        """Note in what a call breaks the contract, if in anything."""
        if violations:
            if not entry.violations:
                self._violating.append(entry)
            entry.violations += violations

    def violating(self) -> list[dict[str, Any]]:
        """Return the calls that break the contract, also those that gave way to newer ones in the ledger."""
        return [asdict(entry) for entry in self._violating]

    def latest_violating(self, number: int) -> list[Entry]:
        """Return so many of those calls, the newest first."""
        return list(islice(reversed(self._violating), number))

    def clear(self) -> None:
        """Forget all entries; the sequence goes on."""
        self._entries.clear()
        self._violating.clear()
        self._cleared = self._sequence
        self._recent.clear()
        self.changes += 1
        self.cleared_by = self.changes
        self._on_change()

    @property
    def count(self) -> int:
        """Number of calls since the last clearing."""
        return self._sequence - self._cleared

    @property
    def violation_count(self) -> int:
        """Number of calls that break the contract."""
        return len(self._violating)

    @property
    def dropped(self) -> int:
        """Number of entries since the last clearing that gave way to newer ones."""
        return self.count - len(self._entries)

    @property
    def last_sequence(self) -> int:
        """Sequence number of the latest call, 0 before the first."""
        return self._sequence

    def _select(self, operation: str | None, client_id: str | None, scope: str | None, since: int) -> Iterator[Entry]:
        for entry in self._entries:
            if (
                entry.sequence > since
                and operation in {None, entry.operation}
                and client_id in {None, entry.client_id}
                and scope in {None, entry.scope}
            ):
                yield entry

    def entries(
        self,
        *,
        operation: str | None = None,
        client_id: str | None = None,
        scope: str | None = None,
        since: int = 0,
    ) -> dict[str, Any]:
        """Return the entries after sequence number `since` that have this operation, client and scope."""
        return {
            "dropped": self.dropped,
            "last_sequence": self._sequence,
            "entries": [asdict(entry) for entry in self._select(operation, client_id, scope, since)],
        }

    def summary(
        self,
        *,
        operation: str | None = None,
        client_id: str | None = None,
        scope: str | None = None,
        since: int = 0,
    ) -> dict[str, Any]:
        """Count those entries by operation and status; ``pending`` and ``dropped`` have no status."""
        counts: dict[str, Counter[str]] = {}
        total = 0
        for entry in self._select(operation, client_id, scope, since):
            total += 1
            if entry.duration_ms is None:
                outcome = "pending"
            else:
                outcome = "dropped" if entry.status is None else str(entry.status)
            counts.setdefault(entry.operation, Counter())[outcome] += 1
        return {
            "dropped": self.dropped,
            "last_sequence": self._sequence,
            "total": total,
            "operations": {name: dict(sorted(counts[name].items())) for name in sorted(counts)},
        }
