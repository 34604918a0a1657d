"""The ASGI application: the routes, and the way of a call through latency, faults and ledger."""

import asyncio
import time
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from digdir_simulator import accesses, clients, keys, scopes, tokens
from digdir_simulator.calls import JSON, Answer, Call, Operation
from digdir_simulator.config import Config
from digdir_simulator.control import Control, ControlError, control_error
from digdir_simulator.errors import ApiError, Problem, TokenError, api_error_body
from digdir_simulator.faults import AnswerDroppedError, Fault
from digdir_simulator.ledger import Entry
from digdir_simulator.simulator import Clock, Simulator
from digdir_simulator.state_file import StateFileError

ABORT_EXTENSION = "digdir_simulator.abort"
"""ASGI extension by which a server lends the application a way to abort the connection."""

OPERATIONS = (*clients.OPERATIONS, *keys.OPERATIONS, *scopes.OPERATIONS, *accesses.OPERATIONS)
"""All operations of the admin API."""

TOKEN = Operation("token", "POST", "/token", tokens.token)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Serves one operation, as an ASGI application of its own: this path is hot in benchmarks."""

    simulator: Simulator
    operation: Operation
    template: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        body = await _read_body(receive)
        if body is None:
            return
        query = scope["query_string"].decode("latin-1")
        query_parameters = dict(parse_qsl(query, keep_blank_values=True))
        call = Call(
            method=scope["method"],
            path=scope["path"],
            params=scope["path_params"],
            query=query_parameters,
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
            body=body,
            now=self.simulator.clock(),
            client_id=scope["path_params"].get("client_id"),
            scope=query_parameters.get("scope"),
            consumer=scope["path_params"].get("consumer_orgno"),
        )
        entry = self.simulator.ledger.open(
            operation=self.operation.name,
            method=call.method,
            template=self.template,
            path=call.path,
            query=query,
            wall=call.now,
        )
        try:
            answer = await self._answer(call, entry)
        except AnswerDroppedError:
            abort = scope.get("extensions", {}).get(ABORT_EXTENSION)
            if abort is None:
                raise
            abort()
            await _disconnected(receive)
            return
        finally:
            entry.concern(call.client_id, call.scope, call.consumer)
            entry.caller = call.caller.client_id or None
            entry.close(entry.status)
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", b"%d" % len(answer.body)),
            *((name.encode(), value.encode()) for name, value in answer.headers),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, call: Call, entry: Entry) -> Answer:
        simulator = self.simulator
        if simulator.settings.latency_ms and self.operation is not TOKEN:
            await asyncio.sleep(simulator.settings.latency_ms / 1000)
        faults = simulator.faults.striking(call.method, call.path)
        if not faults:
            answer = await self._carry_out_for_good(call)
        else:
            entry.fault = ", ".join(f"{fault.order.kind} {fault.order.when}" for fault in faults)
            answer = await self._answer_with(faults, call, entry)
        entry.status = answer.status
        return answer

    async def _answer_with(self, faults: list[Fault], call: Call, entry: Entry) -> Answer:
        for fault in faults:
            if fault.order.when == "before":
                instead = await fault.strike(self.simulator.clock())
                if instead is not None:
                    return instead
        answer = await self._carry_out_for_good(call)
        entry.concern(call.client_id, call.scope, call.consumer)
        entry.status = answer.status
        for fault in faults:
            if fault.order.when == "after":
                instead = await fault.strike(self.simulator.clock())
                if instead is not None:
                    return instead
        return answer

    async def _carry_out_for_good(self, call: Call) -> Answer:
        """Carry out the operation, and answer when no kill of the process can undo what the answer says.

        Reading waits too, since it may show what another call has just changed.
        """
        answer = self._carry_out(call)
        if self.simulator.journal is not None:
            try:
                await self.simulator.journal.written()
            except StateFileError:
                problem = Problem("The simulator can not write its state file, its log says why", object_name="State")
                return Answer(503, api_error_body(503, [problem], call.now))
        return answer

    def _carry_out(self, call: Call) -> Answer:
        """Authorise and carry out the operation; nothing else happens meanwhile."""
        simulator = self.simulator
        call.now = simulator.clock()
        try:
            if self.operation.scopes:
                call.caller = simulator.issuer.caller(call.headers.get("authorization"), call.now)
                if not self.operation.scopes & call.caller.scopes:
                    needed = " or ".join(sorted(self.operation.scopes))
                    raise ApiError(  # noqa: TRY301 - one place turns refusals into answers
                        403, Problem(f"The token lacks the scope {needed}", object_name="Authorization")
                    )
            return self.operation.handler(simulator, call)
        except ApiError as error:
            challenge = (("www-authenticate", error.challenge),) if error.challenge else ()
            return Answer(error.status, error.body(call.now), headers=challenge)
        except TokenError as error:
            return Answer(error.status, error.body(simulator.config.public_url))


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


async def _disconnected(receive: Receive) -> None:
    """Wait until the server has noticed that the connection is gone, lest it answers with a 500."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _constant(body: bytes) -> ASGIApp:
    async def serve(_request: Request) -> Response:
        return Response(body, media_type=JSON)

    return serve  # type: ignore[return-value]


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

    def api_error(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        body = ApiError(error.status_code, Problem(error.detail, object_name="Request")).body(clock())
        return Response(body, error.status_code, media_type=JSON, headers=error.headers)

    admin_api = [
        Route(
            config.api_prefix + operation.path,
            Endpoint(simulator, operation, config.api_prefix + operation.path),
            methods=[operation.method],
        )
        for operation in OPERATIONS
    ]
    maskinporten = [
        Route("/token", Endpoint(simulator, TOKEN, "/token"), methods=["POST"]),
        Route("/.well-known/oauth-authorization-server", _constant(tokens.metadata(config.public_url))),
        Route("/jwk", _constant(simulator.issuer.jwks_body)),
    ]
    app = Starlette(
        routes=[*maskinporten, *admin_api, *Control(simulator).routes()],
        exception_handlers={HTTPException: api_error, ControlError: control_error},
    )
    app.state.simulator = simulator
    return app
