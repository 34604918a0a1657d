"""Calls of DigDir's API that a tracer follows."""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from maskinporten_operator.adapters.digdir.calls import Calls

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from maskinporten_operator.model.traces import Tracer

ROUTES = (
    (re.compile(r"^/clients/[^/]+"), "/clients/{client_id}"),
    (re.compile(r"^/scopes/access/[0-9]+$"), "/scopes/access/{consumer_orgno}"),
)
NO_ANSWER = "error"
_STATUS: ContextVar[str] = ContextVar("status")


class TracedCalls(Calls):
    """Tells a tracer of every call, with its route and its status."""

    def __init__(
        self, http: httpx.AsyncClient, base_url: str, observe: Callable[[str, str, float], None], *, tracer: Tracer
    ) -> None:
        """`observe` is told as by `Calls`."""

        def note(operation: str, status: str, seconds: float) -> None:
            _STATUS.set(status)
            observe(operation, status, seconds)

        super().__init__(http, base_url, note)
        self._tracer = tracer

    async def send(self, method: str, path: str, operation: str, **more: Any) -> httpx.Response:
        """Send as `Calls` does."""
        with self._tracer.follow_call("digdir", method, build_route(path)) as note_end:
            _STATUS.set(NO_ANSWER)
            failed = True
            try:
                response = await super().send(method, path, operation, **more)
                failed = False
                return response
            finally:
                note_end(_STATUS.get(), failed=failed)


def build_route(path: str) -> str:
    """Give a path without ids."""
    for pattern, route in ROUTES:
        path = pattern.sub(route, path)
    return path
