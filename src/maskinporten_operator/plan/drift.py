"""Which members of a thing at DigDir differ from what they should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def find_drift(read: Mapping[str, Any], desired: Mapping[str, Any]) -> list[str]:
    """Find the members that differ; what the API leaves out is null, and its lists have no order."""
    return [name for name, value in desired.items() if not _is_same(read.get(name), value)]


def _is_same(current: object, desired: object) -> bool:
    if isinstance(current, list) and isinstance(desired, list):
        return sorted(map(str, current)) == sorted(desired)
    return current == desired
