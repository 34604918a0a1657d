"""What of a manifest differs from the object at the API server: defaults and others' fields don't count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

LIST_KEYS = ("uid", "mountPath", "name")
"""The members by which Kubernetes tells elements of a list apart, where it does; owners and mounts may share a name."""
_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9),
    "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30),
    "Ti": Decimal(2**40), "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip


def find_difference(desired: Any, observed: Any, path: str = "", *, shared_lists: bool = True) -> str | None:
    """Give the path of the first value of a manifest that the object doesn't have; None if it has them all.

    The API server leaves out what is empty or zero, adds defaults, and writes quantities its own way (`1000m` as `1`).
    Without `shared_lists` a list is one value, and an element that somebody added a difference; owners are told apart.
    """
    if not desired and desired is not False and not observed:
        return None
    if isinstance(desired, Mapping):
        return _compare_objects(desired, observed, path, shared_lists=shared_lists)
    if isinstance(desired, Sequence) and not isinstance(desired, str):
        return _compare_lists(desired, observed, path, shared_lists=shared_lists)
    if desired == observed or (".resources." in path and _is_same_quantity(desired, observed)):
        return None
    return path


def is_less(first: str | None, second: str | None) -> bool:
    """Whether the first of two quantities is less; what is missing or no quantity is neither less nor more."""
    less, more = _parse_quantity(first or ""), _parse_quantity(second or "")
    return less is not None and more is not None and less < more


def take_over(desired: Any, observed: Any) -> Any:
    """Give a manifest the values that the object has where the manifest has any: what others made of it at a write."""
    if isinstance(desired, Mapping) and isinstance(observed, Mapping):
        return {name: take_over(value, observed.get(name)) for name, value in desired.items()}
    if isinstance(desired, list) and isinstance(observed, list):
        if key := _find_list_key(desired, LIST_KEYS):
            by_key = {one.get(key): one for one in observed if isinstance(one, Mapping)}
            return [take_over(one, by_key.get(one[key])) for one in desired]
        if len(desired) == len(observed):
            return [take_over(*pair) for pair in zip(desired, observed, strict=True)]
    return observed


def _compare_objects(desired: Mapping[str, Any], observed: Any, path: str, *, shared_lists: bool) -> str | None:
    if not isinstance(observed, Mapping):
        return path
    for name, value in desired.items():
        where = f"{path}.{name}" if path else name
        if difference := find_difference(value, observed.get(name), where, shared_lists=shared_lists):
            return difference
    return None


def _compare_lists(desired: Sequence[Any], observed: Any, path: str, *, shared_lists: bool) -> str | None:
    if not isinstance(observed, Sequence) or isinstance(observed, str):
        return path
    if key := _find_list_key(desired, LIST_KEYS if shared_lists else ("uid",)):
        by_key = {one.get(key): one for one in observed if isinstance(one, Mapping)}
        pairs = [(f"{path}[{one[key]}]", one, by_key.get(one[key])) for one in desired]
    elif len(desired) != len(observed):
        return path
    else:
        pairs = [(f"{path}[{number}]", *pair) for number, pair in enumerate(zip(desired, observed, strict=True))]
    for where, wanted, found in pairs:
        if difference := find_difference(wanted, found, where, shared_lists=shared_lists):
            return difference
    return None


def _find_list_key(desired: Sequence[Any], keys: Sequence[str]) -> str | None:
    if not desired or not all(isinstance(one, Mapping) for one in desired):
        return None
    for key in keys:
        values = [one.get(key) for one in desired]
        if all(isinstance(value, str | int) for value in values) and len(set(values)) == len(values):
            return key
    return None


def _is_same_quantity(desired: Any, observed: Any) -> bool:
    first, second = _parse_quantity(str(desired)), _parse_quantity(str(observed))
    return first is not None and first == second


def _parse_quantity(text: str) -> Decimal | None:
    number = text.rstrip("numkMGTPEi")
    try:
        return Decimal(number) * _SUFFIXES[text[len(number) :]]
    except (ArithmeticError, KeyError):
        return None
