"""The operations on clients, ``/clients`` (digdir docs: oidc_api_admin_maskinporten)."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from digdir_simulator.calls import Answer, Call, Digdir, Handler, deleted_answer, list_answer, may_use
from digdir_simulator.errors import ApiError, Problem
from digdir_simulator.requests import parse_client
from digdir_simulator.state import Client

_CLIENT_ID = re.compile(r"[A-Za-z0-9._:-]{1,255}")


def _require_usable_scopes(digdir: Digdir, fields: Mapping[str, Any], orgno: str) -> None:
    """Refuse scopes that the organisation may not register (digdir docs: oidc_protocol_scope)."""
    if not fields["scopes"] and not digdir.settings.allow_clients_without_scopes:
        raise ApiError(400, Problem("scopes must not be empty", "scopes"))
    problems = [
        Problem(f"Scope {name} {wrong}", "scopes")
        for name in fields["scopes"]
        if (wrong := _scope_refusal(digdir, name, fields["integration_type"], orgno)) is not None
    ]
    if problems:
        raise ApiError(400, *problems)


def _scope_refusal(digdir: Digdir, name: str, integration_type: str, orgno: str) -> str | None:
    scope = digdir.state.scope(name)
    if scope is None or not scope.active:
        return "does not exist"
    if not scope.allows(integration_type):
        return f"is not allowed for integration_type {integration_type}"
    if scope.delegation_source is None and not may_use(digdir, orgno, scope):
        return f"is not accessible for organization {orgno}"
    return None


def _own_orgno(document: Mapping[str, Any], call: Call) -> str:
    """Refuse another organisation's number: that takes idporten:dcr.supplier, which isn't simulated."""
    if document.get("client_orgno") not in (None, call.caller.orgno):
        raise ApiError(403, Problem("client_orgno must be the organization of the token", "client_orgno"))
    if document.get("supplier_orgno") is not None:
        call.violations.append("body supplier_orgno needs idporten:dcr.supplier")
        raise ApiError(403, Problem("supplier_orgno needs the scope idporten:dcr.supplier", "supplier_orgno"))
    return call.caller.orgno


def find_client(digdir: Digdir, call: Call, *, inactive: bool = False) -> Client:
    """Return the client that the path names.

    Raises:
        ApiError: 404 if it is unknown, or inactive, and neither `inactive` nor the setting says that
            inactive ones are found; 403 if it belongs to another organisation.
    """
    client = digdir.state.client(call.params["client_id"])
    if client is not None and client.client_orgno != call.caller.orgno:
        raise ApiError(403, Problem("The client belongs to another organization"))
    if client is None or not (client.active or inactive or digdir.settings.inactive_client_is_found):
        raise ApiError(404, Problem(f"Client {call.params['client_id']} was not found"))
    return client


def find_writable_client(digdir: Digdir, call: Call) -> Client:
    """Return the client that the path names for a change.

    Raises:
        ApiError: as `find_client`, and 409 for an inactive client when so set.
    """
    client = find_client(digdir, call, inactive=True)
    if not client.active and digdir.settings.inactive_client_changes == "refused":
        raise ApiError(409, Problem(f"Client {client.client_id} is inactive"))
    return client


def list_clients(digdir: Digdir, call: Call) -> Answer:
    """GET /clients: the organisation's clients, without paging; inactive ones only with ?inactive=true."""
    inactive = call.flag("inactive")
    with_jwks = digdir.settings.list_includes_jwks
    at = call.now - digdir.settings.list_lag_seconds
    documents = [
        client.json if with_jwks else client.json_without_jwks
        for client in digdir.state.clients_of(call.caller.orgno, at)
        if client.active or inactive
    ]
    return list_answer(digdir, documents, "clients")


def create_client(digdir: Digdir, call: Call) -> Answer:
    """POST /clients: register a client.

    A client_id that the caller chose must be new; 409 for one in use is assumed. Names and
    descriptions need not be unique.
    """
    document = call.document
    fields = parse_client(document)
    orgno = _own_orgno(document, call)
    client_id = document.get("client_id")
    if client_id is None:
        client_id = str(uuid.uuid4())
    elif not _CLIENT_ID.fullmatch(client_id):
        raise ApiError(400, Problem("client_id has characters that are not allowed", "client_id"))
    _require_usable_scopes(digdir, fields, orgno)
    if client_id in digdir.state.clients:
        raise ApiError(409, Problem(f"Client {client_id} already exists", "client_id"))
    call.client_id = client_id
    active = document.get("active") is not False
    client = Client(client_id, orgno, fields, active, created=call.now, last_updated=call.now)
    digdir.state.put_client(client, call.now)
    return Answer(digdir.settings.created_status, client.json)


def read_client(digdir: Digdir, call: Call) -> Answer:
    """GET /clients/{client_id}; an inactive client with ?inactive=true, or when so set."""
    return Answer(200, find_client(digdir, call, inactive=call.flag("inactive")).json)


def update_client(digdir: Digdir, call: Call) -> Answer:
    """PUT /clients/{client_id}: replace every writable field; what is left out gets its default.

    Whether ``"active": true``, or leaving it out, brings an inactive client back is a setting. That
    another client's client_id is refused is assumed.
    """
    document = call.document
    client = find_writable_client(digdir, call)
    if document.get("client_id") not in (None, client.client_id):
        call.violations.append("body client_id must be that of the path")
        raise ApiError(400, Problem("client_id can not be changed", "client_id"))
    fields = parse_client(document, integration_type=client.integration_type)
    _require_usable_scopes(digdir, fields, _own_orgno(document, call))
    stays_inactive = not client.active and digdir.settings.inactive_client_changes == "stays-inactive"
    active = document.get("active") is not False and not stays_inactive
    client = replace(client, fields=fields, active=active, last_updated=call.now)
    digdir.state.put_client(client, call.now)
    return Answer(200, client.json)


def delete_client(digdir: Digdir, call: Call) -> Answer:
    """DELETE /clients/{client_id}: make it inactive; it is never erased."""
    client = find_writable_client(digdir, call)
    digdir.state.put_client(replace(client, active=False, last_updated=call.now), call.now)
    return deleted_answer(digdir)


HANDLERS: dict[str, Handler] = {
    "list-clients": list_clients,
    "create-client": create_client,
    "read-client": read_client,
    "update-client": update_client,
    "delete-client": delete_client,
}
"""By the operation's name in the contract."""
