"""What happens to pods, and what a cluster admin does to them, while resources are made: nothing is lost or doubled."""

import os
import signal
import threading
import time

import pytest

from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT
from tests.node.trial import PATIENCE, PROGRAM, measured
from tools.cluster import ControlPlaneError
from tools.kube import credentials, wait_for
from tools.stack import NAMESPACE, RELEASE

BEFORE = ("before-0", "before-1", "before-2")
SECONDS_FROZEN = 30


@pytest.fixture
def namespace(trial, request):
    """A namespace of the test's own, in which some resources are Ready."""
    name = request.node.name.removeprefix("test_").split("[")[0].replace("_", "-")[:50].strip("-")
    trial.kube.create_namespace(name)
    trial.create_clients(name, BEFORE)
    trial.wait_all_ready(name, BEFORE)
    return name


def assert_exact(trial, namespace, names):
    """Assert that each resource has one client and one key at DigDir, and these in its Secret and status."""
    clients = trial.clients(namespace)
    assert sorted(clients) == sorted(names)
    for name, found in clients.items():
        assert len(found) == 1, f"{name} has {len(found)} clients"
        (client,), resource = found, trial.kube.find_client(namespace, name)
        secret = credentials(trial.kube.find_secret(namespace, name))
        assert resource["status"]["clientID"] == secret["MASKINPORTEN_CLIENT_ID"] == client["client_id"]
        assert [key["kid"] for key in client["keys"]] == resource["status"]["keyIDs"]


def create_and_wait(trial, namespace, name):
    trial.create_clients(namespace, [name])
    trial.wait_ready(name, namespace, MASKINPORTEN_CLIENT)


def test_fifty_resources_survive_an_upgrade_and_a_rollback(trial, namespace, figures):
    names = [f"r-{number}" for number in range(50)]
    revision = trial.find_revision()
    thread = threading.Thread(target=create_slowly, args=(trial, namespace, names))
    thread.start()

    with measured(figures, "helm upgrade, two replicas, until only new pods are there"):
        trial.upgrade(settings={"workers": 7})
    with measured(figures, "helm rollback, likewise"):
        trial.helm("rollback", RELEASE, str(revision))
        trial.wait_until_only_new_pods()
    thread.join()

    trial.wait_all_ready(namespace, names)
    assert_exact(trial, namespace, [*BEFORE, *names])


def create_slowly(trial, namespace, names):
    """Create them over what a rollout takes."""
    for name in names:
        trial.create_clients(namespace, [name])
        time.sleep(0.4)


def test_another_pod_takes_over_from_one_that_is_deleted(trial, namespace, figures):
    leader = trial.leader()

    trial.node.kubectl("delete", "pod", leader.name, "-n", NAMESPACE, "--wait=false")
    with measured(figures, "leader's pod deleted, until a new resource is Ready"):
        create_and_wait(trial, namespace, "after")

    assert trial.leader().uid != leader.uid
    trial.wait_until_only_new_pods()
    assert_exact(trial, namespace, [*BEFORE, "after"])


def test_another_pod_takes_over_from_one_whose_process_is_killed(trial, namespace, figures):
    leader = trial.leader()

    os.kill(trial.node.find_processes(leader.uid, PROGRAM)[0], signal.SIGKILL)
    with measured(figures, "leader's process killed, until a new resource is Ready"):
        create_and_wait(trial, namespace, "after")

    wait_for(lambda: find_pod(trial, leader).restarts == 1, PATIENCE, "a restart by the kubelet")
    assert_exact(trial, namespace, [*BEFORE, "after"])


def test_another_pod_takes_over_from_one_that_is_frozen(trial, namespace, figures):
    leader = trial.leader()
    state = trial.node.find_cgroup("freezer", leader.uid) / "freezer.state"

    state.write_text("FROZEN")
    frozen = time.monotonic()
    try:
        with measured(figures, "leader's pod frozen, until a new resource is Ready"):
            create_and_wait(trial, namespace, "while-frozen")
        assert trial.leader().uid != leader.uid
        time.sleep(max(0.0, frozen + SECONDS_FROZEN - time.monotonic()))
    finally:
        state.write_text("THAWED")

    create_and_wait(trial, namespace, "after")
    trial.wait_until_only_new_pods()
    assert_exact(trial, namespace, [*BEFORE, "while-frozen", "after"])


def test_a_drain_leaves_the_operator_at_work(trial, namespace):
    nodes = trial.kube.request("GET", "/api/v1/nodes")["items"]
    (name,) = [one["metadata"]["name"] for one in nodes]

    try:
        with pytest.raises(ControlPlaneError, match="disruption budget"):
            trial.node.kubectl(
                "drain", name, "--pod-selector=app.kubernetes.io/component=operator", "--ignore-daemonsets",
                "--delete-emptydir-data", "--timeout=10s",
            )  # fmt: skip
        create_and_wait(trial, namespace, "after")
    finally:
        trial.node.kubectl("uncordon", name)

    trial.wait_until_only_new_pods()
    assert_exact(trial, namespace, [*BEFORE, "after"])


def test_a_process_that_is_stopped_is_restarted_by_its_liveness_probe(trial, namespace, figures):
    (standby,) = [pod for pod in trial.operators() if pod.uid != trial.leader().uid]
    before = standby.restarts

    os.kill(trial.node.find_processes(standby.uid, PROGRAM)[0], signal.SIGSTOP)

    with measured(figures, "standby's process stopped, until it is restarted"):
        wait_for(lambda: find_pod(trial, standby).restarts > before, 2 * PATIENCE, "a restart by the kubelet")
    wait_for(lambda: find_pod(trial, standby).is_ready, PATIENCE, "Ready of the pod")
    create_and_wait(trial, namespace, "after")
    assert_exact(trial, namespace, [*BEFORE, "after"])


def find_pod(trial, pod):
    return next(one for one in trial.operators() if one.uid == pod.uid)
