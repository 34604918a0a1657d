"""The operations on clients, ``/clients`` (digdir docs: oidc_api_admin_maskinporten)."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from digdir_simulator.calls import DCR_MODIFY, DCR_READ, DCR_WRITE, Answer, Call, Operation, list_answer
from digdir_simulator.checks import Check, boolean, list_problems, one_of, seconds, text, texts
from digdir_simulator.errors import ApiError, Problem
from digdir_simulator.state import Client, State

if TYPE_CHECKING:
    from digdir_simulator.simulator import Simulator

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
"""The grant type of RFC 7523."""

MAX_TEXT = 255
"""Greatest length of a client's name and description."""

INTEGRATION_TYPES = frozenset(
    {"ansattporten", "api_klient", "eformidling", "idporten", "idporten_saml2", "krr", "maskinporten"}
)
_MACHINE_TO_MACHINE = frozenset({"api_klient", "maskinporten"})

_grant_type = one_of("authorization_code", "implicit", "refresh_token", JWT_BEARER)


def _grant_types(value: Any) -> str | None:
    if not isinstance(value, list) or not value:
        return "must be a list of grant types"
    return next((wrong for wrong in map(_grant_type, value) if wrong), None)


CHECKS: dict[str, Check] = {
    "client_name": text(MAX_TEXT),
    "description": text(MAX_TEXT),
    "application_type": one_of("web", "browser", "native"),
    "integration_type": one_of(*sorted(INTEGRATION_TYPES)),
    "scopes": texts,
    "grant_types": _grant_types,
    "token_endpoint_auth_method": one_of("client_secret_post", "client_secret_basic", "private_key_jwt", "none"),
    "access_token_lifetime": seconds(1),
    "authorization_lifetime": seconds(1),
    "refresh_token_lifetime": seconds(1),
    "refresh_token_usage": one_of("ONETIME", "REUSE"),
    "code_challenge_method": one_of("none", "S256"),
    "redirect_uris": texts,
    "post_logout_redirect_uris": texts,
    "frontchannel_logout_uri": text(MAX_TEXT),
    "frontchannel_logout_session_required": boolean,
    "sso_disabled": boolean,
    "logo_uri": text(MAX_TEXT),
}
"""The writable fields besides client_id, client_orgno and active. All others are ignored: read-only
fields because they are documented so, unknown ones because production peers send such unharmed."""

_DEFAULTS: dict[str, Any] = {
    "application_type": "web",
    "scopes": [],
    "grant_types": [JWT_BEARER],
    "token_endpoint_auth_method": "private_key_jwt",
    "access_token_lifetime": 120,
    "authorization_lifetime": 7200,
    "refresh_token_lifetime": 600,
    "refresh_token_usage": "ONETIME",
}

_CLIENT_ID = re.compile(r"[A-Za-z0-9._:-]{1,255}")


def parse_fields(document: Mapping[str, Any], *, integration_type: str | None = None) -> dict[str, Any]:
    """Return the writable fields of a request with defaults for those it leaves out.

    Args:
        document: the request; a member that is null counts as left out.
        integration_type: that of the existing client, which can't change.

    Raises:
        ApiError: 400, with one entry per wrong field.
    """
    given = {name: document[name] for name in CHECKS if document.get(name) is not None}
    if integration_type is not None:
        given.setdefault("integration_type", integration_type)
    problems = list_problems(given, CHECKS, "Client")
    problems += [
        Problem(f"{name} must not be empty", name)
        for name in ("client_name", "description", "integration_type")
        if not given.get(name) or (isinstance(given[name], str) and not given[name].strip())
    ]
    if problems:
        raise ApiError(400, *problems)
    if integration_type not in {None, given["integration_type"]}:
        raise ApiError(400, Problem("integration_type can not be changed", "integration_type"))
    fields = _DEFAULTS | given
    fields["scopes"] = list(dict.fromkeys(fields["scopes"]))
    if fields["integration_type"] in _MACHINE_TO_MACHINE:
        _require_machine_to_machine(fields)
    return fields


def _require_machine_to_machine(fields: Mapping[str, Any]) -> None:
    required = {
        "application_type": "web",
        "grant_types": [JWT_BEARER],
        "token_endpoint_auth_method": "private_key_jwt",
    }
    problems = [
        Problem(f"{name} must be {value} for integration_type {fields['integration_type']}", name)
        for name, value in required.items()
        if fields[name] != value
    ]
    if problems:
        raise ApiError(400, *problems)


def _require_usable_scopes(simulator: "Simulator", fields: Mapping[str, Any], orgno: str) -> None:
    """Refuse scopes that the organisation may not register (digdir docs: oidc_protocol_scope)."""
    if not fields["scopes"] and not simulator.settings.allow_clients_without_scopes:
        raise ApiError(400, Problem("scopes must not be empty", "scopes"))
    problems = [
        Problem(f"Scope {name} {wrong}", "scopes")
        for name in fields["scopes"]
        if (wrong := _scope_refusal(simulator.state, name, fields["integration_type"], orgno)) is not None
    ]
    if problems:
        raise ApiError(400, *problems)


def _scope_refusal(state: State, name: str, integration_type: str, orgno: str) -> str | None:
    scope = state.scope(name)
    if scope is None or not scope.active:
        return "does not exist"
    if not scope.allows(integration_type):
        return f"is not allowed for integration_type {integration_type}"
    if scope.delegation_source is None and not state.may_use(orgno, scope):
        return f"is not accessible for organization {orgno}"
    return None


def _own_orgno(document: Mapping[str, Any], call: Call) -> str:
    """Refuse another organisation's number: that takes idporten:dcr.supplier, which isn't simulated."""
    if document.get("client_orgno") not in (None, call.caller.orgno):
        raise ApiError(403, Problem("client_orgno must be the organization of the token", "client_orgno"))
    return call.caller.orgno


def _active(document: Mapping[str, Any]) -> bool:
    active = document.get("active")
    if active is not None and not isinstance(active, bool):
        raise ApiError(400, Problem("active must be a boolean", "active"))
    return active is not False


def find_client(simulator: "Simulator", call: Call, *, inactive: bool = False) -> Client:
    """Return the client that the path names.

    Raises:
        ApiError: 404 if it is unknown, or inactive and `inactive` is False; 403 if it belongs to
            another organisation.
    """
    client = simulator.state.client(call.params["client_id"])
    if client is not None and client.client_orgno != call.caller.orgno:
        raise ApiError(403, Problem("The client belongs to another organization"))
    if client is None or not (client.active or inactive):
        raise ApiError(404, Problem(f"Client {call.params['client_id']} was not found"))
    return client


def find_writable_client(simulator: "Simulator", call: Call) -> Client:
    """Return the client that the path names for a change.

    Raises:
        ApiError: as `find_client`, and 409 for an inactive client: that such a client can't be
            changed or made active again is assumed, DigDir documents neither.
    """
    client = find_client(simulator, call, inactive=True)
    if not client.active:
        raise ApiError(409, Problem(f"Client {client.client_id} is inactive"))
    return client


def list_clients(simulator: "Simulator", call: Call) -> Answer:
    """GET /clients: the organisation's clients, without paging; inactive ones only with ?inactive=true."""
    inactive = call.flag("inactive")
    with_jwks = simulator.settings.list_includes_jwks
    at = call.now - simulator.settings.list_lag_seconds
    documents = [
        client.json if with_jwks else client.json_without_jwks
        for client in simulator.state.clients_of(call.caller.orgno, at)
        if client.active or inactive
    ]
    return list_answer(simulator, documents, "clients")


def create_client(simulator: "Simulator", call: Call) -> Answer:
    """POST /clients: register a client.

    A client_id that the caller chose must be new; 409 for one in use is assumed. Names and
    descriptions need not be unique.
    """
    document = call.document()
    fields = parse_fields(document)
    orgno = _own_orgno(document, call)
    active = _active(document)
    client_id = document.get("client_id")
    if client_id is None:
        client_id = str(uuid.uuid4())
    elif not isinstance(client_id, str) or not _CLIENT_ID.fullmatch(client_id):
        raise ApiError(400, Problem("client_id has characters that are not allowed", "client_id"))
    _require_usable_scopes(simulator, fields, orgno)
    if client_id in simulator.state.clients:
        raise ApiError(409, Problem(f"Client {client_id} already exists", "client_id"))
    call.client_id = client_id
    client = Client(client_id, orgno, fields, active, created=call.now, last_updated=call.now)
    simulator.state.put_client(client, call.now)
    return Answer(simulator.settings.created_status, client.json)


def read_client(simulator: "Simulator", call: Call) -> Answer:
    """GET /clients/{client_id}; an inactive client only with ?inactive=true."""
    return Answer(200, find_client(simulator, call, inactive=call.flag("inactive")).json)


def update_client(simulator: "Simulator", call: Call) -> Answer:
    """PUT /clients/{client_id}: replace every writable field; what is left out gets its default."""
    document = call.document()
    client = find_writable_client(simulator, call)
    fields = parse_fields(document, integration_type=client.integration_type)
    _require_usable_scopes(simulator, fields, _own_orgno(document, call))
    client = replace(client, fields=fields, active=_active(document), last_updated=call.now)
    simulator.state.put_client(client, call.now)
    return Answer(200, client.json)


def delete_client(simulator: "Simulator", call: Call) -> Answer:
    """DELETE /clients/{client_id}: make it inactive; it is never erased."""
    client = find_writable_client(simulator, call)
    simulator.state.put_client(replace(client, active=False, last_updated=call.now), call.now)
    return Answer(simulator.settings.deleted_status)


_READ = frozenset({DCR_READ})
_WRITE = frozenset({DCR_WRITE})
_CHANGE = frozenset({DCR_WRITE, DCR_MODIFY})

OPERATIONS = (
    Operation("list-clients", "GET", "/clients", list_clients, _READ),
    Operation("create-client", "POST", "/clients", create_client, _WRITE),
    Operation("read-client", "GET", "/clients/{client_id}", read_client, _READ),
    Operation("update-client", "PUT", "/clients/{client_id}", update_client, _CHANGE),
    Operation("delete-client", "DELETE", "/clients/{client_id}", delete_client, _WRITE),
)
"""Operations on a client's on-behalf-of entries and secrets are not simulated."""
