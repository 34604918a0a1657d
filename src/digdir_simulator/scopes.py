"""The operations on scopes and accesses, ``/scopes``.

Rules from digdir docs: oidc_protocol_scope and oidc_api_admin_maskinporten.

Only reading: creating scopes and giving access to them would be further operations of this module.
"""

from typing import TYPE_CHECKING

from digdir_simulator.calls import SCOPES_READ, SCOPES_WRITE, Answer, Call, Operation, list_answer
from digdir_simulator.errors import timestamp, to_json
from digdir_simulator.state import Scope

if TYPE_CHECKING:
    from digdir_simulator.simulator import Simulator


def list_own_scopes(simulator: "Simulator", call: Call) -> Answer:
    """GET /scopes: the organisation's own, public and private; inactive ones only with ?inactive=true."""
    documents = [
        to_json(scope.document)
        for versions in simulator.state.scopes.values()
        if (scope := versions.current).owner_orgno == call.caller.orgno and (scope.active or call.flag("inactive"))
    ]
    return list_answer(simulator, documents, "scopes")


def _wanted(scope: Scope, call: Call) -> bool:
    query = call.query
    return (
        scope.visibility == "PUBLIC"
        and (scope.active or call.flag("inactive"))
        and query.get("prefix") in {None, "", scope.prefix}
        and (not call.flag("accessible_for_all") or scope.accessible_for_all)
        and query.get("delegated_sources") in {None, "", scope.delegation_source}
        # DigDir's own web interface sends the type in capitals, others in small letters
        and (not query.get("integration_type") or scope.allows(query["integration_type"].lower()))
    )


def list_all_scopes(simulator: "Simulator", call: Call) -> Answer:
    """GET /scopes/all: the public scopes of all organisations, filtered by the query; open to anyone."""
    documents = [
        to_json(scope.document)
        for versions in simulator.state.scopes.values()
        if _wanted(scope := versions.current, call)
    ]
    return list_answer(simulator, documents, "scopes")


def list_accesses_given_to_me(simulator: "Simulator", call: Call) -> Answer:
    """GET /scopes/access/all: the accesses that other organisations gave to the caller's.

    Accesses taken back (``DENIED``) only with ?inactive=true.
    """
    state = simulator.state
    documents = []
    for (name, consumer), versions in state.accesses.items():
        access, scope = versions.current, state.scope(name)
        if consumer != call.caller.orgno or scope is None:
            continue
        if access.state == "DENIED" and not call.flag("inactive"):
            continue
        document = {
            "scope": name,
            "owner_orgno": scope.owner_orgno,
            "owner_organization_name": state.names.get(scope.owner_orgno),
            "consumer_orgno": consumer,
            "consumer_organization_name": state.names.get(consumer),
            "state": access.state,
            "created": timestamp(access.created),
            "last_updated": timestamp(access.last_updated),
        }
        documents.append(to_json(document))
    return list_answer(simulator, documents, "accesses")


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

OPERATIONS = (
    Operation("list-own-scopes", "GET", "/scopes", list_own_scopes, _READ),
    Operation("list-all-scopes", "GET", "/scopes/all", list_all_scopes),
    Operation("list-accesses-given-to-me", "GET", "/scopes/access/all", list_accesses_given_to_me, _READ),
    Operation("list-delegation-sources", "GET", "/delegationsources", list_delegation_sources),
)
