"""Pods as platforms and admins make them: other users, little CPU, and a fault that no restart fixes."""

import json
import threading
from datetime import datetime
from pathlib import Path

import pytest

from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT
from tests.node.trial import PATIENCE, measured
from tools.cluster import ControlPlaneError
from tools.generate.chart import CHART
from tools.kube import wait_for
from tools.stack import NAMESPACE, RELEASE

SECONDS_TO_GIVE_UP = 60
"""After which no operator is there any more that can't work."""
USER, OTHER_USER = 65532, 1_000_660_000
FAULT = """
from kopf._cogs.clients import watching

WORDS = "uid not found: 65532"

def fail(*_, **__):
    raise KeyError(WORDS)

watching.watch_objs = fail
"""
"""A watch that ends by the same exception whenever it is opened, as a name that isn't in passwd once made it."""


@pytest.fixture(scope="module", autouse=True)
def faulty(trial):
    """A release whose operator has a fault, and what Helm says of it when it has waited long enough.

    It is installed at the beginning, and looked at by the last test of this file.
    """
    found = {}
    trial.node.kubectl("create", "configmap", "fault", "-n", NAMESPACE, f"--from-literal=sitecustomize.py={FAULT}")
    values = trial.values(
        replicas=1,
        fullnameOverride="faulty",
        crds={"install": False},
        namespaces=["default"],
        extraEnv=[{"name": "PYTHONPATH", "value": "/fault"}],
        extraVolumes=[{"name": "fault", "configMap": {"name": "fault"}}],
        extraVolumeMounts=[{"name": "fault", "mountPath": "/fault"}],
        rbac={"aggregate": False},
    )

    def install():
        install = ("install", "faulty", CHART, "--values=-", "--wait", "--timeout=75s", "-n", NAMESPACE)
        try:
            found["said"] = trial.node.helm(*install, stdin=json.dumps(values))
        except ControlPlaneError as error:
            found["refused"] = str(error)

    thread = threading.Thread(target=install)
    thread.start()
    yield thread, found
    thread.join()
    trial.node.helm("uninstall", "faulty", "-n", NAMESPACE)


@pytest.fixture(scope="module", autouse=True)
def as_before(trial):
    """The release is left as the other files' tests know it."""
    yield
    trial.upgrade()


def measure_life(pod):
    """How long the pod's container ran the last time, in whole seconds."""
    (status,) = pod.body["status"]["containerStatuses"]
    ended = (status["lastState"] or status["state"])["terminated"]
    begun, end = (datetime.fromisoformat(ended[name]) for name in ("startedAt", "finishedAt"))
    return (end - begun).total_seconds()


def read_ended_log(trial, pod):
    """The log of the run that ended last; None while the kubelet replaces it by that of a later one."""
    log = trial.node.kubectl("logs", pod.name, "-n", NAMESPACE, "--previous")
    return None if log.startswith("unable to retrieve container logs") else log


def find_pods(trial):
    return trial.pods(NAMESPACE, "app.kubernetes.io/component=operator,app.kubernetes.io/instance=faulty")


@pytest.fixture
def other_user(trial):
    """The operator's pods as another user, and as themselves again at the end.

    By a patch, as OpenShift's admission does it. The chart's value holds for the simulator too, which would forget all.
    """

    def run_as(user):
        context = {"runAsUser": user, "runAsGroup": user, "fsGroup": user}
        patch = {"spec": {"template": {"spec": {"securityContext": context}}}}
        trial.node.kubectl("patch", "deployment", RELEASE, "-n", NAMESPACE, "--type=merge", "-p", json.dumps(patch))
        trial.wait_until_only_new_pods()

    run_as(OTHER_USER)
    yield OTHER_USER
    run_as(USER)


def test_it_works_as_any_user(trial, other_user, figures):
    for pod in trial.operators():
        assert pod.restarts == 0
        processes = trial.node.find_processes(pod.uid, "maskinporten-operator")
        assert {read_user(process) for process in processes} == {other_user}
    trial.kube.create_namespace("as-any-user")

    with measured(figures, f"as user {other_user}, a new resource, from its creation to Ready"):
        trial.create_clients("as-any-user", ["first"])
        trial.wait_ready("first", "as-any-user", MASKINPORTEN_CLIENT)

    assert [len(one) for one in trial.clients("as-any-user").values()] == [1]


def read_user(process):
    """The user of a process, as the kernel tells it."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    (line,) = [one for one in lines if one.startswith("Uid:")]
    (user,) = set(line.split()[1:])
    return int(user)


def test_a_start_with_little_cpu_is_none_that_the_probes_end(trial, figures):
    with measured(figures, "helm upgrade to one replica with a tenth of a CPU"):
        trial.upgrade(replicas=1, resources={"requests": {"cpu": "100m"}, "limits": {"cpu": "100m", "memory": "256Mi"}})

    (pod,) = trial.operators()
    assert pod.restarts == 0
    assert pod.is_ready


def test_a_fault_that_comes_again_ends_the_process_with_one_message_and_helm_fails(trial, faulty, figures):
    thread, found = faulty
    (pod,) = wait_for(lambda: find_pods(trial), PATIENCE, "the pod")

    def look():
        (now,) = find_pods(trial)
        assert not now.is_ready
        return now.restarts and now

    pod = wait_for(look, PATIENCE, "the process's end")
    life = measure_life(pod)
    figures["a fault that ends the watch each time, from the process's start to its end"] = f"{life:.0f} s"
    assert life <= SECONDS_TO_GIVE_UP
    log = wait_for(lambda: read_ended_log(trial, pod), PATIENCE, "the log of a run that ended")
    # An exception's text may quote what is secret. Where it was raised is told, by lines of source.
    assert [line for line in log.splitlines() if "not found: 65532" in line] == []
    assert log.splitlines()[-1].startswith("Error: the watch of resources can't work (KeyError in fail "), log
    thread.join()
    assert "not ready" in found["refused"]
