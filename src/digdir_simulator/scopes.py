"""The operations on scopes, ``/scopes`` and ``/prefix``, and on delegation sources.

Rules from digdir docs: oidc_protocol_scope and oidc_api_admin_maskinporten.
"""

from typing import TYPE_CHECKING

from digdir_simulator.calls import SCOPES_READ, SCOPES_WRITE, Answer, Call, Operation, list_answer
from digdir_simulator.errors import timestamp
from digdir_simulator.state import Scope

if TYPE_CHECKING:
    from digdir_simulator.simulator import Simulator


def list_own_scopes(simulator: "Simulator", call: Call) -> Answer:
    """GET /scopes: the organisation's own, public and private; inactive ones only with ?inactive=true."""
    inactive = call.flag("inactive")
    documents = [
        scope.json
        for scope in simulator.state.scopes_at(call.now - simulator.settings.list_lag_seconds)
        if scope.owner_orgno == call.caller.orgno and (scope.active or inactive)
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
    seen = simulator.state.scopes_at(call.now - simulator.settings.list_lag_seconds)
    documents = [scope.json for scope in seen if _wanted(scope, call)]
    return list_answer(simulator, documents, "scopes")


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
    Operation("list-delegation-sources", "GET", "/delegationsources", list_delegation_sources),
)
