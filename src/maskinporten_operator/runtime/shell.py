"""kopf as the process shell: login, list and watch with reconnect, signals. It decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
from typing import TYPE_CHECKING, Any

import kopf

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import aiohttp

    from maskinporten_operator.model.resources import Kind

    OnEvent = Callable[[Kind, str | None, Mapping[str, Any]], None]

FIRST_BACKOFFS = (1, 2, 4, 8)
LONGEST_BACKOFF = 10


class EndlessBackoffs:
    """An iterable of delays that never ends: an API server that is gone for long doesn't end the process."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain(FIRST_BACKOFFS, itertools.repeat(LONGEST_BACKOFF))


async def run_shell(
    on_event: OnEvent,
    open_session: Callable[[], aiohttp.ClientSession],
    server: str,
    kinds: Iterable[Kind],
    namespaces: Iterable[str],
    stop: concurrent.futures.Future[None],
) -> None:
    """Watch resources until `stop` is done.

    kopf gets a thread and an event loop of its own: at its end it cancels every task that it finds in its loop, and at
    its start it takes the process's signals if it can.

    Args:
        on_event: Given, in the caller's loop, the kind, the type of each watch event (None in the first list, and in
            one after a gap) and the object.
        open_session: Makes the session for the API server.
        server: Its address.
        kinds: What to watch.
        namespaces: Those to watch; all when empty.
        stop: Ends the watch.

    Raises:
        Exception: kopf gave up: the kind vanished from the API server, or the watch broke in a way it doesn't know.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if not ended.done():
            ended.set_exception(error) if error else ended.set_result(None)

    def pass_on(kind: Kind, event: str | None, body: Mapping[str, Any]) -> None:
        loop.call_soon_threadsafe(on_event, kind, event, body)

    def run() -> None:
        try:
            asyncio.run(_watch(pass_on, open_session, server, tuple(kinds), tuple(namespaces), stop))
        except Exception as error:  # noqa: BLE001 - it is raised where somebody waits for it
            loop.call_soon_threadsafe(settle, error)
        else:
            loop.call_soon_threadsafe(settle, None)

    threading.Thread(target=run, name="kopf", daemon=True).start()
    await ended


async def _watch(
    on_event: OnEvent,
    open_session: Callable[[], aiohttp.ClientSession],
    server: str,
    kinds: tuple[Kind, ...],
    namespaces: tuple[str, ...],
    stop: concurrent.futures.Future[None],
) -> None:
    registry = kopf.OperatorRegistry()
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def pass_stop_on(_: object) -> None:
        with contextlib.suppress(RuntimeError):  # this loop ended before
            loop.call_soon_threadsafe(stopping.set)

    # kopf would wait for the future itself in a thread, which outlasts its own end: that would never be told.
    stop.add_done_callback(pass_stop_on)
    delays = itertools.chain([0.0], EndlessBackoffs())

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        # kopf comes back here after every 401, at once.
        await asyncio.sleep(next(delays))
        return kopf.AiohttpSession(server=server, aiohttp_session=open_session())

    for kind in kinds:

        @kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=kind.plural, param=kind)
        async def enqueue(event: Mapping[str, Any], param: Any = None, **_: Any) -> None:
            on_event(param, event["type"], event["object"])

    await kopf.operator(
        registry=registry,
        settings=build_settings(),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stopping,
    )


def build_settings() -> kopf.OperatorSettings:
    """Build kopf's settings: a watcher, and nothing else."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.posting.level = logging.CRITICAL
    settings.scanning.disabled = True
    settings.persistence.finalizer = "maskinporten-operator.nais.io/unused"  # kopf strips its own from every object
    settings.queueing.idle_timeout = 0.1
    settings.queueing.exit_timeout = 1
    settings.watching.chunk_size = 500
    # Opened anew so often that a watch that is silent by fault is known by that: see `runtime.vitals`.
    settings.watching.server_timeout = 25
    settings.watching.inactivity_timeout = 35
    settings.networking.request_timeout = 15
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = EndlessBackoffs()
    return settings
