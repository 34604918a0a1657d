"""What the operator would write to DigDir if it started now: its own passes, with adapters that write nothing."""

from __future__ import annotations

from collections import defaultdict
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from maskinporten_operator.adapters.cluster.api import load_configuration
from maskinporten_operator.adapters.cluster.dry_run_api import DryRunApi
from maskinporten_operator.adapters.cluster.kubernetes_cluster import KubernetesCluster
from maskinporten_operator.adapters.cluster.watch import list_metadata, list_objects
from maskinporten_operator.adapters.digdir.dry_run_calls import DryRunCalls
from maskinporten_operator.adapters.fence import Fence
from maskinporten_operator.assembly.kinds import find_kinds, find_lack, watched_kinds
from maskinporten_operator.assembly.known import build_known
from maskinporten_operator.assembly.parameters import build_platform, build_registration_settings
from maskinporten_operator.assembly.parts import build_indexes, open_digdir, read_credentials
from maskinporten_operator.assembly.stand_ins import AcceptingVerifier, CountedHex, OneKey, Silence
from maskinporten_operator.assembly.watches import SELECTOR, summarize
from maskinporten_operator.model.resources import APPLICATION, MASKINPORTEN_CLIENT, NAMESPACE, SECRET
from maskinporten_operator.plan.children import OWNED_KINDS
from maskinporten_operator.plan.planned_writes import ResourcePlan, Write, choose_plans
from maskinporten_operator.reconcile.application_pass import reconcile_application
from maskinporten_operator.reconcile.client_pass import reconcile_maskinportenclient
from maskinporten_operator.reconcile.memory import Memory
from maskinporten_operator.reconcile.ports import Digdir, Ports
from maskinporten_operator.runtime.dry_run import CURRENT, DryRun, DryRunQueue, has_failed
from maskinporten_operator.runtime.faults import FaultError
from maskinporten_operator.runtime.metrics import Metrics
from maskinporten_operator.runtime.namespaces import WatchedNamespaces
from maskinporten_operator.runtime.router import Router
from maskinporten_operator.runtime.store import trim
from maskinporten_operator.runtime.virtual_clock import VirtualClock
from maskinporten_operator.runtime.workers import Controller

if TYPE_CHECKING:
    from collections.abc import Callable

    from maskinporten_operator.adapters.cluster.api import ClusterApi
    from maskinporten_operator.config import Config
    from maskinporten_operator.model.resources import Kind
    from maskinporten_operator.plan.outcomes import Outcome
    from maskinporten_operator.runtime.queue import Key

    OnProgress = Callable[[str, int, int], None]


async def plan_writes(
    config: Config, namespace: str | None = None, on_progress: OnProgress = lambda *_: None
) -> tuple[ResourcePlan, ...]:
    """Plan for all resources, or for those of a namespace; nothing is written anywhere.

    `on_progress` is told what is done, how far it is, and of how many.

    Raises:
        CredentialsError: The operator's own credentials can't be used.
        ClusterUnknownError: No API server is configured.
        FaultError: The API server doesn't serve what the operator needs.
        OperatorError: DigDir's list of clients, or the resources, couldn't be read.
    """
    async with AsyncExitStack() as stack:
        planned = _PlannedPasses(config, namespace, on_progress)
        return await planned.run(stack)


class _PlannedPasses:
    """The parts of an operator that writes nothing."""

    def __init__(self, config: Config, namespace: str | None, on_progress: OnProgress) -> None:
        self._config = config
        self._on_progress = on_progress
        self._clock = VirtualClock()
        self._queue = DryRunQueue(self._clock, lambda key: namespace in {None, key.namespace})
        self._memory = Memory()
        self._router = Router(
            watched_kinds(config),
            self._queue,
            self._clock.monotonic,
            forget=self._memory.forget,
            note_gap=lambda: None,
            namespaces=config.namespaces or (None,),
        )
        self._namespaces = WatchedNamespaces(self._router.on_namespaces, selects=bool(config.namespace_selector))
        self._writes: defaultdict[Key, list[Write]] = defaultdict(list)
        self._outcomes: dict[Key, Outcome] = {}

    async def run(self, stack: AsyncExitStack) -> tuple[ResourcePlan, ...]:
        config = self._config
        credentials = read_credentials(config)
        api = DryRunApi(await load_configuration(), self._take_event)
        stack.push_async_callback(api.close)
        served = await find_kinds(api, config)
        if lack := find_lack(config, served):
            raise FaultError(lack)
        fence = Fence()
        fence.close()
        build_calls = partial(DryRunCalls, record=self._record, now=self._clock.now)
        digdir = await open_digdir(config, credentials, Metrics(), stack, fence, build_calls)
        registrations, scopes, grants = build_indexes(config, digdir, self._clock.monotonic, self._clock.sleep)
        self._on_progress("Reading resources", 0, 0)
        await self._read_cluster(api, served)
        self._on_progress("Reading DigDir's lists", 0, 0)
        await registrations.ready()
        ports = self._build_ports(
            api, served, Digdir(registrations, scopes, grants, digdir.metadata, AcceptingVerifier())
        )
        await DryRun(self._queue, self._build_controllers(ports), self._note, config.workers).run()
        return tuple(self._build_plans())

    def _build_ports(self, api: ClusterApi, served: frozenset[Kind], digdir: Digdir) -> Ports:
        return Ports(
            settings=build_registration_settings(self._config),
            platform=build_platform(self._config, served),
            cluster=KubernetesCluster(
                api, self._router.record_own_write, self._config.namespace_selector, self._router.remember_secret
            ),
            digdir=digdir,
            known=build_known(self._router, self._namespaces),
            key_pool=OneKey(),
            announcer=Silence(),
            clock=self._clock,
            random=CountedHex(),
            memory=self._memory,
        )

    def _build_controllers(self, ports: Ports) -> dict[Kind, Controller]:
        passes = {
            MASKINPORTEN_CLIENT: lambda body, first_seen: reconcile_maskinportenclient(body, first_seen, ports),
            APPLICATION: lambda body, _: reconcile_application(body, ports),
        }
        stores = self._router.stores
        return {kind: Controller(store, passes[kind], self._router.settle) for kind, store in stores.items()}

    async def _read_cluster(self, api: ClusterApi, served: frozenset[Kind]) -> None:
        """Read what the operator's watches list at the start."""
        await self._read_namespaces(api)
        for namespace in self._config.namespaces or (None,):
            for kind in self._router.stores:
                for body in await list_objects(api, kind.path(namespace)):
                    self._router.on_event(kind, None, trim(kind, body))
            secrets = await list_objects(api, SECRET.path(namespace), summarize, SELECTOR)
            self._router.owned[MASKINPORTEN_CLIENT].listen(SECRET).on_list(secrets, namespace)
            if applications := self._router.owned.get(APPLICATION):
                for kind in OWNED_KINDS:
                    if kind in served:
                        items, _ = await list_metadata(api, kind.path(namespace), SELECTOR)
                        applications.listen(kind).on_list(items, namespace)

    async def _read_namespaces(self, api: ClusterApi) -> None:
        if self._config.namespaces:
            return
        items, _ = await list_metadata(api, NAMESPACE.path())
        self._namespaces.listen_to_ends().on_list(items)
        if selector := self._config.namespace_selector:
            selected, _ = await list_metadata(api, NAMESPACE.path(), selector)
            self._namespaces.listen_to_selected().on_list(selected)

    def _take_event(self, event: str, body: dict[str, Any]) -> None:
        """Take in what a watch would tell of an object that a pass would make or delete."""
        for kind in self._router.stores:
            if (kind.api_version, kind.name) == (body.get("apiVersion"), body.get("kind")):
                self._router.on_event(kind, event, trim(kind, body))

    def _record(self, write: Write) -> None:
        self._writes[CURRENT.get()].append(write)

    def _note(self, key: Key, outcome: Outcome) -> None:
        self._outcomes[key] = outcome
        done = len(self._outcomes)
        self._on_progress("Planning", done, max(done, sum(map(len, self._router.stores.values()))))

    def _build_plans(self) -> list[ResourcePlan]:
        keys = sorted(self._outcomes, key=lambda key: (key.namespace, key.name))
        return choose_plans([self._build_plan(key) for key in keys])

    def _build_plan(self, key: Key) -> ResourcePlan:
        outcome = self._outcomes[key]
        return ResourcePlan(
            key.kind.name,
            key.namespace,
            key.name,
            tuple(self._writes[key]),
            outcome.verdicts[0] if outcome.verdicts else None,
            tuple(one for one in outcome.verdicts[1:] if one.status == "False"),
            failed=has_failed(outcome),
        )
