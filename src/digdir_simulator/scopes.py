"""The operations on scopes, ``/scopes`` and ``/prefix``, and on delegation sources.

Rules from digdir docs: oidc_protocol_scope and oidc_api_admin_maskinporten.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from digdir_contract import load
from digdir_simulator.calls import Answer, Call, Digdir, Handler, deleted_answer, list_answer
from digdir_simulator.errors import ApiError, Problem, timestamp, to_json
from digdir_simulator.state import Scope, State

SCOPE_FIELDS = tuple(
    name
    for name, member in load().schemas["Scope"].items()
    if not member.read_only and name not in {"name", "owner_orgno"}
)
"""The writable fields. ``name``, ``owner_orgno`` and the instants are DigDir's to set."""

_SUBSCOPE = re.compile(r"[A-Za-zÆØÅæøå0-9.:/_-]*")

_REQUIRED = ("prefix", "subscope", "description")

_DEFAULTS: dict[str, Any] = {
    "visibility": "PUBLIC",
    "token_type": "SELF_CONTAINED",
    "allowed_integration_types": [],
    "at_max_age": 0,
    "authorization_max_lifetime": 0,
    "accessible_for_all": False,
    "requires_user_consent": False,
    "requires_user_authentication": False,
    "requires_pseudonymous_tokens": False,
    "supports_european_businesses": False,
}

_FIXED = ("protected",)
"""Fields that DigDir alone sets, and shows."""

_WITH_MEANING = ("description", "visibility", "at_max_age", "delegation_source", "accessible_for_all", "active")
"""Besides these, ``allowed_integration_types``; the other fields are only shown."""


def _problem(message: str, field: str | None = None) -> Problem:
    return Problem(message, field, "Scope")


def parse_fields(document: Mapping[str, Any], issuers: Collection[str], scope: Scope | None = None) -> dict[str, Any]:
    """Return the writable fields of a request with defaults for those it leaves out, except ``active``.

    Args:
        document: a request that keeps the contract; a member that is null counts as left out.
        issuers: the delegation sources that exist.
        scope: the existing scope, whose name stays, whatever the request says of it.

    Raises:
        ApiError: 400, with one entry per wrong field. Which characters a subscope may have is assumed.
    """
    given = {name: document[name] for name in SCOPE_FIELDS if document.get(name) is not None}
    problems = []
    if scope is not None:
        given |= {"prefix": scope.prefix, "subscope": scope.subscope}
    elif not _SUBSCOPE.fullmatch(given["subscope"]):
        wrong = "may have letters, digits and the characters . : / - _ only"
        problems.append(_problem(f"subscope {wrong}", "subscope"))
    problems += [_problem(f"{name} must not be empty", name) for name in _REQUIRED if not given[name].strip()]
    if "delegation_source" in given and given["delegation_source"] not in issuers:
        problems.append(_problem("delegation_source must be the issuer of a delegation source", "delegation_source"))
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


def find_own_scope(digdir: Digdir, call: Call) -> Scope:
    """Return the scope that the query names, inactive or not.

    Raises:
        ApiError: 400 without a name, and 404 if it is unknown, both assumed; 403 if it belongs to
            another organisation.
    """
    name = call.query.get("scope")
    if not name:
        raise ApiError(400, _problem("The query parameter scope is required"))
    scope = digdir.state.scope(name)
    if scope is None:
        raise ApiError(404, _problem(f"Scope {name} was not found"))
    if scope.owner_orgno != call.caller.orgno:
        raise ApiError(403, _problem(f"Scope {name} belongs to another organization"))
    return scope


def _issuers(state: State) -> set[str]:
    return {source.issuer for source in state.delegation_sources}


def _note_owner(call: Call) -> None:
    """Note another organisation as owner; a request may repeat the token's own, and no other is known to be taken."""
    if call.document.get("owner_orgno") not in (None, call.caller.orgno):
        call.violations.append("body owner_orgno must be the organisation of the token")


def list_own_scopes(digdir: Digdir, call: Call) -> Answer:
    """GET /scopes: the organisation's own, public and private; inactive ones only with ?inactive=true.

    With ``?scope=``, an older filter, the one of that name.
    """
    inactive, name = call.flag("inactive"), call.query.get("scope")
    documents = [
        scope.json
        for scope in digdir.state.scopes_at(call.now - digdir.settings.list_lag_seconds)
        if scope.owner_orgno == call.caller.orgno and (scope.active or inactive) and name in {None, "", scope.name}
    ]
    return list_answer(digdir, documents, "scopes")


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


def list_all_scopes(digdir: Digdir, call: Call) -> Answer:
    """GET /scopes/all: the public scopes of all organisations, filtered by the query; open to anyone."""
    seen = digdir.state.scopes_at(call.now - digdir.settings.list_lag_seconds)
    documents = [scope.json for scope in filter(_build_filter(call), seen)]
    return list_answer(digdir, documents, "scopes")


def read_scope(digdir: Digdir, call: Call) -> Answer:
    """GET /scopes/scope?scope=: one of the organisation's own scopes, inactive or not."""
    return Answer(200, find_own_scope(digdir, call).json)


def create_scope(digdir: Digdir, call: Call) -> Answer:
    """POST /scopes: register a scope, owned by the organisation of the token.

    A ``name`` in the request is ignored, since DigDir builds it from prefix and subscope. A scope of
    that name must never have existed: an inactive one is not made active again.
    """
    _note_owner(call)
    fields = parse_fields(call.document, _issuers(digdir.state))
    prefix = fields["prefix"]
    name = call.scope = f"{prefix}:{fields['subscope']}"
    if digdir.state.prefix_owner(prefix) != call.caller.orgno:
        raise ApiError(403, _problem(f"Prefix {prefix} does not belong to the organization", "prefix"))
    namesake = digdir.state.scope(name)
    if namesake is not None:
        status = digdir.settings.duplicate_scope_status if namesake.active else 409
        raise ApiError(status, _problem(f"Scope {name} already exists"))
    scope = _build({"active": True} | fields, call.caller.orgno, call.now, call.now)
    digdir.state.put_scope(scope, call.now)
    return Answer(digdir.settings.created_status, scope.json)


def update_scope(digdir: Digdir, call: Call) -> Answer:
    """PUT /scopes?scope=: replace every writable field; what is left out gets its default.

    A request without ``active`` makes the scope inactive, as observed of DigDir; with ``true`` it
    makes an inactive scope active again.
    """
    _note_owner(call)
    before = find_own_scope(digdir, call)
    fields = parse_fields(call.document, _issuers(digdir.state), before)
    fixed = {name: before.more[name] for name in _FIXED if name in before.more}
    scope = _build({"active": False} | fields | fixed, before.owner_orgno, before.created, call.now)
    digdir.state.put_scope(scope, call.now)
    return Answer(200, scope.json)


def delete_scope(digdir: Digdir, call: Call) -> Answer:
    """DELETE /scopes?scope=: make it inactive; accesses and registrations of clients stay.

    That an inactive one may be deleted again is assumed.
    """
    scope = replace(find_own_scope(digdir, call), active=False, last_updated=call.now)
    digdir.state.put_scope(scope, call.now)
    return deleted_answer(digdir, scope.json)


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


def list_own_prefixes(digdir: Digdir, call: Call) -> Answer:
    """GET /prefix: the prefixes of the caller's organisation."""
    state = digdir.state
    owners = {prefix: owner for prefix, owner in state.prefix_owners().items() if owner == call.caller.orgno}
    return list_answer(digdir, [to_json(prefix) for prefix in _list_prefixes(state, owners)], "prefixes")


def list_all_prefixes(digdir: Digdir, _call: Call) -> Answer:
    """GET /prefix/all: the prefixes of all organisations; open to anyone. None is ever inactive."""
    state = digdir.state
    prefixes = [to_json(prefix) for prefix in _list_prefixes(state, state.prefix_owners())]
    return list_answer(digdir, prefixes, "prefixes")


def list_delegation_sources(digdir: Digdir, _call: Call) -> Answer:
    """GET /delegationsources; open to anyone."""
    return Answer.of(
        [
            {
                "issuer": source.issuer,
                "name": source.name,
                "created": timestamp(source.created),
                "lastUpdated": timestamp(source.last_updated),
            }
            for source in digdir.state.delegation_sources
        ]
    )


HANDLERS: dict[str, Handler] = {
    "list-own-scopes": list_own_scopes,
    "create-scope": create_scope,
    "update-scope": update_scope,
    "delete-scope": delete_scope,
    "read-scope": read_scope,
    "list-all-scopes": list_all_scopes,
    "list-own-prefixes": list_own_prefixes,
    "list-all-prefixes": list_all_prefixes,
    "list-delegation-sources": list_delegation_sources,
}
"""By the operation's name in the contract."""
