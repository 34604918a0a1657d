"""The operator: its parts put together, and run."""

from __future__ import annotations

import asyncio
import concurrent.futures
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from maskinporten_operator.adapters.clock import SystemClock, SystemRandomness
from maskinporten_operator.adapters.cluster.discovery import is_served
from maskinporten_operator.adapters.cluster.events import post_event
from maskinporten_operator.adapters.cluster.kubernetes_cluster import ClusterResources
from maskinporten_operator.adapters.cluster.session import open_session
from maskinporten_operator.adapters.cluster.watch import follow_metadata, list_metadata
from maskinporten_operator.assembly.kinds import wait_for_kinds, watched_kinds
from maskinporten_operator.assembly.parameters import build_platform, build_registration_settings
from maskinporten_operator.assembly.parts import open_parts
from maskinporten_operator.model.errors import OperatorError
from maskinporten_operator.model.resources import (
    APPLICATION,
    DEPLOYMENT,
    MASKINPORTEN_CLIENT,
    NAMESPACE,
    SECRET,
    SERVICE,
    Kind,
)
from maskinporten_operator.plan.egress import POLICY_KINDS
from maskinporten_operator.plan.ownership import MANAGED_BY, MANAGED_BY_LABEL
from maskinporten_operator.reconcile.application_pass import reconcile_application
from maskinporten_operator.reconcile.client_pass import reconcile_maskinportenclient
from maskinporten_operator.reconcile.memory import Memory
from maskinporten_operator.reconcile.ports import FirstSeen, Ports
from maskinporten_operator.runtime.announcer import EventAnnouncer
from maskinporten_operator.runtime.elector import LeaseLostError
from maskinporten_operator.runtime.faults import FaultError, Restarts, explain_fault, log_unawaited
from maskinporten_operator.runtime.health import serve_endpoints
from maskinporten_operator.runtime.namespaces import Namespaces
from maskinporten_operator.runtime.queue import WorkQueue
from maskinporten_operator.runtime.resync import Resync
from maskinporten_operator.runtime.router import Router
from maskinporten_operator.runtime.shell import EndlessBackoffs, is_outage, run_shell
from maskinporten_operator.runtime.shutdown import cancel, end_on_signals, limit_end
from maskinporten_operator.runtime.state_counts import count_keys, count_resources, count_scopes
from maskinporten_operator.runtime.store import OwnedObjects, trim
from maskinporten_operator.runtime.sync import wait_for_sync
from maskinporten_operator.runtime.workers import Controller, Workers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maskinporten_operator.adapters.cluster.watch import Listener
    from maskinporten_operator.adapters.key_pool import KeyPool
    from maskinporten_operator.assembly.parts import Parts
    from maskinporten_operator.config import Config
    from maskinporten_operator.plan.outcomes import Outcome
    from maskinporten_operator.runtime.metrics import Metrics

DRAIN_SECONDS = 5.0
RELEASE_SECONDS = 2.0
EXPECTED = (OperatorError, LeaseLostError)
"""How a part may end the process; anything else is a fault."""
log = structlog.get_logger()


async def run_operator(config: Config) -> None:
    """Run the operator until it gets a signal.

    Raises:
        CredentialsError: The operator's own credentials can't be used.
        ClusterUnknownError: No API server is configured.
        LeaseLostError: This process led, and another one does by now.
        FaultError: It can't work.
    """
    asyncio.get_running_loop().set_exception_handler(log_unawaited)
    stopping = asyncio.Event()
    end_on_signals(stopping)
    operator: Operator | None = None
    async with AsyncExitStack() as stack:
        parts = await open_parts(config, stack)
        await stack.enter_async_context(
            serve_endpoints(
                parts.metrics,
                config.metrics_address,
                config.health_address,
                lambda: operator.find_missing() if operator else ["the API server and its CRDs"],
                parts.vitals.find_faults,
            )
        )
        served = await wait_for_kinds(parts.api, config, stopping)
        if served is not None:
            operator = Operator(config, parts, served)
            await operator.run(stopping)


class Operator:
    """The assembled operator."""

    def __init__(self, config: Config, parts: Parts, served: frozenset[Kind]) -> None:
        clock = SystemClock()
        self.config, self.api, self.served = config, parts.api, served
        self.credentials, self.vitals = parts.credentials, parts.vitals
        self.registry, self.scopes, self.grants = parts.registry, parts.scopes, parts.grants
        self.elector, self.fence = parts.elector, parts.fence
        self.memory = Memory()
        self.queue = WorkQueue(
            observe_wait=parts.metrics.observe_wait, workers=config.workers, closed=parts.elector is not None
        )
        self.router = Router(
            watched_kinds(config),
            self.queue,
            clock.monotonic,
            forget=self.memory.forget,
            note_gap=lambda: self.resync.note_gap(),  # noqa: PLW0108 - it is made below, of the stores
        )
        self.namespaces = Namespaces(self.router.on_namespaces, selects=bool(config.namespace_selector))
        clients, stores = self.router.stores[MASKINPORTEN_CLIENT], tuple(self.router.stores.values())
        self.announcer = EventAnnouncer(
            partial(post_event, self.api), lambda: bool(self.queue.running), parts.metrics.count_dropped_event
        )
        self.ports = Ports(
            settings=build_registration_settings(config),
            platform=build_platform(config, served),
            cluster=ClusterResources(self.api, self.router.record_own_write, config.namespace_selector),
            registry=self.registry,
            scopes=parts.scopes,
            grants=parts.grants,
            mint=parts.pool,
            fleet=clients,
            owned=OwnedObjects(clients, self.router.versions),
            namespaces=self.namespaces,
            announcer=self.announcer,
            metadata=parts.metadata,
            clock=clock,
            random=SystemRandomness(),
            memory=self.memory,
        )
        self.resync = Resync(config.resync_interval.total_seconds(), stores, self.queue, self._list_uids, self._refresh)
        self.workers = Workers(config.workers, self.queue, self._build_controllers(), parts.metrics)
        self.vitals.add_check(self.workers.check_stuck)
        self.pool = parts.pool
        self.shell = Restarts("the watch of resources", is_outage, EndlessBackoffs())
        self.running = self.synced = False
        self.leading = asyncio.Event()
        self._show(parts.metrics, parts.pool)

    def _show(self, metrics: Metrics, pool: KeyPool) -> None:
        stores, workers = self.router.stores, self.workers
        gauge, gauges = metrics.gauge, metrics.gauges
        gauge("queue_depth", "Resources that wait for a pass.", lambda: len(self.queue))
        gauge("resources", "Known resources.", lambda: sum(map(len, stores.values())))
        gauge("keys_ready", "Keys minted ahead.", lambda: len(pool))
        gauge("leader", "Whether this process may work: 1 or 0.", lambda: int(self.may_work))
        gauge("workers", "How many passes may be under way at once.", lambda: self.config.workers)
        gauge("active_workers", "How many passes are under way.", lambda: workers.active)
        gauge("longest_running_pass_seconds", "How long the oldest pass under way takes.", lambda: workers.longest_run)
        gauges(
            "resources_by_state",
            "Known resources by Ready and its reason.",
            ("kind", "ready", "reason"),
            lambda: count_resources(stores.values()),
        )
        gauges("scopes", "Exposed scopes by state.", ("state",), lambda: count_scopes(stores[MASKINPORTEN_CLIENT]))
        gauges(
            "registered_keys",
            "Our registered keys by age.",
            ("age",),
            lambda: count_keys(self.registry, self.ports.clock.now()),
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Watch, and work while this process leads, until `stopping` is set.

        Raises:
            LeaseLostError: This process led, and another one does by now.
            FaultError: It can't work.
        """
        stop_watching: concurrent.futures.Future[None] = concurrent.futures.Future()
        ending = asyncio.create_task(stopping.wait())
        shell = asyncio.create_task(self._keep_watching(stop_watching))
        background = [asyncio.create_task(one) for one in self._background()]
        self.running = True
        try:
            done, _ = await asyncio.wait({shell, ending, *background}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.running = False
            if stopping.is_set():
                await self.workers.drain(DRAIN_SECONDS)
            else:
                limit_end()  # something is broken, or another process leads: there is nothing to wait for
            await cancel(ending, *background)
            self.fence.close()
            await self._release()
            stop_watching.set_result(None)
        await shell
        for task in done - {ending, shell}:
            if error := task.exception():
                raise error if isinstance(error, EXPECTED) else explain_fault("the operator", error)

    @property
    def may_work(self) -> bool:
        """Whether this process surely leads, or has nobody to contend with."""
        return self.elector is None or self.elector.time_left() > 0

    def find_missing(self) -> list[str]:
        """Name what this process lacks to work, or to stand by if another one leads."""
        if not self.running:
            return ["the start or the end of the process"]
        missing = self.vitals.find_idle()
        if self.shell.is_unsteady:
            missing.append("the watch of resources, which ended by a fault, to be steady")
        if not self.synced:
            missing.append("the first comparison with the API server's lists")
        if self.pool.failing:
            missing.append("keys, which can't be minted")
        if self.elector and not self.leading.is_set():
            return missing if self.elector.stands_by else [*missing, "the Lease"]
        if not self.registry.is_listed:
            missing.append("DigDir's list of clients")
        if self._must_wait_for_proof():
            missing.append("LIST_LAG to pass, before which no list proves that a resource has no client")
        return missing

    def _must_wait_for_proof(self) -> bool:
        """Whether new resources would have to wait. One that takes over was ready before, and stays so."""
        if self.elector is None or not self.elector.made_lease:
            return False
        return self.ports.clock.monotonic() < self._find_doubted_until(self.elector.alone_since)

    def _find_doubted_until(self, alone_since: float) -> float:
        return alone_since + self.config.list_lag.total_seconds()

    async def _work(self) -> None:
        """Stand by until this process leads, then work."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_for_sync())
            if self.elector:
                await self.elector.leading.wait()
                self._take_over(self.elector.alone_since)
            self.leading.set()
            await self.workers.run()

    def _take_over(self, alone_since: float) -> None:
        """Forget what can't be known: until `alone_since` (monotonic seconds) another process may have written."""
        for index in (self.registry, self.scopes, self.grants):
            index.begin(alone_since)
        self.queue.open()
        for store in self.router.stores.values():
            store.doubt(self._find_doubted_until(alone_since))
        self.router.queue_all()

    async def _release(self) -> None:
        if self.elector:
            try:
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self.elector.release()
            except TimeoutError:
                log.warning("the Lease couldn't be released in time and expires instead")

    async def _look_for_sync(self) -> None:
        """Return when the stores have held what the API server lists."""
        await wait_for_sync(self.router.stores.values(), self._list_uids, lambda: not self.vitals.find_idle())
        self.synced = True

    def _build_controllers(self) -> dict[Kind, Controller]:
        passes = {MASKINPORTEN_CLIENT: self._reconcile_client, APPLICATION: self._reconcile_application}
        stores = self.router.stores
        return {kind: Controller(store, passes[kind], self.router.settle) for kind, store in stores.items()}

    async def _reconcile_client(self, body: Mapping[str, Any], first_seen: FirstSeen) -> Outcome:
        return await reconcile_maskinportenclient(body, first_seen, self.ports)

    async def _reconcile_application(self, body: Mapping[str, Any], _: FirstSeen) -> Outcome:
        return await reconcile_application(body, self.ports)

    def _background(self) -> list[Any]:
        owned = [(MASKINPORTEN_CLIENT, SECRET)]
        if APPLICATION in self.router.stores:
            owned += [(APPLICATION, kind) for kind in (DEPLOYMENT, SERVICE, *POLICY_KINDS) if kind in self.served]
        selector = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
        watches = [
            self._follow(kind, selector, self.router.owned[owner].listen(kind), namespace)
            for owner, kind in owned
            for namespace in self.config.namespaces or (None,)
        ]
        watches += self._watch_namespaces()
        runs = [self._work(), self.resync.run(self.leading), self.announcer.run(), self.credentials.watch_expiry()]
        runs += [self.elector.run()] if self.elector else []
        return [*runs, *watches]

    async def _follow(self, kind: Kind, selector: str, listener: Listener, namespace: str | None = None) -> None:
        """Watch metadata, and let it be noticed if that ends."""
        part = f"the watch of {kind.path(namespace)} by {type(listener).__name__} and {selector or 'no label'}"
        await follow_metadata(self.api, kind, selector, listener, namespace, self.vitals.expect(part))

    def _watch_namespaces(self) -> list[Any]:
        """Watch the cluster's namespaces; an operator that is given a few of them needn't have the right to."""
        if self.config.namespaces:
            return []
        ends = self._follow(NAMESPACE, "", self.namespaces.listen_to_ends())
        if not (selector := self.config.namespace_selector):
            return [ends]
        return [ends, self._follow(NAMESPACE, selector, self.namespaces.listen_to_selected())]

    async def _refresh(self) -> None:
        """Read DigDir's lists anew, and let the access lists be read by the passes that need them."""
        await self.registry.refresh()
        try:
            await self.scopes.refresh()
        except OperatorError as error:  # what neither exposes nor consumes scopes doesn't wait for that
            log.warning("scopes not listed", reason=str(error.reason), message=str(error))
        self.scopes.expire_access()

    async def _list_uids(self, kind: Kind) -> dict[str, str]:
        """List the uids of a kind, with namespace and name."""
        paths = [kind.path(namespace) for namespace in self.config.namespaces or (None,)]
        lists = [await list_metadata(self.api, path) for path in paths]
        found = [item["metadata"] for items, _ in lists for item in items]
        return {one["uid"]: f"{one['namespace']}/{one['name']}" for one in found}

    async def _keep_watching(self, stop: concurrent.futures.Future[None]) -> None:
        """Run the shell, and start it again when it gives up, unless a kind is gone: then the process ends."""
        stores, namespaces = self.router.stores, self.config.namespaces
        reduced = {kind.path(namespace): partial(trim, kind) for kind in stores for namespace in namespaces or (None,)}
        paths = self.vitals.expect_paths(reduced)
        configuration = self.api.configuration
        session = partial(open_session, configuration, paths, reduced)

        async def watch() -> None:
            await run_shell(self.router.on_event, session, configuration.host, stores, namespaces, stop)

        async def look_around() -> None:
            paths.on_end()
            if await self._is_kind_gone():
                raise FaultError("the API server stopped serving a CRD of ours: a cluster admin must install it")

        await self.shell.run(watch, look_around)

    async def _is_kind_gone(self) -> bool:
        try:
            return not all([await is_served(self.api, kind) for kind in self.router.stores])
        except OperatorError:
            return False  # an API server that doesn't answer says nothing
