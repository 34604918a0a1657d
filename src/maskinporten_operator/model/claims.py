"""What only one resource can have: a Secret of a name in its namespace, and a scope that it exposes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from maskinporten_operator.model.maskinportenclient import build_subscope, find_secret_name


class Claim(NamedTuple):
    """Names what is claimed: what it is, and where it stands."""

    what: str
    name: str


def claim_secret(namespace: str, name: str) -> Claim:
    """Claim a Secret."""
    return Claim("secret", f"{namespace}/{name}")


def claim_scope(subscope: str) -> Claim:
    """Claim an exposed scope, by what stands after the prefix."""
    return Claim("scope", subscope)


def find_claims(body: Mapping[str, Any]) -> frozenset[Claim]:
    """Find what a resource claims, whether or not its spec is valid as a whole."""
    return frozenset(_find_claims(body))


def _find_claims(body: Mapping[str, Any]) -> Iterator[Claim]:
    if (name := find_secret_name(body)) is not None:
        yield claim_secret(body["metadata"]["namespace"], name)
    spec = body.get("spec")
    scopes = spec.get("scopes") if isinstance(spec, Mapping) else None
    exposed = scopes.get("exposes") if isinstance(scopes, Mapping) else None
    enabled = {}
    for scope in exposed if isinstance(exposed, list) else ():
        if not isinstance(scope, Mapping):
            continue
        product, separator, name = scope.get("product"), scope.get("separator"), scope.get("name")
        if isinstance(product, str) and isinstance(name, str) and isinstance(separator, str | None):
            enabled[build_subscope(product, separator, name)] = scope.get("enabled") is True
    # A disabled scope isn't made, so it claims nothing; of one that is written more than once the last counts.
    yield from (claim_scope(subscope) for subscope, is_made in enabled.items() if is_made)
