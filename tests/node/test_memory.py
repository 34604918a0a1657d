"""What the chart's memory limit is for."""

from tests.node.trial import measured
from tools.stack import NAMESPACE, RELEASE

RESOURCES = 300
MEBIBYTE = 1024 * 1024


def test_three_hundred_resources_fit_into_the_chart_s_limit(trial, figures):
    namespace, names = "many", [f"r-{number}" for number in range(RESOURCES)]
    trial.kube.create_namespace(namespace)
    leader = trial.leader()
    cgroup = trial.node.find_cgroup("memory", leader.uid)
    restarts = leader.restarts
    (container,) = trial.kube.find(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}")["spec"]["template"][
        "spec"
    ]["containers"]
    limit = int(container["resources"]["limits"]["memory"].removesuffix("Mi"))

    trial.create_clients(namespace, names)
    with measured(figures, f"{RESOURCES} resources, from the last one's creation until all are Ready"):
        trial.wait_all_ready(namespace, names, seconds=300)

    peak = int((cgroup / "memory.max_usage_in_bytes").read_text()) / MEBIBYTE
    figures[f"memory of the operator's pod with {RESOURCES} resources, peak of its cgroup"] = (
        f"{peak:.0f} MiB of {limit} MiB"
    )
    assert trial.leader().uid == leader.uid
    assert trial.leader().restarts == restarts
    assert {len(one) for one in trial.clients(namespace).values()} == {1}
