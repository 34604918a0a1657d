"""The scopes that a resource exposes: whose they are, what they should look like, and who may use them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from maskinporten_operator.model.blockers import Blocker, rejected, waiting
from maskinporten_operator.model.conditions import CONSUMERS_VALID, SCOPES_DECLARED, SCOPES_UNIQUE, Reason, Verdict
from maskinporten_operator.model.status_hint import MAX_STATUS_SCOPES
from maskinporten_operator.plan.decisions import (
    CreateScope,
    DeactivateScope,
    GrantAccess,
    RevokeAccess,
    ScopeStep,
    UpdateScope,
)
from maskinporten_operator.plan.drift import find_drift
from maskinporten_operator.plan.registration_fields import MAX_DESCRIPTION_LENGTH

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from maskinporten_operator.model.maskinportenclient import ExposedScope, Scopes
    from maskinporten_operator.model.scopes import AccessList, RegisteredScope
    from maskinporten_operator.plan.registration_settings import RegistrationSettings

SEPARATORS = frozenset("/:.")
READ_ONLY_FIELDS = frozenset({"name", "owner_orgno", "created", "last_updated"})
MAX_SHOWN = 5

MAX_WRITES = 50
"""Of exposed scopes and their access lists in one pass: no pass is broken off for another, so each is short."""
MAX_READS = 50

ScopeState = Literal["Active", "Inactive", "Withdrawn", "Conflict", "Absent"]


@dataclass(frozen=True, slots=True)
class Exposure:
    """One scope: what the spec says of it, and what is there.

    Attributes:
        name: Its full name.
        wanted: What the spec says; None for one of ours that the spec doesn't name.
        registered: The scope at DigDir, whoever's it is.
        access: Who may use it; None if it isn't there, or isn't ours.
        rival: The older resource that exposes it too, if the scope isn't there yet.
        issuer: That of its delegation source.
        refusal: Why one of these couldn't be read, or changed by an earlier pass that left others to this one: what
            DigDir said, or a temporary fault.
        pending: Whether a further pass reads it, since this one read as many as it may: nothing is done about it.
    """

    name: str
    wanted: ExposedScope | None
    registered: RegisteredScope | None
    access: AccessList | None = None
    rival: str | None = None
    issuer: str | None = None
    refusal: Blocker | None = None
    pending: bool = False


def find_owner(scope: RegisteredScope, cluster: str) -> str | None:
    """Find the ownership in a scope's description, if it is of this cluster.

    The whole description must be `<ownership>.<subscope>`, which this operator writes, or `<product> - <ownership>`
    with the product that begins the subscope, which Digdirator writes. A prefix doesn't count, since names have dots.
    """
    description, subscope = scope.description, scope.subscope
    ownership = description.removesuffix(f".{subscope}")
    if ownership != description and is_ownership(ownership, cluster):
        return ownership
    product, dash, ownership = description.partition(" - ")
    rest = subscope.removeprefix(product)
    leads = dash and product and rest != subscope and rest[:1] in SEPARATORS
    return ownership if leads and is_ownership(ownership, cluster) else None


def is_owned_scope(scope: RegisteredScope | None, ownership: str, cluster: str) -> bool:
    """Whether a scope is there and belongs, by its description, to the resource with this ownership."""
    return scope is not None and find_owner(scope, cluster) == ownership


def build_scope_description(ownership: str, subscope: str) -> str:
    """Build the description of a resource's scope."""
    return f"{ownership}.{subscope}"


def build_scope_fields(exposure: Exposure, prefix: str, ownership: str) -> dict[str, Any]:
    """Build the members that are ours to set, as the API writes them; None for one that is left out."""
    wanted = exposure.wanted
    assert wanted
    return {
        "prefix": prefix,
        "subscope": wanted.subscope,
        "description": build_scope_description(ownership, wanted.subscope),
        "visibility": wanted.visibility.upper(),
        "allowed_integration_types": list(dict.fromkeys(wanted.allowed_integrations)),
        "at_max_age": wanted.at_max_age,
        "authorization_max_lifetime": wanted.at_max_age,
        "accessible_for_all": wanted.accessible_for_all,
        "delegation_source": exposure.issuer,
        "active": True,
    }


def build_activation(scope: RegisteredScope) -> dict[str, Any]:
    """Build the members with which an inactive scope becomes active, and nothing else of it changes."""
    return _merge(scope.fields, {"active": True})


def plan_scopes(exposures: Iterable[Exposure], ownership: str, settings: RegistrationSettings) -> list[ScopeStep]:
    """Decide what to do about the scopes of the resource with this ownership, in one pass or several."""
    steps: list[ScopeStep] = []
    for exposure in exposures:
        if exposure.pending:
            continue
        if exposure.wanted is None:
            steps += _plan_withdrawn(exposure, settings)
        elif not check_exposure(exposure, ownership, settings):
            steps += _plan_exposed(exposure, exposure.wanted, ownership, settings)
    return steps


def choose_steps(steps: Iterable[ScopeStep], allowed: Collection[str] | None = None) -> list[ScopeStep]:
    """Choose what one pass does: as many whole scopes as go in, and of one that is too much by itself the first steps.

    What goes before a scope is active again isn't parted from that: DigDir may refuse it until then. `allowed` names
    the scopes that may be changed; None are all.
    """
    chosen: list[ScopeStep] = []
    for name, group in groupby(steps, key=lambda step: step.scope):
        if allowed is not None and name not in allowed:
            continue
        found = list(group)
        if chosen and len(chosen) + len(found) > MAX_WRITES:
            break
        activation = next((n for n, one in enumerate(found, 1) if isinstance(one, UpdateScope) and one.activates), 0)
        chosen += found[: max(MAX_WRITES, activation)]
    return chosen


def check_pending(*, unfinished: bool) -> Blocker | None:
    """Say that a pass left exposed scopes to further ones; in the same words each time, so that it is written once."""
    if not unfinished:
        return None
    return waiting(
        Reason.SCOPES_PENDING,
        "The credentials are in the Secret. There are more exposed scopes and consumers to look at or to change than "
        "one pass does: further passes go on with them at once",
        0.0,
    )


def check_exposure(exposure: Exposure, ownership: str, settings: RegistrationSettings) -> Blocker | None:
    """Say why a scope isn't this resource's to touch, or can't be made, or None."""
    wanted, registered = exposure.wanted, exposure.registered
    if wanted is None or exposure.refusal or exposure.pending:
        return exposure.refusal
    if registered and not is_owned_scope(registered, ownership, settings.cluster):
        return _conflict(
            exposure.name,
            f"exists at DigDir and isn't this resource's: its description is \"{registered.description[:200]}\". "
            f'To hand it over, set its description there to "{build_scope_description(ownership, wanted.subscope)}"; '
            "else take it out of the spec",
        )
    if registered is None and wanted.enabled and exposure.rival:
        return _conflict(
            exposure.name,
            f"is exposed by MaskinportenClient {exposure.rival} too, which is older: take it out of one of the two",
        )
    if wanted.enabled and wanted.delegation_source and not exposure.issuer:
        return rejected(
            Reason.DELEGATION_SOURCE_UNKNOWN,
            f"{exposure.name} can't be exposed: DigDir lists no delegation source {wanted.delegation_source}",
        )
    return check_scope_description(exposure.name, wanted, ownership)


def check_scope_description(name: str, wanted: ExposedScope, ownership: str) -> Blocker | None:
    """Say that a scope's description would be longer than DigDir takes; nothing is asked of it then."""
    description = build_scope_description(ownership, wanted.subscope)
    if not wanted.enabled or len(description) <= MAX_DESCRIPTION_LENGTH:
        return None
    return rejected(
        Reason.INVALID_SPEC,
        f"{name} can't be exposed: its description at DigDir, {description[:80]}…, would have "
        f"{len(description)} characters, and {MAX_DESCRIPTION_LENGTH} is the most: choose a shorter name",
    )


def judge_consumers(exposures: Sequence[Exposure]) -> Verdict | None:
    """Name the consumers that DigDir refused; they don't stop the others."""
    if not any(exposure.wanted and exposure.wanted.consumers for exposure in exposures):
        return None
    refused = [
        f"{orgno} to {exposure.name} ({exposure.access.refused[orgno]})"
        for exposure in exposures
        if exposure.access and exposure.wanted and exposure.wanted.enabled
        for orgno in _wanted_consumers(exposure.wanted)
        if orgno in exposure.access.refused
    ]
    if not refused:
        return Verdict(CONSUMERS_VALID, "True", Reason.SYNCHRONIZED, "DigDir refused no consumer")
    message = (
        f"These consumers got no access, since DigDir refused them: {show(refused)}. That keeps nobody else from it"
    )
    return Verdict(CONSUMERS_VALID, "False", Reason.CONSUMERS_REFUSED, message)


def judge_withdrawn(exposures: Sequence[Exposure]) -> Verdict | None:
    """Name the scopes that left the spec and are still active."""
    names = [one.name for one in exposures if one.wanted is None and one.registered and one.registered.active]
    if not names:
        return None
    message = (
        f"Exposed earlier, not in the spec any more, and still active with their consumers: {show(names)}. "
        "To deactivate one, put it back with enabled: false; one of another prefix, at DigDir"
    )
    return Verdict(SCOPES_DECLARED, "False", Reason.SCOPES_WITHDRAWN, message)


def judge_repeated(scopes: Scopes) -> Verdict | None:
    """Name the scopes that are written more than once."""
    sentences = []
    if repeated := scopes.repeated_consumed:
        sentences.append(f"Written more than once in consumes, and counted once: {show(repeated)}")
    if repeated := scopes.repeated_exposed:
        sentences.append(f"Written more than once in exposes, where the last of each counts: {show(repeated)}")
    return Verdict(SCOPES_UNIQUE, "False", Reason.DUPLICATE_SCOPES, ". ".join(sentences)) if sentences else None


def build_scope_status(
    exposures: Iterable[Exposure], ownership: str, settings: RegistrationSettings
) -> list[dict[str, Any]]:
    """Build what the status tells of each scope: its full name, its state, and how many consumers have access."""
    return [
        {
            "name": exposure.name,
            "state": _find_state(exposure, ownership, settings),
            "consumers": len(exposure.access.consumers) if exposure.access else 0,
        }
        for exposure in exposures
        if exposure.wanted or (exposure.registered and exposure.registered.active)
    ][:MAX_STATUS_SCOPES]


def show(names: Sequence[str]) -> str:
    """List the first few names, and say how many more there are."""
    more = len(names) - MAX_SHOWN
    return ", ".join(names[:MAX_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _plan_withdrawn(exposure: Exposure, settings: RegistrationSettings) -> list[ScopeStep]:
    """Plan for a scope that left the spec. By default it stays, so that an emptied template cuts off no consumer."""
    if exposure.refusal or settings.withdrawn_scopes == "Keep":
        return []
    if not (exposure.registered and exposure.registered.active):
        return []
    if not exposure.name.startswith(f"{settings.scope_prefix}:"):
        return []  # it didn't leave the spec: the configured prefix changed
    return [DeactivateScope(exposure.name, "it isn't in the spec any more")]


def _plan_exposed(
    exposure: Exposure, wanted: ExposedScope, ownership: str, settings: RegistrationSettings
) -> list[ScopeStep]:
    name, registered = exposure.name, exposure.registered
    if not wanted.enabled:
        is_on = registered is not None and registered.active
        return [DeactivateScope(name, "enabled is false")] if is_on else []
    fields = build_scope_fields(exposure, settings.scope_prefix, ownership)
    revokes, grants = _plan_access(exposure, wanted)
    if registered is None:
        given = {member: value for member, value in fields.items() if value is not None}
        return [CreateScope(name, given), *grants]
    merged = _merge(registered.fields, fields)
    if not registered.active:
        # Whoever lost access meanwhile must not have it for a moment.
        return [*revokes, UpdateScope(name, merged, "it is enabled", activates=True), *grants]
    drifted = find_drift(registered.fields, fields)
    updates = [UpdateScope(name, merged, f"{', '.join(drifted)} differ")] if drifted else []
    return [*revokes, *updates, *grants]


def _plan_access(exposure: Exposure, wanted: ExposedScope) -> tuple[list[ScopeStep], list[ScopeStep]]:
    consumers, access = _wanted_consumers(wanted), exposure.access
    if access is None:
        return [], [GrantAccess(exposure.name, orgno) for orgno in consumers]
    stale = (access.consumers | access.unconfirmed) - set(consumers)
    missing = [
        orgno
        for orgno in consumers
        if (orgno not in access.consumers or orgno in access.unconfirmed) and orgno not in access.refused
    ]
    return (
        [RevokeAccess(exposure.name, orgno) for orgno in sorted(stale)],
        [GrantAccess(exposure.name, orgno) for orgno in missing],
    )


def _wanted_consumers(wanted: ExposedScope) -> list[str]:
    return list(dict.fromkeys(consumer.orgno for consumer in wanted.consumers))


def _merge(read: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give the scope as read with our fields in place; the API takes no empty ones."""
    merged = {name: value for name, value in read.items() if name not in READ_ONLY_FIELDS} | dict(fields)
    return {name: value for name, value in merged.items() if value is not None}


def _find_state(exposure: Exposure, ownership: str, settings: RegistrationSettings) -> ScopeState:
    registered = exposure.registered
    if registered is None:
        return "Absent"
    if not is_owned_scope(registered, ownership, settings.cluster):
        return "Conflict"
    if not registered.active:
        return "Inactive"
    return "Active" if exposure.wanted else "Withdrawn"


def is_ownership(text: str, cluster: str) -> bool:
    """Whether a text is an ownership, `<cluster>:<namespace>:<name>`, of this cluster."""
    parts = text.split(":")
    return len(parts) == 3 and parts[0] == cluster and all(parts)


def _conflict(name: str, what: str) -> Blocker:
    return rejected(Reason.SCOPE_CONFLICT, f"Scope {name} {what}")
