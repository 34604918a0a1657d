"""The composition root: configuration → adapters → reconcilers → runtime. Only here do they meet."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from maskinporten_operator.adapters.clock import SystemClock, SystemRandomness, boottime
from maskinporten_operator.adapters.cluster.api import ClusterApi, load_configuration
from maskinporten_operator.adapters.cluster.discovery import find_served, is_served
from maskinporten_operator.adapters.cluster.events import post_event
from maskinporten_operator.adapters.cluster.leases import LeaseApi
from maskinporten_operator.adapters.cluster.resources import ClusterResources
from maskinporten_operator.adapters.cluster.session import open_session
from maskinporten_operator.adapters.cluster.watch import follow_metadata, list_metadata, list_objects
from maskinporten_operator.adapters.digdir.auth import JwtGrantAuth
from maskinporten_operator.adapters.digdir.calls import Calls
from maskinporten_operator.adapters.digdir.client_api import ClientApi
from maskinporten_operator.adapters.digdir.credentials import AdminCredentials, CertificateFiles, JwkFile
from maskinporten_operator.adapters.digdir.grant_index import GrantIndex
from maskinporten_operator.adapters.digdir.http import open_http
from maskinporten_operator.adapters.digdir.index import RegistrationIndex
from maskinporten_operator.adapters.digdir.metadata import MetadataReader
from maskinporten_operator.adapters.digdir.scope_api import ScopeApi
from maskinporten_operator.adapters.digdir.scope_index import ScopeIndex
from maskinporten_operator.adapters.fence import OPEN, Fence
from maskinporten_operator.adapters.keys import KeyPool
from maskinporten_operator.model.errors import OperatorError
from maskinporten_operator.model.maskinportenclient import parse
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
from maskinporten_operator.plan.inventory import State, find_stale_consumers, take_inventory
from maskinporten_operator.plan.ownership import MANAGED_BY, MANAGED_BY_LABEL
from maskinporten_operator.plan.platform import Platform, Webproxy, choose_backend, find_published_addresses
from maskinporten_operator.plan.policy import Policy
from maskinporten_operator.reconcile.application import reconcile_application
from maskinporten_operator.reconcile.maskinportenclient import reconcile_maskinportenclient
from maskinporten_operator.reconcile.memory import Memory
from maskinporten_operator.reconcile.ports import Ports, Sighting
from maskinporten_operator.runtime.announcer import EventAnnouncer
from maskinporten_operator.runtime.ending import end_on_signals, limit_end
from maskinporten_operator.runtime.health import serve_endpoints
from maskinporten_operator.runtime.lease import Elector
from maskinporten_operator.runtime.metrics import Metrics
from maskinporten_operator.runtime.namespaces import Namespaces
from maskinporten_operator.runtime.queue import WorkQueue
from maskinporten_operator.runtime.resync import Resync
from maskinporten_operator.runtime.router import Router
from maskinporten_operator.runtime.shell import EndlessBackoffs, run_shell
from maskinporten_operator.runtime.states import count_keys, count_resources, count_scopes
from maskinporten_operator.runtime.store import OwnedObjects
from maskinporten_operator.runtime.vitals import Vitals
from maskinporten_operator.runtime.workers import Controller, Workers, note_progress

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from kubernetes.aio.client import Configuration

    from maskinporten_operator.adapters.cluster.watch import Listener
    from maskinporten_operator.config import Config
    from maskinporten_operator.model.maskinportenclient import MaskinportenClient
    from maskinporten_operator.plan.inventory import Inventory, Item
    from maskinporten_operator.plan.outcomes import Outcome

DRAIN_SECONDS = 5.0
RELEASE_SECONDS = 2.0
LOOK_FOR_SYNC_EVERY = 1.0
NO_NAMESPACE = ("-",)
"""A name that none can have, where a selector selects none."""
LOOK_FOR_CRD_EVERY = 5.0
log = structlog.get_logger()


async def run_operator(config: Config) -> None:
    """Run the operator until it gets a signal.

    Raises:
        CredentialsError: The operator's own credentials can't be used.
        ClusterUnknownError: No API server is configured.
        LeaseLostError: This process led, and another one does by now.
        Exception: The API server stopped serving one of our kinds, or a part of the operator ended by a fault.
    """
    stopping = asyncio.Event()
    end_on_signals(stopping)
    operator: Operator | None = None
    async with AsyncExitStack() as stack:
        adapters = await open_adapters(config, stack)
        await stack.enter_async_context(
            serve_endpoints(
                adapters.metrics,
                config.metrics_address,
                config.health_address,
                lambda: operator is not None and operator.is_ready(),
                adapters.vitals.find_faults,
            )
        )
        served = await _wait_for_kinds(adapters.api, config, stopping)
        if served is not None:
            operator = Operator(config, adapters, served)
            await operator.run(stopping)


async def read_inventory(config: Config) -> Inventory:
    """Read what in the organisation belongs to which resource; writes nothing.

    Raises:
        CredentialsError: The operator's own credentials can't be used.
        ClusterUnknownError: No API server is configured.
        OperatorError: Something couldn't be read.
    """
    async with AsyncExitStack() as stack:
        digdir = await open_digdir(config, Metrics(), stack)
        api = open_cluster(await load_configuration(), stack)
        namespaces = config.namespaces
        if config.namespace_selector:
            selected, _ = await list_metadata(api, NAMESPACE.path(), config.namespace_selector)
            namespaces = tuple(one["metadata"]["name"] for one in selected) or NO_NAMESPACE
        paths = [MASKINPORTEN_CLIENT.path(namespace) for namespace in namespaces or (None,)]
        resources = [parse(body) for path in paths for body in await list_objects(api, path)]
        policy = build_policy(config)
        clients, scopes = await digdir.clients.list_clients(), await digdir.scopes.list_own()
        found = take_inventory(resources, clients, scopes, policy, namespaces)
        items = [await _tell_revokes(item, digdir.scopes, resources, policy) for item in found.items]
        return replace(found, items=tuple(items))


async def _tell_revokes(item: Item, api: ScopeApi, resources: list[MaskinportenClient], policy: Policy) -> Item:
    if item.kind != "scope" or item.state != State.ADOPTABLE:
        return item
    consumers = [grant.orgno for grant in await api.list_accesses(item.name) if grant.approved]
    return replace(item, revokes=find_stale_consumers(item, consumers, resources, policy))


@dataclass(frozen=True, slots=True)
class Digdir:
    """How the operator reaches DigDir and Maskinporten."""

    credentials: AdminCredentials
    metadata: MetadataReader
    clients: ClientApi
    scopes: ScopeApi


@dataclass(frozen=True, slots=True)
class Adapters:
    """What the operator reaches the world by."""

    api: ClusterApi
    registry: RegistrationIndex
    scopes: ScopeIndex
    grants: GrantIndex
    pool: KeyPool
    metadata: MetadataReader
    metrics: Metrics
    credentials: AdminCredentials
    elector: Elector | None
    fence: Fence
    vitals: Vitals


def open_cluster(configuration: Configuration, stack: AsyncExitStack, fence: Fence = OPEN) -> ClusterApi:
    """Open a way to the API server, closed by `stack`; every write passes `fence`."""
    api = ClusterApi(configuration, fence, note_progress)
    stack.push_async_callback(api.close)
    return api


async def open_digdir(config: Config, metrics: Metrics, stack: AsyncExitStack, fence: Fence = OPEN) -> Digdir:
    """Open the way to DigDir, closed by `stack`; every write passes `fence`."""
    credentials = AdminCredentials(config.admin_client_id, build_source(config))
    credentials.report_expiry()
    plain = await stack.enter_async_context(open_http(config.ca_bundle, connections=4))
    metadata = MetadataReader(plain, str(config.maskinporten_well_known_url))
    auth = JwtGrantAuth(plain, metadata, credentials, config.admin_scopes, observe=metrics.count_token_request)
    metrics.gauge(
        "token_age_seconds", "How old the operator's own token is; absent before the first.", lambda: auth.token_age
    )
    authorized = await stack.enter_async_context(
        open_http(config.ca_bundle, connections=config.workers, auth=auth, fence=fence)
    )

    def observe_call(operation: str, status: str, seconds: float) -> None:
        metrics.observe_call(operation, status, seconds)
        note_progress()

    calls = Calls(authorized, str(config.digdir_base_url), observe_call)
    return Digdir(credentials, metadata, ClientApi(calls), ScopeApi(calls))


async def open_adapters(config: Config, stack: AsyncExitStack) -> Adapters:
    """Build the adapters, each closed by `stack`."""
    metrics = Metrics()
    configuration = await load_configuration()
    elector = build_elector(config, configuration, stack) if config.leader_election else None
    fence = Fence(elector.time_left if elector else None)
    digdir = await open_digdir(config, metrics, stack, fence)
    metrics.gauge(
        "admin_credential_expiry_timestamp_seconds",
        "When the operator's own credentials end; absent if that is unknown.",
        lambda: digdir.credentials.expires,
    )
    api = open_cluster(configuration, stack, fence)
    monotonic, lag, cluster = SystemClock().monotonic, config.list_lag.total_seconds(), config.cluster_name
    registry = RegistrationIndex(digdir.clients, cluster=cluster, lag=lag, monotonic=monotonic)
    scopes = ScopeIndex(digdir.scopes, cluster=cluster, lag=lag, monotonic=monotonic)
    grants = GrantIndex(digdir.scopes, scopes, max_age=config.grant_max_age.total_seconds(), monotonic=monotonic)
    pool = await stack.enter_async_context(KeyPool(config.key_pool_size))
    return Adapters(
        api,
        registry,
        scopes,
        grants,
        pool,
        digdir.metadata,
        metrics,
        digdir.credentials,
        elector,
        fence,
        Vitals(monotonic),
    )


def build_elector(config: Config, configuration: Configuration, stack: AsyncExitStack) -> Elector:
    """Build what contends for the Lease, with connections of its own: a busy operator must not lose it for that."""
    leases = LeaseApi(open_cluster(configuration, stack), str(config.lease_namespace), config.lease_name)
    identity = f"{os.environ.get('HOSTNAME') or socket.gethostname()}_{SystemRandomness().hex(8)}"
    return Elector(leases, identity, boottime, utc_now)


class Operator:
    """The assembled operator."""

    def __init__(self, config: Config, adapters: Adapters, served: frozenset[Kind]) -> None:
        clock = SystemClock()
        self.config, self.api, self.served = config, adapters.api, served
        self.credentials, self.vitals = adapters.credentials, adapters.vitals
        self.registry, self.scopes, self.grants = adapters.registry, adapters.scopes, adapters.grants
        self.elector, self.fence = adapters.elector, adapters.fence
        self.memory = Memory()
        self.queue = WorkQueue(observe_wait=adapters.metrics.observe_wait, closed=adapters.elector is not None)
        self.router = Router(
            watched_kinds(config),
            self.queue,
            clock.monotonic,
            forget=self.memory.forget,
            note_gap=lambda: self.resync.note_gap(),  # noqa: PLW0108 - it is made below, of the stores
        )
        self.namespaces = Namespaces(self.router.on_namespaces, selects=bool(config.namespace_selector))
        clients, stores = self.router.stores[MASKINPORTEN_CLIENT], tuple(self.router.stores.values())
        self.announcer = EventAnnouncer(partial(post_event, self.api), is_busy=lambda: bool(self.queue.running))
        self.ports = Ports(
            policy=build_policy(config),
            platform=build_platform(config, served),
            cluster=ClusterResources(self.api, self.router.accept, config.namespace_selector),
            registry=self.registry,
            scopes=adapters.scopes,
            grants=adapters.grants,
            mint=adapters.pool,
            fleet=clients,
            owned=OwnedObjects(clients, self.router.versions),
            namespaces=self.namespaces,
            announcer=self.announcer,
            metadata=adapters.metadata,
            clock=clock,
            random=SystemRandomness(),
            memory=self.memory,
        )
        self.resync = Resync(config.resync_interval.total_seconds(), stores, self.queue, self._list_uids, self._refresh)
        self.workers = Workers(config.workers, self.queue, self._build_controllers(), adapters.metrics)
        self.vitals.add_check(self.workers.check_stuck)
        self.watching = self.synced = False
        self.leading = asyncio.Event()
        self._show(adapters.metrics, adapters.pool)

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
        gauges("registered_keys", "Our registered keys by age.", ("age",), lambda: count_keys(self.registry, utc_now()))

    async def run(self, stopping: asyncio.Event) -> None:
        """Watch, and work while this process leads, until `stopping` is set.

        Raises:
            LeaseLostError: This process led, and another one does by now.
            Exception: A part of the operator ended by a fault.
        """
        stop_watching: concurrent.futures.Future[None] = concurrent.futures.Future()
        ending = asyncio.create_task(stopping.wait())
        shell = asyncio.create_task(self._keep_watching(stop_watching))
        background = [asyncio.create_task(one) for one in self._background()]
        self.watching = True
        try:
            done, _ = await asyncio.wait({shell, ending, *background}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.watching = False
            if stopping.is_set():
                await self.workers.drain(DRAIN_SECONDS)
            else:
                limit_end()  # something is broken, or another process leads: there is nothing to wait for
            await _cancel(ending, *background)
            self.fence.close()
            await self._release()
            stop_watching.set_result(None)
        await shell
        for task in done - {ending, shell}:
            task.result()

    @property
    def may_work(self) -> bool:
        """Whether this process surely leads, or has nobody to contend with."""
        return self.elector is None or self.elector.time_left() > 0

    def is_ready(self) -> bool:
        """Whether the watch runs and everything was seen, and DigDir's list was read by the one that leads."""
        if not (self.watching and self.synced):
            return False
        if self.elector and not self.leading.is_set():
            return self.elector.reached
        return self.registry.is_listed

    async def _work(self) -> None:
        """Stand by until this process leads, then work."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_for_sync())
            if self.elector:
                await self.elector.leading.wait()
                self._take_over()
            self.leading.set()
            await self.workers.run()

    def _take_over(self) -> None:
        """Forget what can't be known: until this moment another process may have written."""
        for index in (self.registry, self.scopes, self.grants):
            index.begin()
        doubted_until = SystemClock().monotonic() + self.config.list_lag.total_seconds()
        self.queue.open()
        for store in self.router.stores.values():
            store.doubt(doubted_until)
            for key in store:
                self.queue.add(key)

    async def _release(self) -> None:
        if self.elector:
            try:
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self.elector.release()
            except TimeoutError:
                log.warning("the Lease couldn't be released in time and expires instead")

    async def _look_for_sync(self) -> None:
        """Return when the stores have held all that the API server lists."""
        while True:
            try:
                for kind, store in self.router.stores.items():
                    missing = await self._list_uids(kind) - {one.uid for key in store if (one := store.find(key))}
                    if missing:
                        break
                else:
                    self.synced = True
                    return
            except OperatorError as error:
                log.debug("not compared with the API server's lists", message=str(error))
            await asyncio.sleep(LOOK_FOR_SYNC_EVERY)

    def _build_controllers(self) -> dict[Kind, Controller]:
        passes = {MASKINPORTEN_CLIENT: self._reconcile_client, APPLICATION: self._reconcile_application}
        stores = self.router.stores
        return {kind: Controller(store, passes[kind], self.router.settle) for kind, store in stores.items()}

    async def _reconcile_client(self, body: Mapping[str, Any], sighting: Sighting) -> Outcome:
        return await reconcile_maskinportenclient(body, sighting, self.ports)

    async def _reconcile_application(self, body: Mapping[str, Any], _: Sighting) -> Outcome:
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
        self.vitals.expect(part)
        await follow_metadata(self.api, kind, selector, listener, namespace, partial(self.vitals.note, part))

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

    async def _list_uids(self, kind: Kind) -> set[str]:
        paths = [kind.path(namespace) for namespace in self.config.namespaces or (None,)]
        lists = [await list_metadata(self.api, path) for path in paths]
        return {item["metadata"]["uid"] for items, _ in lists for item in items}

    async def _keep_watching(self, stop: concurrent.futures.Future[None]) -> None:
        """Run the shell, and start it again when it gives up, unless a kind is gone: then the process ends."""
        delays = iter(EndlessBackoffs())
        namespaces = self.config.namespaces or (None,)
        watched = frozenset(kind.path(namespace) for kind in self.router.stores for namespace in namespaces)
        for path in watched:
            self.vitals.expect(path)
        session = partial(open_session, self.api.configuration, partial(self.vitals.note_request, watched=watched))
        server = self.api.configuration.host
        while True:
            try:
                await run_shell(self.router.on_event, session, server, self.router.stores, self.config.namespaces, stop)
            except Exception as error:
                if await self._is_kind_gone():
                    raise
                log.warning("the watch ended and is started again", error=type(error).__name__)
                await asyncio.sleep(next(delays))
            else:
                return

    async def _is_kind_gone(self) -> bool:
        try:
            return not all([await is_served(self.api, kind) for kind in self.router.stores])
        except OperatorError:
            return False  # an API server that doesn't answer says nothing


async def _wait_for_kinds(api: ClusterApi, config: Config, stopping: asyncio.Event) -> frozenset[Kind] | None:
    """Wait until our kinds are served, and say what else is; None if a signal came first.

    kopf would be idle for ever without a word.
    """
    looking = asyncio.create_task(_look_for_kinds(api, watched_kinds(config)))
    ending = asyncio.create_task(stopping.wait())
    await asyncio.wait({looking, ending}, return_when=asyncio.FIRST_COMPLETED)
    served = looking.result() if looking.done() else None
    await _cancel(looking, ending)
    return served


async def _look_for_kinds(api: ClusterApi, watched: tuple[Kind, ...]) -> frozenset[Kind]:
    told = None
    while True:
        try:
            served = await find_served(api, (*watched, DEPLOYMENT, SERVICE, *POLICY_KINDS))
            missing = [f"{kind.plural}.{kind.group}" for kind in watched if kind not in served]
            if not missing:
                return served
            message = f"the API server doesn't serve {' and '.join(missing)}: a cluster admin must install the CRD"
        except OperatorError as error:
            message = str(error)
        if message != told:
            log.warning("waiting", message=message)
            told = message
        await asyncio.sleep(LOOK_FOR_CRD_EVERY)


def utc_now() -> datetime:
    """Give the wall-clock time."""
    return datetime.now(UTC)


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def watched_kinds(config: Config) -> tuple[Kind, ...]:
    """Name the kinds that are looked after."""
    return (MASKINPORTEN_CLIENT, APPLICATION) if config.applications else (MASKINPORTEN_CLIENT,)


def build_source(config: Config) -> JwkFile | CertificateFiles:
    """Take from the configuration where the operator's own credentials are."""
    if config.admin_jwk_file:
        return JwkFile(config.admin_jwk_file)
    assert config.admin_cert_chain_file  # the configuration has one way or the other
    assert config.admin_key_file
    return CertificateFiles(config.admin_cert_chain_file, config.admin_key_file)


def build_policy(config: Config) -> Policy:
    """Take from the configuration what planning a registration needs."""
    return Policy(
        cluster=config.cluster_name,
        client_name=config.client_name,
        access_token_lifetime=config.access_token_lifetime,
        default_scope=config.default_client_scope,
        key_grace=config.key_grace,
        scope_prefix=config.scope_prefix,
        withdrawn_scopes=config.withdrawn_scopes,
        grant_recheck=config.grant_max_age.total_seconds(),
        deletion_policy=config.deletion_policy,
        takes_over=config.take_over_digdirator,
    )


def build_platform(config: Config, served: Collection[Kind]) -> Platform:
    """Take from the configuration, and from what the API server serves, what planning an Application needs."""
    well_known = config.maskinporten_well_known_url
    hosts = config.maskinporten_hosts or (str(well_known.host),)
    backend = choose_backend(config.egress, config.platform, served)
    if config.applications:
        log.info("egress policies", backend=backend, platform=config.platform)
    return Platform(
        name=config.platform,
        cluster=config.cluster_name,
        workloads=config.workloads,
        backend=backend,
        hosts=hosts,
        port=443 if config.maskinporten_hosts else well_known.port or 443,
        cidrs=config.maskinporten_cidrs or find_published_addresses(hosts),
        webproxy=build_webproxy(config),
        run_as_user=config.run_as_user,
    )


def build_webproxy(config: Config) -> Webproxy | None:
    """Take the proxy's address apart."""
    url = config.webproxy_address
    if url is None:
        return None
    return Webproxy(
        url=f"{url.scheme}://{url.host}:{url.port}",  # with the port: without one, programs differ in which they take
        host=str(url.host),
        port=url.port or 80,
        exclude=config.webproxy_exclude,
        cidrs=config.webproxy_cidrs,
    )
