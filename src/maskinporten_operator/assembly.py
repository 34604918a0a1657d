"""The composition root: configuration → adapters → reconcilers → runtime. Only here do they meet."""

from __future__ import annotations

import asyncio
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
from maskinporten_operator.runtime.shell import run_shell
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
        kubernetes.config.ConfigException: No API server is configured.
        kopf.APIError: The API server stopped serving our kinds, or lets us in no more.
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
        self.secret_changes = SecretChanges(self.secret_versions, self.store, self.queue)
        self.workers = Workers(
            config.workers, self.queue, self.store, self._reconcile, self.secret_changes.settle, metrics
        )
        self.resync = Resync(
            config.resync_interval.total_seconds(), self.store, self.queue, self._list_uids, registry.refresh
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
        config = self.config
        async with serve_endpoints(self.metrics, config.metrics_address, config.health_address, self.is_ready):
            self._take_signals()
            if not await self._wait_for_crd():
                return
            stop_watching = asyncio.Event()
            shell = asyncio.create_task(self._run_shell(stop_watching))
            background = [asyncio.create_task(one) for one in self._background()]
            ending = asyncio.create_task(self._stopping.wait())
            self.watching = True
            try:
                done, _ = await asyncio.wait({shell, ending, *background}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self.watching = False
                # The work ends before the watch: kopf, at its end, takes other tasks for left-overs of its own.
                await self.workers.drain(DRAIN_SECONDS)
                await _cancel(ending, *background)
                stop_watching.set()
            await shell
            for task in done - {ending, shell}:
                task.result()

    async def _run_shell(self, stop: asyncio.Event) -> None:
        started = asyncio.Event()
        signals = asyncio.create_task(self._take_signals_back(started))
        session = partial(open_session, self.api.configuration)
        await run_shell(
            self.on_event, session, self.api.configuration.host, self.config.namespaces, started=started, stop=stop
        )
        await _cancel(signals)

    async def _take_signals_back(self, kopf_started: asyncio.Event) -> None:
        """Take the signals back from kopf, so that passes under way end in order."""
        await kopf_started.wait()
        self._take_signals()

    def _take_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stopping.set)

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
        return await reconcile_maskinportenclient(body, sighting, self.ports)

    def _forget(self, memory: Memory, key: Key, uid: str) -> None:
        memory.forget(uid)
        self.queue.forget(key)

    def _queue_all(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self.queue.add(key, Priority.CHANGE)

    def _background(self) -> list[Any]:
        selector = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
        paths = [f"/api/v1/namespaces/{one}/secrets" for one in self.config.namespaces] or ["/api/v1/secrets"]
        watches = [follow_metadata(self.api, path, selector, self.secret_changes) for path in paths]
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
