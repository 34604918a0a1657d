"""Life cycles of resources in passes, and what whoever waits for one must be told at each moment of it."""

from __future__ import annotations

import asyncio
import copy
from typing import Any, NamedTuple

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import RejectedError, TransientError
from maskinporten_operator.model.maskinportenclient import RESYNC_ANNOTATION
from maskinporten_operator.model.resources import DEPLOYMENT, MASKINPORTEN_CLIENT, SERVICE
from maskinporten_operator.plan.consumed_scopes import MADE_RECHECK_SECONDS
from maskinporten_operator.plan.platform import Platform
from maskinporten_operator.plan.rollout import ROLLOUT_PATIENCE
from tests.children import NAME, NAMESPACE, keep
from tests.specs import exposed
from tests.unit import world as clients
from tests.unit.fakes import SCOPE
from tests.unit.test_application_pass import CLIENT, DEPLOYED, PLATFORM, SPEC, World

IN_PROGRESS, CURRENT, FAILED, TERMINATING = "InProgress", "Current", "Failed", "Terminating"
UNOBSERVED = {"observedGeneration": -1}
"""The status that the CRD gives a resource without one."""
CRASHING = {
    "metadata": {"name": "app-1", "creationTimestamp": "2026-01-01T00:00:00Z"},
    "status": {
        "containerStatuses": [
            {
                "name": "app",
                "image": "example/app:1",
                "ready": False,
                "restartCount": 4,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137, "message": "a secret"}},
            }
        ]
    },
}


class Moment(NamedTuple):
    """A body as the API server serves it, and how it must be judged."""

    cycle: str
    what: str
    body: dict[str, Any]
    expected: str


def record() -> list[Moment]:
    """Run all life cycles."""
    return asyncio.run(_record())


async def _record() -> list[Moment]:
    return [
        Moment(cycle.__name__.strip("_"), what, body, expected)
        for cycle in CYCLES
        async for what, body, expected in cycle()
    ]


def served(body: Any) -> dict[str, Any]:
    shown: dict[str, Any] = copy.deepcopy(body)
    shown["status"] = shown.get("status") or UNOBSERVED
    return shown


def see(world: World) -> dict[str, Any]:
    return served(world.cluster.application)


def see_client(world: clients.World) -> dict[str, Any]:
    kind = {"apiVersion": MASKINPORTEN_CLIENT.api_version, "kind": MASKINPORTEN_CLIENT.name}
    return served(kind | world.cluster.resource)


Cycle = "AsyncIterator[tuple[str, dict[str, Any], str]]"


async def _an_application_that_is_created() -> Cycle:
    world = World()
    yield "created", see(world), IN_PROGRESS
    await world.reconcile()
    yield "its client asked for", see(world), IN_PROGRESS
    world.clock.advance(5)
    await world.reconcile()
    yield "its client has yet to answer", see(world), IN_PROGRESS
    world.answer()
    await world.reconcile()
    yield "its Deployment made", see(world), IN_PROGRESS
    world.roll_out(available=False)
    await world.reconcile()
    yield "its pods begun", see(world), IN_PROGRESS
    world.roll_out()
    await world.reconcile()
    yield "enough pods up, the controller not done", see(world), IN_PROGRESS
    world.roll_out(progressing="NewReplicaSetAvailable")
    await world.reconcile()
    yield "rolled out", see(world), CURRENT


async def _an_application_that_gets_a_new_image() -> Cycle:
    world = World()
    await world.settle()
    world.edit(image="example/app:2")
    yield "edited", see(world), IN_PROGRESS
    await world.reconcile()
    yield "applied, which the Deployment's controller hasn't seen", see(world), IN_PROGRESS
    world.roll_out(old=1)
    await world.reconcile()
    yield "old pods left", see(world), IN_PROGRESS
    world.roll_out(old=1, progressing="NewReplicaSetAvailable")
    await world.reconcile()
    yield "back to a version that was complete before, old pods left", see(world), IN_PROGRESS
    world.roll_out(progressing="NewReplicaSetAvailable")
    await world.reconcile()
    yield "rolled out", see(world), CURRENT


async def _an_application_whose_rollout_fails_and_is_fixed() -> Cycle:
    world = World()
    await world.settle()
    world.edit(image="example/app:2")
    await world.reconcile()
    world.roll_out(old=2)
    world.cluster.pods = [CRASHING]
    await world.reconcile()
    world.clock.advance(ROLLOUT_PATIENCE)
    await world.reconcile()
    yield "its pods crash, the controller hasn't given up", see(world), IN_PROGRESS
    world.roll_out(old=2, progressing="ProgressDeadlineExceeded", message="timed out progressing.")
    await world.reconcile()
    yield "given up, old pods available", see(world), FAILED
    await world.reconcile()
    yield "given up, looked at again", see(world), FAILED
    world.edit(image="example/app:3")
    yield "edited", see(world), IN_PROGRESS
    await world.reconcile()
    yield "applied", see(world), IN_PROGRESS
    world.roll_out(progressing="NewReplicaSetAvailable")
    await world.reconcile()
    yield "rolled out", see(world), CURRENT


async def _an_application_without_quota() -> Cycle:
    world = World()
    await world.reconcile()
    world.answer()
    await world.reconcile()
    refusal = 'pods "app-5d4f-x7k2p" is forbidden: exceeded quota: none, requested: pods=1'
    world.roll_out(available=False, refusal=refusal)
    await world.reconcile()
    yield "pods refused", see(world), IN_PROGRESS
    world.roll_out(available=False, refusal=refusal, progressing="ProgressDeadlineExceeded", message="timed out")
    await world.reconcile()
    yield "given up", see(world), FAILED


async def _an_application_whose_credentials_are_rotated() -> Cycle:
    world = World()
    await world.settle()
    client = world.cluster.objects[CLIENT]
    client["status"] |= {"synchronizationHash": "another"}
    await world.reconcile()
    yield "its pods are to be replaced", see(world), IN_PROGRESS
    world.roll_out(old=1)
    await world.reconcile()
    yield "old pods left", see(world), IN_PROGRESS
    world.roll_out(progressing="NewReplicaSetAvailable")
    await world.reconcile()
    yield "replaced", see(world), CURRENT


async def _an_application_that_is_scaled() -> Cycle:
    world = World()
    await world.settle()
    deployment = world.cluster.objects[DEPLOYED]
    deployment["spec"]["replicas"] = 8
    deployment["metadata"]["generation"] += 1
    await world.reconcile()
    yield "a scaler's number, which the controller hasn't seen", see(world), CURRENT
    world.roll_out(available=False, progressing="NewReplicaSetAvailable")
    await world.reconcile()
    yield "a node lost", see(world), CURRENT


async def _an_application_that_cant_be_used() -> Cycle:
    world = World()
    await world.settle()
    world.edit(image=7)
    yield "edited", see(world), IN_PROGRESS
    await world.reconcile()
    yield "refused", see(world), FAILED
    world.edit(image="example/app:1")
    yield "fixed", see(world), IN_PROGRESS
    await world.reconcile()
    yield "as before", see(world), CURRENT


async def _an_application_whose_client_is_refused() -> Cycle:
    world = World()
    await world.reconcile()
    world.answer(secret=False, status="Unknown", reason="DigDirUnavailable", message="no answer")
    await world.reconcile()
    yield "DigDir doesn't answer", see(world), IN_PROGRESS
    world.answer(secret=False, status="False", reason="ScopesNotGranted", message="a scope isn't granted")
    await world.reconcile()
    yield "a scope isn't granted", see(world), FAILED
    world.answer()
    await world.reconcile()
    yield "granted", see(world), IN_PROGRESS
    world.roll_out(progressing="NewReplicaSetAvailable")
    await world.reconcile()
    yield "rolled out", see(world), CURRENT


async def _an_application_during_an_outage() -> Cycle:
    world = World()
    await world.settle()
    del world.cluster.objects[SERVICE, NAME]
    world.cluster.refusals[SERVICE] = lambda: TransientError(Reason.CLUSTER_UNAVAILABLE, "no answer")
    await world.reconcile()
    yield "a Service can't be made again", see(world), IN_PROGRESS
    world.cluster.refusals[SERVICE] = lambda: RejectedError(Reason.REFUSED_BY_CLUSTER, "no")
    await world.reconcile()
    yield "and is refused", see(world), FAILED
    world.cluster.refusals.clear()
    await world.reconcile()
    yield "made", see(world), CURRENT


async def _an_application_beside_somebody_elses_deployment() -> Cycle:
    world = World()
    manifest = {"metadata": {"name": NAME, "namespace": NAMESPACE}, "kind": DEPLOYMENT.name, "spec": {"replicas": 1}}
    world.cluster.objects[DEPLOYED] = keep(manifest)
    world.roll_out(progressing="NewReplicaSetAvailable")
    await world.reconcile()
    world.answer()
    await world.reconcile()
    yield "in conflict", see(world), FAILED


async def _an_application_without_a_workload() -> Cycle:
    for spec, platform in ((SPEC | {"image": None}, PLATFORM), (SPEC, Platform(name="gcp", workloads=False))):
        world = World(spec, platform)
        await world.reconcile()
        yield "its client asked for", see(world), IN_PROGRESS
        world.answer()
        await world.reconcile()
        yield "its client ready", see(world), CURRENT


async def _an_application_that_is_deleted() -> Cycle:
    world = World()
    await world.settle()
    world.cluster.application["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    await world.reconcile()
    yield "being deleted", see(world), TERMINATING


async def _a_client_during_outages() -> Cycle:
    world = clients.World()
    yield "created", see_client(world), IN_PROGRESS
    world.digdir.fault("status", status=503, times=None)
    await world.reconcile()
    yield "DigDir has a fault", see_client(world), IN_PROGRESS
    world.digdir.clear_faults()
    world.clock.advance(60)
    await world.settle()
    yield "ready", see_client(world), CURRENT
    world.digdir.fault("status", status=503, times=None)
    world.cluster.annotate(**{RESYNC_ANNOTATION: "true"})
    await world.reconcile()
    yield "a fault of DigDir's, and its credentials work on", see_client(world), CURRENT


async def _a_client_that_consumes_what_nobody_granted() -> Cycle:
    world = clients.World()
    await world.settle()
    scopes = {"consumes": [{"name": SCOPE}, {"name": "udir:not/granted"}]}
    world.cluster.edit_spec(scopes=scopes)
    yield "edited", see_client(world), IN_PROGRESS
    await world.reconcile()
    yield "not granted", see_client(world), FAILED


async def _a_client_that_consumes_what_it_exposes() -> Cycle:
    world = clients.World()
    await world.settle()
    world.cluster.edit_spec(scopes={"consumes": [{"name": "nav:arbeid:mine"}], "exposes": [exposed("mine")]})
    await world.reconcile()
    yield "its scope made", see_client(world), IN_PROGRESS
    world.clock.advance(MADE_RECHECK_SECONDS)
    await world.reconcile()
    yield "its scope registered", see_client(world), CURRENT


CYCLES = (
    _an_application_that_is_created,
    _an_application_that_gets_a_new_image,
    _an_application_whose_rollout_fails_and_is_fixed,
    _an_application_without_quota,
    _an_application_whose_credentials_are_rotated,
    _an_application_that_is_scaled,
    _an_application_that_cant_be_used,
    _an_application_whose_client_is_refused,
    _an_application_during_an_outage,
    _an_application_beside_somebody_elses_deployment,
    _an_application_without_a_workload,
    _an_application_that_is_deleted,
    _a_client_during_outages,
    _a_client_that_consumes_what_nobody_granted,
    _a_client_that_consumes_what_it_exposes,
)
