"""The control API, ``/control``: what tests and demos do to a simulator, past DigDir's own rules.

It asks for no credentials, so it answers callers on its own machine only, and no site in their browsers but its own
page. It leaves no trace in the ledger.
"""

import ipaddress
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from digdir_simulator import events
from digdir_simulator.browsers import find_objection
from digdir_simulator.config import Settings
from digdir_simulator.errors import to_json
from digdir_simulator.faults import Fault, FaultOrder
from digdir_simulator.overview import NEWEST, list_accesses, list_clients, list_scopes, show_call, show_switches
from digdir_simulator.seed import (
    SeedGrant,
    SeedScope,
    client_document,
    dump,
    grant,
    parse_seed,
    scope_document,
    seed_client,
    seed_scopes,
)
from digdir_simulator.simulator import Simulator
from digdir_simulator.state_file import StateFileError

Handler = Callable[[Request], Awaitable[Response]]

_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

_DOCUMENTS = TypeAdapter(list[dict[str, Any]])
_SCOPES = TypeAdapter(list[SeedScope])


class ControlError(Exception):
    """A call of the control API is wrong; answered with `status` and ``{"error": …}``."""

    def __init__(self, status: int, message: str) -> None:
        """Refuse with `message`."""
        self.status = status
        self.message = message
        super().__init__(status, message)


def control_error(_request: Request, error: Exception) -> Response:
    """Answer a refused call of the control API."""
    assert isinstance(error, ControlError)
    return _json({"error": error.message}, error.status)


def _json(value: Any, status: int = 200) -> Response:
    return Response(to_json(value), status, media_type="application/json", headers=_HEADERS)


def _created(shown: list[bytes], body: Any) -> Response:
    """Answer with what was made, as a list if the request had one."""
    content = b"[" + b",".join(shown) + b"]" if isinstance(body, list) else shown[0]
    return Response(content, 201, media_type="application/json")


def _is_here(request: Request) -> bool:
    """Whether a caller is on the simulator's own machine, or in its own pod: by loopback, or from its own address."""
    if request.client is None:
        return False
    server = request.scope.get("server")
    try:
        caller = ipaddress.ip_address(request.client.host)
    except ValueError:
        return False
    mapped = getattr(caller, "ipv4_mapped", None)
    return (mapped or caller).is_loopback or (server is not None and request.client.host == server[0])


async def _body(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except ValueError as error:
        raise ControlError(400, "the body is no JSON") from error


def _invalid(error: ValueError) -> ControlError:
    if isinstance(error, ValidationError):
        details = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return ControlError(400, "; ".join(details))
    return ControlError(400, str(error))


def _ledger_filter(request: Request) -> dict[str, Any]:
    query = request.query_params
    try:
        since = int(query.get("since", 0))
    except ValueError as error:
        raise ControlError(400, "since must be a sequence number") from error
    return {name: query.get(name) for name in ("operation", "client_id", "scope")} | {"since": since}


class Control:
    """The control API of one simulator."""

    def __init__(self, simulator: Simulator) -> None:
        """Control `simulator`."""
        self._simulator = simulator
        self._own_name = urlsplit(simulator.config.public_url).hostname

    async def read_settings(self, _request: Request) -> Response:
        """GET /control/settings."""
        return _json(self._simulator.settings.model_dump())

    async def change_settings(self, request: Request) -> Response:
        """PATCH /control/settings: change the settings named in the body, leave the others."""
        changes = await _body(request)
        if not isinstance(changes, dict):
            raise ControlError(400, "settings are a JSON object")
        try:
            settings = Settings.model_validate(self._simulator.settings.model_dump() | changes)
        except ValueError as error:
            raise _invalid(error) from error
        self._simulator.settings = settings
        return _json(settings.model_dump())

    async def list_faults(self, _request: Request) -> Response:
        """GET /control/faults: those in force and those spent."""
        return _json([fault.document() for fault in self._simulator.faults])

    async def add_fault(self, request: Request) -> Response:
        """POST /control/faults: put one in force."""
        try:
            order = FaultOrder.model_validate(await _body(request))
        except ValueError as error:
            raise _invalid(error) from error
        return _json(self._simulator.faults.add(order).document(), 201)

    def _fault(self, request: Request) -> Fault:
        fault = self._simulator.faults.get(request.path_params["number"])
        if fault is None:
            raise ControlError(404, "no such fault")
        return fault

    async def read_fault(self, request: Request) -> Response:
        """GET /control/faults/{id}."""
        return _json(self._fault(request).document())

    async def remove_fault(self, request: Request) -> Response:
        """DELETE /control/faults/{id}: also releases what it holds."""
        self._simulator.faults.remove(self._fault(request).number)
        return Response(status_code=204)

    async def remove_faults(self, _request: Request) -> Response:
        """DELETE /control/faults: all; also releases what they hold."""
        self._simulator.faults.clear()
        return Response(status_code=204)

    async def release_fault(self, request: Request) -> Response:
        """POST /control/faults/{id}/release: let held calls go on."""
        fault = self._fault(request)
        fault.release()
        return _json(fault.document())

    async def read_ledger(self, request: Request) -> Response:
        """GET /control/ledger?operation=&client_id=&scope=&since=."""
        return _json(self._simulator.ledger.entries(**_ledger_filter(request)))

    async def summarise_ledger(self, request: Request) -> Response:
        """GET /control/ledger/summary?operation=&client_id=&scope=&since=."""
        return _json(self._simulator.ledger.summary(**_ledger_filter(request)))

    async def list_violations(self, _request: Request) -> Response:
        """GET /control/violations: the calls that break the contract of the API."""
        return _json(self._simulator.ledger.violating())

    async def clear_ledger(self, _request: Request) -> Response:
        """DELETE /control/ledger."""
        self._simulator.ledger.clear()
        return Response(status_code=204)

    async def export_state(self, _request: Request) -> Response:
        """GET /control/state: the state as a seed document."""
        return _json(dump(self._simulator.state))

    async def import_state(self, request: Request) -> Response:
        """PUT /control/state: replace the state by a seed document."""
        try:
            self._simulator.replace_state(parse_seed(await _body(request)))
        except ValueError as error:
            raise _invalid(error) from error
        return Response(status_code=204)

    async def list_clients(self, request: Request) -> Response:
        """GET /control/clients?description=: clients as a seed has them, of all organisations, inactive ones too."""
        wanted = request.query_params.get("description")
        clients = (versions.current for versions in self._simulator.state.clients.values())
        return _json([client_document(one) for one in clients if wanted in {None, one.fields["description"]}])

    async def list_scopes(self, request: Request) -> Response:
        """GET /control/scopes?name=: scopes as a seed has them, each with its ``accesses``, states by consumer."""
        state, wanted = self._simulator.state, request.query_params.get("name")
        shown = []
        for name, versions in state.scopes.items():
            if wanted in {None, name}:
                accesses = state.accesses.get(name, {})
                states = {consumer: access.current.state for consumer, access in accesses.items()}
                shown.append({**scope_document(versions.current), "accesses": states})
        return _json(shown)

    async def seed_clients(self, request: Request) -> Response:
        """POST /control/clients: register a client, or a list of them, as if it had always been there."""
        body = await _body(request)
        simulator = self._simulator
        try:
            documents = _DOCUMENTS.validate_python(body if isinstance(body, list) else [body])
            clients = [seed_client(simulator.state, document, simulator.clock()) for document in documents]
        except ValueError as error:
            raise _invalid(error) from error
        return _created([client.json for client in clients], body)

    async def seed_scopes(self, request: Request) -> Response:
        """POST /control/scopes: register a scope, or a list of them, as if it had always been there."""
        body = await _body(request)
        simulator = self._simulator
        try:
            seeds = _SCOPES.validate_python(body if isinstance(body, list) else [body])
            scopes = seed_scopes(simulator.state, seeds, simulator.clock())
        except ValueError as error:
            raise _invalid(error) from error
        return _created([scope.json for scope in scopes], body)

    async def set_grant(self, request: Request) -> Response:
        """POST /control/grants: give or take an access, in effect after the propagation delay."""
        try:
            order = SeedGrant.model_validate(await _body(request))
        except ValueError as error:
            raise _invalid(error) from error
        now = self._simulator.clock()
        access = grant(self._simulator.state, order, now, now)
        return _json({"scope": access.scope, "consumer_orgno": access.consumer_orgno, "state": access.state}, 200)

    async def reset(self, _request: Request) -> Response:
        """POST /control/reset: go back to seed and settings, whatever a state file had at the start."""
        self._simulator.reset()
        return Response(status_code=204)

    async def show_clients(self, request: Request) -> Response:
        """GET /control/page/clients?q=: the newest clients, for the page."""
        return _json(list_clients(self._simulator.state, request.query_params.get("q", "")))

    async def show_scopes(self, request: Request) -> Response:
        """GET /control/page/scopes?q=: the newest scopes, for the page."""
        return _json(list_scopes(self._simulator.state, request.query_params.get("q", "")))

    async def show_accesses(self, request: Request) -> Response:
        """GET /control/page/accesses?q=: the newest accesses, for the page."""
        return _json(list_accesses(self._simulator.state, request.query_params.get("q", "")))

    async def show_violations(self, _request: Request) -> Response:
        """GET /control/page/violations: the newest calls that break the contract, for the page."""
        simulator = self._simulator
        return _json([show_call(simulator.state, entry) for entry in simulator.ledger.latest_violating(NEWEST)])

    async def show_switches(self, _request: Request) -> Response:
        """GET /control/page/switches: settings and faults, and where this is, for the page."""
        simulator = self._simulator
        state = simulator.state
        organisation = {"orgno": state.organisation, "name": state.names.get(state.organisation)}
        about = {"issuer": simulator.config.issuer, "organisation": organisation, "prefixes": list(state.prefixes)}
        return _json({**about, **show_switches(simulator.settings, simulator.faults)})

    async def follow(self, request: Request) -> Response:
        """GET /control/events: the newest calls, and then each that follows, as server-sent events."""
        if self._simulator.listeners >= events.MAX_LISTENERS:
            raise ControlError(503, f"{events.MAX_LISTENERS} listen already")
        return events.EventStream(self._simulator, request.headers.get("last-event-id"))

    def routes(self) -> list[Route]:
        """Return the routes of the control API."""
        return [
            Route(path, self._guarded(self._for_good(handler)), methods=[method])
            for method, path, handler in self._handlers()
        ]

    def _guarded(self, handler: Handler) -> Handler:
        """Return `handler`, refusing callers from elsewhere."""

        async def handle(request: Request) -> Response:
            if not (self._simulator.config.control_from_anywhere or _is_here(request)):
                raise ControlError(
                    403,
                    "the control API answers callers on its own machine only: in a cluster use kubectl port-forward, "
                    "elsewhere start the simulator with --control-from-anywhere",
                )
            objection = find_objection(request.headers, self._own_name)
            if objection is not None:
                raise ControlError(403, objection)
            response = await handler(request)
            response.headers.update(_HEADERS)
            if request.method not in {"GET", "HEAD"}:
                self._simulator.note_control()
            return response

        return handle

    def _for_good(self, handler: Handler) -> Handler:
        """Return `handler`, answering when its changes, and those that it may show, are in the state file."""

        async def handle(request: Request) -> Response:
            response = await handler(request)
            try:
                await self._simulator.written()
            except StateFileError as error:
                raise ControlError(503, str(error)) from error
            return response

        return handle

    def _handlers(self) -> list[tuple[str, str, Handler]]:
        return [
            ("GET", "/control/settings", self.read_settings),
            ("PATCH", "/control/settings", self.change_settings),
            ("GET", "/control/faults", self.list_faults),
            ("POST", "/control/faults", self.add_fault),
            ("DELETE", "/control/faults", self.remove_faults),
            ("GET", "/control/faults/{number:int}", self.read_fault),
            ("DELETE", "/control/faults/{number:int}", self.remove_fault),
            ("POST", "/control/faults/{number:int}/release", self.release_fault),
            ("GET", "/control/ledger", self.read_ledger),
            ("DELETE", "/control/ledger", self.clear_ledger),
            ("GET", "/control/ledger/summary", self.summarise_ledger),
            ("GET", "/control/violations", self.list_violations),
            ("GET", "/control/state", self.export_state),
            ("PUT", "/control/state", self.import_state),
            ("GET", "/control/clients", self.list_clients),
            ("POST", "/control/clients", self.seed_clients),
            ("GET", "/control/scopes", self.list_scopes),
            ("POST", "/control/scopes", self.seed_scopes),
            ("POST", "/control/grants", self.set_grant),
            ("POST", "/control/reset", self.reset),
            ("GET", "/control/events", self.follow),
            ("GET", "/control/page/clients", self.show_clients),
            ("GET", "/control/page/scopes", self.show_scopes),
            ("GET", "/control/page/accesses", self.show_accesses),
            ("GET", "/control/page/violations", self.show_violations),
            ("GET", "/control/page/switches", self.show_switches),
        ]
