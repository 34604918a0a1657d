"""The operator: its parts put together, and run."""

from __future__ import annotations

import asyncio
import concurrent.futures
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from maskinporten_operator.adapters.clock import SystemClock, SystemRandomness
from maskinporten_operator.adapters.cluster.events import post_event
from maskinporten_operator.adapters.cluster.kubernetes_cluster import KubernetesCluster
from maskinporten_operator.assembly.followed_passes import follow_passes
from maskinporten_operator.assembly.kinds import wait_for_kinds, watched_kinds
from maskinporten_operator.assembly.known import build_known
from maskinporten_operator.assembly.own_key import build_renewal
from maskinporten_operator.assembly.parameters import build_platform, build_registration_settings
from maskinporten_operator.assembly.parts import open_parts
from maskinporten_operator.assembly.watches import Watches
from maskinporten_operator.model.errors import OperatorError
from maskinporten_operator.model.resources import APPLICATION, MASKINPORTEN_CLIENT, Kind
from maskinporten_operator.reconcile.application_pass import reconcile_application
from maskinporten_operator.reconcile.client_pass import reconcile_maskinportenclient
from maskinporten_operator.reconcile.memory import Memory
from maskinporten_operator.reconcile.ports import Digdir, Ports
from maskinporten_operator.runtime.announcer import EventAnnouncer
from maskinporten_operator.runtime.elector import LeaseLostError
from maskinporten_operator.runtime.faults import explain_fault, log_unawaited
from maskinporten_operator.runtime.gauges import add_gauges
from maskinporten_operator.runtime.health import serve_endpoints
from maskinporten_operator.runtime.leadership import Leadership
from maskinporten_operator.runtime.namespaces import WatchedNamespaces
from maskinporten_operator.runtime.queue import Priority, WorkQueue
from maskinporten_operator.runtime.resync import Resync
from maskinporten_operator.runtime.router import Router
from maskinporten_operator.runtime.shutdown import cancel, end_on_signals, limit_end
from maskinporten_operator.runtime.state_counts import count_keys, count_states, find_first_expiry
from maskinporten_operator.runtime.verifier import TrialVerifier
from maskinporten_operator.runtime.workers import Controller, Workers

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from maskinporten_operator.assembly.parts import Parts
    from maskinporten_operator.config import Config
    from maskinporten_operator.runtime.metrics import Metrics
    from maskinporten_operator.runtime.workers import Reconcile

DRAIN_SECONDS = 5.0
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
    """The parts of a process that works, or stands by, put together."""

    def __init__(self, config: Config, parts: Parts, served: frozenset[Kind]) -> None:
        """`served` are the kinds that the API server serves."""
        self._parts = parts
        self._served = served
        self._clock = SystemClock()
        self._memory = Memory()
        self._queue = WorkQueue(
            observe_wait=parts.metrics.observe_wait, workers=config.workers, closed=parts.elector is not None
        )
        self._router = Router(
            watched_kinds(config),
            self._queue,
            self._clock.monotonic,
            forget=self._forget,
            note_gap=lambda: self._resync.note_gap(),  # noqa: PLW0108 - it is made below, of the stores
            namespaces=config.namespaces or (None,),
        )
        self._verifier = TrialVerifier(parts.tokens.ask, lambda key: self._queue.add(key, Priority.RETRY))
        self._namespaces = WatchedNamespaces(self._router.on_namespaces, selects=bool(config.namespace_selector))
        self._announcer = EventAnnouncer(
            partial(post_event, parts.api), lambda: bool(self._queue.running), parts.metrics.count_dropped_event
        )
        self._renewal = build_renewal(config, parts, self._announcer)
        self._workers = Workers(config.workers, self._queue, self._build_controllers(config), parts.metrics)
        self._watches = Watches(config, parts.api, self._router, self._namespaces, parts.vitals)
        self._resync = Resync(
            config.resync_interval.total_seconds(),
            tuple(self._router.stores.values()),
            self._queue,
            self._watches.list_uids,
            self._refresh_lists,
            self._watches.compare_secrets,
        )
        self._leadership = Leadership(
            parts.elector, config.list_lag.total_seconds(), self._clock.monotonic, self._take_over
        )
        self._running = False
        parts.vitals.add_check(self._workers.check_stuck)
        self._show(parts.metrics)

    async def run(self, stopping: asyncio.Event) -> None:
        """Watch, and work while this process leads, until `stopping` is set.

        Raises:
            LeaseLostError: This process led, and another one does by now.
            FaultError: It can't work.
        """
        stop_watching: concurrent.futures.Future[None] = concurrent.futures.Future()
        ending = asyncio.create_task(stopping.wait())
        shell = asyncio.create_task(self._watches.watch_resources(stop_watching))
        background = [asyncio.create_task(one) for one in self._background()]
        self._running = True
        try:
            done, _ = await asyncio.wait({shell, ending, *background}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._running = False
            if stopping.is_set():
                await self._workers.drain(DRAIN_SECONDS)
            else:
                limit_end()  # something is broken, or another process leads: there is nothing to wait for
            self._verifier.close()
            await cancel(ending, *background)
            self._parts.fence.close()
            await self._leadership.release()
            stop_watching.set_result(None)
        await shell
        for task in done - {ending, shell}:
            if error := task.exception():
                raise error if isinstance(error, EXPECTED) else explain_fault("the operator", error)

    def find_missing(self) -> list[str]:
        """Name what this process lacks to work, or to stand by if another one leads."""
        if not self._running:
            return ["the start or the end of the process"]
        missing = self._watches.find_missing()
        if self._parts.key_pool.failing:
            missing.append("keys, which can't be minted")
        if self._leadership.begun.is_set() and not self._parts.registrations.is_listed:
            missing.append("DigDir's list of clients")
        return missing + self._leadership.find_missing()

    def _background(self) -> list[Coroutine[Any, Any, None]]:
        parts = self._parts
        runs = [self._work(), self._resync.run(self._leadership.begun), self._announcer.run()]
        runs += [parts.credentials.watch_expiry()]
        runs += [self._renewal.run(self._leadership.begun)] if self._renewal else []
        runs += [parts.elector.run()] if parts.elector else []
        return [*runs, *self._watches.watch_others(self._served)]

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watches.wait_for_sync())
            await self._leadership.acquire()
            await self._workers.run()

    def _forget(self, uid: str) -> None:
        self._memory.forget(uid)
        self._verifier.forget(uid)

    def _take_over(self, alone_since: float, provable_at: float) -> None:
        """Forget what can't be known: until `alone_since` another process may have written."""
        for index in (self._parts.registrations, self._parts.scopes, self._parts.grants):
            index.begin(alone_since)
        self._queue.open()
        for store in self._router.stores.values():
            store.assume_finalizers(provable_at)
        self._router.queue_all()

    async def _refresh_lists(self) -> None:
        """Read DigDir's lists anew, and let the access lists be read by the passes that need them."""
        registrations, scopes = self._parts.registrations, self._parts.scopes
        await registrations.refresh()
        try:
            await scopes.refresh()
        except OperatorError as error:  # what neither exposes nor consumes scopes doesn't wait for that
            log.warning("scopes not listed", reason=str(error.reason), message=str(error))
        scopes.expire_access()

    def _build_controllers(self, config: Config) -> dict[Kind, Controller]:
        ports = self._build_ports(config)
        passes: dict[Kind, Reconcile] = {
            MASKINPORTEN_CLIENT: lambda body, first_seen: reconcile_maskinportenclient(body, first_seen, ports),
            APPLICATION: lambda body, _: reconcile_application(body, ports),
        }
        if tracer := self._parts.tracer:
            passes = {kind: follow_passes(kind, one, tracer) for kind, one in passes.items()}
        stores = self._router.stores
        return {kind: Controller(store, passes[kind], self._router.settle) for kind, store in stores.items()}

    def _build_ports(self, config: Config) -> Ports:
        parts = self._parts
        platform = build_platform(config, self._served)
        if config.applications:
            log.info("egress policies", backend=platform.backend, platform=platform.name)
        return Ports(
            settings=build_registration_settings(config),
            platform=platform,
            cluster=KubernetesCluster(
                parts.api,
                self._router.record_own_write,
                config.namespace_selector,
                self._router.remember_secret,
                parts.metrics.count_refused_status,
            ),
            digdir=Digdir(parts.registrations, parts.scopes, parts.grants, parts.metadata, self._verifier),
            known=build_known(self._router, self._namespaces),
            key_pool=parts.key_pool,
            announcer=self._announcer,
            clock=self._clock,
            random=SystemRandomness(),
            memory=self._memory,
        )

    def _show(self, metrics: Metrics) -> None:
        stores = self._router.stores
        read_states = metrics.share(lambda: count_states(stores.values()))
        add_gauges(metrics, self._queue, self._workers, stores, read_states)
        pool = self._parts.key_pool
        metrics.gauge("keys_ready", "Keys minted ahead.", lambda: len(pool))
        metrics.gauge(
            "keys_waited_for",
            "Passes that wait for a key: after a burst, what is minted on all cores.",
            lambda: pool.waiting,
        )
        leads = self._leadership
        metrics.gauge(
            "leader",
            "1 if this replica surely leads, or has nobody to contend with, else 0.",
            lambda: int(leads.may_work),
        )
        metrics.gauge(
            "credential_trials",
            "Clients whose credentials are being tried at Maskinporten, for the condition `Verified`.",
            lambda: len(self._verifier),
        )
        registrations, clock = self._parts.registrations, self._clock
        metrics.gauges(
            "registered_keys",
            "Keys of resources' clients at DigDir by age: `1d`, `30d`, `180d` and `335d` are younger than that, and no "
            "younger than the one before; `older`; `unknown`. Of clients that this process has read.",
            ("age",),
            lambda: count_keys(registrations, read_states().held, clock.now()),
        )
        metrics.gauge(
            "registered_key_expiry_timestamp_seconds",
            "When the first of the keys in resources' Secrets expires at DigDir, in seconds since 1970; absent without "
            "one. It is registered again 30 days before that.",
            lambda: find_first_expiry(registrations, read_states().held),
        )
