"""The composition root: configuration → adapters → reconcilers → runtime. Only here do they meet."""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from maskinporten_operator.adapters.clock import SystemClock, SystemRandomness
from maskinporten_operator.adapters.cluster.api import ClusterApi, load_configuration
from maskinporten_operator.adapters.cluster.discovery import find_served, is_served
from maskinporten_operator.adapters.cluster.events import post_event
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
from maskinporten_operator.runtime.health import serve_endpoints
from maskinporten_operator.runtime.metrics import Metrics
from maskinporten_operator.runtime.namespaces import Namespaces
from maskinporten_operator.runtime.queue import WorkQueue
from maskinporten_operator.runtime.resync import Resync
from maskinporten_operator.runtime.router import Router
from maskinporten_operator.runtime.shell import EndlessBackoffs, run_shell
from maskinporten_operator.runtime.store import OwnedObjects
from maskinporten_operator.runtime.workers import Controller, Workers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from maskinporten_operator.config import Config
    from maskinporten_operator.model.maskinportenclient import MaskinportenClient
    from maskinporten_operator.plan.inventory import Inventory, Item
    from maskinporten_operator.plan.outcomes import Outcome

DRAIN_SECONDS = 5.0
NO_NAMESPACE = ("-",)
"""A name that none can have, where a selector selects none."""
LOOK_FOR_CRD_EVERY = 5.0
log = structlog.get_logger()


async def run_operator(config: Config) -> None:
    """Run the operator until it gets a signal.

    Raises:
        CredentialsError: The operator's own credentials can't be used.
        ClusterUnknownError: No API server is configured.
        Exception: The API server stopped serving one of our kinds, or a part of the operator ended by a fault.
    """
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    operator: Operator | None = None
    async with AsyncExitStack() as stack:
        adapters = await open_adapters(config, stack)
        await stack.enter_async_context(
            serve_endpoints(
                adapters.metrics,
                config.metrics_address,
                config.health_address,
                lambda: operator is not None and operator.is_ready(),
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
        api = await open_cluster(stack)
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


async def open_cluster(stack: AsyncExitStack) -> ClusterApi:
    """Open the way to the API server, closed by `stack`."""
    api = ClusterApi(await load_configuration())
    stack.push_async_callback(api.close)
    return api


async def open_digdir(config: Config, metrics: Metrics, stack: AsyncExitStack) -> Digdir:
    """Open the way to DigDir, closed by `stack`."""
    credentials = AdminCredentials(config.admin_client_id, build_source(config))
    credentials.report_expiry()
    plain = await stack.enter_async_context(open_http(config.ca_bundle, connections=4))
    metadata = MetadataReader(plain, str(config.maskinporten_well_known_url))
    authorized = await stack.enter_async_context(
        open_http(
            config.ca_bundle,
            connections=config.workers,
            auth=JwtGrantAuth(plain, metadata, credentials, config.admin_scopes),
        )
    )
    calls = Calls(authorized, str(config.digdir_base_url), metrics.observe_call)
    return Digdir(credentials, metadata, ClientApi(calls), ScopeApi(calls))


async def open_adapters(config: Config, stack: AsyncExitStack) -> Adapters:
    """Build the adapters, each closed by `stack`."""
    metrics = Metrics()
    digdir = await open_digdir(config, metrics, stack)
    metrics.gauge(
        "admin_credential_expiry_timestamp_seconds",
        "When the operator's own credentials end; absent if that is unknown.",
        lambda: digdir.credentials.expires,
    )
    api = await open_cluster(stack)
    monotonic, lag, cluster = SystemClock().monotonic, config.list_lag.total_seconds(), config.cluster_name
    registry = RegistrationIndex(digdir.clients, cluster=cluster, lag=lag, monotonic=monotonic)
    scopes = ScopeIndex(digdir.scopes, cluster=cluster, lag=lag, monotonic=monotonic)
    grants = GrantIndex(digdir.scopes, scopes, max_age=config.grant_max_age.total_seconds(), monotonic=monotonic)
    pool = await stack.enter_async_context(KeyPool(config.key_pool_size))
    return Adapters(api, registry, scopes, grants, pool, digdir.metadata, metrics, digdir.credentials)


class Operator:
    """The assembled operator."""

    def __init__(self, config: Config, adapters: Adapters, served: frozenset[Kind]) -> None:
        clock = SystemClock()
        self.config, self.api, self.served = config, adapters.api, served
        self.credentials = adapters.credentials
        self.registry, self.scopes = adapters.registry, adapters.scopes
        self.memory = Memory()
        self.queue = WorkQueue()
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
        self.watching = False
        gauge = adapters.metrics.gauge
        gauge("queue_depth", "Resources that wait for a pass.", lambda: len(self.queue))
        gauge("resources", "Known resources.", lambda: sum(len(store) for store in stores))
        gauge("keys_ready", "Keys minted ahead.", lambda: len(adapters.pool))

    async def run(self, stopping: asyncio.Event) -> None:
        """Watch and work until `stopping` is set.

        Raises:
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
            await self.workers.drain(DRAIN_SECONDS)
            await _cancel(ending, *background)
            stop_watching.set_result(None)
        await shell
        for task in done - {ending, shell}:
            task.result()

    def is_ready(self) -> bool:
        """Whether the watch runs and DigDir's list was read."""
        return self.watching and self.registry.is_listed

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
            follow_metadata(self.api, kind, selector, self.router.owned[owner].listen(kind), namespace)
            for owner, kind in owned
            for namespace in self.config.namespaces or (None,)
        ]
        watches += self._watch_namespaces()
        runs = [self.workers.run(), self.resync.run(), self.announcer.run(), self.credentials.watch_expiry()]
        return [*runs, *watches]

    def _watch_namespaces(self) -> list[Any]:
        """Watch the cluster's namespaces; an operator that is given a few of them needn't have the right to."""
        if self.config.namespaces:
            return []
        ends = follow_metadata(self.api, NAMESPACE, "", self.namespaces.listen_to_ends(), None)
        if not (selector := self.config.namespace_selector):
            return [ends]
        return [ends, follow_metadata(self.api, NAMESPACE, selector, self.namespaces.listen_to_selected(), None)]

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
        session, server = partial(open_session, self.api.configuration), self.api.configuration.host
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
