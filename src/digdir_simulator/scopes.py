"""The operations on scopes, ``/scopes`` and ``/prefix``, and on delegation sources.

Rules from digdir docs: oidc_protocol_scope and oidc_api_admin_maskinporten.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from digdir_simulator.calls import SCOPES_READ, SCOPES_WRITE, Answer, Call, Operation, deleted_answer, list_answer
from digdir_simulator.checks import Check, boolean, list_problems, one_of, seconds, text
from digdir_simulator.clients import INTEGRATION_TYPES
from digdir_simulator.errors import ApiError, Problem, timestamp, to_json
from digdir_simulator.state import Scope, State

if TYPE_CHECKING:
    from digdir_simulator.simulator import Simulator

MAX_DESCRIPTION = 255
MAX_LONG_DESCRIPTION = 1023

_SUBSCOPE = re.compile(r"[A-Za-zÆØÅæøå0-9.:/_-]*")


def _subscope(value: Any) -> str | None:
    """Check the part after the prefix; which characters DigDir takes is assumed."""
    if not isinstance(value, str):
        return "must be a string"
    return None if _SUBSCOPE.fullmatch(value) else "may have letters, digits and the characters . : / - _ only"


_integration_type = one_of(*sorted(INTEGRATION_TYPES))


def _integration_types(value: Any) -> str | None:
    if not isinstance(value, list):
        return "must be a list of integration types"
    return next((wrong for wrong in map(_integration_type, value) if wrong), None)


CHECKS: dict[str, Check] = {
    "prefix": text(MAX_DESCRIPTION),
    "subscope": _subscope,
    "description": text(MAX_DESCRIPTION),
    "description#nn": text(MAX_DESCRIPTION),
    "description#en": text(MAX_DESCRIPTION),
    "description#se": text(MAX_DESCRIPTION),
    "long_description": text(MAX_LONG_DESCRIPTION),
    "visibility": one_of("PUBLIC", "PRIVATE"),
    "token_type": one_of("SELF_CONTAINED", "OPAQUE"),
    "allowed_integration_types": _integration_types,
    "at_max_age": seconds(0),
    "authorization_max_lifetime": seconds(0),
    "delegation_source": text(MAX_DESCRIPTION),
    "accessible_for_all": boolean,
    "requires_user_consent": boolean,
    "requires_user_authentication": boolean,
    "requires_pseudonymous_tokens": boolean,
    "enforced_aud_for_access_token": text(MAX_DESCRIPTION),
    "active": boolean,
}
"""The writable fields. All others are ignored: ``name``, ``owner_orgno`` and the instants are DigDir's
to set, and that unknown ones do no harm is assumed, as with clients. ``INTERNAL`` is for DigDir's own scopes."""

_REQUIRED = ("prefix", "subscope", "description", "visibility")

_DEFAULTS: dict[str, Any] = {
    "token_type": "SELF_CONTAINED",
    "allowed_integration_types": [],
    "at_max_age": 0,
    "authorization_max_lifetime": 0,
    "accessible_for_all": False,
    "requires_user_consent": False,
    "requires_user_authentication": False,
    "requires_pseudonymous_tokens": False,
}

_WITH_MEANING = ("description", "visibility", "at_max_age", "delegation_source", "accessible_for_all", "active")
"""Besides these, ``allowed_integration_types``; the other fields are only shown."""


def _problem(message: str, field: str | None = None) -> Problem:
    return Problem(message, field, "Scope")


def parse_fields(document: Mapping[str, Any], issuers: Collection[str], scope: Scope | None = None) -> dict[str, Any]:
    """Return the writable fields of a request with defaults for those it leaves out, except ``active``.

    Args:
        document: the request; a member that is null counts as left out.
        issuers: the delegation sources that exist.
        scope: the existing scope, whose name can't change.

    Raises:
        ApiError: 400, with one entry per wrong field.
    """
    given = {name: document[name] for name in CHECKS if document.get(name) is not None}
    fixed = {} if scope is None else {"prefix": scope.prefix, "subscope": scope.subscope}
    given = fixed | given
    problems = list_problems(given, CHECKS, "Scope")
    problems += [
        _problem(f"{name} must not be empty", name)
        for name in _REQUIRED
        if not given.get(name) or (isinstance(given[name], str) and not given[name].strip())
    ]
    source = given.get("delegation_source")
    if isinstance(source, str) and source not in issuers:
        problems.append(_problem("delegation_source must be the issuer of a delegation source", "delegation_source"))
    problems += [_problem(f"{name} can not be changed", name) for name in fixed if given[name] != fixed[name]]
    if scope is not None and document.get("name") not in (None, scope.name):
        problems.append(_problem("name can not be changed", "name"))
    if problems:
        raise ApiError(400, *problems)
    return _DEFAULTS | given


def _build(fields: Mapping[str, Any], owner_orgno: str, created: float, now: float) -> Scope:
    """Return the scope that parsed fields describe, ``active`` among them."""
    apart = {"prefix", "subscope", "allowed_integration_types", *_WITH_MEANING}
    return Scope(
        name=f"{fields['prefix']}:{fields['subscope']}",
        owner_orgno=owner_orgno,
        allowed_integration_types=tuple(fields["allowed_integration_types"]),
        created=created,
        last_updated=now,
        more={name: value for name, value in fields.items() if name not in apart},
        **{name: fields[name] for name in _WITH_MEANING if name in fields},
    )


def find_own_scope(simulator: "Simulator", call: Call) -> Scope:
    """Return the scope that the query names, inactive or not.

    Raises:
        ApiError: 400 without a name, which is assumed; 404 if it is unknown; 403 if it belongs to
            another organisation.
    """
    name = call.query.get("scope")
    if not name:
        raise ApiError(400, _problem("The query parameter scope is required"))
    scope = simulator.state.scope(name)
    if scope is None:
        raise ApiError(404, _problem(f"Scope {name} was not found"))
    if scope.owner_orgno != call.caller.orgno:
        raise ApiError(403, _problem(f"Scope {name} belongs to another organization"))
    return scope


def _issuers(state: State) -> set[str]:
    return {source.issuer for source in state.delegation_sources}


def list_own_scopes(simulator: "Simulator", call: Call) -> Answer:
    """GET /scopes: the organisation's own, public and private; inactive ones only with ?inactive=true."""
    inactive = call.flag("inactive")
    documents = [
        scope.json
        for scope in simulator.state.scopes_at(call.now - simulator.settings.list_lag_seconds)
        if scope.owner_orgno == call.caller.orgno and (scope.active or inactive)
    ]
    return list_answer(simulator, documents, "scopes")


def _build_filter(call: Call) -> Callable[[Scope], bool]:
    query = call.query
    inactive, accessible = call.flag("inactive"), call.flag("accessible_for_all")
    delegated = call.flag("delegated_sources")  # whatever their source is: it names none
    return lambda scope: (
        scope.visibility == "PUBLIC"
        and (scope.active or inactive)
        and query.get("prefix") in {None, "", scope.prefix}
        and (not accessible or scope.accessible_for_all)
        and (not delegated or bool(scope.delegation_source))
        # DigDir's own web interface sends the type in capitals, others in small letters
        and (not query.get("integration_type") or scope.allows(query["integration_type"].lower()))
    )


def list_all_scopes(simulator: "Simulator", call: Call) -> Answer:
    """GET /scopes/all: the public scopes of all organisations, filtered by the query; open to anyone."""
    seen = simulator.state.scopes_at(call.now - simulator.settings.list_lag_seconds)
    documents = [scope.json for scope in filter(_build_filter(call), seen)]
    return list_answer(simulator, documents, "scopes")


def read_scope(simulator: "Simulator", call: Call) -> Answer:
    """GET /scopes/scope?scope=: one of the organisation's own scopes, inactive or not."""
    return Answer(200, find_own_scope(simulator, call).json)


def create_scope(simulator: "Simulator", call: Call) -> Answer:
    """POST /scopes: register a scope, owned by the organisation of the token.

    A ``name`` in the request is ignored, since DigDir builds it from prefix and subscope. A scope of
    that name must never have existed: an inactive one is not made active again.
    """
    fields = parse_fields(call.document(), _issuers(simulator.state))
    prefix = fields["prefix"]
    name = call.scope = f"{prefix}:{fields['subscope']}"
    if simulator.state.prefix_owner(prefix) != call.caller.orgno:
        raise ApiError(403, _problem(f"Prefix {prefix} does not belong to the organization", "prefix"))
    if name in simulator.state.scopes:
        raise ApiError(409, _problem(f"Scope {name} already exists"))
    scope = _build({"active": True} | fields, call.caller.orgno, call.now, call.now)
    simulator.state.put_scope(scope, call.now)
    return Answer(simulator.settings.created_status, scope.json)


def update_scope(simulator: "Simulator", call: Call) -> Answer:
    """PUT /scopes?scope=: replace every writable field; what is left out gets its default.

    A request without ``active`` makes the scope inactive, as observed of DigDir; with ``true`` it
    makes an inactive scope active again.
    """
    before = find_own_scope(simulator, call)
    fields = parse_fields(call.document(), _issuers(simulator.state), before)
    scope = _build({"active": False} | fields, before.owner_orgno, before.created, call.now)
    simulator.state.put_scope(scope, call.now)
    return Answer(200, scope.json)


def delete_scope(simulator: "Simulator", call: Call) -> Answer:
    """DELETE /scopes?scope=: make it inactive; accesses and registrations of clients stay.

    That an inactive one may be deleted again is assumed.
    """
    scope = replace(find_own_scope(simulator, call), active=False, last_updated=call.now)
    simulator.state.put_scope(scope, call.now)
    return deleted_answer(simulator, scope.json)


def _list_prefixes(state: State, owners: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "prefix": prefix,
            "owner_orgno": owner,
            "organization_name": state.names.get(owner),
            "active": True,
            "created": timestamp(state.since),
            "last_updated": timestamp(state.since),
        }
        for prefix, owner in owners.items()
    ]


def list_own_prefixes(simulator: "Simulator", call: Call) -> Answer:
    """GET /prefix: the prefixes of the caller's organisation."""
    state = simulator.state
    owners = {prefix: owner for prefix, owner in state.prefix_owners().items() if owner == call.caller.orgno}
    return list_answer(simulator, [to_json(prefix) for prefix in _list_prefixes(state, owners)], "prefixes")


def list_all_prefixes(simulator: "Simulator", _call: Call) -> Answer:
    """GET /prefix/all: the prefixes of all organisations; open to anyone. None is ever inactive."""
    state = simulator.state
    prefixes = [to_json(prefix) for prefix in _list_prefixes(state, state.prefix_owners())]
    return list_answer(simulator, prefixes, "prefixes")


def list_delegation_sources(simulator: "Simulator", _call: Call) -> Answer:
    """GET /delegationsources; open to anyone."""
    return Answer.of(
        [
            {
                "issuer": source.issuer,
                "name": source.name,
                "created": timestamp(source.created),
                "last_updated": timestamp(source.last_updated),
            }
            for source in simulator.state.delegation_sources
        ]
    )


_READ = frozenset({SCOPES_READ, SCOPES_WRITE})
_WRITE = frozenset({SCOPES_WRITE})

OPERATIONS = (
    Operation("list-own-scopes", "GET", "/scopes", list_own_scopes, _READ),
    Operation("create-scope", "POST", "/scopes", create_scope, _WRITE),
    Operation("update-scope", "PUT", "/scopes", update_scope, _WRITE),
    Operation("delete-scope", "DELETE", "/scopes", delete_scope, _WRITE),
    Operation("read-scope", "GET", "/scopes/scope", read_scope, _READ),
    Operation("list-all-scopes", "GET", "/scopes/all", list_all_scopes),
    Operation("list-own-prefixes", "GET", "/prefix", list_own_prefixes, _READ),
    Operation("list-all-prefixes", "GET", "/prefix/all", list_all_prefixes),
    Operation("list-delegation-sources", "GET", "/delegationsources", list_delegation_sources),
)
