"""What keeps pods from coming up, in the words of the Deployment and of its pods."""

import pytest

from maskinporten_operator.plan.rollout import (
    LOOK_SECONDS,
    ROLLOUT_PATIENCE,
    choose_trouble,
    find_next_look,
    judge_pods,
    judge_rollout,
    read_rollout,
    read_trouble,
)
from tests.children import set_rollout

DEPLOYMENT = {"metadata": {"generation": 2}, "spec": {"replicas": 2}}


def pod(created="2026-01-01T00:00:00Z", template="new", going=None, **status):
    metadata = {"name": "app-1", "creationTimestamp": created, "labels": {"pod-template-hash": template}}
    return {"metadata": metadata | {"deletionTimestamp": going}, "status": status}


def container(state=None, last=None, *, restarts=0, ready=False):
    one = {"name": "app", "image": "example/app:1", "ready": ready, "restartCount": restarts}
    return [one | {"state": state or {"running": {}}, "lastState": last or {}}]


def waiting(reason, message=""):
    return container({"waiting": {"reason": reason, "message": message}})


ENDED = {"terminated": {"reason": "Error", "exitCode": 3, "message": "the password is hunter2"}}
BACK_OFF = 'Back-off pulling image "example/app:1": ErrImagePull: manifest unknown'
TROUBLES = {
    "pulled": (pod(containerStatuses=waiting("ErrImagePull", "manifest unknown")), "can't be pulled: manifest unknown"),
    "pull awaited": (pod(containerStatuses=waiting("ImagePullBackOff", BACK_OFF)), "can't be pulled: manifest unknown"),
    "no words": (pod(containerStatuses=waiting("InvalidImageName")), "example/app:1 can't be pulled: InvalidImageName"),
    "no Secret": (
        pod(containerStatuses=waiting("CreateContainerConfigError", 'secret "x" not found')),
        "the container app can't be started (CreateContainerConfigError): secret \"x\" not found",
    ),
    "crashes": (pod(containerStatuses=container(last=ENDED, restarts=2)), "app keeps ending (Error, exit code 3)"),
    "of the beginning": (pod(initContainerStatuses=waiting("ErrImagePull", "no")), "can't be pulled: no"),
    "no node": (
        pod(conditions=[
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}
        ]),
        "no node takes a pod (Unschedulable): 0/3 nodes are available",
    ),
}  # fmt: skip
FINE = {
    "new": pod(),
    "running": pod(containerStatuses=container()),
    "started again and up": pod(containerStatuses=container(last=ENDED, restarts=9, ready=True)),
    "started again once": pod(containerStatuses=container(last=ENDED, restarts=1)),
    "on its way out": pod(going="2026-01-01T00:00:00Z", containerStatuses=waiting("ErrImagePull", "no")),
    "unreadable": pod(containerStatuses=waiting("ErrImagePull", "no")) | {"unreadable": "it is too large"},
}


@pytest.mark.parametrize(("body", "words"), TROUBLES.values(), ids=TROUBLES)
def test_a_pod_that_doesnt_come_up_says_why(body, words):
    assert read_trouble(body).text.endswith(words)


@pytest.mark.parametrize("body", FINE.values(), ids=FINE)
def test_of_a_pod_that_comes_up_or_goes_there_is_nothing_to_say(body):
    assert read_trouble(body).text == ""


def test_what_a_container_wrote_at_its_end_is_never_quoted():
    assert "hunter2" not in read_trouble(TROUBLES["crashes"][0]).text


def test_pods_of_an_earlier_version_say_nothing_of_the_newest():
    old = pod("2026-01-01T00:00:00Z", "old", containerStatuses=waiting("ErrImagePull", "old"))
    new = pod("2026-01-02T00:00:00Z", "new")

    assert choose_trouble([read_trouble(new), read_trouble(old)]) == ""
    assert "old" in choose_trouble([read_trouble(old)])
    assert choose_trouble([]) == ""


def test_a_quota_is_quoted_at_once_and_alike_for_each_pod_that_it_refuses():
    quota = "exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0"
    tries = [f'pods "app-5d4f-{name}" is forbidden: {quota}' for name in ("x7k2p", "abcde")]

    said = {judge_pods(read_rollout(set_rollout(DEPLOYMENT, available=False, refusal=one))).message for one in tries}

    assert said == {f"Pods don't come up: the API server refuses pods: {quota}"}


def test_a_rollout_that_failed_says_why_and_which_pods_are_left():
    failed = set_rollout(DEPLOYMENT, old=1, progressing="ProgressDeadlineExceeded", message="timed out.")

    verdict = judge_rollout(read_rollout(failed, "it crashes"))

    assert (verdict.type, verdict.status, verdict.reason) == ("Ready", "False", "RolloutFailed")
    assert verdict.message == "The rollout failed, and pods of an earlier version are available: timed out: it crashes"


def test_what_the_controller_said_of_the_version_before_counts_only_while_nobody_rolls_out_another():
    for how in ({"progressing": "NewReplicaSetAvailable"}, {"progressing": "ProgressDeadlineExceeded"}):
        seen = set_rollout(DEPLOYMENT, **how)
        unseen = {**seen, "metadata": {"generation": 3}}

        assert judge_rollout(read_rollout(unseen)).reason == "RollingOut"
        assert judge_rollout(read_rollout(unseen, was_settled=True)) == judge_rollout(read_rollout(seen))


def test_the_pods_of_a_rollout_are_looked_at_after_a_while_and_again_until_it_ends():
    under_way = read_rollout(set_rollout(DEPLOYMENT))

    assert find_next_look(under_way, 1.0) == ROLLOUT_PATIENCE - 1.0
    assert find_next_look(under_way, ROLLOUT_PATIENCE) == LOOK_SECONDS
    assert find_next_look(read_rollout(set_rollout(DEPLOYMENT, progressing="ProgressDeadlineExceeded")), 99.0) is None
    assert find_next_look(read_rollout(DEPLOYMENT), 99.0) is None
