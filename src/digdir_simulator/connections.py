"""What an ASGI application can do about the connection that a request came by."""

from collections.abc import Callable
from typing import Any

from starlette.types import Receive, Scope

ABORT_EXTENSION = "digdir_simulator.abort"
"""ASGI extension by which a server lends the application a way to abort the connection."""


def find_abort(scope: Scope) -> Callable[[], Any] | None:
    """Return what aborts the connection of a request; None where the server can't."""
    abort: Callable[[], Any] | None = scope.get("extensions", {}).get(ABORT_EXTENSION)
    return abort


async def disconnected(receive: Receive) -> None:
    """Return when the server has noticed that the connection is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
