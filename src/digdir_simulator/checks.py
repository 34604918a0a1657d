"""Checks of the fields of a request: each says what is wrong with a value, None if nothing is."""

from collections.abc import Callable, Mapping
from typing import Any

from digdir_simulator.errors import Problem

_MAX_INT64 = 2**63

Check = Callable[[Any], str | None]
"""Says what is wrong with a value, None if nothing is."""


def text(limit: int) -> Check:
    """Return the check for a string of at most `limit` characters."""

    def check(value: Any) -> str | None:
        if not isinstance(value, str):
            return "must be a string"
        return f"must have at most {limit} characters" if len(value) > limit else None

    return check


def boolean(value: Any) -> str | None:
    """Check for a boolean."""
    return None if isinstance(value, bool) else "must be a boolean"


def seconds(least: int) -> Check:
    """Return the check for a whole number of seconds, `least` or more."""

    def check(value: Any) -> str | None:
        is_integer = isinstance(value, int) and not isinstance(value, bool)
        return None if is_integer and least <= value < _MAX_INT64 else f"must be a number of seconds, at least {least}"

    return check


def texts(value: Any) -> str | None:
    """Check for a list of strings."""
    is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return None if is_list else "must be a list of strings"


def one_of(*values: str) -> Check:
    """Return the check for one of `values`."""

    def check(value: Any) -> str | None:
        return None if isinstance(value, str) and value in values else f"must be one of {', '.join(values)}"

    return check


def list_problems(given: Mapping[str, Any], checks: Mapping[str, Check], object_name: str) -> list[Problem]:
    """Return one problem for each wrong field."""
    return [
        Problem(f"{name} {wrong}", name, object_name)
        for name, value in given.items()
        if (wrong := checks[name](value)) is not None
    ]
