"""List and watch of objects, owned ones as metadata only, but for what the first list may be reduced to."""

from __future__ import annotations

import asyncio
import random
import sys
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from maskinporten_operator.adapters.cluster.api import JSON
from maskinporten_operator.adapters.cluster.bodies import read_object, split_list
from maskinporten_operator.adapters.cluster.pages import PageSize
from maskinporten_operator.adapters.cluster.status_errors import ExpiredError, translate_status
from maskinporten_operator.model.errors import OperatorError
from maskinporten_operator.plan.owner_references import APP_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from maskinporten_operator.adapters.cluster.api import ClusterApi, Query
    from maskinporten_operator.adapters.cluster.bodies import Reduce
    from maskinporten_operator.model.resources import Kind

LIST_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
ONE_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
KEPT = frozenset({"name", "namespace", "uid", "resourceVersion", "generation", "deletionTimestamp", "ownerReferences"})
FIRST_DELAY = 1.0
MAX_DELAY = 15.0
WATCH_SECONDS = "25"
"""How long the server keeps an answer open. A watch that is silent by fault is known by that it asks no more."""
SLICE = 50
"""Objects of a page that are read before others get their turn: whole Secrets take some ten milliseconds."""
log = structlog.get_logger()


class Listener(Protocol):
    """Called with what a watch delivers."""

    def on_list(self, items: Sequence[Mapping[str, Any]], namespace: str | None) -> None:
        """A complete list was read, of a namespace or of all."""

    def on_change(self, metadata: Mapping[str, Any]) -> None:
        """An object was made or changed."""

    def on_delete(self, metadata: Mapping[str, Any]) -> None:
        """An object was deleted, or no longer matches."""


class Signs(Protocol):
    """Called with a watch's signs of life, from its own loop."""

    def note(self) -> None:
        """It sends a request, or received something."""

    def begin(self) -> None:
        """It has listed everything, and receives changes from now on."""

    def fail(self) -> None:
        """It wasn't answered, or not as it should be."""


async def list_metadata(
    api: ClusterApi, path: str, selector: str = "", reduce: Reduce | None = None
) -> tuple[list[Mapping[str, Any]], str]:
    """List objects' metadata, each as `reduce` makes it, by default what is read here, and the resourceVersion."""
    return await _list(api, path, LIST_METADATA, reduce or reduce_metadata, _select(selector), lambda: None, PageSize())


def _select(labels: str) -> list[tuple[str, str]]:
    return [("labelSelector", labels)] if labels else []


async def _list(
    api: ClusterApi,
    path: str,
    accept: str,
    reduce: Reduce,
    query: Query,
    give_sign: Callable[[], None],
    pages: PageSize,
) -> tuple[list[Mapping[str, Any]], str]:
    items: list[Mapping[str, Any]] = []
    position = ""
    while True:
        give_sign()
        more = [("continue", position)] if position else []
        page = [*query, ("limit", str(pages.limit)), *more]
        data = await api.request_page(path, page, accept, pages.max_bytes)
        if data is None:
            pages.shrink()
            continue
        pages.grow(len(data))
        metadata, raw_items = split_list(data)
        for begin in range(0, len(raw_items), SLICE):
            items += [reduce(read_object(raw)) for raw in raw_items[begin : begin + SLICE]]
            await asyncio.sleep(0)
        position = metadata.get("continue", "")
        if not position:
            return items, metadata["resourceVersion"]


async def list_objects(
    api: ClusterApi, path: str, reduce: Reduce = lambda body: body, selector: str = "", fields: str = ""
) -> list[Mapping[str, Any]]:
    """List objects, those that selectors of labels and of `fields` choose.

    Each is as `reduce` makes it before the next one is read.
    """
    query = [*_select(selector), *([("fieldSelector", fields)] if fields else [])]
    items, _ = await _list(api, path, JSON, reduce, query, lambda: None, PageSize())
    return items


def reduce_metadata(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Keep of an object's metadata what the listeners use; of its labels the one that says for whom it was made."""
    metadata = {name: value for name, value in body["metadata"].items() if name in KEPT}
    if made_for := (body["metadata"].get("labels") or {}).get(APP_LABEL):
        metadata["labels"] = {APP_LABEL: made_for}
    return {"metadata": metadata}


def reduce_to_name(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Keep of an object's metadata what tells which one it is."""
    return {"metadata": {name: sys.intern(body["metadata"][name]) for name in ("namespace", "name")}}


async def follow_metadata(
    api: ClusterApi,
    kind: Kind,
    selector: str,
    listener: Listener,
    namespace: str | None,
    signs: Signs,
    reduce_first: Reduce | None = None,
) -> None:
    """List and watch objects, of a namespace or of all, until cancelled, through outages and gaps.

    With `reduce_first` the first list is one of whole objects, and it is given of each what that leaves of it.
    """
    path = kind.path(namespace)
    delay, pages = FIRST_DELAY, PageSize()
    while True:
        try:
            accept, reduce = (JSON, reduce_first) if reduce_first else (LIST_METADATA, reduce_metadata)
            items, version = await _list(api, path, accept, reduce, _select(selector), signs.note, pages)
            reduce_first = None
            listener.on_list(items, namespace)
            del items  # this coroutine keeps what it names for as long as the watch lasts
            delay = FIRST_DELAY
            await _watch(api, path, selector, version, listener, signs)
        except ExpiredError:
            log.debug("watch expired", path=path)
        except OperatorError as error:
            signs.fail()
            pages.shrink()
            log.warning("watch failed", path=path, reason=str(error.reason), message=str(error))
        await asyncio.sleep(delay * random.uniform(0.75, 1.25))  # noqa: S311 - spreads load, guards nothing
        delay = min(delay * 2, MAX_DELAY)


async def _watch(api: ClusterApi, path: str, selector: str, version: str, listener: Listener, signs: Signs) -> None:
    """Watch from a version on, reopening the watch when the server closes it."""
    loop = asyncio.get_running_loop()
    while True:
        signs.note()
        started = loop.time()
        query = [("watch", "true"), ("allowWatchBookmarks", "true"), ("resourceVersion", version)]
        query += [("labelSelector", selector), ("timeoutSeconds", WATCH_SECONDS)]
        async for event in api.stream(path, query, ONE_METADATA, signs.begin):
            signs.note()
            kind, obj = event["type"], event["object"]
            if kind == "ERROR":
                raise translate_status(obj)
            version = obj["metadata"]["resourceVersion"]
            if kind in {"ADDED", "MODIFIED"}:
                listener.on_change(obj["metadata"])
            elif kind == "DELETED":
                listener.on_delete(obj["metadata"])
        # An answer that ends at once must not be asked for again and again.
        await asyncio.sleep(max(0.0, FIRST_DELAY - (loop.time() - started)))
