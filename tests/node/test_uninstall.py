"""The end of the release."""

import pytest

from tests.node.trial import TEAM, ask_until
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
