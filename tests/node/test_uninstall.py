"""The end of the release, and another one by Helm 3."""

import pytest

from tests.node.trial import PATIENCE, TEAM, ask_until, measured
from tools.cluster import helm3
from tools.kube import wait_for
from tools.stack import RELEASE


@pytest.mark.last
def test_workloads_run_on_without_the_operator(trial):
    name = trial.apply_example("consume.yaml")
    trial.wait_ready(name)
    pod = trial.wait_for_workload(name)
    ask_until(trial, pod, "/token", lambda answer: answer.get("status") == 200)
    version = trial.kube.find_secret(TEAM, trial.kube.find_client(TEAM, name)["spec"]["secretName"])["metadata"]

    trial.helm("uninstall", RELEASE, wait="120s")

    assert trial.operators() == []
    assert pod.uid in {one.uid for one in trial.pods(TEAM, f"app={name}") if one.restarts == 0}
    credentials = trial.ask(pod, "/credentials")
    assert credentials["environment"]["kid"] == credentials["files"]["kid"]
    after = trial.kube.find_secret(TEAM, trial.kube.find_client(TEAM, name)["spec"]["secretName"])["metadata"]
    assert after["resourceVersion"] == version["resourceVersion"]


@pytest.mark.last
def test_helm_3_installs_tests_and_uninstalls_it_too(trial, figures):
    trial.program = helm3()

    with measured(figures, "helm install --wait by Helm 3"):
        trial.install()
    assert [pod.is_ready for pod in trial.operators()] == [True, True]
    assert "Succeeded" in trial.helm("test", RELEASE, "--timeout=120s", wait=None)
    trial.helm("uninstall", RELEASE, wait="120s")
    wait_for(lambda: trial.operators() == [], PATIENCE, "the end of the pods")
