"""What `check --granted` finds of a manifest's scopes: by what DigDir has of them, and the operator's own rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from maskinporten_operator.model.application import parse_application
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.manifests import build_stored_body, drop_nulls
from maskinporten_operator.model.maskinportenclient import parse
from maskinporten_operator.model.resources import APPLICATION, InvalidSpec
from maskinporten_operator.plan.consumed_scopes import sort_consumed
from maskinporten_operator.plan.exposed_scopes import Exposure, check_exposure
from maskinporten_operator.plan.manifest_findings import Finding, Rule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from typing import Any

    from maskinporten_operator.model.maskinportenclient import Scopes
    from maskinporten_operator.model.scopes import Granted, RegisteredScope
    from maskinporten_operator.plan.registration_settings import RegistrationSettings

RULES = {
    Reason.SCOPE_CONFLICT: Rule.SCOPE_CONFLICT,
    Reason.DELEGATION_SOURCE_UNKNOWN: Rule.UNKNOWN_DELEGATION_SOURCE,
}
"""By why a scope can't be exposed."""


@dataclass(frozen=True, slots=True)
class ManifestScopes:
    """The scopes of a manifest that can be parsed.

    Attributes:
        ownership: By which DigDir's clients and scopes are the resource's.
        path: The field that the scopes are in.
    """

    ownership: str
    path: str
    scopes: Scopes

    @property
    def consumed(self) -> tuple[str, ...]:
        """The names of the consumed scopes, each once."""
        return tuple(dict.fromkeys(one.name for one in self.scopes.consumes))

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the delegation sources of the exposed scopes."""
        return tuple({one.delegation_source: None for one in self.scopes.exposes if one.delegation_source})


@dataclass(frozen=True, slots=True)
class KnownScopes:
    """What DigDir has of the scopes of all manifests.

    Attributes:
        granted: What its lists tell of the consumed ones.
        absent: Of the consumed ones that no list has, those that don't exist.
        unexamined: Of the same, those that weren't looked at alone, so that nobody knows whether they exist.
        own: Those of them, and of the exposed ones, that are the organisation's own, by full name.
        prefixes: Those that the organisation's scopes may have.
        issuers: Those of the delegation sources that are there, by the source's name.
        registered: The scopes of the resources' clients, by ownership.
    """

    granted: Granted
    absent: frozenset[str] = frozenset()
    unexamined: frozenset[str] = frozenset()
    own: Mapping[str, RegisteredScope] = field(default_factory=dict)
    prefixes: tuple[str, ...] = ()
    issuers: Mapping[str, str] = field(default_factory=dict)
    registered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def find_scopes(manifest: Mapping[str, Any], namespace: str, settings: RegistrationSettings) -> ManifestScopes | None:
    """Find the scopes of a managed manifest; None if it uses no Maskinporten, or can't be parsed."""
    body = build_stored_body(manifest, namespace) | {"spec": drop_nulls(manifest.get("spec") or {})}
    if manifest["kind"] == APPLICATION.name:
        application = parse_application(body)
        spec = application.spec
        if isinstance(spec, InvalidSpec) or not spec.maskinporten.enabled:
            return None
        return ManifestScopes(
            settings.build_ownership(application.meta), "spec.maskinporten.scopes", spec.maskinporten.scopes
        )
    client = parse(body)
    if isinstance(client.spec, InvalidSpec):
        return None
    return ManifestScopes(settings.build_ownership(client.meta), "spec.scopes", client.spec.scopes)


def list_exposed(manifests: Iterable[ManifestScopes], prefix: str, *, enabled_only: bool = False) -> frozenset[str]:
    """List the scopes that manifests expose, by full name."""
    exposed = (one for each in manifests for one in each.scopes.exposes if one.enabled or not enabled_only)
    return frozenset(f"{prefix}:{one.subscope}" for one in exposed)


def find_missing(manifests: Collection[ManifestScopes], granted: Granted, exposed: Collection[str]) -> tuple[str, ...]:
    """List the consumed scopes that neither DigDir nor one of the manifests has for the organisation."""
    names = dict.fromkeys(name for one in manifests for name in one.consumed)
    return tuple(name for name in names if name not in granted.names and name not in exposed)


def find_granted_findings(
    manifest: ManifestScopes, known: KnownScopes, exposed: Collection[str], settings: RegistrationSettings
) -> Iterator[Finding]:
    """Find which scopes the operator can't register or expose, as DigDir is now.

    Args:
        manifest: The manifest's scopes.
        known: What DigDir has.
        exposed: The scopes that one of the manifests exposes.
        settings: The operator's on registrations.
    """
    yield from _find_in_consumed(manifest, known, exposed, settings)
    if not manifest.scopes.exposes:
        return
    if settings.scope_prefix not in known.prefixes:
        theirs = ", ".join(known.prefixes) or "none"
        message = f"{settings.scope_prefix} is no prefix of the organisation's, which has {theirs}"
        yield Finding(Rule.FOREIGN_PREFIX, f"{manifest.path}.exposes", message)
        return
    yield from _find_in_exposed(manifest, known, settings)


def _find_in_consumed(
    manifest: ManifestScopes, known: KnownScopes, exposed: Collection[str], settings: RegistrationSettings
) -> Iterator[Finding]:
    granted, registered = known.granted, known.registered.get(manifest.ownership, ())
    consumption = sort_consumed(manifest.consumed, granted, registered, prefix=settings.scope_prefix)
    whom = f"organisation {granted.orgno}" if granted.orgno else "the operator's organisation"
    for number, one in enumerate(manifest.scopes.consumes):
        name, path = one.name, f"{manifest.path}.consumes[{number}].name"
        if settings.forbids(name) or name in exposed:
            continue
        owner = f"whoever owns {name.partition(':')[0]}:"
        if name in consumption.lost:
            yield Finding(
                Rule.NOT_GRANTED, path, f"{name} isn't granted any more: {owner} must grant it to {whom} again"
            )
        elif name not in consumption.missing:
            continue
        elif name in known.own:
            yield Finding(Rule.ABSENT_SCOPE, path, f"{name} is inactive: whoever exposes it must enable it")
        elif name in known.absent or name.startswith(f"{settings.scope_prefix}:"):
            yield Finding(Rule.ABSENT_SCOPE, path, f"there is no scope {name}")
        else:
            fault = "isn't granted, or doesn't exist" if name in known.unexamined else "isn't granted"
            yield Finding(Rule.NOT_GRANTED, path, f"{name} {fault}: {owner} must grant it to {whom}")


def _find_in_exposed(manifest: ManifestScopes, known: KnownScopes, settings: RegistrationSettings) -> Iterator[Finding]:
    for number, one in enumerate(manifest.scopes.exposes):
        name = f"{settings.scope_prefix}:{one.subscope}"
        exposure = Exposure(name, one, known.own.get(name), issuer=known.issuers.get(one.delegation_source or ""))
        if blocker := check_exposure(exposure, manifest.ownership, settings):
            yield Finding(
                RULES.get(blocker.reason, Rule.INVALID_FIELD), f"{manifest.path}.exposes[{number}]", blocker.message
            )
