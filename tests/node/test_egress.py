"""The way out of a running pod, while the operator's backend for policies changes and the operator itself is killed."""

import contextlib
import json
import os
import signal

import httpx
import pytest

from maskinporten_operator.model.resources import APPLICATION, CILIUM_POLICY, FQDN_POLICY, NETWORK_POLICY
from tests.e2e.applications import build_open_crd
from tests.node.trial import PATIENCE, PROGRAM, RELEASE, TEAM, Repeating, ask_until
from tools.install import install_crd
from tools.kube import wait_for
from tools.node.workload.image import NAME as WORKLOAD

PORT = 8080
NAME = "caller"
FEWEST = 20
"""Connections in a run, also on a machine that has much else to do."""


class Dialling(Repeating):
    """A pod opens a connection every 200 ms, as long as this is entered; `refused` has what it was told otherwise."""

    def __init__(self, trial, pod, address):
        super().__init__(pause=0.2)
        self._ask = lambda: trial.ask(pod, f"/dial?to={address}")
        self.answers, self.refused = 0, []

    def _do(self):
        with contextlib.suppress(httpx.HTTPError):  # the API server's, by which the pod is asked
            answer = self._ask()
            self.answers += 1
            if answer != {"open": True}:
                self.refused.append(answer)


@pytest.fixture(scope="module")
def target(trial):
    return trial.start_pod("target")


@pytest.fixture(scope="module")
def caller(trial, target):
    """A pod of an Application that may reach the target, and that its policies isolate from all else."""
    manifest = {
        "apiVersion": APPLICATION.api_version,
        "kind": APPLICATION.name,
        "metadata": {"name": NAME, "namespace": TEAM},
        "spec": {"image": WORKLOAD, "accessPolicy": {"outbound": {"external": [
            {"ipv4": target.ip, "ports": [{"port": PORT}]}, {"host": "api.example.com"},
        ]}}},
    }  # fmt: skip
    trial.node.kubectl("apply", "-f=-", stdin=json.dumps(manifest))
    pod = trial.wait_for_workload(NAME)
    ask_until(trial, pod, f"/dial?to={target.ip}:{PORT}", lambda answer: answer.get("open") is True)
    ask_until(trial, pod, f"/dial?to={trial.node.address}:6443", lambda answer: answer.get("open") is False)
    yield pod
    trial.kube.request("DELETE", APPLICATION.path(TEAM, NAME))


@pytest.fixture
def names_crd(trial):
    """Policies for host names are served, which nothing on this node enforces: what they open is closed here."""
    crd = build_open_crd(FQDN_POLICY)
    install_crd(trial.node, json.dumps(crd))
    yield crd["metadata"]["name"]
    trial.node.kubectl("delete", "crd", crd["metadata"]["name"], "--ignore-not-found")


def switch(trial, egress):
    """Change the backend, and kill the new leader's process, which restarts in the middle of its first passes."""
    trial.upgrade(settings={"egress": egress})
    os.kill(trial.node.find_processes(trial.leader().uid, PROGRAM)[0], signal.SIGKILL)


def find(trial, kind, name):
    return trial.kube.find(kind.path(TEAM, name))


def test_a_pod_s_connection_is_never_refused_while_the_backend_changes_and_kinds_come_and_go(
    trial, target, caller, names_crd, figures
):
    with Dialling(trial, caller, f"{target.ip}:{PORT}") as dialling:
        switch(trial, "none")
        wait_for(lambda: not find(trial, NETWORK_POLICY, NAME), PATIENCE, "the end of the policy")
        switch(trial, "fqdn-gke")
        wait_for(lambda: find(trial, FQDN_POLICY, f"{NAME}-fqdn"), PATIENCE, "the policy for names")
        ask_until(trial, caller, f"/dial?to={trial.node.address}:6443", lambda answer: answer.get("open") is False)

        trial.helm("upgrade", RELEASE, values=trial.values(settings={"egress": "cilium"}), wait=None)
        wait_for(lambda: f"serve {CILIUM_POLICY.plural}" in trial.logs(), PATIENCE, "one that waits for a kind")
        trial.node.kubectl("delete", "crd", names_crd)
        switch(trial, "networkpolicy")

    assert dialling.refused == []
    assert dialling.answers > FEWEST
    figures["connections of a pod while the backend changed, none refused"] = str(dialling.answers)
