"""How many resources, scopes and keys are in which state, for the metrics. Every state is one of a few."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.conditions import READY
from maskinporten_operator.model.status_hint import ConditionHint, StatusHint, read_status
from maskinporten_operator.plan.status import OWN_TYPES
from maskinporten_operator.runtime.metrics import KNOWN_RESULTS

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from maskinporten_operator.model.jwk import PublicJwk
    from maskinporten_operator.model.registrations import Registration
    from maskinporten_operator.runtime.store import WatchedResourceStore

Counts = Counter[tuple[str, ...]]
"""By the values of a gauge's labels."""
SCOPE_STATES = frozenset({"Active", "Inactive", "Withdrawn", "Absent", "Conflict"})
NOTICES = OWN_TYPES - {READY}
DAY = 86400.0
AGES = (("1d", 1), ("30d", 30), ("180d", 180), ("335d", 335))
"""Names of ages, and up to how many days they reach."""
OLDER, UNKNOWN, OTHER, NEW = "older", "unknown", "Other", "New"


@dataclass(slots=True)
class StateCounts:
    """What the statuses of all resources tell, counted in one walk.

    Attributes:
        resources: By kind, and `Ready` with its reason; `New` without one.
        false_conditions: The conditions beside `Ready` that are False, by kind, type and reason; of our own types only.
        scopes: Exposed scopes by state.
        held: The ids of the keys in Secrets, by client, of resources that aren't being deleted.
    """

    resources: Counts = field(default_factory=Counter)
    false_conditions: Counts = field(default_factory=Counter)
    scopes: Counts = field(default_factory=Counter)
    held: dict[str, set[str | None]] = field(default_factory=dict)


def count_states(stores: Iterable[WatchedResourceStore]) -> StateCounts:
    """Count what the statuses tell."""
    counts = StateCounts()
    for store in stores:
        for key in store:
            if entry := store.find(key):
                _count_status(counts, store.kind.name, read_status(entry.body), entry.body["metadata"])
    return counts


def _count_status(counts: StateCounts, kind: str, status: StatusHint, metadata: Mapping[str, Any]) -> None:
    ready = None
    for condition in status.conditions:
        if condition.type == READY:
            ready = ready or condition
        elif condition.status == "False" and condition.type in NOTICES:
            counts.false_conditions[kind, condition.type, _name_reason(condition)] += 1
    counts.resources[(kind, ready.status, _name_reason(ready)) if ready else (kind, "Unknown", NEW)] += 1
    for scope in status.exposed_scopes:
        counts.scopes[(scope.state if scope.state in SCOPE_STATES else OTHER,)] += 1
    if status.client_id is not None and not metadata.get("deletionTimestamp"):
        counts.held.setdefault(status.client_id, set()).add(status.key_id)


def count_keys(registrations: Iterable[Registration], held: Container[str], now: datetime) -> Counts:
    """Count our registered keys of resources' clients by age; those of clients that were only listed aren't known."""
    keys = [key for one in registrations if one.client_id in held for key in one.keys or () if key.ours]
    return Counter((_name_age(key, now),) for key in keys)


def find_first_expiry(
    registrations: Iterable[Registration], held: Mapping[str, AbstractSet[str | None]]
) -> float | None:
    """Find when the first of the keys in resources' Secrets expires, in seconds since 1970; None if there is none.

    Others aren't renewed: those of a client that outlived its resource, and those that were replaced.
    """
    keys = (
        key
        for one in registrations
        if (kids := held.get(one.client_id))
        for key in one.keys or ()
        if key.ours and key.kid in kids
    )
    return min((expires for key in keys if (expires := key.expires) is not None), default=None)


def _name_reason(condition: ConditionHint) -> str:
    return str(condition.reason) if condition.reason in KNOWN_RESULTS else OTHER


def _name_age(key: PublicJwk, now: datetime) -> str:
    if (created := key.created) is None:
        return UNKNOWN
    age = now - created
    return next((name for name, days in AGES if age.total_seconds() < days * DAY), OLDER)
