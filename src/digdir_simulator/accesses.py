"""The operations on accesses, ``/scopes/access`` (digdir docs: oidc_api_admin_maskinporten)."""

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from digdir_simulator.calls import SCOPES_READ, SCOPES_WRITE, Answer, Call, Operation, deleted_answer, list_answer
from digdir_simulator.errors import ApiError, Problem, to_json
from digdir_simulator.scopes import find_own_scope
from digdir_simulator.state import Access, Scope, State

if TYPE_CHECKING:
    from digdir_simulator.simulator import Simulator

_ORGNO = re.compile(r"[0-9]{9}")
_WEIGHTS = (3, 2, 7, 6, 5, 4, 3, 2)


def has_check_digit(orgno: str) -> bool:
    """Tell whether the last of nine digits is the check digit, modulo 11, of the others."""
    remainder = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, orgno, strict=False)) % 11
    return (11 - remainder) % 11 == int(orgno[8])


def check_orgno(orgno: str, how: str) -> str | None:
    """Return why DigDir would refuse a consumer of this number, None if it wouldn't.

    It is checked for ``digits`` or for its ``checksum`` too: DigDir refuses some numbers, but by which
    rule isn't known.
    """
    if not _ORGNO.fullmatch(orgno):
        return "must have nine digits"
    if how == "checksum" and not has_check_digit(orgno):
        return "has a wrong check digit"
    return None


def build_json(access: Access, scope: Scope, state: State) -> bytes:
    """Return an access as the admin API shows it."""
    return to_json(
        {
            "scope": access.scope,
            "owner_orgno": scope.owner_orgno,
            "owner_organization_name": state.names.get(scope.owner_orgno),
            "consumer_orgno": access.consumer_orgno,
            "consumer_organization_name": state.names.get(access.consumer_orgno),
            "state": access.state,
            **access.instants,
        }
    )


def _is_wanted(simulator: "Simulator", call: Call, access: Access) -> bool:
    return access.state != "DENIED" or call.flag("inactive") or simulator.settings.access_list_includes_denied


def list_accesses(simulator: "Simulator", call: Call) -> Answer:
    """GET /scopes/access?scope=&consumer_orgno=: the accesses that the organisation gave.

    Those to one of its scopes, those of one consumer, or both; that one of them must be named is
    assumed. Accesses taken back (``DENIED``) only with ?inactive=true, or when so set.
    """
    state = simulator.state
    at = call.now - simulator.settings.list_lag_seconds
    consumer = call.query.get("consumer_orgno")
    if consumer and not call.query.get("scope"):
        accesses = state.accesses_of(consumer, at)
    else:
        accesses = state.accesses_to(find_own_scope(simulator, call).name, at)
    documents = [
        build_json(access, scope, state)
        for access in accesses
        if consumer in {None, "", access.consumer_orgno}
        and _is_wanted(simulator, call, access)
        and (scope := state.scope(access.scope)) is not None
        and scope.owner_orgno == call.caller.orgno
    ]
    return list_answer(simulator, documents, "accesses")


def list_accesses_given_to_me(simulator: "Simulator", call: Call) -> Answer:
    """GET /scopes/access/all: the accesses that other organisations gave to the caller's.

    Accesses taken back (``DENIED``) only with ?inactive=true, or when so set.
    """
    state = simulator.state
    at = call.now - simulator.settings.list_lag_seconds
    documents = [
        build_json(access, scope, state)
        for access in state.accesses_of(call.caller.orgno, at)
        if _is_wanted(simulator, call, access) and (scope := state.scope(access.scope)) is not None
    ]
    return list_answer(simulator, documents, "accesses")


def grant_access(simulator: "Simulator", call: Call) -> Answer:
    """PUT /scopes/access/{consumer_orgno}?scope=: give a consumer access, approved at once.

    An access that was taken back is approved again. The scope may be inactive, which is assumed.
    """
    scope = find_own_scope(simulator, call)
    consumer = call.params["consumer_orgno"]
    wrong = check_orgno(consumer, simulator.settings.orgno_check)
    if wrong is not None:
        raise ApiError(400, Problem(f"consumer_orgno {wrong}", "consumer_orgno", "ScopeAccess"))
    before = simulator.state.access(scope.name, consumer)
    created = call.now if before is None else before.created
    access = Access(scope.name, consumer, "APPROVED", created, call.now)
    simulator.state.put_access(access, call.now)
    return Answer(200, build_json(access, scope, simulator.state))


def revoke_access(simulator: "Simulator", call: Call) -> Answer:
    """DELETE /scopes/access/{consumer_orgno}?scope=: take an access back; it is kept as ``DENIED``.

    404 for one that never was is assumed, and so is that one may be taken back again.
    """
    scope = find_own_scope(simulator, call)
    consumer = call.params["consumer_orgno"]
    before = simulator.state.access(scope.name, consumer)
    if before is None:
        problem = Problem(f"Organization {consumer} has no access to {scope.name}", object_name="ScopeAccess")
        raise ApiError(404, problem)
    access = replace(before, state="DENIED", last_updated=call.now)
    simulator.state.put_access(access, call.now)
    return deleted_answer(simulator, build_json(access, scope, simulator.state))


_READ = frozenset({SCOPES_READ, SCOPES_WRITE})
_WRITE = frozenset({SCOPES_WRITE})

OPERATIONS = (
    Operation("list-accesses", "GET", "/scopes/access", list_accesses, _READ),
    Operation("list-accesses-given-to-me", "GET", "/scopes/access/all", list_accesses_given_to_me, _READ),
    Operation("grant-access", "PUT", "/scopes/access/{consumer_orgno}", grant_access, _WRITE),
    Operation("revoke-access", "DELETE", "/scopes/access/{consumer_orgno}", revoke_access, _WRITE),
)
