"""Which functions the rules and policies call in CEL, and since when API servers have them."""

from __future__ import annotations

import re

OLDEST = (1, 30)
"""The first Kubernetes whose admission policies are v1."""

SINCE: dict[str, tuple[int, int]] = {
    "contains": (1, 23),
    "exists": (1, 23),
    "filter": (1, 23),
    "has": (1, 23),
    "hasValue": (1, 28),
    "join": (1, 23),
    "map": (1, 23),
    "matches": (1, 23),
    "size": (1, 23),
    "startsWith": (1, 23),
    "type": (1, 23),
    "of": (1, 28),
    "orValue": (1, 28),
    "format": (1, 29),
    "split": (1, 23),
}
"""By the list of libraries in k8s.io/apiserver, pkg/cel/environment; what is called needs an entry."""

LITERAL = re.compile(r"""r?'[^']*'|"(?:[^"\\]|\\.)*\"""")


def find_calls(expression: str) -> set[str]:
    """Name the functions and macros that an expression calls."""
    return set(re.findall(r"(\w+)\(", LITERAL.sub("''", expression)))


def check_age(expressions: list[str]) -> None:
    """Fail if an expression calls what an API server of the oldest version may not know.

    A new object may call what was there a version earlier, so that its server can be rolled back.
    """
    called = set().union(*map(find_calls, expressions))
    assert called
    assert {name for name in called if SINCE.get(name, OLDEST) >= OLDEST} == set()
