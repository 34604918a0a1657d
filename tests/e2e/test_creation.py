import collections
import json
import os
import subprocess
import threading
import time
import uuid

import httpx
import pytest
from jose import jwt

from tests.e2e.stage import CLUSTER_NAME, PATIENCE, held_kid
from tools.kube import is_ready, wait_for
from tools.stack import BIN

pytestmark = pytest.mark.e2e

SETTINGS = {"resync_interval": "30m"}
MANY = 20
NAMES = [f"app-{number}" for number in range(MANY)]


class Watcher(threading.Thread):
    """Every state of Ready that a watch of a namespace shows, until as many resources are Ready as are expected."""

    def __init__(self, kube, namespace, expected):
        super().__init__(daemon=True)
        self.seen = collections.defaultdict(list)
        self._kube, self._namespace, self._expected = kube, namespace, expected
        self.start()

    def run(self):
        ready = set()
        for client in self._kube.watch_clients(self._namespace):
            name = client["metadata"]["name"]
            conditions = client.get("status", {}).get("conditions", [])
            self.seen[name] += [one["status"] for one in conditions if one["type"] == "Ready"]
            if is_ready(client):
                ready.add(name)
            if len(ready) == self._expected:
                return


def test_twenty_resources_at_once_become_twenty_clients_with_two_writes_each(stage, namespace, audit):
    since = stage.sequence
    watcher = Watcher(stage.kube, namespace, MANY)

    for name in NAMES:
        stage.create(namespace, name)
    watcher.join(PATIENCE)
    clients = [stage.wait_ready(namespace, name) for name in NAMES]

    assert {state for states in watcher.seen.values() for state in states} == {"True"}
    registrations = [one for one in stage.simulator.clients() if one["description"].startswith(CLUSTER_NAME)]
    assert sorted(one["description"] for one in registrations) == sorted(f"test:{namespace}:{name}" for name in NAMES)
    by_id = {one["client_id"]: one for one in registrations}
    for name, client in zip(NAMES, clients, strict=True):
        values = stage.read_secret(namespace, f"{name}-secret")
        registered = by_id[values["MASKINPORTEN_CLIENT_ID"]]
        assert registered["description"] == f"test:{namespace}:{name}"
        assert [key["kid"] for key in registered["keys"]] == [held_kid(values)] == client["status"]["keyIDs"]
        assert client["status"]["clientID"] == registered["client_id"]
        assert client["status"]["synchronizationSecretName"] == f"{name}-secret"
        assert client["status"]["synchronizationState"] == "Synchronized"

    assert collections.Counter(stage.writes(since)) == {"create-client": MANY, "replace-keys": MANY}
    assert len(stage.calls("token")) == 1 + MANY  # the operator's own, and one to verify each client
    assert len(stage.calls("list-clients")) <= 5
    assert not stage.calls("read-client", since)
    writes = collections.Counter(audit.count(namespace))
    statuses = {name: writes.pop(("maskinportenclients/status", name)) for name in NAMES}
    assert set(statuses.values()) <= {1, 2}  # the second where the answer of Maskinporten came late
    assert writes == collections.Counter(
        {
            **{("maskinportenclients", name): 1 for name in NAMES},
            **{("secrets", f"{name}-secret"): 1 for name in NAMES},
        }
    )


def test_a_secret_is_all_that_a_workload_needs_for_a_token_that_verifies(stage, namespace):
    stage.create_ready(namespace, "app", "skatt:some.scope", "krr:global/kontaktinformasjon.read")
    values = stage.read_secret(namespace)

    jwk = json.loads(values["MASKINPORTEN_CLIENT_JWK"])
    now = int(time.time())
    claims = {
        "aud": values["MASKINPORTEN_ISSUER"],
        "iss": values["MASKINPORTEN_CLIENT_ID"],
        "scope": values["MASKINPORTEN_SCOPES"],
        "iat": now,
        "exp": now + 60,
        "jti": str(uuid.uuid4()),
    }
    assertion = jwt.encode(claims, jwk, algorithm="RS256", headers={"kid": jwk["kid"]})
    with httpx.Client(trust_env=False) as http:
        grant = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        answer = http.post(values["MASKINPORTEN_TOKEN_ENDPOINT"], data=grant)
        metadata = http.get(values["MASKINPORTEN_WELL_KNOWN_URL"]).json()
        jwks = http.get(values["MASKINPORTEN_JWKS_URI"]).json()

    assert answer.status_code == 200, answer.text
    token = jwt.decode(answer.json()["access_token"], jwks, algorithms=["RS256"], issuer=values["MASKINPORTEN_ISSUER"])
    assert token["client_id"] == values["MASKINPORTEN_CLIENT_ID"]
    assert token["scope"] == "skatt:some.scope krr:global/kontaktinformasjon.read"
    assert metadata["token_endpoint"] == values["MASKINPORTEN_TOKEN_ENDPOINT"]


def test_the_secret_is_labelled_and_owned_and_holds_these_seven_values(stage, namespace):
    client = stage.create_ready(namespace)
    secret = stage.find_secret(namespace)

    assert sorted(secret["data"]) == [
        "MASKINPORTEN_CLIENT_ID",
        "MASKINPORTEN_CLIENT_JWK",
        "MASKINPORTEN_ISSUER",
        "MASKINPORTEN_JWKS_URI",
        "MASKINPORTEN_SCOPES",
        "MASKINPORTEN_TOKEN_ENDPOINT",
        "MASKINPORTEN_WELL_KNOWN_URL",
    ]
    assert secret["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "maskinporten-operator"
    (owner,) = secret["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("MaskinportenClient", "app", client["metadata"]["uid"])


def test_a_changed_label_or_a_pass_without_news_writes_nothing(stage, namespace, audit):
    stage.create_ready(namespace)
    audit.mark()
    since, passes = stage.sequence, stage.passes

    stage.kube.patch_client(namespace, "app", {"metadata": {"labels": {"team": "some-team"}}})
    stage.wait_for_passes(1, passes)

    assert audit.count() == []
    assert stage.writes(since) == []


def test_a_restart_writes_nothing(stage, namespace, audit):
    for name in NAMES[:10]:
        stage.create(namespace, name)
    for name in NAMES[:10]:
        stage.wait_ready(namespace, name)
    audit.mark()
    since = stage.sequence

    stage.restart()
    stage.wait_for_passes(10, 0)

    assert audit.count() == []
    assert stage.writes(since) == []
    assert len(stage.calls("token", since)) == 1
    assert len(stage.calls("list-clients", since)) == 1


def test_a_resync_writes_nothing_and_lists_once(stage, namespace, audit):
    for name in NAMES[:10]:
        stage.create(namespace, name)
    for name in NAMES[:10]:
        stage.wait_ready(namespace, name)
    stage.restart(resync_interval="1s")
    stage.wait_for_passes(10, 0)
    audit.mark()
    since, passes = stage.sequence, stage.passes

    stage.wait_for_passes(20, passes)

    assert audit.count() == []
    assert stage.writes(since) == []
    assert not stage.calls("read-client", since)
    wait_for(lambda: len(stage.calls("list-clients", since)) >= 2, PATIENCE, "two lists")
    stage.restart()


def test_the_commands_show_a_resource_and_its_token_by_the_rights_of_whoever_asks(stage, namespace):
    created = stage.create_ready(namespace, "shown")
    environment = {**os.environ, "KUBECONFIG": str(stage.cluster.admin_kubeconfig)}

    def run(*arguments):
        command = [BIN / "kubectl-maskinporten", *arguments, "-n", namespace]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    (shown,) = wait_for(
        lambda: [one for one in json.loads(run("status", "shown", "-o", "json")) if one["events"]],
        PATIENCE,
        "an Event",
    )

    assert shown["ready"]["status"] == "True"
    assert shown["client_id"] == created["status"]["clientID"]
    assert [(key["id"], key["is_current"], key["pods"]) for key in shown["keys"]] == [
        (created["status"]["keyIDs"][0], True, [])
    ]
    assert all(scope["is_registered"] for scope in shown["consumed"])
    assert "shown" in run("status")

    shown, secret = run("token", "shown"), run("token", "shown", "--raw").strip()

    assert "issued a token" in shown
    stage.trail.canaries.add_token("a token", secret)
    assert stage.trail.canaries.find(shown) == []
    assert stage.trail.canaries.find(secret)
