"""How many resources, scopes and keys are in which state, for the metrics. Every state is one of a few."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.conditions import READY
from maskinporten_operator.model.status_hint import ConditionHint, StatusHint, read_status
from maskinporten_operator.plan.status import OWN_TYPES
from maskinporten_operator.runtime.metrics import KNOWN_RESULTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from maskinporten_operator.model.jwk import PublicJwk
    from maskinporten_operator.model.registrations import Registration
    from maskinporten_operator.runtime.store import WatchedResourceStore

SCOPE_STATES = frozenset({"Active", "Inactive", "Withdrawn", "Absent", "Conflict"})
NOTICES = OWN_TYPES - {READY}
DAY = 86400.0
AGES = (("1d", 1), ("30d", 30), ("180d", 180), ("335d", 335))
"""Names of ages, and up to how many days they reach."""
OLDER, UNKNOWN, OTHER, NEW = "older", "unknown", "Other", "New"


def count_resources(stores: Iterable[WatchedResourceStore]) -> Counter[tuple[str, ...]]:
    """Count by kind, Ready and its reason; whoever may write a status wrote it."""
    found: Counter[tuple[str, ...]] = Counter()
    for store in stores:
        for status in _statuses(store):
            ready = status.find_condition(READY)
            if ready is None:
                found[store.kind.name, "Unknown", NEW] += 1
                continue
            found[store.kind.name, ready.status, _name_reason(ready)] += 1
    return found


def count_false_conditions(stores: Iterable[WatchedResourceStore]) -> Counter[tuple[str, ...]]:
    """Count the conditions beside Ready that are False, by kind, type and reason; of our own types only."""
    found: Counter[tuple[str, ...]] = Counter()
    for store in stores:
        for status in _statuses(store):
            for condition in status.conditions:
                if condition.status == "False" and condition.type in NOTICES:
                    found[store.kind.name, condition.type, _name_reason(condition)] += 1
    return found


def count_scopes(store: WatchedResourceStore) -> Counter[tuple[str, ...]]:
    """Count the exposed scopes by their state in the statuses."""
    found: Counter[tuple[str, ...]] = Counter()
    for status in _statuses(store):
        for scope in status.exposed_scopes:
            found[(scope.state if scope.state in SCOPE_STATES else OTHER,)] += 1
    return found


def count_keys(
    registrations: Iterable[Registration], stores: Iterable[WatchedResourceStore], now: datetime
) -> Counter[tuple[str, ...]]:
    """Count our registered keys of resources' clients by age; those of clients that were only listed aren't known."""
    held = _held_keys(stores)
    keys = [key for one in registrations if one.client_id in held for key in one.keys or () if key.ours]
    return Counter((_name_age(key, now),) for key in keys)


def find_first_expiry(registrations: Iterable[Registration], stores: Iterable[WatchedResourceStore]) -> float | None:
    """Find when the first of the keys in resources' Secrets expires, in seconds since 1970; None if there is none.

    Others aren't renewed: those of a client that outlived its resource, and those that were replaced.
    """
    held = _held_keys(stores)
    keys = (
        key
        for one in registrations
        for key in one.keys or ()
        if key.ours and key.kid in held.get(one.client_id, frozenset())
    )
    return min((key.expires for key in keys if key.expires is not None), default=None)


def _held_keys(stores: Iterable[WatchedResourceStore]) -> Mapping[str, AbstractSet[str | None]]:
    """Give the ids of the keys in Secrets, by client, as statuses of resources that aren't being deleted tell."""
    held: dict[str, set[str | None]] = {}
    for store in stores:
        for body in _bodies(store):
            status = read_status(body)
            if status.client_id is not None and not body["metadata"].get("deletionTimestamp"):
                held.setdefault(status.client_id, set()).add(status.key_id)
    return held


def _name_reason(condition: ConditionHint) -> str:
    return str(condition.reason) if condition.reason in KNOWN_RESULTS else OTHER


def _name_age(key: PublicJwk, now: datetime) -> str:
    if key.created is None:
        return UNKNOWN
    age = now - key.created
    return next((name for name, days in AGES if age.total_seconds() < days * DAY), OLDER)


def _statuses(store: WatchedResourceStore) -> Iterator[StatusHint]:
    return map(read_status, _bodies(store))


def _bodies(store: WatchedResourceStore) -> Iterator[Mapping[str, Any]]:
    return (entry.body for key in store if (entry := store.find(key)))
