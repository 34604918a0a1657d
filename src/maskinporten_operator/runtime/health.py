"""The HTTP endpoints: /livez, /readyz and /metrics."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from maskinporten_operator.runtime.metrics import Metrics

log = structlog.get_logger()


class AddressError(Exception):
    """Nothing can be served at an address; the text names it, and says why."""


@asynccontextmanager
async def serve_endpoints(
    metrics: Metrics,
    metrics_address: str,
    health_address: str,
    find_missing: Callable[[], Sequence[str]],
    find_faults: Callable[[], Sequence[str]],
) -> AsyncIterator[None]:
    """Serve the endpoints while the context lasts; an empty address serves nothing, two equal ones share a server.

    `find_missing` names what is missing for readiness, and `find_faults` what only a restart fixes. All by the loop
    that the work is done in: where that is stuck, nobody answers.

    Raises:
        AddressError: One of the addresses can't be listened at.
    """

    async def livez(_: web.Request) -> web.Response:
        faults = find_faults()
        if faults:
            log.error("a restart is needed", faults=list(faults))
        return web.Response(text="\n".join(faults or ("ok",)) + "\n", status=500 if faults else 200)

    async def readyz(_: web.Request) -> web.Response:
        missing = [f"waiting for {one}" for one in find_missing()]
        return web.Response(text="\n".join(missing or ("ok",)) + "\n", status=503 if missing else 200)

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"})

    metrics.gauge("ready", "Whether /readyz answers 200: 1 or 0.", lambda: int(not find_missing()))
    routes: dict[str, list[web.RouteDef]] = {}
    routes.setdefault(health_address, []).extend([web.get("/livez", livez), web.get("/readyz", readyz)])
    routes.setdefault(metrics_address, []).append(web.get("/metrics", show_metrics))
    async with AsyncExitStack() as stack:
        for address, definitions in routes.items():
            if address:
                await _start(stack, address, definitions)
        yield


async def _start(stack: AsyncExitStack, address: str, definitions: list[web.RouteDef]) -> None:
    app = web.Application()
    app.add_routes(definitions)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    host, _, port = address.rpartition(":")
    try:
        await web.TCPSite(runner, host.strip("[]") or None, int(port)).start()
    except OSError as error:
        raise AddressError(f"HEALTH_ADDRESS or METRICS_ADDRESS: {error.strerror or error}") from None
