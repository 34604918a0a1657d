"""Which registration is the resource's, and what it should look like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.blockers import Blocker, rejected
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.registrations import INTEGRATION_TYPE, JWT_BEARER, Registration
from maskinporten_operator.plan.decisions import UpdateRegistration
from maskinporten_operator.plan.drift import find_drift

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from maskinporten_operator.model.maskinportenclient import MaskinportenClientSpec
    from maskinporten_operator.model.resources import ObjectMeta
    from maskinporten_operator.plan.registration_settings import RegistrationSettings

NOT_SENT = frozenset(
    {"client_id", "client_secret", "created", "jwks_uri", "last_updated", "onbehalfof", "supplier_orgno"}
)
"""Members that the API adds to its answers and takes in no request, and one that takes a right of its own."""
UNSET_IF_ZERO = frozenset({"authorization_lifetime", "refresh_token_lifetime"})
"""Lifetimes that read 0 on older clients, and that the API refuses when they are sent so."""
MAX_DESCRIPTION_LENGTH = 255
"""Characters that DigDir takes of a client and of a scope, by its own web interface."""


def choose(candidates: Iterable[Registration], *hints: str | None) -> Registration | None:
    """Pick one of the registrations with our description: the first id hinted at, else the oldest."""
    by_id = {candidate.client_id: candidate for candidate in candidates}
    for hint in hints:
        if hint in by_id:
            return by_id[hint]
    return min(by_id.values(), key=lambda one: (one.created or "9999", one.client_id), default=None)


def build_fields(
    spec: MaskinportenClientSpec, meta: ObjectMeta, settings: RegistrationSettings, scopes: Sequence[str]
) -> dict[str, Any]:
    """Build the members that are ours to set, as the API writes them, with these scopes."""
    return build_members(spec.client_name or settings.client_name, settings.build_ownership(meta), settings, scopes)


def build_members(name: str, description: str, settings: RegistrationSettings, scopes: Sequence[str]) -> dict[str, Any]:
    """Build those members of a client of this name and description."""
    return {
        "client_name": name,
        "description": description,
        "integration_type": INTEGRATION_TYPE,
        "application_type": "web",
        "token_endpoint_auth_method": "private_key_jwt",
        "grant_types": [JWT_BEARER],
        "access_token_lifetime": settings.access_token_lifetime,
        "scopes": list(scopes),
    }


def plan_update(
    registration: Registration, desired: Mapping[str, Any], fallbacks: Sequence[Sequence[str]] = ()
) -> UpdateRegistration | None:
    """Compare the registration with our fields; `fallbacks` are scopes to send if DigDir refuses those desired."""
    drifted = find_drift(registration.fields, desired)
    if not drifted:
        return None
    return UpdateRegistration(
        registration.client_id,
        build_update(registration, desired),
        f"{', '.join(drifted)} differ",
        tuple(map(tuple, fallbacks)),
        only_scopes=drifted == ["scopes"],
    )


def build_update(registration: Registration, desired: Mapping[str, Any]) -> dict[str, Any]:
    """Build the members of a PUT: the registration as read, with ours in place."""
    return {name: one for name, one in registration.fields.items() if _is_sent(name, one)} | dict(desired)


def order_scopes(registered: Iterable[str], written: Iterable[str]) -> tuple[str, ...]:
    """Put the registered scopes in the order in which the spec writes them, those it doesn't name last."""
    rest = list(registered)
    ordered = [scope for scope in written if scope in rest]
    return (*ordered, *sorted(set(rest) - set(ordered)))


def check_description(description: str) -> Blocker | None:
    """Say that a resource's ownership is longer than DigDir takes, before anything is asked of it."""
    if len(description) <= MAX_DESCRIPTION_LENGTH:
        return None
    return rejected(
        Reason.INVALID_SPEC,
        f"The client's description at DigDir, {description[:80]}…, is made of the names of cluster, namespace and "
        f"resource and would have {len(description)} characters, and {MAX_DESCRIPTION_LENGTH} is the most: choose a "
        "shorter name",
    )


def _is_sent(name: str, value: object) -> bool:
    """Whether a member goes back as it was read."""
    return name not in NOT_SENT and not (name in UNSET_IF_ZERO and value == 0)
