"""The plan for one Application: which children to apply and prune, and what its conditions say."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.blockers import Blocker, rejected
from maskinporten_operator.model.conditions import (
    ALL_FIELDS_SUPPORTED,
    AVAILABLE,
    MASKINPORTEN_READY,
    READY,
    SYNCHRONIZED,
    Reason,
    Verdict,
)
from maskinporten_operator.model.resources import (
    DEPLOYMENT,
    EXPOSURE_KINDS,
    HORIZONTAL_POD_AUTOSCALER,
    INGRESS,
    MASKINPORTEN_CLIENT,
    NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    POD_MONITOR,
    SERVICE,
    SERVICE_ACCOUNT,
    WORKLOAD_KINDS,
)
from maskinporten_operator.model.status_hint import read_status
from maskinporten_operator.plan.application_metadata import find_unused_metadata
from maskinporten_operator.plan.children import (
    ChildName,
    Credentials,
    build_bridge,
    build_children,
    build_inbound_bridge,
    build_secret_name,
    check_child,
    check_child_owner,
    check_origin,
)
from maskinporten_operator.plan.container import find_unused_hooks
from maskinporten_operator.plan.egress import POLICY_KINDS, find_unexpressed
from maskinporten_operator.plan.egress_change import find_bridge
from maskinporten_operator.plan.exposed_scopes import judge_repeated
from maskinporten_operator.plan.inbound import build_inbound_name, find_unguarded
from maskinporten_operator.plan.ingress import find_unrouted, has_ingress
from maskinporten_operator.plan.mounts import find_unmounted
from maskinporten_operator.plan.outcomes import Outcome, Retry, not_ready
from maskinporten_operator.plan.owner_references import is_adoptable, is_owned_by
from maskinporten_operator.plan.rollout import Rollout, judge_pods, judge_rollout
from maskinporten_operator.plan.scaling import find_new_count, find_unscaled
from maskinporten_operator.plan.scraping import find_unscraped

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from maskinporten_operator.model.application import Application, ApplicationSpec
    from maskinporten_operator.plan.platform import Platform

PATIENCE = 3.0
"""Seconds for which a client that has yet to say how it is isn't reported on: mostly it is ready sooner."""
MAX_FIELDS = 12
MAX_PATH_LENGTH = 80


@dataclass(frozen=True, slots=True)
class ApplicationSnapshot:
    """Everything that the decision needs.

    Attributes:
        client: The MaskinportenClient of its name in its newest version, whoever owns it.
        children: What is there of the children that it should have, or that are known to exist; None for absent.
        mutated: What admission made of children that were applied, where it isn't what was sent.
    """

    application: Application
    spec: ApplicationSpec
    client: Mapping[str, Any] | None
    children: Mapping[ChildName, Mapping[str, Any] | None]
    mutated: Mapping[ChildName, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def own_client(self) -> Mapping[str, Any] | None:
        """The MaskinportenClient, if it is this Application's and not on its way out."""
        client = self.client
        if client is None or not is_owned_by(client, self.application.meta):
            return None
        return None if client["metadata"].get("deletionTimestamp") else client

    @property
    def lacks_credentials(self) -> bool:
        """Whether it uses Maskinporten, and its Secret has never existed."""
        return self.spec.maskinporten.enabled and not self.credentials

    @property
    def was_settled(self) -> bool:
        """Whether the rollout of the Application's present generation was said to be complete, or to have failed."""
        ready = self.application.status.find_condition(READY)
        if ready is None or not ready.is_of(self.application.meta.generation):
            return False
        return ready.status == "True" or ready.reason == Reason.ROLLOUT_FAILED

    @property
    def credentials(self) -> Credentials | None:
        """What is known of the Secret, once it has existed."""
        status = read_status(self.own_client or {})
        name = build_secret_name(self.application.meta.name)
        return Credentials(name, status.fingerprint) if status.secret_name == name else None


@dataclass(frozen=True, slots=True)
class Workload:
    """How the pods are when a pass ends.

    Attributes:
        next_look: After how many seconds the pods are to be looked at again, which no watch tells of; None if not.
    """

    rollout: Rollout = field(default_factory=Rollout)
    next_look: float | None = None


@dataclass(frozen=True, slots=True)
class ApplyChild:
    """Apply a child; `uid` is that of the one that is there.

    Attributes:
        bridges: Only until other policies have changed.
        closes: Only when everything before it is done, like a deletion.
    """

    child: ChildName
    manifest: Mapping[str, Any]
    uid: str | None
    reason: str
    bridges: bool = False
    closes: bool = False

    def needs_any(self, refused: Collection[ChildName]) -> bool:
        """Whether it must wait for something that was refused.

        There are no new pods without their policies, no policy closes what one before it was to open, and nothing acts
        on a Deployment or leads to a Service that isn't the Application's.
        """
        if self.child.kind == INGRESS:
            return any(one.kind == SERVICE for one in refused)
        if self.child.kind in {HORIZONTAL_POD_AUTOSCALER, POD_DISRUPTION_BUDGET}:
            return any(one.kind == DEPLOYMENT for one in refused)
        if self.child.kind == DEPLOYMENT and self.uid is None:
            return any(one.kind in POLICY_KINDS for one in refused)
        return self.child.is_egress and any(one.is_egress for one in refused)


@dataclass(frozen=True, slots=True)
class AdoptChild:
    """Become the owner of a child that was read, which has none and proved to be the Application's."""

    child: ChildName
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SetReplicas:
    """Set the number of pods: at the Deployment's creation, and when the spec's minimum, `asked`, changes."""

    asked: int
    count: int


@dataclass(frozen=True, slots=True)
class DeleteChild:
    """Delete a child that we own and no longer want; `uid` is None for one that the plan itself makes."""

    child: ChildName
    uid: str | None


ApplicationStep = AdoptChild | ApplyChild | SetReplicas | DeleteChild


@dataclass(frozen=True, slots=True)
class ApplicationPlan:
    """Steps in order; `blocker` is the first child that can't be applied, if any."""

    steps: tuple[ApplicationStep, ...]
    blocker: Blocker | None


def plan_adoptions(seen: ApplicationSnapshot, platform: Platform) -> tuple[AdoptChild, ...]:
    """Decide which children to take back before all else is planned, which depends on whose the client is.

    A Deployment is taken back whether or not there are credentials yet.
    """
    meta = seen.application.meta
    lost = {child: one for child, one in seen.children.items() if one and is_adoptable(one, meta)}
    if not lost:
        return ()
    credentials = Credentials(build_secret_name(meta.name), fingerprint=None)
    desired = build_children(meta, seen.spec, platform, credentials)
    return tuple(
        AdoptChild(child, one) for child, one in lost.items() if not check_origin(one, meta, desired.get(child))
    )


def plan_application(seen: ApplicationSnapshot, platform: Platform) -> ApplicationPlan:
    """Decide which children to apply, and which to delete when the others are in place."""
    meta = seen.application.meta
    desired = build_children(meta, seen.spec, platform, seen.credentials)
    steps: list[ApplicationStep] = []
    blockers: list[Blocker] = []
    blocked: set[ChildName] = set()
    for child, manifest in desired.items():
        observed = seen.children.get(child)
        if observed and (blocker := check_child_owner(child, observed, meta, manifest)):
            if not gives_way(child, blocker):
                blockers.append(blocker)
            blocked.add(child)
            continue
        if reason := check_child(manifest, observed, seen.mutated.get(child)):
            steps.append(ApplyChild(child, manifest, observed["metadata"]["uid"] if observed else None, reason))
        if child.kind == DEPLOYMENT and (step := _plan_replicas(seen, platform, observed)):
            steps.append(step)
    steps += [
        DeleteChild(child, observed["metadata"]["uid"])
        for child, observed in sorted(seen.children.items(), key=_find_turn)
        if observed and child not in desired and _is_pruned(child, observed, seen, platform)
    ]
    steps = [one for one in steps if not (isinstance(one, ApplyChild) and one.needs_any(blocked))]
    if not any(one.is_egress for one in blocked):
        steps = _bridge(steps, desired, seen, platform)
    steps = _keep_callers(steps, desired, seen, platform)
    # A refusal tells more than a wait, and asks somebody to act.
    blocker = next((one for one in blockers if one.kind == "Rejected"), blockers[0] if blockers else None)
    return ApplicationPlan(tuple(steps), blocker)


def gives_way(child: ChildName, blocker: Blocker) -> bool:
    """Whether somebody else's object does as well: no field of the spec asks for one of our own."""
    is_replaceable = child.kind in {POD_DISRUPTION_BUDGET, POD_MONITOR, SERVICE_ACCOUNT}
    return is_replaceable and blocker.reason == Reason.CHILD_CONFLICT


def judge(
    seen: ApplicationSnapshot,
    platform: Platform,
    workload: Workload,
    error: Blocker | None,
    waited: float,
) -> Outcome:
    """Say how a pass ended, that left the workload as it is and failed with `error` if it did.

    `waited` is how many seconds the client has not said how it is; within `PATIENCE` nothing is reported.
    """
    error = error or check_webproxy(seen.spec, platform)
    client_verdict = judge_client(seen)
    is_waiting = client_verdict is not None and client_verdict.reason == Reason.AWAITING_CLIENT
    if is_waiting and not error and waited < PATIENCE:
        return Outcome((), Retry(PATIENCE - waited, failed=False), logging.INFO, silent="Waiting")
    verdicts = (
        client_verdict,
        judge_repeated_scopes(seen.spec),
        judge_workload(seen, platform, workload.rollout),
        judge_fields(seen, platform),
    )
    notices = tuple(verdict for verdict in verdicts if verdict)
    if error:
        return not_ready(error, notices)
    if client_verdict and client_verdict.status != "True":
        message = f"The MaskinportenClient isn't ready: {client_verdict.message}"
        ready = Verdict(READY, client_verdict.status, client_verdict.reason, message)
        return Outcome((ready, *notices), None, logging.INFO)
    synchronized = Verdict(SYNCHRONIZED, "True", Reason.SYNCHRONIZED, "Everything is as the spec says")
    ready = _judge_rollout(seen, platform, workload) or replace(synchronized, type=READY)
    retry = Retry(workload.next_look, failed=False) if workload.next_look else None
    return Outcome((ready, synchronized, *notices), retry, logging.INFO)


def check_webproxy(spec: ApplicationSpec, platform: Platform) -> Blocker | None:
    """On premises there is no way to Maskinporten but the proxy."""
    if platform.name != "onprem" or not spec.maskinporten.enabled or spec.webproxy:
        return None
    return rejected(
        Reason.WEBPROXY_REQUIRED, "Maskinporten is reached through the web proxy here: set spec.webproxy to true"
    )


def judge_client(seen: ApplicationSnapshot) -> Verdict | None:
    """Mirror what the MaskinportenClient says of its newest generation; None if there is none to be."""
    if not seen.spec.maskinporten.enabled:
        return None
    client = seen.own_client
    ready = read_status(client or {}).find_condition(READY)
    if client is None or ready is None or not ready.is_of(client["metadata"].get("generation")):
        message = "The MaskinportenClient has yet to say how it is"
        return Verdict(MASKINPORTEN_READY, "Unknown", Reason.AWAITING_CLIENT, message)
    return Verdict(MASKINPORTEN_READY, ready.status, ready.reason or Reason.AWAITING_CLIENT, ready.message or "")


def judge_repeated_scopes(spec: ApplicationSpec) -> Verdict | None:
    """Name the scopes that are written more than once, where they count."""
    return judge_repeated(spec.maskinporten.scopes) if spec.maskinporten.enabled else None


def judge_workload(seen: ApplicationSnapshot, platform: Platform, rollout: Rollout) -> Verdict:
    """Say whether the workload is up."""
    if not platform.workloads:
        message = "Workloads aren't made by this operator here: see to a Deployment with the label app yourself"
        return Verdict(AVAILABLE, "Unknown", Reason.WORKLOAD_ELSEWHERE, message)
    if not seen.spec.image:
        return Verdict(AVAILABLE, "False", Reason.NO_IMAGE, "spec.image isn't set, so there is no workload")
    if seen.lacks_credentials:
        message = "The Deployment is made when its Secret is there"
        return Verdict(AVAILABLE, "False", Reason.WAITING_FOR_CREDENTIALS, message)
    return judge_pods(rollout)


def _judge_rollout(seen: ApplicationSnapshot, platform: Platform, workload: Workload) -> Verdict | None:
    """Give why an Application isn't ready whose children are as its spec says; None if it is, or has no workload."""
    available = judge_workload(seen, platform, workload.rollout)
    if available.reason == Reason.WAITING_FOR_CREDENTIALS:
        return replace(available, type=READY, status="Unknown")
    if available.reason in {Reason.WORKLOAD_ELSEWHERE, Reason.NO_IMAGE}:
        return None
    return judge_rollout(workload.rollout)


def judge_fields(seen: ApplicationSnapshot, platform: Platform) -> Verdict:
    """Name the fields that were set and aren't acted on."""
    fields = find_unsupported(seen, platform)
    if not fields:
        return Verdict(ALL_FIELDS_SUPPORTED, "True", Reason.SYNCHRONIZED, "Every field that is set is acted on")
    shown = ", ".join(_cut_path(one) for one in fields[:MAX_FIELDS])
    if len(fields) > MAX_FIELDS:
        shown += f" and {len(fields) - MAX_FIELDS} more"
    message = f"Set, but not acted on here: {shown}"
    return Verdict(ALL_FIELDS_SUPPORTED, "False", Reason.FIELDS_NOT_SUPPORTED, message)


def find_unsupported(seen: ApplicationSnapshot, platform: Platform) -> list[str]:
    """Find the paths of fields that are set and have no effect."""
    spec = seen.spec
    is_routed = has_ingress(spec, platform)
    found = [*seen.application.unread, *find_unused_metadata(seen.application.meta, has_ingress=is_routed)]
    if spec.gcp is not None:
        found.append("spec.gcp")
    if spec.webproxy and not platform.uses_webproxy(wanted=True):
        why = "hosts are opened instead on gcp" if platform.name == "gcp" else "no proxy is configured"
        found.append(f"spec.webproxy ({why})")
    found += [
        f"spec.envFrom[{number}] (neither configmap nor secret)"
        for number, one in enumerate(spec.env_from)
        if not (one.configmap or one.secret or any(path.startswith(f"spec.envFrom[{number}].") for path in found))
    ]
    found += [*find_unmounted(spec), *find_unused_hooks(spec), *find_unscaled(spec, platform), *find_unscraped(spec)]
    if spec.strategy.type == "Recreate" and spec.strategy.rolling_update:
        found.append("spec.strategy.rollingUpdate (the type is Recreate)")
    last = {one.name: number for number, one in enumerate(spec.env)}
    found += [
        f"spec.env[{number}] (a later one has the same name)"
        for number, one in enumerate(spec.env)
        if number != last[one.name]
    ]
    return found + find_unrouted(spec, platform) + find_unguarded(spec, platform) + find_unexpressed(spec, platform)


def _bridge(
    steps: list[ApplicationStep],
    desired: Mapping[ChildName, Mapping[str, Any]],
    seen: ApplicationSnapshot,
    platform: Platform,
) -> list[ApplicationStep]:
    """Begin with a NetworkPolicy that opens what is open before and after, if the policies change by several writes."""
    meta = seen.application.meta
    if platform.workloads and not seen.children.get(ChildName(DEPLOYMENT, meta.name)):
        return steps  # there are no pods
    there = {child: one for child, one in seen.children.items() if one and is_owned_by(one, meta)}
    before = {child.kind: one for child, one in there.items() if child.is_egress}
    after = {child.kind: one for child, one in desired.items() if child.is_egress}
    changed = {one.child.kind for one in steps if isinstance(one, ApplyChild | DeleteChild) and one.child.is_egress}
    rules = find_bridge(before, after, changed)
    if rules is None:
        return steps
    child, manifest = ChildName(NETWORK_POLICY, meta.name), build_bridge(meta, rules)
    observed = seen.children.get(child)
    if (observed and not is_owned_by(observed, meta)) or not check_child(manifest, observed):
        return steps
    reason = "until the other policies have changed"
    begin = ApplyChild(child, manifest, observed["metadata"]["uid"] if observed else None, reason, bridges=True)
    return [begin, *steps] if after or observed else [begin, *steps, DeleteChild(child, None)]


def _keep_callers(
    steps: list[ApplicationStep],
    desired: Mapping[ChildName, Mapping[str, Any]],
    seen: ApplicationSnapshot,
    platform: Platform,
) -> list[ApplicationStep]:
    """Let in the controllers of Ingresses that go until these are gone: what takes their place may be refused."""
    meta = seen.application.meta
    child = ChildName(NETWORK_POLICY, build_inbound_name(meta.name))
    going = [one.child for one in steps if isinstance(one, DeleteChild) and one.child.kind == INGRESS]
    observed = seen.children.get(child)
    if not going or child not in desired or (observed and not is_owned_by(observed, meta)):
        return steps
    classes = {(seen.children[one] or {})["spec"].get("ingressClassName", "") for one in going}
    wide = build_inbound_bridge(meta, seen.spec, platform, classes)
    if wide == desired[child]:
        return steps
    uid = observed["metadata"]["uid"] if observed else None
    reason = "until Ingresses that aren't wanted any more are gone"
    first = [ApplyChild(child, wide, uid, reason)] if check_child(wide, observed) else []
    others = [one for one in steps if not (isinstance(one, ApplyChild) and one.child == child)]
    return [*first, *others, ApplyChild(child, desired[child], uid, "these Ingresses are gone", closes=True)]


def _cut_path(field: str) -> str:
    """Cut a path that a user made long, and leave the reason beside it whole."""
    path, parenthesis, reason = field.partition(" (")
    return path[:MAX_PATH_LENGTH] + parenthesis + reason


def _plan_replicas(
    seen: ApplicationSnapshot, platform: Platform, deployment: Mapping[str, Any] | None
) -> SetReplicas | None:
    """Set the number of pods if the spec asks for another, or for as many as there were before its autoscaler."""
    asked = seen.spec.replicas.min
    count = find_new_count(seen.spec, platform, deployment)
    autoscaler = seen.children.get(ChildName(HORIZONTAL_POD_AUTOSCALER, seen.application.meta.name))
    if count is None and autoscaler and seen.spec.replicas.max == asked:
        count = asked
    return None if count is None else SetReplicas(asked, count)


def _find_turn(item: tuple[ChildName, object]) -> int:
    """Find a child's turn to be deleted: policies in their order, after everything else."""
    kind = item[0].kind
    return POLICY_KINDS.index(kind) if kind in POLICY_KINDS else -1


def _is_pruned(child: ChildName, observed: Mapping[str, Any], seen: ApplicationSnapshot, platform: Platform) -> bool:
    """Whether a child that the spec doesn't ask for is ours to delete.

    Workloads stay when the configuration leaves them to somebody else, and while credentials are waited for.
    """
    if observed["metadata"].get("deletionTimestamp") or not is_owned_by(observed, seen.application.meta):
        return False
    if child.kind == MASKINPORTEN_CLIENT:
        return not seen.spec.maskinporten.enabled
    if child.kind in EXPOSURE_KINDS:
        return platform.workloads
    if child.kind in WORKLOAD_KINDS:
        return platform.workloads and not (seen.spec.image and seen.lacks_credentials)
    return True
