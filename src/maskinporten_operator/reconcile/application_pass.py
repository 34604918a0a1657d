"""One pass over one Application."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.application import parse_application
from maskinporten_operator.model.blockers import Blocker, rejected
from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import (
    ConflictError,
    RejectedError,
    TransientError,
    WaitingError,
)
from maskinporten_operator.model.resources import (
    DEPLOYMENT,
    INGRESS,
    MASKINPORTEN_CLIENT,
    NETWORK_POLICY,
    POD_MONITOR,
    WORKLOAD_KINDS,
    InvalidSpec,
)
from maskinporten_operator.model.status_hint import read_status
from maskinporten_operator.plan.application_plan import (
    AdoptChild,
    ApplicationPlan,
    ApplicationSnapshot,
    ApplyChild,
    DeleteChild,
    SetReplicas,
    Workload,
    gives_way,
    judge,
    judge_client,
    plan_adoptions,
    plan_application,
)
from maskinporten_operator.plan.children import (
    ChildName,
    build_children,
    check_child_owner,
    check_origin,
    find_mutation,
)
from maskinporten_operator.plan.egress import FQDN_KINDS, POLICY_KINDS
from maskinporten_operator.plan.inbound import build_inbound_name
from maskinporten_operator.plan.outcomes import DONE, Outcome, not_ready, not_selected
from maskinporten_operator.plan.owner_references import is_owned_by
from maskinporten_operator.plan.rollout import ROLLOUT_PATIENCE, choose_trouble, find_next_look, read_rollout
from maskinporten_operator.plan.workload import build_replicas
from maskinporten_operator.reconcile.attempt import conclude
from maskinporten_operator.reconcile.namespace_state import find_namespace_state
from maskinporten_operator.reconcile.progress import ApplicationProgress
from maskinporten_operator.reconcile.vanished import check_still_wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from maskinporten_operator.model.application import Application, ApplicationSpec
    from maskinporten_operator.model.resources import Kind, ObjectMeta
    from maskinporten_operator.plan.application_plan import ApplicationStep
    from maskinporten_operator.reconcile.memory import Memory
    from maskinporten_operator.reconcile.ports import Cluster, Ports

Objects = dict[ChildName, "Mapping[str, Any] | None"]


async def reconcile_application(body: Mapping[str, Any], ports: Ports) -> Outcome:
    """Run one pass over an Application. Raises nothing but cancellation."""
    progress = ApplicationProgress(parse_application(body))
    return await conclude(_attempt(progress, ports), progress, ports)


async def _attempt(progress: ApplicationProgress, ports: Ports) -> Outcome:
    application = progress.resource
    namespace = await find_namespace_state(application.meta.namespace, ports.known.namespaces, ports.cluster)
    if application.meta.deleting or namespace.is_ending:
        return DONE  # the garbage collector takes the children
    if not namespace.is_selected:
        return not_selected()
    if isinstance(application.spec, InvalidSpec):
        return not_ready(rejected(Reason.INVALID_SPEC, application.spec.message))

    is_new = not application.status.conditions and ports.memory.record_visit(application.meta.uid)
    seen = await _observe(application, application.spec, ports, is_new=is_new)
    seen, refusal = await _adopt(seen, progress, ports)
    plan = plan_application(seen, ports.platform)
    progress.impaired = any(isinstance(step, ApplyChild) and step.uid is None for step in plan.steps)
    if progress.impaired and not is_new:
        await check_still_wanted(application.meta, ports.cluster)
    written: Objects = {}
    error = await _execute(plan, seen, written, progress, ports.cluster)
    _record_mutations(plan, written, application.meta.uid, ports.memory)
    return await _judge(seen, written, refusal or error or plan.blocker, progress, ports)


async def _observe(
    application: Application, spec: ApplicationSpec, ports: Ports, *, is_new: bool
) -> ApplicationSnapshot:
    """Read the children that there should be, and those that the watches know of.

    In its first pass a new Application has no children: they are created, and a precondition fails if one exists.
    """
    meta = application.meta
    client = ports.known.children.find_client(meta.namespace, meta.name)
    if client is None and not is_new and spec.maskinporten.enabled:
        # After a start the watch may not have told of it yet.
        client = await ports.cluster.find(MASKINPORTEN_CLIENT, meta.namespace, meta.name)
    seen = ApplicationSnapshot(application, spec, client, {})
    desired = build_children(meta, spec, ports.platform, seen.credentials)
    children: Objects = {ChildName(MASKINPORTEN_CLIENT, meta.name): client} if client else {}
    wanted = [child for child in desired if child.kind != MASKINPORTEN_CLIENT and not is_new]
    wanted += [ChildName(INGRESS, name) for name in ports.known.children.find_owned(INGRESS, meta)]
    wanted += [
        child
        for child in _possible_children(meta)
        if ports.known.children.contains(child.kind, meta.namespace, child.name)
    ]
    if any(child.is_egress and child not in desired for child in wanted):
        # Its companion may not have been told of yet, and alone it would isolate the pods.
        wanted += [
            ChildName(kind, _build_policy_name(meta, kind)) for kind in (ports.platform.fqdn_kind, NETWORK_POLICY)
        ]
    wanted = list(dict.fromkeys(wanted))
    bodies = await asyncio.gather(*(ports.cluster.find(child.kind, meta.namespace, child.name) for child in wanted))
    there = children | dict(zip(wanted, bodies, strict=True))
    return ApplicationSnapshot(application, spec, client, there, ports.memory.mutations(meta.uid))


async def _adopt(
    seen: ApplicationSnapshot, progress: ApplicationProgress, ports: Ports
) -> tuple[ApplicationSnapshot, Blocker | None]:
    """Take back the children that lost their owner, and give what is there then, and the first refusal."""
    steps = plan_adoptions(seen, ports.platform)
    if not steps:
        return seen, None
    await check_still_wanted(seen.application.meta, ports.cluster)
    written: Objects = {}
    refusal = await _execute(ApplicationPlan(steps, None), seen, written, progress, ports.cluster)
    client = written.get(ChildName(MASKINPORTEN_CLIENT, seen.application.meta.name)) or seen.client
    return replace(seen, client=client, children={**seen.children, **written}), refusal


def _possible_children(meta: ObjectMeta) -> Iterable[ChildName]:
    for kind in (*WORKLOAD_KINDS, POD_MONITOR, *POLICY_KINDS):
        yield ChildName(kind, _build_policy_name(meta, kind))
    yield ChildName(NETWORK_POLICY, build_inbound_name(meta.name))


def _build_policy_name(meta: ObjectMeta, kind: Kind) -> str:
    return f"{meta.name}-fqdn" if kind in FQDN_KINDS else meta.name


async def _execute(
    plan: ApplicationPlan, seen: ApplicationSnapshot, written: Objects, progress: ApplicationProgress, cluster: Cluster
) -> Blocker | None:
    """Carry out the plan; a child that is refused doesn't keep the others from being applied."""
    refusal: Blocker | None = None
    refused: set[ChildName] = set()
    for step in plan.steps:
        if (isinstance(step, DeleteChild) or (isinstance(step, ApplyChild) and step.closes)) and (
            refusal or plan.blocker
        ):
            continue  # what was to replace it isn't there
        if isinstance(step, ApplyChild) and step.needs_any(refused):
            continue
        try:
            blocker = await _carry_out(step, seen, written, progress, cluster)
        except (RejectedError, WaitingError, TransientError) as error:
            blocker = error.blocker
        if blocker and not (isinstance(step, ApplyChild) and gives_way(step.child, blocker)):
            refusal = refusal or _name_child(blocker, step)
            if blocker.kind == "Transient":
                break  # an outage hits them all, and each would be waited for
            if isinstance(step, ApplyChild):
                refused.add(step.child)
                if step.child.is_egress:
                    await _take_back_bridge(plan, seen, written, cluster)
    return refusal


def _record_mutations(plan: ApplicationPlan, written: Objects, uid: str, memory: Memory) -> None:
    """Remember what admission made of what was applied, so that the next pass doesn't take it for a change."""
    for step in plan.steps:
        if isinstance(step, ApplyChild) and (answer := written.get(step.child)):
            memory.record_mutation(uid, step.child, find_mutation(step.manifest, answer))


async def _take_back_bridge(
    plan: ApplicationPlan, seen: ApplicationSnapshot, written: Objects, cluster: Cluster
) -> None:
    """Delete the policy that was made for the time of a change which is refused: there was none before."""
    for step in plan.steps:
        if isinstance(step, ApplyChild) and step.bridges and not step.uid and (made := written.pop(step.child, None)):
            await cluster.delete(
                step.child.kind, seen.application.meta.namespace, step.child.name, made["metadata"]["uid"]
            )


async def _carry_out(
    step: ApplicationStep, seen: ApplicationSnapshot, written: Objects, progress: ApplicationProgress, cluster: Cluster
) -> Blocker | None:
    meta = seen.application.meta
    match step:
        case ApplyChild(child):
            before = written.get(child)
            applied = await _apply(replace(step, uid=before["metadata"]["uid"]) if before else step, meta, cluster)
            if isinstance(applied, Blocker):
                return applied
            written[child] = applied
            progress.note(f"applied {child} ({step.reason})")
        case AdoptChild(child, body):
            written[child] = await cluster.adopt(child.kind, body, meta)
            progress.note(f"took back {child}, which had lost its owner")
        case SetReplicas(asked, count):
            name = ChildName(DEPLOYMENT, meta.name)
            if deployment := written.get(name) or seen.children.get(name):  # else it was refused just now
                manifest = build_replicas(meta, asked, count, deployment)
                written[name] = await cluster.apply_replicas(manifest)
                progress.note(f"set {count} replicas")
        case DeleteChild(child, uid):
            made = written.get(child)
            if known := uid or (made and made["metadata"]["uid"]):
                await cluster.delete(child.kind, meta.namespace, child.name, known)
                progress.note(f"deleted {child}")
    return None


async def _apply(step: ApplyChild, meta: ObjectMeta, cluster: Cluster) -> Mapping[str, Any] | Blocker:
    try:
        return await cluster.apply(step.child.kind, step.manifest, step.uid)
    except ConflictError:
        # There is one that nobody looked for, since it doesn't carry our label.
        found = await cluster.find(step.child.kind, meta.namespace, step.child.name)
        if found is None or step.uid:
            raise
        if not check_origin(found, meta, step.manifest):
            raise  # the watch didn't tell of it yet: the next pass takes it back
        if blocker := check_child_owner(step.child, found, meta, step.manifest):
            return blocker
        return await cluster.apply(step.child.kind, step.manifest, found["metadata"]["uid"])


def _name_child(blocker: Blocker, step: ApplicationStep) -> Blocker:
    """Give a blocker whose message says of which child it is."""
    what = "The number of replicas" if isinstance(step, SetReplicas) else str(step.child)
    return blocker if blocker.message.startswith(what) else replace(blocker, message=f"{what}: {blocker.message}")


async def _judge(
    seen: ApplicationSnapshot,
    written: Objects,
    error: Blocker | None,
    progress: ApplicationProgress,
    ports: Ports,
) -> Outcome:
    meta = seen.application.meta
    client = ports.known.children.find_client(meta.namespace, meta.name) or seen.client  # it may have got on meanwhile
    now_seen = ApplicationSnapshot(seen.application, seen.spec, client, {**seen.children, **written})
    if now_seen.credentials != seen.credentials:
        # Too late for what was planned: its change brings the next pass, and until then nothing is ready.
        now_seen = replace(now_seen, client=written.get(ChildName(MASKINPORTEN_CLIENT, meta.name)) or seen.client)
    client_status = read_status((now_seen.own_client or {}) if seen.spec.maskinporten.enabled else {})
    progress.client_id = client_status.client_id or ""
    verdict = judge_client(now_seen)
    if verdict and verdict.reason == Reason.AWAITING_CLIENT:
        waited = ports.memory.count_waiting(meta.uid, ports.clock.monotonic())
    else:
        ports.memory.record_answer(meta.uid)
        waited = 0.0
    workload = await _look_at_workload(now_seen, written, ports)
    return judge(now_seen, ports.platform, workload, error, waited)


async def _look_at_workload(seen: ApplicationSnapshot, written: Objects, ports: Ports) -> Workload:
    """See how the rollout goes; of one that takes a while the pods are asked why."""
    meta = seen.application.meta
    name = ChildName(DEPLOYMENT, meta.name)
    deployment = seen.children.get(name)
    if deployment is None or not is_owned_by(deployment, meta):
        return Workload()
    was_settled = seen.was_settled and name not in written
    rollout = read_rollout(deployment, was_settled=was_settled)
    if rollout.is_complete and rollout.is_available:
        ports.memory.record_rollout(meta.uid)
        return Workload(rollout)
    waited = ports.memory.count_rolling_out(meta.uid, ports.clock.monotonic())
    if waited >= ROLLOUT_PATIENCE or rollout.failure:
        trouble = choose_trouble(await ports.cluster.find_troubles(meta.namespace, meta.name))
        rollout = read_rollout(deployment, trouble, was_settled=was_settled)
    return Workload(rollout, find_next_look(rollout, waited))
