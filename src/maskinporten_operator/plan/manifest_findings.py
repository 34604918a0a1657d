"""What `check` finds in a manifest: by the models and plans of the operator itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from maskinporten_operator.model.application import ApplicationSpec, check_application_name, parse_application
from maskinporten_operator.model.declared import find_unread, keep_declared
from maskinporten_operator.model.manifests import ManifestMeta, build_stored_body, drop_nulls
from maskinporten_operator.model.maskinportenclient import MaskinportenClientSpec, check_name, parse
from maskinporten_operator.model.resources import (
    APPLICATION,
    MASKINPORTEN_CLIENT,
    UNREADABLE,
    InvalidSpec,
    find_faults,
)
from maskinporten_operator.plan.application_plan import ApplicationSnapshot, check_webproxy, find_unsupported
from maskinporten_operator.plan.consumed_scopes import IS_FORBIDDEN
from maskinporten_operator.plan.exposed_scopes import judge_repeated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from maskinporten_operator.model.maskinportenclient import Scopes
    from maskinporten_operator.plan.platform import Platform
    from maskinporten_operator.plan.registration_settings import RegistrationSettings

KINDS = {kind.name: kind for kind in (APPLICATION, MASKINPORTEN_CLIENT)}
MEMBERS = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
AUTHOR = "Whoever writes the manifest"
NOT_ACTED_ON = "set, but not acted on here"


class _Rule(NamedTuple):
    id: str
    level: Literal["error", "warning"]
    description: str
    remedy: str


class Rule(_Rule, Enum):
    """A rule that a manifest can break: its id, how bad that is, what it says, and who can fix it."""

    NO_MANIFEST = (
        *("no-manifest", "error", "The file can be read as YAML or JSON."),
        f"{AUTHOR} corrects its syntax",
    )
    WRONG_VERSION = (
        *("wrong-version", "error", "The kind is of the API version that the operator manages."),
        f"{AUTHOR} corrects apiVersion",
    )
    INVALID_FIELD = (
        *("invalid-field", "error", "The API server and the operator accept every value."),
        f"{AUTHOR} corrects it",
    )
    UNKNOWN_FIELD = (
        *("unknown-field", "error", "Every field is known: kubectl refuses others, and the API server drops them."),
        f"{AUTHOR} takes it out, or corrects its name",
    )
    FORBIDDEN_SCOPE = (
        *("forbidden-scope", "error", "No scope is consumed that the cluster forbids, whatever DigDir grants."),
        f"{AUTHOR} takes it out; a cluster admin decides by FORBIDDEN_SCOPES",
    )
    WEBPROXY_REQUIRED = (
        *("webproxy-required", "error", "On premises, what uses Maskinporten goes through the web proxy."),
        f"{AUTHOR} sets spec.webproxy to true",
    )
    REPEATED_SCOPE = (
        *("repeated-scope", "warning", "Each scope is written once."),
        f"{AUTHOR} takes out the others",
    )
    NOT_ACTED_ON = (
        *("not-acted-on", "warning", "What is set has an effect in the cluster that the settings describe."),
        f"{AUTHOR} takes it out, unless something else acts on it",
    )

    # What DigDir has, by `plan.granted_findings`
    NOT_GRANTED = (
        *("not-granted", "error", "Every consumed scope is granted to the organisation, open to all, or its own."),
        f"The scope's owner grants it; {AUTHOR.lower()} corrects its name if that is wrong",
    )
    ABSENT_SCOPE = (
        *("absent-scope", "error", "Every consumed scope exists, and is active."),
        f"{AUTHOR} corrects its name; if that is right, whoever exposes it does so first",
    )
    FOREIGN_PREFIX = (
        *("foreign-prefix", "error", "Scopes are exposed by a prefix of the organisation's."),
        "A cluster admin corrects SCOPE_PREFIX, or asks DigDir for that prefix",
    )
    SCOPE_CONFLICT = (
        *("scope-conflict", "error", "No scope is exposed that is somebody else's."),
        f"{AUTHOR} takes it out, or whoever administers scopes at DigDir hands it over",
    )
    UNKNOWN_DELEGATION_SOURCE = (
        *("unknown-delegation-source", "error", "DigDir knows the delegation source of an exposed scope."),
        f"{AUTHOR} corrects delegationSource, or takes it out",
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a manifest; `path` is the field's, and empty if it is about the whole."""

    rule: Rule
    path: str
    message: str

    def __str__(self) -> str:
        """Say where and what."""
        return f"{self.path}: {self.message}" if self.path else self.message


def is_managed(manifest: Any) -> bool:
    """Whether a document is of a kind that the operator manages, perhaps of a version that it doesn't."""
    if not isinstance(manifest, dict) or str(manifest.get("kind")) not in KINDS:
        return False
    return str(manifest.get("apiVersion")).partition("/")[0] == APPLICATION.group


def find_findings(
    manifest: Mapping[str, Any], namespace: str, settings: RegistrationSettings, platform: Platform
) -> list[Finding]:
    """Find what the API server or the operator would refuse of a managed manifest, and what has no effect.

    Args:
        manifest: As `adapters.cluster.bodies` reads it, with what is beyond its limits under `UNREADABLE`.
        namespace: Where it is applied if it doesn't say.
        settings: The operator's on registrations.
        platform: The operator's on Applications.
    """
    kind = KINDS[manifest["kind"]]
    if manifest["apiVersion"] != kind.api_version:
        return [Finding(Rule.WRONG_VERSION, "apiVersion", f"{kind.name} is managed as {kind.api_version}")]
    if reason := manifest.get(UNREADABLE):
        path, _, message = str(reason).partition(" ")
        return [Finding(Rule.INVALID_FIELD, path, message)]
    found = list(_find_refused(manifest))
    if any(one.rule == Rule.INVALID_FIELD for one in found):
        return found
    body = build_stored_body(manifest, namespace) | {"spec": drop_nulls(manifest.get("spec") or {})}
    if kind == APPLICATION:
        return found + list(_find_in_application(body, settings, platform))
    return found + list(_find_in_client(body, settings))


def _find_refused(manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what the API server refuses, or kubectl before it."""
    is_application = manifest["kind"] == APPLICATION.name
    model = ApplicationSpec if is_application else MaskinportenClientSpec
    meta, spec = drop_nulls(manifest.get("metadata") or {}), manifest.get("spec")
    faults = find_faults(ManifestMeta, meta, "metadata")
    faults += find_faults(model, drop_nulls(keep_declared(model, {} if spec is None else spec)), "spec")
    if not faults and (wrong := (check_application_name if is_application else check_name)(meta["name"])):
        faults.append(wrong)
    yield from (Finding(Rule.INVALID_FIELD, one.path, one.message) for one in faults)
    unknown = [*sorted(manifest.keys() - MEMBERS), *find_unread(ManifestMeta, meta, "metadata")]
    if not is_application:  # whose other fields are kept, and named as not acted on
        unknown += find_unread(model, spec, "spec")
    yield from (Finding(Rule.UNKNOWN_FIELD, one, "no field of this kind") for one in unknown)


def _find_in_application(
    body: Mapping[str, Any], settings: RegistrationSettings, platform: Platform
) -> Iterator[Finding]:
    application = parse_application(body)
    spec = application.spec
    if isinstance(spec, InvalidSpec):
        yield Finding(Rule.INVALID_FIELD, "spec", spec.message)
        return
    if blocker := check_webproxy(spec, platform):
        yield Finding(Rule.WEBPROXY_REQUIRED, "spec.webproxy", blocker.message)
    if spec.maskinporten.enabled:
        yield from _find_in_scopes(spec.maskinporten.scopes, "spec.maskinporten.scopes", settings)
    for field in find_unsupported(ApplicationSnapshot(application, spec, None, {}), platform):
        path, parenthesis, reason = field.partition(" (")
        yield Finding(Rule.NOT_ACTED_ON, path, NOT_ACTED_ON + (f" ({reason}" if parenthesis else ""))


def _find_in_client(body: Mapping[str, Any], settings: RegistrationSettings) -> Iterator[Finding]:
    spec = parse(body).spec
    if isinstance(spec, InvalidSpec):
        yield Finding(Rule.INVALID_FIELD, "spec", spec.message)
        return
    yield from _find_in_scopes(spec.scopes, "spec.scopes", settings)


def _find_in_scopes(scopes: Scopes, path: str, settings: RegistrationSettings) -> Iterator[Finding]:
    for number, one in enumerate(scopes.consumes):
        if settings.forbids(one.name):
            yield Finding(Rule.FORBIDDEN_SCOPE, f"{path}.consumes[{number}].name", f"{one.name} {IS_FORBIDDEN}")
    if repeated := judge_repeated(scopes):
        yield Finding(Rule.REPEATED_SCOPE, path, repeated.message)
