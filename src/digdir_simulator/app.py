"""The ASGI application: the routes, and the way of a call through latency, faults and ledger."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from digdir_contract import Finding, Operation, check_body, check_path, check_query, load
from digdir_contract.checks import NO_BODY
from digdir_simulator import accesses, clients, keys, scopes, tokens
from digdir_simulator.calls import JSON, Answer, Call, Handler
from digdir_simulator.config import Config
from digdir_simulator.connections import disconnected, find_abort
from digdir_simulator.control import Control, ControlError, control_error
from digdir_simulator.errors import ApiError, Problem, TokenError, api_error_body
from digdir_simulator.faults import AnswerDroppedError, Fault
from digdir_simulator.ledger import Entry
from digdir_simulator.page import page_routes
from digdir_simulator.requests import find_refused, refuse
from digdir_simulator.simulator import Clock, Simulator
from digdir_simulator.state_file import StateFileError

HANDLERS = clients.HANDLERS | keys.HANDLERS | scopes.HANDLERS | accesses.HANDLERS
"""What carries out each operation of the contract."""

_SCOPES_WRITE = "idporten:scopes.write"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Serves one operation, as an ASGI application of its own: this path is hot in benchmarks.

    Attributes:
        name: that of the operation in the ledger.
        template: its path, with parameters in braces.
        handler: carries it out.
        operation: what the contract says of it; None for the token endpoint, of which it says nothing.
    """

    simulator: Simulator
    name: str
    template: str
    handler: Handler
    operation: Operation | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        body = await _read_body(receive)
        if body is None:
            return
        query = scope["query_string"].decode("latin-1")
        parameters = parse_qsl(query, keep_blank_values=True)
        call = self._read_call(scope, body, dict(parameters))
        entry = self.simulator.ledger.open(
            operation=self.name,
            method=call.method,
            template=self.template,
            path=call.path,
            query=query,
            wall=call.now,
        )
        findings = self._check(call, parameters)
        self.simulator.ledger.violate(entry, [str(one) for one in findings])
        try:
            answer = await self._answer(call, entry, findings)
        except AnswerDroppedError:
            abort = find_abort(scope)
            if abort is None:
                raise
            abort()
            await disconnected(receive)  # else the server answers with a 500
            return
        finally:
            entry.concern(call.client_id, call.scope, call.consumer)
            entry.caller = call.caller.client_id or None
            self.simulator.ledger.violate(entry, call.violations)
            self.simulator.ledger.close(entry, entry.status)
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", b"%d" % len(answer.body)),
            *((name.encode(), value.encode()) for name, value in answer.headers),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def _read_call(self, scope: Scope, body: bytes, query: dict[str, str]) -> Call:
        return Call(
            method=scope["method"],
            path=scope["path"],
            params=scope["path_params"],
            query=query,
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
            body=body,
            now=self.simulator.clock(),
            client_id=scope["path_params"].get("client_id"),
            scope=query.get("scope"),
            consumer=scope["path_params"].get("consumer_orgno"),
        )

    def _check(self, call: Call, parameters: list[tuple[str, str]]) -> list[Finding]:
        """Compare a call with the contract, and read its body."""
        operation = self.operation
        if operation is None:
            return []
        document: Any = NO_BODY
        if call.body and operation.text is None:
            try:
                document = json.loads(call.body)
            except (ValueError, RecursionError):
                document = None
        if operation.body is not None and isinstance(document, dict):
            call.document = document
        return check_path(call.params) + check_query(operation, parameters) + check_body(operation, document)

    async def _answer(self, call: Call, entry: Entry, findings: list[Finding]) -> Answer:
        simulator = self.simulator
        if simulator.settings.latency_ms and self.operation is not None:
            await asyncio.sleep(simulator.settings.latency_ms / 1000)
        faults = simulator.faults.striking(call.method, call.path)
        if not faults:
            answer = await self._carry_out_for_good(call, findings)
        else:
            entry.fault = ", ".join(f"{fault.order.kind} {fault.order.when}" for fault in faults)
            answer = await self._answer_with(faults, call, entry, findings)
        entry.status = answer.status
        return answer

    async def _answer_with(self, faults: list[Fault], call: Call, entry: Entry, findings: Sequence[Finding]) -> Answer:
        for fault in faults:
            if fault.order.when == "before":
                instead = await fault.strike(self.simulator.clock())
                if instead is not None:
                    return instead
        answer = await self._carry_out_for_good(call, findings)
        entry.concern(call.client_id, call.scope, call.consumer)
        entry.status = answer.status
        for fault in faults:
            if fault.order.when == "after":
                instead = await fault.strike(self.simulator.clock())
                if instead is not None:
                    return instead
        return answer

    async def _carry_out_for_good(self, call: Call, findings: Sequence[Finding]) -> Answer:
        """Carry out the operation, and answer when no kill of the process can undo what the answer says.

        Reading waits too, since it may show what another call has just changed.
        """
        answer = self._carry_out(call, findings)
        if self.simulator.journal is not None:
            try:
                await self.simulator.journal.written()
            except StateFileError:
                problem = Problem("The simulator can not write its state file, its log says why", object_name="State")
                return Answer(503, api_error_body(503, [problem], call.now))
        return answer

    def _carry_out(self, call: Call, findings: Sequence[Finding]) -> Answer:
        """Authorise and carry out the operation; nothing else happens meanwhile."""
        simulator = self.simulator
        call.now = simulator.clock()
        try:
            if self.operation is not None:
                self._admit(self.operation, call, findings)
            return self.handler(simulator, call)
        except ApiError as error:
            challenge = (("www-authenticate", error.challenge),) if error.challenge else ()
            return Answer(error.status, error.body(call.now), headers=challenge)
        except TokenError as error:
            return Answer(error.status, error.body(simulator.config.public_url))

    def _admit(self, operation: Operation, call: Call, findings: Sequence[Finding]) -> None:
        """Refuse a caller without the right, and then a request that the API is known to refuse.

        Raises:
            ApiError: 401, 403 or 400.
        """
        settings = self.simulator.settings
        if not operation.open:
            call.caller = self.simulator.issuer.caller(call.headers.get("authorization"), call.now)
            rights = operation.sufficient_rights
            if operation.name == "read-scope" and settings.scope_read_with_write_right:
                rights |= {_SCOPES_WRITE}
            if not rights & call.caller.scopes:
                needed = " or ".join(sorted(rights))
                raise ApiError(403, Problem(f"The client does not have any of the required scopes: {needed}"))
        refused = find_refused(findings, form_limits=settings.form_limits_enforced)
        if refused:
            raise refuse(refused, operation)


async def _read_body(receive: Receive) -> bytes | None:
    """Return the body of a request, None if the caller is gone."""
    chunks = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks)


def _constant(body: bytes) -> ASGIApp:
    async def serve(_request: Request) -> Response:
        return Response(body, media_type=JSON)

    return serve  # type: ignore[return-value]


def _enter_unpublished(simulator: Simulator, request: Request, status: int) -> None:
    """Enter a call of something that isn't there."""
    path = request.url.path
    entry = simulator.ledger.open(
        operation="unpublished",
        method=request.method,
        template="",
        path=path,
        query=request.url.query,
        wall=simulator.clock(),
    )
    simulator.ledger.violate(entry, ["path is that of no operation"])
    simulator.ledger.close(entry, status)


def create_app(config: Config | None = None, *, clock: Clock = time.time) -> Starlette:
    """Return a simulator as an ASGI application; the `Simulator` is its ``state.simulator``.

    Each call makes a simulator of its own. It must be used within one event loop.

    Args:
        config: how it starts, by default as `Config` says.
        clock: the present instant in epoch seconds; tests pass one that they can move.

    Raises:
        ValueError: the seed or a JWK of `config` is wrong.
        StateFileError: the state file of `config` can't be used.
    """
    config = config or Config()
    simulator = Simulator(config, clock)

    def api_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if not request.url.path.startswith("/control/"):
            _enter_unpublished(simulator, request, error.status_code)
        body = ApiError(error.status_code, Problem(error.detail, object_name="Request")).body(clock())
        return Response(body, error.status_code, media_type=JSON, headers=error.headers)

    admin_api = [
        Route(template, Endpoint(simulator, name, template, HANDLERS[name], operation), methods=[operation.method])
        for name, operation in load().operations.items()
        for template in [config.prefixes[operation.version] + operation.path]
    ]
    maskinporten = [
        Route("/token", Endpoint(simulator, "token", "/token", tokens.token), methods=["POST"]),
        Route("/.well-known/oauth-authorization-server", _constant(tokens.metadata(config.public_url))),
        Route("/jwk", _constant(simulator.issuer.jwks_body)),
    ]
    app = Starlette(
        routes=[*maskinporten, *admin_api, *Control(simulator).routes(), *page_routes()],
        exception_handlers={HTTPException: api_error, ControlError: control_error},
    )
    app.state.simulator = simulator
    return app
