"""Requests to the API server that a tracer follows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from maskinporten_operator.adapters.cluster.api import ClusterApi

if TYPE_CHECKING:
    from typing import Any

    import aiohttp
    from kubernetes.aio.client import Configuration

    from maskinporten_operator.adapters.fence import Fence
    from maskinporten_operator.model.traces import Tracer

NAMESPACED = re.compile(r"/namespaces/[^/]+")
NAMED = re.compile(r"(/namespaces/\{namespace\}/[^/]+)/[^/]+")
NO_ANSWER = "error"
BAD_REQUEST, NOT_FOUND = 400, 404


class TracedApi(ClusterApi):
    """Tells a tracer of every request, with its route and its status."""

    def __init__(self, configuration: Configuration, fence: Fence, observe: Any, *, tracer: Tracer) -> None:
        """As a `ClusterApi`."""
        super().__init__(configuration, fence, observe)
        self._tracer = tracer

    async def _send(self, method: str, path: str, *more: Any) -> aiohttp.ClientResponse:
        with self._tracer.follow_call("kubernetes", method, build_route(path)) as note_end:
            status = 0
            try:
                response = await super()._send(method, path, *more)
                status = response.status
                return response
            finally:
                # That there is no such object is an answer as good as any.
                failed = not status or (status >= BAD_REQUEST and status != NOT_FOUND)
                note_end(str(status) if status else NO_ANSWER, failed=failed)


def build_route(path: str) -> str:
    """Give a path without the names of namespaces and objects."""
    return NAMED.sub(r"\1/{name}", NAMESPACED.sub("/namespaces/{namespace}", path))
