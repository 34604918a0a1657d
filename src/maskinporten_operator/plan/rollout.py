"""How a Deployment's rollout goes: whether it is complete, under way or has failed, and what keeps pods from coming up.

A rollout is complete when the Deployment's controller says so of the newest template (`NewReplicaSetAvailable`) and no
pod of another one is left. A change of the number of pods is no rollout, for the controller neither: a scaler moves
no `Ready`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maskinporten_operator.model.conditions import AVAILABLE, READY, Reason, Verdict
from maskinporten_operator.model.resources import UNREADABLE
from maskinporten_operator.model.status_hint import read_status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from maskinporten_operator.model.conditions import Status

ROLLOUT_PATIENCE = 5.0
"""Seconds for which a rollout may go on before its pods are asked what keeps them."""
LOOK_SECONDS = 10.0
"""Between two looks at the pods of a rollout: no watch tells of them."""
NO_MESSAGE = "no reason is told"
TEMPLATE_LABEL = "pod-template-hash"
"""On pods of a Deployment: the same for those of one template."""
PULL_FAILURES = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
START_FAILURES = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PreCreateHookError"}
)
_PULL_PREFIX = re.compile(r"^Back-off pulling image \S+?: (?:ErrImagePull: )?")
_REFUSED_POD = re.compile(r'pods? "[^"]*" (?:is forbidden: )?')


@dataclass(frozen=True, slots=True)
class Rollout:
    """A Deployment, as far as its rollout is concerned.

    Attributes:
        is_complete: Whether the newest version is up in all its pods.
        is_available: Whether enough pods of any version are up.
        failure: Why the controller gave up; empty if it didn't.
        trouble: What keeps pods from coming up, as far as the Deployment or its pods tell; empty if nothing does.
        may_move: Whether the controller may still get on with it.
    """

    is_complete: bool = False
    is_available: bool = False
    failure: str = ""
    trouble: str = ""
    may_move: bool = False


@dataclass(frozen=True, slots=True)
class PodTrouble:
    """What keeps a pod from coming up; `text` is empty if nothing does that the pod tells of."""

    template: str
    created: str
    text: str


def read_rollout(deployment: Mapping[str, Any], trouble: str = "", *, was_settled: bool = False) -> Rollout:
    """Read how a Deployment's rollout goes; `trouble` is what its pods tell.

    `was_settled` says that it was complete or had failed, and that the operator has left the Deployment as it was
    since: one that the controller has yet to see was scaled then, or another rollout will be told of in a moment.
    Otherwise such a status is of the version before.
    """
    status = read_status(deployment)
    is_observed = status.fields.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    counts = is_observed or was_settled
    available, progressing = status.find_condition("Available"), status.find_condition("Progressing")
    refused = status.find_condition("ReplicaFailure")
    quoted = _describe_refusal(refused.message or "") if counts and refused and refused.status == "True" else ""
    is_newest_up = counts and progressing is not None and progressing.reason == "NewReplicaSetAvailable"
    has_failed = counts and progressing is not None and progressing.status == "False"
    fields = status.fields
    return Rollout(
        is_complete=is_newest_up and fields.get("replicas", 0) == fields.get("updatedReplicas", 0),
        is_available=available is not None and available.status == "True",
        failure=(progressing.message or NO_MESSAGE) if progressing and has_failed else "",
        trouble=quoted or trouble,
        may_move=progressing is not None and progressing.status == "True",
    )


def find_next_look(rollout: Rollout, waited: float) -> float | None:
    """Say after how many seconds the pods of a rollout that began `waited` seconds ago are to be looked at, if at all.

    Those of one that failed aren't looked at again, nor of one that is paused: an event tells when it goes on.
    """
    if rollout.failure or not rollout.may_move:
        return None
    if waited < ROLLOUT_PATIENCE:
        return ROLLOUT_PATIENCE - waited
    return None if rollout.is_complete else LOOK_SECONDS


def judge_pods(rollout: Rollout) -> Verdict:
    """Say whether enough pods are up, and if some don't come up, why."""
    status: Status = "True" if rollout.is_available else "False"
    because = f": {rollout.trouble}" if rollout.trouble else ""
    if rollout.failure:
        which = "pods of an earlier version are available" if rollout.is_available else "too few pods are available"
        message = f"The rollout failed, and {which}: {rollout.failure.rstrip('.')}{because}"
        return Verdict(AVAILABLE, status, Reason.ROLLOUT_FAILED, message)
    if rollout.trouble:
        return Verdict(AVAILABLE, status, Reason.ROLLOUT_BLOCKED, f"Pods don't come up{because}")
    if rollout.is_available:
        # True while a rollout goes on, too, as long as enough pods of either version are up.
        return Verdict(AVAILABLE, status, Reason.AVAILABLE, "Enough pods are available")
    # One message for every step of a rollout: each other one would be a write of the status.
    return Verdict(AVAILABLE, status, Reason.ROLLING_OUT, "The Deployment's pods aren't up yet")


def judge_rollout(rollout: Rollout) -> Verdict | None:
    """Give why an Application isn't ready though all is as its spec says; None if its rollout is complete."""
    pods = judge_pods(rollout)
    if rollout.failure:
        return Verdict(READY, "False", pods.reason, pods.message)
    if rollout.is_complete:
        return None
    if rollout.trouble:
        return Verdict(READY, "Unknown", pods.reason, pods.message)
    return Verdict(READY, "Unknown", Reason.ROLLING_OUT, "The rollout of this version isn't complete yet")


def read_trouble(pod: Mapping[str, Any]) -> PodTrouble:
    """Read what keeps a pod from coming up. What its containers wrote at their end isn't quoted: it may be secret."""
    metadata = pod["metadata"]
    template = (metadata.get("labels") or {}).get(TEMPLATE_LABEL, "")
    return PodTrouble(template, metadata.get("creationTimestamp") or "", _describe_trouble(pod))


def choose_trouble(pods: Iterable[PodTrouble]) -> str:
    """Give the trouble of the newest version's pods; empty if they have none."""
    found = sorted(pods, key=lambda pod: (pod.created, pod.text))
    return max((pod.text for pod in found if pod.template == found[-1].template), default="")


def _describe_trouble(pod: Mapping[str, Any]) -> str:
    if UNREADABLE in pod or pod["metadata"].get("deletionTimestamp"):
        return ""
    status = read_status(pod)
    scheduled = status.find_condition("PodScheduled")
    if scheduled and scheduled.status == "False" and scheduled.reason == "Unschedulable":
        return f"no node takes a pod (Unschedulable): {scheduled.message or ''}"
    fields = status.fields
    containers = [*(fields.get("initContainerStatuses") or ()), *(fields.get("containerStatuses") or ())]
    return next(filter(None, map(_describe_container, containers)), "")


def _describe_container(container: Mapping[str, Any]) -> str:
    waiting = (container.get("state") or {}).get("waiting") or {}
    reason, message = waiting.get("reason") or "", waiting.get("message") or ""
    if reason in PULL_FAILURES:
        # The kubelet tells two things by turns: that it failed, and that it waits before it tries again.
        return f"the image {container['image']} can't be pulled: {_PULL_PREFIX.sub('', message) or reason}"
    if reason in START_FAILURES:
        return f"the container {container['name']} can't be started ({reason}): {message}"
    ended = (container.get("lastState") or {}).get("terminated") or {}
    if ended and not container.get("ready") and container.get("restartCount", 0) > 1:
        why = ended.get("reason") or "Error"
        return f"the container {container['name']} keeps ending ({why}, exit code {ended.get('exitCode')})"
    return ""


def _describe_refusal(message: str) -> str:
    """Take the name of the pod out of what the API server said: it is another one each time."""
    return f"the API server refuses pods: {_REFUSED_POD.sub('', message, count=1)}"
