"""The initial sync: the wait until the stores have what the API server lists."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from maskinporten_operator.model.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from maskinporten_operator.model.resources import Kind
    from maskinporten_operator.runtime.store import WatchedResourceStore

POLL_SECONDS = 1.0
MAX_WAIT = 30.0
"""Seconds for which watches that work may not show what is listed: then the start doesn't wait for it any more."""
log = structlog.get_logger()


async def wait_for_sync(
    stores: Collection[WatchedResourceStore],
    list_uids: Callable[[Kind], Awaitable[Mapping[str, str]]],
    watches_work: Callable[[], bool],
) -> None:
    """Return when the stores have all that is listed, but for objects that no watch delivers within `MAX_WAIT`.

    `list_uids` gives the uids of a kind's resources at the API server, each with namespace and name.
    """
    now = asyncio.get_running_loop().time
    since: dict[str, float] = {}
    size, patient_until = _count(stores), now() + MAX_WAIT
    while True:
        before, size = size, _count(stores)
        if (size > before or not watches_work()) and now() < patient_until:
            await asyncio.sleep(POLL_SECONDS)  # more is to come: a list, which may be long, would be for nothing
            continue
        try:
            missing = await _find_missing(stores, list_uids)
        except OperatorError as error:
            log.debug("not compared with the API server's lists", message=str(error))
        else:
            since = {uid: since.get(uid, now()) for uid in missing} if watches_work() else {}
            if all(now() - since.get(uid, now()) > MAX_WAIT for uid in missing):
                for name in missing.values():
                    log.warning("no watch shows it, so nothing is done for it", resource=name)
                return
        await asyncio.sleep(POLL_SECONDS)


def _count(stores: Collection[WatchedResourceStore]) -> int:
    return sum(map(len, stores))


async def _find_missing(
    stores: Collection[WatchedResourceStore], list_uids: Callable[[Kind], Awaitable[Mapping[str, str]]]
) -> dict[str, str]:
    missing: dict[str, str] = {}
    for store in stores:
        listed = await list_uids(store.kind)
        held = {entry.uid for key in store if (entry := store.find(key))}
        missing |= {uid: f"{store.kind.name} {name}" for uid, name in listed.items() if uid not in held}
    return missing
