"""The operations on accesses, ``/scopes/access`` (digdir docs: oidc_api_admin_maskinporten)."""

from dataclasses import replace

from digdir_simulator.calls import Answer, Call, Digdir, Handler, deleted_answer, list_answer
from digdir_simulator.errors import ApiError, Problem, to_json
from digdir_simulator.scopes import find_own_scope
from digdir_simulator.state import Access, Scope, State

_WEIGHTS = (3, 2, 7, 6, 5, 4, 3, 2)


def has_check_digit(orgno: str) -> bool:
    """Tell whether the last of nine digits is the check digit, modulo 11, of the others."""
    remainder = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, orgno, strict=False)) % 11
    return (11 - remainder) % 11 == int(orgno[8])


def _require_changeable(digdir: Digdir, scope: Scope) -> None:
    """Refuse, when so set, to give access to an inactive scope or to take it back; the status is assumed."""
    if not scope.active and not digdir.settings.inactive_scope_access_changes:
        raise ApiError(409, Problem(f"Scope {scope.name} is inactive", object_name="ScopeAccess"))


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


def _is_wanted(digdir: Digdir, call: Call, access: Access) -> bool:
    return access.state != "DENIED" or call.flag("inactive") or digdir.settings.access_list_includes_denied


def list_accesses(digdir: Digdir, call: Call) -> Answer:
    """GET /scopes/access?scope=&consumer_orgno=: the accesses that the organisation gave.

    Those to one of its scopes, those of one consumer, or both; that one of them must be named is
    assumed. Accesses taken back (``DENIED``) only with ?inactive=true, or when so set.
    """
    state = digdir.state
    at = call.now - digdir.settings.list_lag_seconds
    consumer = call.query.get("consumer_orgno")
    if consumer and not call.query.get("scope"):
        accesses = state.accesses_of(consumer, at)
    else:
        accesses = state.accesses_to(find_own_scope(digdir, call).name, at)
    documents = [
        build_json(access, scope, state)
        for access in accesses
        if consumer in {None, "", access.consumer_orgno}
        and _is_wanted(digdir, call, access)
        and (scope := state.scope(access.scope)) is not None
        and scope.owner_orgno == call.caller.orgno
    ]
    return list_answer(digdir, documents, "accesses")


def list_accesses_given_to_me(digdir: Digdir, call: Call) -> Answer:
    """GET /scopes/access/all: the accesses that other organisations gave to the caller's.

    Accesses taken back (``DENIED``) only with ?inactive=true, or when so set.
    """
    state = digdir.state
    at = call.now - digdir.settings.list_lag_seconds
    documents = [
        build_json(access, scope, state)
        for access in state.accesses_of(call.caller.orgno, at)
        if _is_wanted(digdir, call, access) and (scope := state.scope(access.scope)) is not None
    ]
    return list_answer(digdir, documents, "accesses")


def _denied(scope: Scope, consumer: str, now: float) -> Access:
    return Access(scope.name, consumer, "DENIED", now, now)


def grant_access(digdir: Digdir, call: Call) -> Answer:
    """PUT /scopes/access/{consumer_orgno}?scope=: give a consumer access, approved at once.

    An access that was taken back is approved again.
    """
    scope = find_own_scope(digdir, call)
    consumer = call.params["consumer_orgno"]
    if digdir.settings.orgno_check == "checksum" and not has_check_digit(consumer):
        raise ApiError(400, Problem("consumer_orgno has a wrong check digit", "consumer_orgno", "ScopeAccess"))
    _require_changeable(digdir, scope)
    before = digdir.state.access(scope.name, consumer)
    created = call.now if before is None else before.created
    access = Access(scope.name, consumer, "APPROVED", created, call.now)
    digdir.state.put_access(access, call.now)
    return Answer(200, build_json(access, scope, digdir.state))


def revoke_access(digdir: Digdir, call: Call) -> Answer:
    """DELETE /scopes/access/{consumer_orgno}?scope=: take an access back; it is kept as ``DENIED``.

    What is answered for one that never was is a setting; that one may be taken back again is assumed.
    """
    scope = find_own_scope(digdir, call)
    consumer = call.params["consumer_orgno"]
    _require_changeable(digdir, scope)
    before = digdir.state.access(scope.name, consumer)
    if before is None:
        if digdir.settings.missing_access_revocation_status == 404:
            problem = Problem(f"Organization {consumer} has no access to {scope.name}", object_name="ScopeAccess")
            raise ApiError(404, problem)
        return deleted_answer(digdir, build_json(_denied(scope, consumer, call.now), scope, digdir.state))
    access = replace(before, state="DENIED", last_updated=call.now)
    digdir.state.put_access(access, call.now)
    return deleted_answer(digdir, build_json(access, scope, digdir.state))


HANDLERS: dict[str, Handler] = {
    "list-accesses": list_accesses,
    "list-accesses-given-to-me": list_accesses_given_to_me,
    "grant-access": grant_access,
    "revoke-access": revoke_access,
}
"""By the operation's name in the contract."""
