"""The operations on accesses, ``/scopes/access`` (digdir docs: oidc_api_admin_maskinporten)."""

from typing import TYPE_CHECKING

from digdir_simulator.calls import SCOPES_READ, SCOPES_WRITE, Answer, Call, Operation, list_answer
from digdir_simulator.errors import to_json
from digdir_simulator.state import Access, Scope, State

if TYPE_CHECKING:
    from digdir_simulator.simulator import Simulator


def to_document(access: Access, scope: Scope, state: State) -> bytes:
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


def list_accesses_given_to_me(simulator: "Simulator", call: Call) -> Answer:
    """GET /scopes/access/all: the accesses that other organisations gave to the caller's.

    Accesses taken back (``DENIED``) only with ?inactive=true.
    """
    state = simulator.state
    at = call.now - simulator.settings.list_lag_seconds
    documents = [
        to_document(access, scope, state)
        for access in state.accesses_of(call.caller.orgno, at)
        if (scope := state.scope(access.scope)) is not None and (access.state != "DENIED" or call.flag("inactive"))
    ]
    return list_answer(simulator, documents, "accesses")


_READ = frozenset({SCOPES_READ, SCOPES_WRITE})

OPERATIONS = (Operation("list-accesses-given-to-me", "GET", "/scopes/access/all", list_accesses_given_to_me, _READ),)
