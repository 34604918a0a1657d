"""The chart on the API server, from a trial with the simulator to the end of the release."""

import json
import shutil
import threading

import httpx
import pytest

from maskinporten_operator.model.maskinportenclient import RESYNC_ANNOTATION
from maskinporten_operator.model.resources import APPLICATION, DEPLOYMENT, MASKINPORTEN_CLIENT, SECRET
from maskinporten_operator.plan.children import build_secret_name
from tests.e2e.audit import AuditLog
from tests.e2e.conftest import AUDIT_POLICY
from tests.e2e.played_pod import PlayedPods
from tests.e2e.rights import read_rights
from tests.e2e.stage import PATIENCE, WRITES
from tools.cluster import Cluster, ControlPlaneError
from tools.generate.__main__ import ROOT
from tools.generate.chart import CHART
from tools.install import ensure_namespace, wait_until_served
from tools.kube import KubeClient, is_ready, wait_for
from tools.stack import NAMESPACE, RELEASE

pytestmark = pytest.mark.e2e

TEAM, APP = "my-team", "my-app"
SIMULATOR = f"{RELEASE}-simulator"
VALUES = {
    "simulator": {"enabled": True, "persistence": {"enabled": True}},
    "settings": {"applications": True, "keyPoolSize": 4, "listLag": "1s"},
}
CHANGED = {**VALUES, "settings": {**VALUES["settings"], "logLevel": "DEBUG", "workers": 7}, "podLabels": {"a": "b"}}
RESTRICTING = {
    **VALUES,
    "scopePolicy": {
        "enabled": True,
        "rules": [
            {"namespaceLabels": {}, "consumes": ["krr:*"]},
            {
                "namespaceLabels": {"example.com/sector": "tax", "example.com/level": "high"},
                "consumes": ["skatt:*", "nav:some/other/scope"],
                "exposes": ["tax/*"],
            },
        ],
    },
}


class Release:
    """The chart's release, and its pods as processes."""

    def __init__(self, cluster, kube, folder, program):
        self.cluster, self.kube, self.program = cluster, kube, program
        self.pods = PlayedPods(cluster, kube, NAMESPACE, folder)

    def helm(self, *arguments, chart=None, values=None):
        more = (chart, "--values=-") if chart else ()
        stdin = json.dumps(values) if values else None
        return self.cluster.helm(*arguments, *more, "-n", NAMESPACE, stdin=stdin, program=self.program)

    def install(self, values=VALUES, chart=CHART):
        said = self.helm("install", RELEASE, chart=chart, values=values)
        wait_until_served(self.cluster, "maskinportenclients.nais.io", "applications.nais.io")
        return said

    def start(self):
        """Start the simulator, and then the operator."""
        self.pods.start(SIMULATOR)
        return self.pods.start(RELEASE)

    def simulator(self, method, path):
        (url,) = [one for one in self.pods.running[SIMULATOR].popen.args if one.startswith("--public-url=")]
        return (
            httpx.request(method, f"{url.partition('=')[2]}/control/{path}", trust_env=False).raise_for_status().json()
        )

    def writes(self, since):
        entries = self.simulator("GET", f"ledger?since={since}")["entries"]
        return [one["operation"] for one in entries if one["operation"] in WRITES]

    @property
    def admin_secret(self):
        """What is in the Secret of the simulator's admin client."""
        return self.pods.read("api/v1", "secrets", f"{SIMULATOR}-admin").get("data")

    @property
    def sequence(self):
        return self.simulator("GET", "ledger/summary")["last_sequence"]

    def describe(self):
        """Give all that must outlive the release: what the team has in the cluster, and its client with its keys."""
        found = {"clients": self.simulator("GET", "clients")}
        found["clients"] = [one for one in found["clients"] if one["description"].startswith("trial:")]
        for kind, name in (
            (APPLICATION, APP),
            (MASKINPORTEN_CLIENT, APP),
            (DEPLOYMENT, APP),
            (SECRET, build_secret_name(APP)),
        ):
            body = self.kube.request("GET", kind.path(TEAM, name))
            metadata = body["metadata"]
            found[kind.name] = {
                "uid": metadata["uid"],
                # Of a Deployment the controllers write the status, whose pods are played
                "version": metadata["generation" if kind == DEPLOYMENT else "resourceVersion"],
                "data": body.get("data"),
            }
        return found

    def wait_ready(self):
        def look():
            found = self.kube.find(APPLICATION.path(TEAM, APP))
            return found if found and is_ready(found) else None

        try:
            return wait_for(look, PATIENCE, "Ready of the Application")
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.pods.running[RELEASE].output()[-3000:]}") from None

    def wait_for_resync(self):
        """Wait until the operator has been over everything once: what it would write it has written then."""
        address = self.pods.addresses[RELEASE]

        def passes():
            text = httpx.get(f"http://{address}:8080/metrics", trust_env=False).text
            name = "maskinporten_operator_reconcile_total{"
            return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

        wait_for(lambda: passes() >= 2, PATIENCE, "a pass over each of both resources")


@pytest.fixture(scope="module")
def cluster():
    with Cluster.create(name="mpo-chart", audit_policy=AUDIT_POLICY) as cluster:
        for namespace in (NAMESPACE, TEAM):
            ensure_namespace(cluster, namespace)
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "for-the-simulator"},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": "/nowhere"},
            },
        }
        cluster.kubectl("apply", "-f=-", stdin=json.dumps(volume))
        yield cluster


@pytest.fixture(scope="module")
def program():
    """Helm 4; another file of tests has another."""
    return "helm"


@pytest.fixture(scope="module")
def release(cluster, program, tmp_path_factory):
    """A trial, installed from an older chart, with the example applied to it and Ready."""
    older = tmp_path_factory.mktemp("older") / "chart"
    shutil.copytree(CHART, older)
    crd = older / "templates" / "crds" / "maskinportenclients.yaml"
    crd.write_text(crd.read_text().replace("    - name: Reason\n", "    - name: Earlier\n"))
    with KubeClient(cluster.admin_kubeconfig) as kube:
        release = Release(cluster, kube, tmp_path_factory.mktemp("pods"), program)
        try:
            release.notes = release.install(chart=older)
            release.start()
            cluster.kubectl("apply", "-f", ROOT / "deploy" / "examples" / "consume.yaml")
            release.wait_ready()
            yield release
        finally:
            release.pods.stop_all()


def test_the_example_is_ready_by_what_the_chart_installed_alone(release):
    (client,) = release.describe()["clients"]

    assert client["description"] == f"trial:{TEAM}:{APP}"
    assert client["scopes"] == ["skatt:some.scope", "nav:some/other/scope"]
    assert "helm test" in release.notes
    assert "The simulator knows the scopes" in release.notes
    assert read_rights(release.cluster).refused == set()


def test_the_simulator_may_get_and_patch_its_secret_and_does_both(release):
    rights = read_rights(release.cluster, SIMULATOR)

    assert {(one.verb, one.resource, one.namespace, one.name) for one in rights.granted} == {
        (verb, "secrets", NAMESPACE, f"{SIMULATOR}-admin") for verb in ("get", "patch")
    }
    assert rights.granted == rights.used
    assert rights.refused == set()


def test_a_new_pod_of_the_simulator_keeps_the_key_that_is_there_and_the_operator_goes_on_with_it(release):
    before = release.admin_secret

    release.pods.start(SIMULATOR)

    assert release.admin_secret == before
    path = MASKINPORTEN_CLIENT.path(TEAM, APP)
    patch = {"metadata": {"annotations": {RESYNC_ANNOTATION: "true"}}}
    release.kube.request("PATCH", path, patch, "application/merge-patch+json")
    is_done = lambda: RESYNC_ANNOTATION not in release.kube.request("GET", path)["metadata"]["annotations"]  # noqa: E731
    wait_for(is_done, PATIENCE, "a pass that reads the client anew, with a new token")
    assert release.simulator("GET", "ledger/summary")["operations"]["token"].keys() == {"200"}
    release.wait_ready()


def test_its_pods_are_let_into_a_restricted_namespace(release):
    labels = release.kube.request("GET", f"/api/v1/namespaces/{NAMESPACE}")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"

    for deployment in (RELEASE, SIMULATOR):
        release.cluster.kubectl("rollout", "status", f"deployment/{deployment}", f"-n={NAMESPACE}", "--timeout=60s")


def test_helm_test_asks_the_operator_whether_it_is_ready(release):
    def play():
        """Run the test's pod as a process, and write its end where the kubelet would."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{RELEASE}-test"
        pod = wait_for(lambda: release.kube.find(path), PATIENCE, "the test's pod")
        phase = "Failed" if release.pods.run(pod) else "Succeeded"
        patch = {"status": {"phase": phase, "containerStatuses": None}}
        release.kube.request("PATCH", f"{path}/status", patch, "application/merge-patch+json")

    kubelet = threading.Thread(target=play)
    kubelet.start()
    said = release.helm("test", RELEASE, "--timeout=60s")
    kubelet.join()

    assert "Succeeded" in said


def test_upgrade_and_rollback_and_uninstall_lose_and_rewrite_nothing(release):
    before, since, audit = release.describe(), release.sequence, AuditLog(release.cluster)
    credentials = release.admin_secret

    release.helm("upgrade", RELEASE, chart=CHART, values=CHANGED)
    release.pods.start(RELEASE)
    release.wait_for_resync()
    assert release.pods.running[RELEASE].output().count('"level": "debug"')
    assert release.admin_secret == credentials
    crd = release.kube.request(
        "GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/maskinportenclients.nais.io"
    )
    columns = [one["name"] for one in crd["spec"]["versions"][0]["additionalPrinterColumns"]]
    assert "Reason" in columns
    assert "Earlier" not in columns
    assert release.describe() == before

    release.helm("rollback", RELEASE, "1")
    release.pods.start(RELEASE)
    release.wait_for_resync()
    assert release.admin_secret == credentials
    assert release.describe() == before

    release.helm("upgrade", RELEASE, chart=CHART, values=VALUES)
    release.helm("uninstall", RELEASE)
    release.pods.stop(RELEASE)
    assert release.kube.find(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}") is None
    assert release.describe() == before
    assert release.writes(since) == []
    assert [write for write in audit.count() if write.resource != "leases"] == []

    release.install()
    release.pods.stop(SIMULATOR)
    release.start()
    release.wait_for_resync()
    assert release.admin_secret != credentials
    assert release.describe() == before
    assert release.writes(0) == []


def test_all_that_can_be_switched_on_is_taken_by_the_api_server_without_a_warning(release):
    values = {
        **RESTRICTING,
        "replicas": 2,
        "networkPolicy": {"enabled": True},
        "simulator": {"enabled": True, "seed": {"prefixes": ["nav"]}, "persistence": {"enabled": True}},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "podAnnotations": {"a": "b"},
    }
    manifests = release.helm("template", RELEASE, chart=CHART, values=values)

    apply = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict")
    said = release.cluster.kubectl(*apply, "--warnings-as-errors", "-f=-", stdin=manifests)

    for kind in ("poddisruptionbudget", "networkpolicy", "role", "validatingadmissionpolicy", "persistentvolumeclaim"):
        assert f"{kind}." in said or f"{kind}/" in said, kind


def test_a_second_replica_comes_and_goes_with_its_budget_and_they_share_a_lease(release):
    def look():
        replicas = release.pods.read("apis/apps/v1", "deployments", RELEASE)["spec"]["replicas"]
        found = release.cluster.kubectl("get", "poddisruptionbudgets,roles", f"-n={NAMESPACE}", "-o=name").split()
        return replicas, sorted(one.rpartition("/")[2] for one in found)

    release.helm("upgrade", RELEASE, chart=CHART, values={**VALUES, "replicas": 2})
    assert look() == (2, [RELEASE, f"{RELEASE}-lease", SIMULATOR])

    release.helm("upgrade", RELEASE, chart=CHART, values=VALUES)
    assert look() == (1, [f"{RELEASE}-lease", SIMULATOR])


def create_client(release, namespace, name, *consumed, exposed=()):
    scopes = {"consumes": [{"name": scope} for scope in consumed]}
    if exposed:
        scopes["exposes"] = list(exposed)
    spec = {"secretName": name, "scopes": scopes}
    try:
        return release.kube.create_client(namespace, name, spec)
    except httpx.HTTPStatusError as error:
        return error.response.json()["message"]


@pytest.fixture(scope="module")
def restricting(release):
    """The release with the sample of a policy, in force."""
    release.helm("upgrade", RELEASE, chart=CHART, values=RESTRICTING)
    body = {
        "apiVersion": MASKINPORTEN_CLIENT.api_version,
        "kind": MASKINPORTEN_CLIENT.name,
        "metadata": {"name": "probe", "namespace": "default"},
        "spec": {"secretName": "probe", "scopes": {"consumes": [{"name": "skatt:a"}]}},
    }

    def is_in_force():
        try:
            release.kube.request("POST", MASKINPORTEN_CLIENT.path("default"), body, dryRun="All")
        except httpx.HTTPStatusError as error:
            return "may not use" in str(error)
        return False

    wait_for(is_in_force, PATIENCE, "the policy")
    for name, labels in (("tax", {"sector": "tax", "level": "high"}), ("half", {"sector": "tax"}), ("none", {})):
        release.kube.create_namespace(name, {f"example.com/{key}": value for key, value in labels.items()})
    yield release
    release.helm("upgrade", RELEASE, chart=CHART, values=VALUES)


@pytest.mark.parametrize(
    ("namespace", "consumed", "exposed", "refused"),
    [
        ("none", ["krr:a"], None, None),
        ("none", ["krr:a", "skatt:a"], None, "may not use skatt:a; a cluster admin decides"),
        ("half", ["skatt:a"], None, "may not use skatt:a"),
        ("tax", ["krr:a", "skatt:a", "nav:some/other/scope"], None, None),
        ("none", ["nav:some/other/scope"], None, "may not use nav:some/other/scope"),  # the organisation's own
        ("tax", ["nav:some/other/scope.more"], None, "may not use nav:some/other/scope.more"),
        ("tax", [], ("tax", "income/read"), None),
        ("tax", [], ("tax", "income.read"), "may not expose tax:income.read"),
        ("none", [], ("tax", "income/read"), "may not expose tax/income/read"),
    ],
)
def test_a_policy_says_by_labels_which_scopes_a_namespace_may_use_and_expose(
    restricting, namespace, consumed, exposed, refused, request
):
    exposes = [{"name": exposed[1], "product": exposed[0], "enabled": True}] if exposed else ()
    answer = create_client(restricting, namespace, f"c{abs(hash(request.node.name))}", *consumed, exposed=exposes)

    if refused is None:
        assert "metadata" in answer, answer
    else:
        assert refused in answer


def test_a_policy_holds_for_applications_and_leaves_what_exists_alone_until_it_asks_for_something_else(restricting):
    kube, path = restricting.kube, APPLICATION.path(TEAM, APP)

    def change(**spec):
        kube.request("PATCH", path, {"spec": spec}, "application/merge-patch+json")

    change(port=8081)
    with pytest.raises(httpx.HTTPStatusError, match=r"may not use skatt:some\.scope"):
        change(maskinporten={"scopes": {"consumes": [{"name": "skatt:some.scope"}]}})
    restricting.wait_ready()


@pytest.mark.parametrize(
    ("role", "allowed", "refused"),
    [
        ("view", ["get", "list", "watch"], ["create", "patch", "delete"]),
        ("edit", ["get", "create", "update", "patch", "delete"], []),
        ("admin", ["get", "create", "update", "patch", "delete"], []),
    ],
)
@pytest.mark.parametrize("plural", ["maskinportenclients", "applications"])
def test_teams_read_or_write_resources_by_their_usual_roles_and_never_the_status(
    release, role, allowed, refused, plural
):
    user = f"{role}-{plural}"
    release.cluster.kubectl("create", "rolebinding", user, f"--clusterrole={role}", f"--user={user}", f"-n={TEAM}")

    def may(verb, *which):
        try:
            ask = ("auth", "can-i", verb, f"{plural}.nais.io", *which, "--quiet")
            release.cluster.kubectl(*ask, f"--as={user}", f"-n={TEAM}")
        except ControlPlaneError:
            return False
        return True

    wait_for(lambda: all(may(verb) for verb in allowed), PATIENCE, "the aggregated rights")
    assert not any(may(verb) for verb in refused)
    assert not any(may(verb, "--subresource=status") for verb in ("patch", "update"))
