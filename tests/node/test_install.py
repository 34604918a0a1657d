"""The chart as users install it, on a node that enforces Pod Security and NetworkPolicies."""

import time

from tests.node.trial import PATIENCE
from tools.cluster import ControlPlaneError
from tools.kube import wait_for
from tools.stack import NAMESPACE, RELEASE

RUNS_OF_HELM_TEST = 10


def test_both_replicas_run_as_the_image_s_user_without_a_passwd_entry(installed):
    assert [(pod.is_ready, pod.restarts) for pod in installed.first_pods] == [(True, 0), (True, 0)]
    for pod in installed.operators():
        said = installed.node.kubectl(
            "exec", pod.name, "-n", NAMESPACE, "--", "python3", "-c",
            "import os, pathlib; print(os.getuid(), any(line.split(':')[2] == str(os.getuid()) "
            "for line in pathlib.Path('/etc/passwd').read_text().splitlines()))",
        )  # fmt: skip
        assert said.split() == ["65532", "False"]


def test_the_first_resource_has_one_client(installed):
    assert [len(one) for one in installed.clients("first").values()] == [1]


def test_helm_test_succeeds_every_time(installed, figures):
    """Each time by a new pod, whose address the policy admits only after a moment."""
    begun = time.monotonic()
    for _ in range(RUNS_OF_HELM_TEST):
        assert "Succeeded" in installed.helm("test", RELEASE, "--timeout=120s", wait=None)
    figures[f"helm test, {RUNS_OF_HELM_TEST} times"] = f"{time.monotonic() - begun:.1f} s"


def test_a_pod_that_isnt_restricted_is_refused(installed):
    try:
        installed.node.kubectl("run", "root", "-n", NAMESPACE, "--image=node.local/pause:1", "--restart=Never")
    except ControlPlaneError as error:
        assert "violates PodSecurity" in str(error)  # noqa: PT017 - what it says is the point
    else:
        raise AssertionError("a pod without a security context was admitted")


def test_the_operator_s_pods_reach_what_the_policy_names_and_nothing_else(installed):
    script = (
        "import socket, sys\n"
        "try:\n    socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).close(); print('open')\n"
        "except OSError as error:\n    print('closed', error)\n"
    )

    def dial(host, port):
        pod = installed.operators()[0]
        return installed.node.kubectl("exec", pod.name, "-n", NAMESPACE, "--", "python3", "-c", script, host, str(port))

    assert dial(installed.node.address, 6443).startswith("open")
    kubelet = 10250
    wait_for(lambda: dial(installed.node.address, kubelet).startswith("closed"), PATIENCE, "the policy")
