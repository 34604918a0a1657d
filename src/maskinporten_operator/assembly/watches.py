"""What is watched: the resources by kopf, all else as metadata."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from maskinporten_operator.adapters.cluster.discovery import is_served
from maskinporten_operator.adapters.cluster.session import open_session
from maskinporten_operator.adapters.cluster.watch import (
    follow_metadata,
    list_metadata,
    reduce_metadata,
    reduce_to_name,
)
from maskinporten_operator.model.errors import OperatorError
from maskinporten_operator.model.resources import (
    APPLICATION,
    MASKINPORTEN_CLIENT,
    NAMESPACE,
    SECRET,
    UNREADABLE,
    Kind,
)
from maskinporten_operator.plan.children import OWNED_KINDS
from maskinporten_operator.plan.owner_references import MANAGED_BY, MANAGED_BY_LABEL
from maskinporten_operator.plan.secret import ObservedSecret, summarize_secret
from maskinporten_operator.runtime.faults import FaultError, Restarts
from maskinporten_operator.runtime.owned_changes import SUMMARY
from maskinporten_operator.runtime.shell import EndlessBackoffs, is_outage, run_shell
from maskinporten_operator.runtime.store import trim
from maskinporten_operator.runtime.sync import wait_for_sync

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Collection, Coroutine, Mapping

    from aiohttp import ClientSession

    from maskinporten_operator.adapters.cluster.api import ClusterApi
    from maskinporten_operator.adapters.cluster.bodies import Reduce
    from maskinporten_operator.adapters.cluster.watch import Listener
    from maskinporten_operator.config import Config
    from maskinporten_operator.runtime.namespaces import WatchedNamespaces
    from maskinporten_operator.runtime.owned_changes import OwnedChanges
    from maskinporten_operator.runtime.router import Router
    from maskinporten_operator.runtime.shell import OnEvent
    from maskinporten_operator.runtime.vitals import Vitals


SELECTOR = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
"""Of what resources own."""


def summarize(body: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of a Secret in a list its metadata, and what isn't secret of the rest."""
    kept = dict(reduce_metadata(body))
    return kept if UNREADABLE in body else {**kept, SUMMARY: summarize_secret(ObservedSecret(body))}


def _reduce_known(changes: OwnedChanges, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Keep of a Secret in a list of all what is news, and else its name: it may be one of ten thousand."""
    return reduce_metadata(body) if changes.is_news(SECRET, body["metadata"]) else reduce_to_name(body)


def _take(on_event: OnEvent, kind: Kind, event: str | None, body: Mapping[str, Any]) -> None:
    on_event(kind, event, trim(kind, body))


class Watches:
    """The watches of one process, in all namespaces or in those of the configuration."""

    def __init__(
        self, config: Config, api: ClusterApi, router: Router, namespaces: WatchedNamespaces, vitals: Vitals
    ) -> None:
        self._namespaces = config.namespaces or (None,)
        self._namespace_selector = config.namespace_selector
        self._api = api
        self._router = router
        self._listeners = namespaces
        self._vitals = vitals
        self._restarts = Restarts("the watch of resources", is_outage, EndlessBackoffs())
        self._synced = False

    def find_missing(self) -> list[str]:
        """Name what isn't watched, or not known to be complete."""
        missing = self._vitals.find_idle()
        if self._restarts.is_unsteady:
            missing.append("the watch of resources, which ended by a fault, to be steady")
        if not self._synced:
            missing.append("the first comparison with the API server's lists")
        return missing

    async def wait_for_sync(self) -> None:
        """Return when the stores have held what the API server lists."""
        await wait_for_sync(self._router.stores.values(), self.list_uids, lambda: not self._vitals.find_idle())
        self._synced = True

    async def list_uids(self, kind: Kind) -> dict[str, str]:
        """List the uids of a kind, with namespace and name."""
        lists = [await list_metadata(self._api, kind.path(namespace)) for namespace in self._namespaces]
        found = [item["metadata"] for items, _ in lists for item in items]
        return {one["uid"]: f"{one['namespace']}/{one['name']}" for one in found}

    async def watch_resources(self, stop: concurrent.futures.Future[None]) -> None:
        """Run kopf, and start it again when it gives up, unless a kind is gone.

        Raises:
            FaultError: A kind is gone, or kopf ends by a fault again and again.
        """
        stores = self._router.stores
        kinds = {kind.path(namespace): kind for kind in stores for namespace in self._namespaces}
        paths = self._vitals.expect_paths(kinds)
        configuration = self._api.configuration
        namespaces = tuple(one for one in self._namespaces if one is not None)

        def session(on_event: OnEvent) -> ClientSession:
            takers = {path: partial(_take, on_event, kind) for path, kind in kinds.items()}
            return open_session(configuration, paths, takers)

        async def watch() -> None:
            await run_shell(self._router.on_event, session, configuration.host, stores, namespaces, stop)

        async def look_around() -> None:
            paths.on_end()
            if await self._is_kind_gone():
                raise FaultError("the API server stopped serving a CRD of ours: a cluster admin must install it")

        await self._restarts.run(watch, look_around)

    def watch_others(self, served: Collection[Kind]) -> list[Coroutine[Any, Any, None]]:
        """Give a coroutine for each watch of what resources own, as far as it is `served`, and of namespaces."""
        owned = [(MASKINPORTEN_CLIENT, SECRET)]
        if APPLICATION in self._router.stores:
            owned += [(APPLICATION, kind) for kind in OWNED_KINDS if kind in served]
        return [
            *(
                self._follow(
                    kind,
                    SELECTOR,
                    self._router.owned[owner].listen(kind),
                    namespace,
                    summarize if kind == SECRET else None,
                )
                for owner, kind in owned
                for namespace in self._namespaces
            ),
            *self._watch_namespaces(),
        ]

    def _watch_namespaces(self) -> list[Coroutine[Any, Any, None]]:
        """Watch the cluster's namespaces; an operator that is given a few of them needn't have the right to."""
        if None not in self._namespaces:
            return []
        ends = self._follow(NAMESPACE, "", self._listeners.listen_to_ends())
        if not (selector := self._namespace_selector):
            return [ends]
        return [ends, self._follow(NAMESPACE, selector, self._listeners.listen_to_selected())]

    async def compare_secrets(self) -> None:
        """Compare what is known of Secrets with the API server's lists: what the watch missed is news."""
        changes, versions = self._router.owned[MASKINPORTEN_CLIENT], self._router.versions
        for namespace in self._namespaces:
            before = {
                key: versions.newest(key)
                for key in versions
                if key.kind == SECRET and namespace in {None, key.namespace}
            }
            reduce = partial(_reduce_known, changes)
            items, _ = await list_metadata(self._api, SECRET.path(namespace), SELECTOR, reduce)
            changes.compare(SECRET, before, items)

    async def _follow(
        self,
        kind: Kind,
        selector: str,
        listener: Listener,
        namespace: str | None = None,
        reduce_first: Reduce | None = None,
    ) -> None:
        """Watch metadata, and let it be noticed if that ends."""
        part = f"the watch of {kind.path(namespace)} by {type(listener).__name__} and {selector or 'no label'}"
        signs = self._vitals.expect(part)
        await follow_metadata(self._api, kind, selector, listener, namespace, signs, reduce_first)

    async def _is_kind_gone(self) -> bool:
        try:
            return not all([await is_served(self._api, kind) for kind in self._router.stores])
        except OperatorError:
            return False  # an API server that doesn't answer says nothing
