"""kopf as the process shell: login, list and watch with reconnect, signals. It decides nothing."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Any

import kopf

from maskinporten_operator.model.resources import GROUP, PLURAL, VERSION

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import aiohttp

FIRST_BACKOFFS = (1, 2, 4, 8)
LONGEST_BACKOFF = 10


class EndlessBackoffs:
    """An iterable of delays that never ends: an API server that is gone for long doesn't end the process."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain(FIRST_BACKOFFS, itertools.repeat(LONGEST_BACKOFF))


async def run_shell(
    on_event: Callable[[str | None, Mapping[str, Any]], None],
    open_session: Callable[[], aiohttp.ClientSession],
    server: str,
    namespaces: Iterable[str],
    *,
    started: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    """Watch MaskinportenClients until `stop` is set.

    Args:
        on_event: Given the type of each watch event (None in the first list, and in one after a gap) and the object.
        open_session: Makes the session for the API server.
        server: Its address.
        namespaces: Those to watch; all when empty.
        started: Set when kopf has done all that it does at its start, taking over the signals among it.
        stop: Ends the watch.

    Raises:
        kopf.APIError: The kinds vanished from the API server, or it doesn't let us in.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(server=server, aiohttp_session=open_session())

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def enqueue(event: Mapping[str, Any], **_: Any) -> None:
        on_event(event["type"], event["object"])

    names = tuple(namespaces)
    await kopf.operator(
        registry=registry,
        settings=build_settings(),
        standalone=True,
        clusterwide=not names,
        namespaces=names,
        ready_flag=started,
        stop_flag=stop,
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
    settings.networking.request_timeout = 15
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = EndlessBackoffs()
    return settings
