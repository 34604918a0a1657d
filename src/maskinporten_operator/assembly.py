"""The composition root: configuration → adapters → reconcilers → runtime. Only here do they meet."""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from maskinporten_operator.adapters.clock import SystemClock, SystemRandomness
from maskinporten_operator.adapters.cluster.api import ClusterApi, load_configuration
from maskinporten_operator.adapters.cluster.discovery import is_served
from maskinporten_operator.adapters.cluster.events import post_event
from maskinporten_operator.adapters.cluster.resources import ClusterResources
from maskinporten_operator.adapters.cluster.session import open_session
from maskinporten_operator.adapters.cluster.watch import follow_metadata, list_metadata
from maskinporten_operator.adapters.digdir.auth import AdminCredentials, JwtGrantAuth
from maskinporten_operator.adapters.digdir.client import SelfServiceClient
from maskinporten_operator.adapters.digdir.http import open_http
from maskinporten_operator.adapters.digdir.index import RegistrationIndex
from maskinporten_operator.adapters.digdir.metadata import MetadataReader
from maskinporten_operator.adapters.keys import KeyPool
from maskinporten_operator.model.errors import OperatorError
from maskinporten_operator.model.resources import FINALIZER, GROUP, PLURAL, VERSION
from maskinporten_operator.plan.policy import Policy
from maskinporten_operator.plan.secret import MANAGED_BY, MANAGED_BY_LABEL
from maskinporten_operator.reconcile.maskinportenclient import reconcile_maskinportenclient
from maskinporten_operator.reconcile.memory import Memory
from maskinporten_operator.reconcile.ports import Ports
from maskinporten_operator.runtime.announcer import EventAnnouncer
from maskinporten_operator.runtime.health import serve_endpoints
from maskinporten_operator.runtime.metrics import Metrics
from maskinporten_operator.runtime.queue import Key, Priority, WorkQueue
from maskinporten_operator.runtime.resync import Resync
from maskinporten_operator.runtime.secrets import SecretChanges
from maskinporten_operator.runtime.shell import EndlessBackoffs, run_shell
from maskinporten_operator.runtime.store import ObjectStore, VersionStore, key_of
from maskinporten_operator.runtime.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from maskinporten_operator.config import Config

DRAIN_SECONDS = 5.0
LOOK_FOR_CRD_EVERY = 5.0
log = structlog.get_logger()


async def run_operator(config: Config) -> None:
    """Run the operator until it gets a signal.

    Raises:
        CredentialsError: The admin key can't be used.
        ClusterUnknownError: No API server is configured.
        Exception: The API server stopped serving our kind, or a part of the operator ended by a fault.
    """
    async with AsyncExitStack() as stack:
        operator = await Operator.assemble(config, stack)
        await operator.run()


class Operator:
    """The assembled operator."""

    def __init__(
        self,
        config: Config,
        api: ClusterApi,
        registry: RegistrationIndex,
        pool: KeyPool,
        metadata: MetadataReader,
        metrics: Metrics,
    ) -> None:
        clock = SystemClock()
        memory = Memory()
        self.config, self.api, self.registry, self.metrics = config, api, registry, metrics
        self.queue = WorkQueue()
        self.store = ObjectStore(FINALIZER, clock.monotonic, partial(self._forget, memory), self._queue_all)
        self.secret_versions = VersionStore()
        self.announcer = EventAnnouncer(partial(post_event, api), is_busy=lambda: bool(self.queue.running))
        self.ports = Ports(
            policy=build_policy(config),
            cluster=ClusterResources(api, self.store.accept, self.secret_versions.accept),
            registry=registry,
            mint=pool,
            fleet=self.store,
            announcer=self.announcer,
            metadata=metadata,
            clock=clock,
            random=SystemRandomness(),
            memory=memory,
        )
        self.resync = Resync(
            config.resync_interval.total_seconds(), self.store, self.queue, self._list_uids, registry.refresh
        )
        self.secret_changes = SecretChanges(self.secret_versions, self.store, self.queue, self.resync.note_gap)
        self.workers = Workers(
            config.workers, self.queue, self.store, self._reconcile, self.secret_changes.settle, metrics
        )
        self.watching = False
        self._stopping = asyncio.Event()
        metrics.gauge("queue_depth", "Resources that wait for a pass.", lambda: len(self.queue))
        metrics.gauge("resources", "Known resources.", lambda: len(self.store))
        metrics.gauge("keys_ready", "Keys minted ahead.", lambda: len(pool))

    @classmethod
    async def assemble(cls, config: Config, stack: AsyncExitStack) -> Operator:
        """Build the adapters, each closed by `stack`."""
        credentials = AdminCredentials(config.admin_client_id, config.admin_jwk_file)
        api = ClusterApi(await load_configuration())
        stack.push_async_callback(api.close)
        metrics = Metrics()
        plain = await stack.enter_async_context(open_http(config.ca_bundle, connections=4))
        metadata = MetadataReader(plain, str(config.maskinporten_well_known_url))
        authorized = await stack.enter_async_context(
            open_http(
                config.ca_bundle,
                connections=config.workers,
                auth=JwtGrantAuth(plain, metadata, credentials, config.admin_scopes),
            )
        )
        registry = RegistrationIndex(
            SelfServiceClient(authorized, str(config.digdir_base_url), metrics.observe_call),
            cluster=config.cluster_name,
            lag=config.list_lag.total_seconds(),
            monotonic=SystemClock().monotonic,
        )
        pool = await stack.enter_async_context(KeyPool(config.key_pool_size))
        return cls(config, api, registry, pool, metadata, metrics)

    async def run(self) -> None:
        """Watch and work until the process gets a signal.

        Raises:
            Exception: A part of the operator ended by a fault.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stopping.set)
        config = self.config
        stop_watching: concurrent.futures.Future[None] = concurrent.futures.Future()
        async with serve_endpoints(self.metrics, config.metrics_address, config.health_address, self.is_ready):
            ending = asyncio.create_task(self._stopping.wait())
            waiting = asyncio.create_task(self._wait_for_crd())
            await asyncio.wait({ending, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set():
                await _cancel(ending, waiting)
                return
            shell = asyncio.create_task(self._keep_watching(stop_watching))
            background = [asyncio.create_task(one) for one in self._background()]
            self.watching = True
            try:
                done, _ = await asyncio.wait({shell, ending, *background}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self.watching = False
                await self.workers.drain(DRAIN_SECONDS)
                await _cancel(ending, *background)
                stop_watching.set_result(None)
            await shell
            for task in done - {ending, shell}:
                task.result()

    async def _keep_watching(self, stop: concurrent.futures.Future[None]) -> None:
        """Run the shell, and start it again when it gives up, unless our kind is gone: then the process ends."""
        delays = iter(EndlessBackoffs())
        session = partial(open_session, self.api.configuration)
        while True:
            try:
                await run_shell(self.on_event, session, self.api.configuration.host, self.config.namespaces, stop)
            except Exception as error:
                if await self._is_crd_gone():
                    raise
                log.warning("the watch ended and is started again", error=type(error).__name__)
                await asyncio.sleep(next(delays))
            else:
                return

    async def _is_crd_gone(self) -> bool:
        try:
            return not await is_served(self.api, GROUP, VERSION, PLURAL)
        except OperatorError:
            return False  # an API server that doesn't answer says nothing

    def is_ready(self) -> bool:
        """Whether the watch runs and DigDir's list was read."""
        return self.watching and self.registry.is_listed

    def on_event(self, kind: str | None, body: Mapping[str, Any]) -> None:
        """Take in what the watch saw."""
        key = key_of(body)
        if kind == "DELETED":
            self.store.remove(key, body["metadata"]["uid"])
            return
        if kind is None and self.store.find(key):
            self.resync.note_gap()
        # While a pass runs, what it ends with decides whether there must be another one.
        if self.store.offer(body) and not self.queue.is_running(key):
            self.queue.add(key, Priority.CHANGE)

    async def _reconcile(self, body: Mapping[str, Any], sighting: Any) -> Any:
        outcome = await reconcile_maskinportenclient(body, sighting, self.ports)
        entry = self.store.find(key_of(body))
        if entry is None or entry.uid != body["metadata"]["uid"]:
            self.ports.memory.forget(body["metadata"]["uid"])  # it vanished during the pass
        return outcome

    def _forget(self, memory: Memory, key: Key, uid: str) -> None:
        memory.forget(uid)
        self.queue.forget(key)

    def _queue_all(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self.queue.add(key, Priority.CHANGE)

    def _background(self) -> list[Any]:
        selector = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
        watches = [
            follow_metadata(self.api, "secrets", selector, self.secret_changes, namespace)
            for namespace in self.config.namespaces or (None,)
        ]
        return [self.workers.run(), self.resync.run(), self.announcer.run(), *watches]

    async def _list_uids(self) -> set[str]:
        root = f"/apis/{GROUP}/{VERSION}"
        paths = [f"{root}/namespaces/{one}/{PLURAL}" for one in self.config.namespaces] or [f"{root}/{PLURAL}"]
        lists = [await list_metadata(self.api, path) for path in paths]
        return {item["metadata"]["uid"] for items, _ in lists for item in items}

    async def _wait_for_crd(self) -> bool:
        """Wait until our kinds are served; False if a signal came first. kopf would be idle for ever without a word."""
        looking = asyncio.create_task(self._look_for_crd())
        ending = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({looking, ending}, return_when=asyncio.FIRST_COMPLETED)
        served = looking.done()
        if served:
            looking.result()
        await _cancel(looking, ending)
        return served

    async def _look_for_crd(self) -> None:
        told = False
        while True:
            try:
                if await is_served(self.api, GROUP, VERSION, PLURAL):
                    return
                message = f"the API server doesn't serve {PLURAL}.{GROUP}: a cluster admin must install the CRD"
            except OperatorError as error:
                message = str(error)
            if not told:
                log.warning("waiting", message=message)
                told = True
            await asyncio.sleep(LOOK_FOR_CRD_EVERY)


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def build_policy(config: Config) -> Policy:
    """Take from the configuration what planning needs."""
    return Policy(
        cluster=config.cluster_name,
        client_name=config.client_name,
        access_token_lifetime=config.access_token_lifetime,
        default_scope=config.default_client_scope,
        key_grace=config.key_grace,
    )
