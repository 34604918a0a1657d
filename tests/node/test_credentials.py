"""Credentials as a real workload has them: in its environment and files, and used through the policy made for it."""

import base64
import contextlib
import json

import httpx
import pytest

from maskinporten_operator.model.maskinportenclient import RESYNC_ANNOTATION
from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT
from tests.node.trial import NAMES, PATIENCE, TEAM, Repeating, ask_until, measured
from tools.demo.token import new_key
from tools.kube import POLICIES, SECRETS, credentials, wait_for

SCOPES = "skatt:some.scope nav:some/other/scope"
SECRET = "maskinporten-my-app-49762922"
EXPOSED, CONSUMER = "nav:arbeid:some.scope.read", "123456789"
PROXY_PORT = 8080


def is_issued(answer):
    return answer.get("status") == 200


def is_refused(answer):
    return answer.get("open") is False


def is_open(answer):
    return answer.get("open") is True


@pytest.fixture(scope="module")
def consumer(trial, figures):
    """A pod of the example that consumes scopes."""
    with measured(figures, "consume example, from apply to a pod that runs"):
        with measured(figures, "consume example, from apply to Ready"):
            name = trial.apply_example("consume.yaml")
            trial.wait_ready(name)
        return trial.wait_for_workload(name)


@pytest.fixture(scope="module")
def witness(trial, consumer):
    """A pod with the same Secret among its files that no policy isolates and nobody replaces."""
    return trial.start_pod("witness", files_of=SECRET)


@pytest.fixture(scope="module")
def holder(trial, consumer):
    """A pod with the same Secret among its variables that nobody replaces."""
    return trial.start_pod("holder", variables_of=SECRET)


@pytest.fixture
def slow_maskinporten(trial, consumer):
    """Maskinporten learns of a change so many seconds later, and knows the consumer."""
    seconds = 10
    trial.control("PATCH", "settings", {"propagation_delay_seconds": seconds})
    ask_until(trial, consumer, "/token", is_issued)
    yield seconds
    trial.control("PATCH", "settings", {"propagation_delay_seconds": 0})


class Asking(Repeating):
    """The consumer's pods, by their variables, and the witness, by its files, ask for tokens all the time."""

    def __init__(self, trial, witness):
        super().__init__(pause=0.5)
        self._trial, self._witness = trial, witness
        self.refused = []

    def wait_for_one_more(self):
        """Wait until all have asked with what they have now."""
        rounds = self.rounds
        wait_for(lambda: self.rounds > rounds + 1, PATIENCE, "two rounds of tokens")

    def _do(self):
        for pod in self._trial.pods(TEAM, "app=my-app"):
            self._ask(pod, "/token")
        self._ask(self._witness, "/token?from=files")

    def _ask(self, pod, path):
        with contextlib.suppress(httpx.HTTPError):  # a pod that comes or goes
            answer = self._trial.ask(pod, path)
            if answer.get("status", 200) != 200:  # what isn't reached, before a policy opens the way, has none
                self.refused.append((pod.name, path, answer))


class TestOnGcp:
    def test_the_pod_has_its_credentials_in_environment_and_files(self, trial, consumer):
        # Without a probe of its own a pod is ready when its container starts.
        answer = ask_until(trial, consumer, "/credentials", lambda it: "error" not in it)

        (client,) = trial.clients(TEAM)["my-app"]
        assert answer["environment"]["names"] == answer["files"]["names"] == NAMES
        for where in ("environment", "files"):
            assert answer[where]["client_id"] == client["client_id"]
            assert answer[where]["kid"] in [key["kid"] for key in client["keys"]]

    def test_a_token_is_issued_inside_the_pod_through_the_policy(self, trial, consumer):
        answer = ask_until(trial, consumer, "/token", is_issued)

        assert answer["claims"]["scope"] == SCOPES
        assert answer["claims"]["client_id"] == trial.clients(TEAM)["my-app"][0]["client_id"]

    def test_the_cluster_s_dns_answers(self, trial, consumer):
        answer = ask_until(
            trial, consumer, "/resolve?name=kubernetes.default.svc.cluster.local", lambda it: "error" not in it
        )
        assert answer == {"addresses": ["10.96.0.1"]}

    def test_an_address_that_isnt_named_is_refused(self, trial, consumer, witness):
        unreachable = f"/dial?to={trial.node.address}:6443"

        ask_until(trial, witness, unreachable, is_open)
        ask_until(trial, consumer, unreachable, is_refused)

    def test_a_rotated_key_reaches_mounted_files_and_replaces_the_pods_and_no_token_is_refused(
        self, trial, consumer, witness, holder, slow_maskinporten, figures
    ):
        before = trial.ask(consumer, "/credentials")["files"]["kid"]
        assert trial.ask(witness, "/credentials")["files"]["kid"] == before

        with Asking(trial, witness) as asking:
            with measured(figures, f"rotation at {slow_maskinporten} s of propagation, until other pods are there"):
                earlier = {pod.uid for pod in trial.pods(TEAM, "app=my-app")}
                trial.node.kubectl("annotate", "maskinportenclient", "my-app", "-n", TEAM, "digdir.nais.io/rotate=true")
                replaced = wait_for(lambda: find_successor(trial, earlier), PATIENCE, "pods that replace the others")

            answer = ask_until(trial, replaced, "/token", is_issued)
            assert answer["claims"]["scope"] == SCOPES
            after = trial.ask(replaced, "/credentials")
            assert after["environment"]["kid"] == after["files"]["kid"] != before
            with measured(figures, "rotation, from the new pod to the file of a pod that stays"):
                ask_until(trial, witness, "/credentials", lambda it: it["files"]["kid"] == after["files"]["kid"])
            asking.wait_for_one_more()

        assert asking.refused == []

    def test_the_key_that_a_pod_has_among_its_variables_stays_registered(self, trial, consumer, holder):
        held = trial.ask(holder, "/credentials")["environment"]["kid"]
        assert held != trial.ask(trial.pods(TEAM, "app=my-app")[0], "/credentials")["environment"]["kid"]
        resource = MASKINPORTEN_CLIENT.path(TEAM, "my-app")

        trial.node.kubectl("annotate", "maskinportenclient", "my-app", "-n", TEAM, f"{RESYNC_ANNOTATION}=true")
        wait_for(
            lambda: RESYNC_ANNOTATION not in trial.kube.find(resource)["metadata"]["annotations"], PATIENCE, "a pass"
        )

        (client,) = trial.clients(TEAM)["my-app"]
        assert held in [key["kid"] for key in client["keys"]]
        assert is_issued(trial.ask(holder, "/token"))


def find_successor(trial, earlier):
    """One of the Deployment's pods, once all are others than the earlier ones, given by their uids, and ready."""
    pods = trial.pods(TEAM, "app=my-app")
    replaced = len(pods) == len(earlier) and all(pod.is_ready and pod.uid not in earlier for pod in pods)
    return pods[0] if replaced else None


class TestAnExposedScope:
    def test_a_consumer_gets_its_token_in_a_pod_of_its_own(self, trial):
        trial.wait_ready(trial.apply_example("expose.yaml"))
        key = new_key()
        client = {
            "client_name": "Consumer",
            "client_orgno": CONSUMER,
            "description": "made by hand",
            "integration_type": "maskinporten",
            "scopes": [EXPOSED],
            "keys": [{member: key[member] for member in ("kty", "use", "alg", "kid", "n", "e")}],
        }
        registered = trial.control("POST", "clients", client)
        known = credentials(trial.kube.find_secret(TEAM, "maskinporten-my-api-" + suffix_of(trial, "my-api")))
        values = known | {
            "MASKINPORTEN_CLIENT_ID": registered["client_id"],
            "MASKINPORTEN_CLIENT_JWK": json.dumps(key),
            "MASKINPORTEN_SCOPES": EXPOSED,
        }
        data = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "consumer"}, "data": data}
        trial.kube.create_namespace("consumer")
        trial.kube.request("POST", SECRETS.format(namespace="consumer"), body)

        pod = trial.start_pod("consumer", "consumer", variables_of="consumer")

        answer = ask_until(trial, pod, "/token", is_issued, namespace="consumer")
        assert answer["claims"]["scope"] == EXPOSED
        assert answer["claims"]["consumer"]["ID"] == f"0192:{CONSUMER}"
        assert answer["claims"]["exp"] - answer["claims"]["iat"] == 120


def suffix_of(trial, name):
    return trial.kube.find_client(TEAM, name)["spec"]["secretName"].rpartition("-")[2]


@pytest.fixture(scope="module")
def proxy(trial):
    """A pod that is a web proxy."""
    command = [
        "python3",
        "-m",
        "proxy",
        "--hostname=0.0.0.0",
        f"--port={PROXY_PORT}",
        "--data-dir=/tmp/proxy",
        "--log-level=ERROR",
    ]
    return trial.start_pod("webproxy", command=command)


@pytest.fixture(scope="module")
def behind_proxy(trial, consumer, proxy):
    """A pod of the example, on a platform where the proxy is the only way out."""
    trial.upgrade(
        settings={
            "platform": "onprem",
            "webproxyAddress": f"http://{proxy.ip}:{PROXY_PORT}",
            "webproxyCidrs": [f"{proxy.ip}/32"],
            # By default not what is in the cluster, as the simulator is.
            "webproxyExclude": ["localhost", "127.0.0.1"],
        }
    )

    def look():
        rules = trial.kube.find(f"{POLICIES.format(namespace=TEAM)}/my-app")["spec"]["egress"]
        return f"{proxy.ip}/32" in json.dumps(rules)

    wait_for(look, PATIENCE, "a policy that opens the way to the proxy")
    yield trial.wait_for_workload("my-app")
    trial.upgrade()


def test_on_premises_a_token_is_issued_through_the_proxy_only(trial, behind_proxy, proxy):
    simulator = f"/dial?to={trial.simulator_pod().ip}:8080"

    answer = ask_until(trial, behind_proxy, "/token", is_issued)
    assert answer["claims"]["scope"] == SCOPES
    ask_until(trial, behind_proxy, f"/dial?to={proxy.ip}:{PROXY_PORT}", is_open)
    ask_until(trial, behind_proxy, simulator, is_refused)
    ask_until(trial, trial.start_pod("neighbour"), simulator, is_open)
