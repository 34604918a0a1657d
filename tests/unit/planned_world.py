"""A copy of a world in which an operator starts now, for what it would do, and for what it does."""

from __future__ import annotations

import copy
import itertools
import os
from typing import ClassVar

from structlog.testing import capture_logs

from digdir_simulator.state import Versioned
from maskinporten_operator.adapters.digdir.calls import Calls
from maskinporten_operator.adapters.digdir.dry_run_calls import DryRunCalls
from maskinporten_operator.assembly.stand_ins import AcceptingVerifier
from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT
from maskinporten_operator.plan.planned_writes import NEW_CLIENT, Write
from maskinporten_operator.reconcile.client_pass import reconcile_maskinportenclient
from maskinporten_operator.runtime.dry_run import DryRun, DryRunQueue
from maskinporten_operator.runtime.queue import Key
from maskinporten_operator.runtime.store import Entry
from maskinporten_operator.runtime.workers import Controller
from tests.unit import world as worlds
from tests.unit.fakes import FakeKeyPool, FakeRandomness, Trips

SAFE = {"GET"}
REGISTER = ("POST", "/clients")


class CopiedDigdir(worlds.Digdir):
    """DigDir as it is at an instant, with lists that have caught up, and without the faults that are to come."""

    def __init__(self, digdir, clock):
        super().__init__(clock)
        simulator, original = self.simulator, digdir.simulator
        simulator.settings = original.settings.model_copy(update={"list_lag_seconds": 0.0})
        state = copy.copy(original.state)
        state.clients, state.scopes = _copy(state.clients), _copy(state.scopes)
        state.accesses = {name: _copy(accesses) for name, accesses in state.accesses.items()}
        state.delegations = set(state.delegations)
        simulator.state = state


def _copy(records):
    def copy_one(record):
        copied = Versioned(record.current, 0.0)
        copied._versions = list(record._versions)
        return copied

    return {name: copy_one(record) for name, record in records.items()}


def _copy_cluster(cluster):
    copied = copy.copy(cluster)
    copied.trips = Trips()
    for name in ("resource", "secrets", "pods", "summaries"):
        setattr(copied, name, copy.deepcopy(getattr(cluster, name)))
    copied._versions, copied._uids = itertools.count(100_000), itertools.count(100_000)
    return copied


class RecordedCalls(Calls):
    """Notes every write with its answer."""

    def __init__(self, http, url, record):
        super().__init__(http, url, lambda *_: None)
        self._record = record

    async def send(self, method, path, operation, *, body=None, query=None, **more):
        if method in SAFE:
            return await super().send(method, path, operation, query=query, **more)
        sent = [Write(method, path, operation, query or {}, body), None]
        self._record(sent)
        response = await super().send(method, path, operation, body=body, query=query, **more)
        sent[1] = response
        return response


class StartingWorld(worlds.World):
    """A world of its own, as another one is just now, in which the operator starts."""

    def __init__(self, world, *, plans):
        self.plans = plans
        self.sent = []
        self.planned = []
        self.settings = world.settings
        self.trips = Trips()
        self.clock = copy.copy(world.clock)
        self.random = FakeRandomness()
        self.cluster = _copy_cluster(world.cluster)
        self.digdir = CopiedDigdir(world.digdir, self.clock)
        self.key_pool = FakeKeyPool(self.trips)
        self.announcer = worlds.FakeAnnouncer()
        self.start()
        self.resources, self.namespaces = copy.copy(world.resources), copy.copy(world.namespaces)
        if plans:
            self.verifier = AcceptingVerifier()

    def _build_calls(self, http, url):
        if self.plans:
            return DryRunCalls(http, url, lambda *_: None, record=self.planned.append, now=self.clock.now)
        return RecordedCalls(http, url, self.sent.append)

    def find(self, key):
        """As the store of resources."""
        return Entry(self.cluster.resource, self.first_seen) if self.cluster.resource else None

    async def run(self):
        """Run what `plan` runs: passes until nothing is due within its horizon."""
        queue = DryRunQueue(self.clock)
        controller = Controller(
            self, lambda body, first_seen: reconcile_maskinportenclient(body, first_seen, self.ports), lambda *_: None
        )
        metadata = self.cluster.resource["metadata"]
        queue.add(Key(MASKINPORTEN_CLIENT, metadata["namespace"], metadata["name"]))
        await DryRun(queue, {MASKINPORTEN_CLIENT: controller}, lambda *_: None, workers=1).run()


def _list_differences(planned, sent):
    """Compare what was planned with what was sent, up to the first write that DigDir refused.

    Nobody knows what it will refuse, nor what it will add to a client by itself, which goes back to it with an update:
    of a client that was made just now what the operator sends of its own is compared.
    """
    made = [answer.json()["client_id"] for write, answer in sent if answer and (write.method, write.path) == REGISTER]
    refused = next((n for n, (_, answer) in enumerate(sent, start=1) if answer is None), None)
    pairs = itertools.zip_longest(planned[:refused], [write for write, _ in sent[:refused]])
    return [
        (one, other) for one, other in pairs if one is None or other is None or _show(one) != _show(other, one, made)
    ]


def _show(write, planned=None, made=()):
    """Give a write for comparison with the planned one; `made` are the ids of new clients, in their order."""
    path, body = write.path, write.body
    for number, client_id in enumerate(made, start=1):
        path = path.replace(client_id, f"{NEW_CLIENT}{number}")
    if planned and (write.method, planned.path) == ("PUT", path) and NEW_CLIENT in path:
        body = {name: value for name, value in body.items() if name in planned.body}
    return write.method, path, dict(write.query), body


class PlanOracle:
    """Compares what `plan` says with what an operator does that starts in the same state.

    Of each test it does so before the first, second, fifth pass and so on, and of each state once; before every pass
    with EVERY_PLAN=true.
    """

    seen: ClassVar[set[int]] = set()

    def __init__(self):
        self._passes, self._next = 0, 1

    async def check(self, world):
        """Compare both in copies of a world that is about to make a pass."""
        self._passes += 1
        if self._passes < self._next and "EVERY_PLAN" not in os.environ:
            return
        self._next = max(3 * self._next - 1, self._passes + 1)
        if world.cluster.resource is None or not self._is_new(world):
            return
        planning, acting = StartingWorld(world, plans=True), StartingWorld(world, plans=False)
        with capture_logs():
            await planning.run()
            await acting.run()
        assert [one for one in planning.digdir.calls() if one["method"] != "GET"] == []
        assert _list_differences(planning.planned, acting.sent) == []

    def _is_new(self, world):
        state, cluster = world.digdir.state, world.cluster
        records = [
            [one._versions for one in records.values()]
            for records in (state.clients, state.scopes, *state.accesses.values())
        ]
        settings = (world.settings, world.digdir.simulator.settings)
        known = [vars(one) if hasattr(one, "__dict__") else one for one in (world.resources, world.namespaces)]
        mark = hash(repr((settings, records, cluster.resource, cluster.secrets, cluster.pods, known)))
        is_new = mark not in self.seen
        self.seen.add(mark)
        return is_new
