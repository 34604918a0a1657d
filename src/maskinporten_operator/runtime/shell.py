"""kopf as the process shell: login, list, and watch with reconnect."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

import aiohttp
import kopf
from kopf._cogs.clients.errors import APIError
from kopf._cogs.clients.watching import WatchingError

from maskinporten_operator.runtime.faults import log_unawaited

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from maskinporten_operator.model.resources import Kind

    OnEvent = Callable[[Kind, str | None, Mapping[str, Any]], None]
    OpenSession = Callable[[OnEvent], aiohttp.ClientSession]

FIRST_BACKOFFS = (1, 2, 4, 8)
MAX_BACKOFF = 10
IDENTITY = "maskinporten-operator"
"""Used for nothing here. kopf would ask for the user's name, and a pod's user has none."""
OUTAGES = (
    *(APIError, WatchingError, kopf.LoginError, aiohttp.ClientError, json.JSONDecodeError),
    *(ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError),
)
"""What an API server, or the way to it, may end the watch by. Anything else is a fault on this side."""


class EndlessBackoffs:
    """An infinite iterable of delays, so that a long outage of the API server doesn't end the process."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain(FIRST_BACKOFFS, itertools.repeat(MAX_BACKOFF))


def is_outage(error: BaseException) -> bool:
    """Whether the watch ended by an outage of the API server or of the network."""
    return isinstance(error, OUTAGES) or (error.__cause__ is not None and is_outage(error.__cause__))


async def run_shell(
    on_event: OnEvent,
    open_session: OpenSession,
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
        open_session: Makes the session for the API server, which gives what it reads to the function that it is given:
            kopf's own way with each event and object costs more than all else that is done with it.
        server: Its address.
        kinds: What to watch.
        namespaces: Those to watch; all when empty.
        stop: Ends the watch.

    Raises:
        Exception: kopf gave up: the kind vanished from the API server, or the watch broke in a way it doesn't know.
            Also whatever `on_event` or `open_session` raised.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if not ended.done():
            ended.set_exception(error) if error else ended.set_result(None)

    def take(kind: Kind, event: str | None, body: Mapping[str, Any]) -> None:
        try:
            on_event(kind, event, body)
        except Exception as error:  # noqa: BLE001 - it is raised where somebody waits for it
            shell.give_up(error)

    def pass_on(kind: Kind, event: str | None, body: Mapping[str, Any]) -> None:
        loop.call_soon_threadsafe(take, kind, event, body)

    shell = _Shell(lambda: open_session(pass_on), server, stop)

    def run() -> None:
        try:
            asyncio.run(shell.run(tuple(kinds), tuple(namespaces)))
        except Exception as error:  # noqa: BLE001 - as above
            loop.call_soon_threadsafe(settle, error)
        else:
            loop.call_soon_threadsafe(settle, None)

    threading.Thread(target=run, name="kopf", daemon=True).start()
    await ended


class _Shell:
    """One run of kopf, in its own thread."""

    def __init__(
        self, open_session: Callable[[], aiohttp.ClientSession], server: str, stop: concurrent.futures.Future[None]
    ) -> None:
        self._open_session = open_session
        self._server = server
        self._stop = stop
        self._fault: Exception | None = None
        self._end: Callable[[], None] = lambda: None

    def give_up(self, error: Exception) -> None:
        """End because of an error that kopf doesn't see, or would retry indefinitely; from any thread."""
        self._fault = self._fault or error
        self._end()

    async def run(self, kinds: tuple[Kind, ...], namespaces: tuple[str, ...]) -> None:
        """Watch until the end is asked for."""
        stopping = self._expect_end()
        registry = self._register(kinds, stopping)
        try:
            await kopf.operator(
                registry=registry,
                settings=build_settings(),
                identity=IDENTITY,  # type: ignore[arg-type]
                standalone=True,
                clusterwide=not namespaces,
                namespaces=namespaces,
                stop_flag=stopping,
            )
        finally:
            if self._fault:
                raise self._fault

    def _expect_end(self) -> asyncio.Event:
        """Give what is set when this run shall end, by a call from any thread."""
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        loop.set_exception_handler(log_unawaited)

        def end(_: object = None) -> None:
            with contextlib.suppress(RuntimeError):  # this loop ended before
                loop.call_soon_threadsafe(stopping.set)

        # kopf would wait for the future itself in a thread, which outlasts its own end: that would never be told.
        self._stop.add_done_callback(end)
        self._end = end
        return stopping

    def _register(self, kinds: tuple[Kind, ...], stopping: asyncio.Event) -> kopf.OperatorRegistry:
        """Register how kopf logs in, and what it watches: what there is a handler for."""
        registry = kopf.OperatorRegistry()
        delays = itertools.chain([0.0], EndlessBackoffs())

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.AiohttpSession:
            # kopf comes back here after every 401, at once.
            await asyncio.sleep(next(delays))
            try:
                session = self._open_session()
            except Exception as error:
                self.give_up(error)
                await stopping.wait()  # else kopf would try again, each minute and indefinitely
                raise
            return kopf.AiohttpSession(server=self._server, aiohttp_session=session)

        for kind in kinds:

            @kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=kind.plural)
            async def ignore(**_: Any) -> None:
                """Never called: the session takes in all objects."""

        return registry


class _NoDiffBase(kopf.DiffBaseStorage):
    """Keeps no earlier state, and reads none from annotations, which users may write."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Give nothing to compare."""
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> None:
        """Find nothing that was stored."""

    def store(self, **_: Any) -> None:
        """Store nothing."""


def build_settings() -> kopf.OperatorSettings:
    """Build kopf's settings: a watcher, and nothing else."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.posting.level = logging.CRITICAL
    settings.scanning.disabled = True
    settings.persistence.finalizer = "none, as this is no name"  # kopf strips its own from every object that has it
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.progress_storage = kopf.MultiProgressStorage([])
    settings.queueing.idle_timeout = 0.1
    settings.queueing.exit_timeout = 1
    settings.watching.chunk_size = 500  # or fewer, as the session decides
    # Opened anew so often that a watch that is silent by fault is known by that: see `runtime.vitals`.
    settings.watching.server_timeout = 25
    settings.watching.inactivity_timeout = 35
    settings.networking.request_timeout = 15
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = EndlessBackoffs()
    return settings
