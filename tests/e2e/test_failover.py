"""Two replicas: one works and one stands by, and whatever happens to the first, each resource has one client."""

import base64
import json
import os
import signal
import time

import httpx
import pytest
import yaml

from maskinporten_operator.adapters.tripwire import EXIT_CODE
from tests.e2e.audit import OPERATOR, READS
from tests.e2e.stage import FOREIGN as OTHERS
from tests.e2e.stage import PATIENCE, SCOPE, held_kid
from tools.kube import wait_for
from tools.proxy import ApiServerProxy
from tools.replicas import LEASE, SETTINGS, Admin, find_holder, free_lease
from tools.stack import NAMESPACE, SERVICE_ACCOUNT
from tools.stopping import BODY, StoppingOperator

pytestmark = pytest.mark.e2e

ADMINS = [Admin("admin-one"), Admin("admin-two")]
FOREIGN = {**OTHERS, "clients": [admin.seed for admin in ADMINS]}
OTHER_SCOPE = "krr:global/kontaktinformasjon.read"
LAG = 7
"""Seconds by which the lists may lag behind; more than passes have at the end to come to theirs."""
HOLDERS = ("kube-controller-manager", "kube-scheduler")
"""Components with a Lease of their own: a long outage of the API server ends them, and nothing starts them here."""
NAMES = [f"app-{number}" for number in range(4)]


class Replicas:
    """The one that leads, by a proxy to the API server, and the one that stands by."""

    def __init__(self, stage, proxy, kubeconfigs):
        self.stage = stage
        self.proxy = proxy
        free_lease(stage.kube)
        self.since = stage.sequence
        self.tokens = [read_token_id(kubeconfig) for kubeconfig in kubeconfigs]
        self.first = self.start(0, proxy.kubeconfig)
        wait_for(self.first.leads, PATIENCE, "the first replica's lead")
        self.first.wait_ready(PATIENCE)
        self.second_kubeconfig = kubeconfigs[1]
        self.second = self.start(1, self.second_kubeconfig)
        self.second.wait_ready(PATIENCE)
        assert not self.second.leads()

    def start(self, number, kubeconfig, **settings):
        settings = {**SETTINGS, **ADMINS[number].settings(self.stage.folder), "list_lag": f"{LAG + 1}s", **settings}
        return self.stage.start_another(kubeconfig, StoppingOperator, **settings)

    def wait_for_takeover(self, seconds):
        """Wait until the second replica leads, and give how long that took."""
        started = time.monotonic()
        wait_for(self.second.leads, seconds, "the second replica's lead")
        return time.monotonic() - started

    def calls_of(self, number, since=0):
        entries = self.stage.simulator.control("GET", f"ledger?since={since}")["entries"]
        name = ADMINS[number].client_id
        return [one["operation"] for one in entries if name in (one["caller"], one["client_id"])]

    def close(self):
        for one in (self.first, self.second):
            if one.running:
                one.popen.send_signal(signal.SIGCONT)
            one.kill()


@pytest.fixture
def replicas(bare_stage, cluster, tmp_path):
    kubeconfigs = [tmp_path / f"kubeconfig-{number}" for number in range(2)]
    for path in kubeconfigs:  # each with a token of its own, by which the audit log tells them apart
        path.write_bytes(cluster.kubeconfig_of(SERVICE_ACCOUNT, NAMESPACE).read_bytes())
    with ApiServerProxy(kubeconfigs[0], tmp_path / "proxy") as proxy:
        replicas = Replicas(bare_stage, proxy, kubeconfigs)
        yield replicas
        replicas.close()
    for one in (replicas.first, replicas.second):
        assert "internal error" not in one.output()
        assert "Traceback" not in one.output()


def read_token_id(kubeconfig):
    token = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"]
    payload = token.split(".")[1]
    return "JTI=" + json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["jti"]


def change_much(stage, namespace):
    """Make some, edit one, take a Secret away."""
    for name in NAMES[1:]:
        stage.create(namespace, name)
    spec = {"spec": {"scopes": {"consumes": [{"name": OTHER_SCOPE}]}}}
    stage.kube.patch_client(namespace, NAMES[0], spec)
    stage.delete_secret(namespace, f"{NAMES[0]}-secret")


def assert_whole(stage, namespace):
    """Each has one client, and a Secret with a key of it."""
    for name in NAMES:
        stage.wait_ready(namespace, name)
        wanted = OTHER_SCOPE if name == NAMES[0] else SCOPE
        assert stage.registration(namespace, name)["scopes"] == [wanted]
        stage.wait_for_secret(namespace, f"{name}-secret")  # one that was deleted a moment ago may not be back yet
        wait_for(
            lambda: held_kid(stage.read_secret(namespace, f"{name}-secret")) in stage.kids(namespace, name),
            PATIENCE,
            "a registered key",
        )


def list_writers(audit):
    """Give the tokens of the operators that wrote anything but the Lease."""
    audit._settle()
    return {
        token
        for event in audit._read()
        if event["user"]["username"] == OPERATOR
        and event["verb"] not in READS
        and event.get("objectRef", {}).get("resource") != "leases"
        and event["responseStatus"]["code"] < 300
        for token in event["user"].get("extra", {}).get("authentication.kubernetes.io/credential-id", ())
    }


def test_one_that_stands_by_asks_digdir_nothing_and_writes_nothing(bare_stage, replicas, namespace, audit):
    bare_stage.create_ready(namespace, NAMES[0])

    assert replicas.calls_of(1) == []
    assert list_writers(audit) == {replicas.tokens[0]}
    assert replicas.second.metric("maskinporten_operator_resources") == 1
    assert replicas.second.is_alive()


def test_ended_in_order_the_other_takes_over_within_seconds(bare_stage, replicas, namespace):
    bare_stage.create_ready(namespace, NAMES[0])
    change_much(bare_stage, namespace)
    replicas.first.popen.terminate()
    wait_for(lambda: not find_holder(bare_stage.kube) or replicas.second.leads(), PATIENCE, "the released Lease")
    seconds = replicas.wait_for_takeover(PATIENCE)

    assert replicas.first.popen.wait(10) == 0
    assert_whole(bare_stage, namespace)
    assert seconds < 10  # 3 where nothing else is done


def test_what_the_one_before_registered_a_moment_ago_isnt_registered_again(bare_stage, replicas, namespace):
    bare_stage.simulator.control("PATCH", "settings", {"list_lag_seconds": LAG})
    number = bare_stage.fault("hold", when="after", method="POST", path="/clients$")
    bare_stage.create(namespace)
    bare_stage.wait_for_held(number)
    replicas.first.popen.terminate()
    replicas.wait_for_takeover(PATIENCE)
    bare_stage.clear_faults()

    bare_stage.wait_ready(namespace)
    assert len(bare_stage.registrations(namespace)) == 1
    assert replicas.first.popen.wait(10) == 0
    bare_stage.simulator.control("PATCH", "settings", {"list_lag_seconds": 0})


def test_what_is_created_again_after_the_takeover_gets_the_client_that_the_one_before_registered(
    bare_stage, replicas, namespace
):
    """Kubernetes says that the resource is new. Its client isn't, and a list that lags doesn't tell of it."""
    bare_stage.simulator.control("PATCH", "settings", {"list_lag_seconds": LAG})
    client_id = bare_stage.create_ready(namespace)["status"]["clientID"]
    bare_stage.delete(namespace)
    replicas.first.popen.terminate()
    replicas.wait_for_takeover(PATIENCE)
    bare_stage.create_ready(namespace, secret="another")  # the first one's is still to be removed

    assert [one["client_id"] for one in bare_stage.registrations(namespace)] == [client_id]
    assert replicas.first.popen.wait(10) == 0
    bare_stage.simulator.control("PATCH", "settings", {"list_lag_seconds": 0})


def test_with_a_lease_that_it_made_it_isnt_ready_while_a_new_resource_would_have_to_wait(bare_stage, replicas):
    for one in (replicas.first, replicas.second):
        one.kill()
    bare_stage.kube.request("DELETE", LEASE)
    replicas.second = replicas.start(1, replicas.second_kubeconfig, list_lag="1h")
    wait_for(replicas.second.leads, PATIENCE, "the lead by a new Lease")

    def read():
        url = f"http://127.0.0.1:{replicas.second.health_port}/readyz"
        return httpx.get(url, trust_env=False).text.splitlines()

    # It leads, and all else is there; the hour isn't over before the test is.
    wait_for(lambda: [line.split()[2] for line in read()] == ["LIST_LAG"], PATIENCE, "all but the one thing")
    assert not replicas.second.is_ready()


def test_killed_the_other_takes_over_when_the_lease_has_expired(bare_stage, replicas, namespace):
    bare_stage.create_ready(namespace, NAMES[0])
    change_much(bare_stage, namespace)
    replicas.first.kill()
    seconds = replicas.wait_for_takeover(PATIENCE)

    assert_whole(bare_stage, namespace)
    assert seconds < 40  # 20 where nothing else is done


def test_stopped_and_continued_it_writes_nothing_more_and_ends(bare_stage, replicas, namespace, audit):
    bare_stage.create_ready(namespace, NAMES[0])
    number = bare_stage.fault("hold", when="before", method="POST", path="/clients$")
    change_much(bare_stage, namespace)
    bare_stage.wait_for_held(number)
    os.kill(replicas.first.popen.pid, signal.SIGSTOP)
    bare_stage.clear_faults()
    replicas.wait_for_takeover(PATIENCE)
    assert_whole(bare_stage, namespace)
    audit.mark()
    since = bare_stage.sequence
    bare_stage.delete_secret(namespace, f"{NAMES[0]}-secret")
    os.kill(replicas.first.popen.pid, signal.SIGCONT)

    assert replicas.first.popen.wait(PATIENCE) in {1, EXIT_CODE}  # whether or not it was stopped within a call
    assert_whole(bare_stage, namespace)
    assert replicas.tokens[0] not in list_writers(audit)
    assert not {"create-client", "update-client", "replace-keys"} & set(replicas.calls_of(0, since))


@pytest.mark.parametrize(
    "write", ["POST /api/v1/clients HTTP", f"POST /api/v1/clients HTTP{BODY}", "PATCH /api/v1/namespaces/"]
)
def test_stopped_with_a_write_in_its_hand_and_continued_it_ends_without_sending_it(
    bare_stage, replicas, namespace, audit, write
):
    bare_stage.create_ready(namespace, NAMES[0])
    replicas.first.stop_at(write)
    change_much(bare_stage, namespace)
    replicas.first.wait_stopped(PATIENCE)
    replicas.wait_for_takeover(PATIENCE)
    assert_whole(bare_stage, namespace)
    audit.mark()
    since = bare_stage.sequence
    os.kill(replicas.first.popen.pid, signal.SIGCONT)

    assert replicas.first.popen.wait(PATIENCE) == EXIT_CODE
    assert_whole(bare_stage, namespace)
    assert replicas.tokens[0] not in list_writers(audit)
    assert replicas.calls_of(0, since) == []


def test_without_a_way_to_the_api_server_it_writes_nothing_more_and_ends_when_there_is_one(
    bare_stage, replicas, namespace, audit
):
    bare_stage.create_ready(namespace, NAMES[0])
    replicas.proxy.cut(off=True)
    change_much(bare_stage, namespace)
    replicas.wait_for_takeover(PATIENCE)
    since = bare_stage.sequence
    assert_whole(bare_stage, namespace)
    assert replicas.first.running
    assert not replicas.first.leads()
    assert replicas.calls_of(0, since) == []
    replicas.proxy.cut(off=False)

    assert replicas.first.popen.wait(PATIENCE) == 1
    assert "the Lease is held by" in replicas.first.output()


def test_after_an_outage_for_both_the_same_one_leads_on_without_a_restart(bare_stage, replicas, namespace, cluster):
    bare_stage.create_ready(namespace, NAMES[0])
    for component in ("kube-apiserver", *HOLDERS):
        cluster.stop_component(component, graceful=False)
    try:
        wait_for(lambda: not replicas.first.leads(), PATIENCE, "the end of its time")
        assert replicas.first.is_alive()
    finally:
        cluster.start_component("kube-apiserver")
        cluster.wait_ready()
        for component in HOLDERS:
            cluster.start_component(component)

    wait_for(replicas.first.leads, PATIENCE, "the first replica's lead")
    change_much(bare_stage, namespace)
    assert_whole(bare_stage, namespace)
    assert replicas.first.running
    assert replicas.second.running


def test_a_lease_that_is_deleted_is_made_anew_and_one_leads_by_it(bare_stage, replicas, namespace):
    bare_stage.create_ready(namespace, NAMES[0])
    bare_stage.kube.request("DELETE", LEASE)

    assert replicas.first.popen.wait(PATIENCE) == 1
    change_much(bare_stage, namespace)
    replicas.wait_for_takeover(PATIENCE)
    assert_whole(bare_stage, namespace)
