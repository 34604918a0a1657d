"""A real Prometheus reads a real operator: each fault that the chart has an alert for is made, and each panel has data.

The rules are those of the chart but for their times, which are seconds here. That they fire and clear in their own
times is proven by promtool, in tests/alerts.
"""

import json
import os
import re
import time
from contextlib import contextmanager, suppress

import pytest

from tests.e2e.stage import PATIENCE, exposed, held_kid
from tests.metric_names import RULES
from tools.generate.__main__ import ROOT
from tools.generate.dashboard import DASHBOARD, substitute
from tools.kube import wait_for
from tools.programs import MissingToolError
from tools.prometheus import Prometheus

pytestmark = pytest.mark.e2e

SETTINGS = {"resync_interval": "2s", "workers": "2", "key_grace": "1h"}
TEXT = (ROOT / "deploy" / "chart" / "files" / "alerts.yaml").read_text()
HASTY = re.sub(r"for: \d+\w", "for: 1s", re.sub(r"\[\d+\w\]", "[6s]", TEXT))
PREFIX = "MaskinportenOperator"
FLEET = [f"app-{number}" for number in range(7)]
"""More than five that are gone are a mass."""
DAY = 86_400
WINDOW = {"__rate_interval": "6s"}
ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/maskinporten-operator"
SCOPE, NOT_GRANTED = "skatt:some.scope", "ks:not.granted"


@pytest.fixture(scope="module")
def running(bare_stage):
    """The stage with an operator that is ready, and seven resources that are."""
    bare_stage.start_ready()
    bare_stage.kube.create_namespace("fleet")
    for name in FLEET:
        bare_stage.create("fleet", name)
    for name in FLEET:
        bare_stage.wait_ready("fleet", name)
    return bare_stage


@pytest.fixture(scope="module")
def prometheus(running, tmp_path_factory):
    try:
        server = Prometheus(tmp_path_factory.mktemp("prometheus"), HASTY)
    except MissingToolError as error:
        if os.environ.get("ALL_TESTS") == "required":
            raise
        pytest.skip(str(error))
    with server:
        server.watch(running.operator)
        wait_for(lambda: server.query("maskinporten_operator_leader"), PATIENCE, "metrics")
        yield server


def firing(prometheus):
    """Give the annotations of each alert that fires."""
    return {one["labels"]["alertname"].removeprefix(PREFIX): one["annotations"] for one in prometheus.alerts()}


@contextmanager
def made(fault, *scene):
    """Make a fault, and end it, whatever happens meanwhile."""
    steps = fault(*scene)
    next(steps)
    try:
        yield
    finally:
        next(steps, None)


def digdir_is_down(stage, namespace, _):
    stage.fault("status", status=503, path="^/api/", times=None)
    stage.create(namespace)
    yield
    stage.clear_faults()
    stage.wait_ready(namespace)


def digdir_takes_the_right_to_register_clients(stage, namespace, _):
    stage.fault("status", status=403, method="POST", path="/clients$", times=None)
    stage.create(namespace)
    yield
    stage.clear_faults()
    stage.annotate(namespace, "app", resync="true")
    stage.wait_ready(namespace)


def maskinporten_refuses_the_operators_token(stage, namespace, _):
    stage.fault("status", status=400, path="^/token$", times=None, body={"error": "invalid_grant"})
    stage.fault("status", status=401, path="^/api/", times=None)
    stage.create(namespace)
    yield
    stage.clear_faults()
    stage.wait_ready(namespace)


def rights_in_the_cluster_are_lost(stage, namespace, prometheus):
    role = stage.kube.find(ROLE)
    lost = {"secrets", "maskinportenclients/status"}
    rules = [{**one, "resources": [name for name in one["resources"] if name not in lost]} for one in role["rules"]]
    patch_role(stage, [one for one in rules if one["resources"]])
    stage.create(namespace)
    refused = 'maskinporten_operator_reconcile_total{result="RefusedByCluster"}'
    wait_for(lambda: prometheus.query(refused), PATIENCE, "a refusal")
    stage.annotate(namespace, "app", resync="true")  # of the first one no increase is seen
    yield
    patch_role(stage, role["rules"])
    wait_for(stage.operator.is_ready, PATIENCE, "readiness")
    stage.annotate(namespace, "app", resync="true")
    stage.wait_ready(namespace)


def patch_role(stage, rules):
    stage.kube.request("PATCH", ROLE, {"rules": rules}, "application/merge-patch+json")


def all_clients_are_missing(stage, _, __):
    state = stage.simulator.control("GET", "state")
    stage.simulator.control("PUT", "state", {**state, "clients": []})
    stage.simulator.control("PATCH", "settings", {"empty_list_is_error": True})
    yield
    stage.simulator.control("PUT", "state", state)
    stage.simulator.control("PATCH", "settings", {"empty_list_is_error": False})


def the_operators_key_expires_in_three_days(stage, _, __):
    file = stage.simulator.admin_jwk_file
    as_it_was = file.read_text()
    file.write_text(json.dumps({**json.loads(as_it_was), "exp": time.time() + 3 * DAY}))
    ask_for_a_new_token(stage)
    yield
    file.write_text(json.dumps({**json.loads(as_it_was), "exp": time.time() + 300 * DAY}))
    ask_for_a_new_token(stage)


def ask_for_a_new_token(stage):
    """Let the operator read its credentials again, as it does before each token."""
    stage.fault("status", status=401, path="^/api/")
    stage.annotate("fleet", FLEET[0], resync="true")


def a_scope_is_taken_back(stage, namespace, _):
    stage.create_ready(namespace)
    stage.simulator.control("POST", "grants", {"scope": SCOPE, "state": "DENIED"})
    stage.annotate(namespace, "app", rotate="the first")
    yield
    stage.simulator.control("POST", "grants", {"scope": SCOPE, "state": "APPROVED"})
    stage.annotate(namespace, "app", rotate="the second")


def a_rotation_is_asked_for_again_and_again(stage, namespace, _):
    stage.create_ready(namespace)
    before = held_kid(stage.read_secret(namespace))
    stage.annotate(namespace, "app", rotate="true")
    wait_for(lambda: held_kid(stage.read_secret(namespace)) != before, PATIENCE, "the rotation")
    wait_for(lambda: "rotate" not in str(stage.kube.find_client(namespace, "app")["metadata"]), PATIENCE, "its end")
    stage.annotate(namespace, "app", rotate="true")
    yield
    stage.annotate(namespace, "app", rotate=None)


def keys_cant_be_registered_again(stage, namespace, _):
    stage.create_ready(namespace)
    stage.fault("status", status=500, method="POST", path="/jwks$", times=None)
    state = stage.simulator.control("GET", "state")
    for client in state["clients"]:
        if client["description"] == f"test:{namespace}:app":
            client["keys"] = [{**key, "exp": int(time.time()) + 9 * DAY} for key in client["keys"]]
    stage.simulator.control("PUT", "state", state)
    stage.annotate(namespace, "app", resync="true")
    yield
    stage.clear_faults()


def no_pass_gets_an_answer(stage, _, __):
    stage.fault("hold", path="/clients/", times=None)
    for name in FLEET:
        stage.annotate("fleet", name, resync="true")
    yield
    stage.clear_faults()


def a_scope_isnt_granted(stage, namespace, _):
    stage.create(namespace, "app", NOT_GRANTED)
    yield
    stage.delete(namespace)


def the_operator_is_killed(stage, _, prometheus):
    stage.operator.kill()
    yield
    prometheus.watch(stage.start_ready())


def the_operators_own_secret_is_missing(stage, namespace, prometheus):
    place = {"admin_key_rotation": "true", "admin_key_secret": f"{namespace}/admin/jwk.json"}
    prometheus.watch(stage.restart(**place))
    yield
    values = {"jwk.json": stage.simulator.admin_jwk_file.read_text()}
    stage.create_secret(namespace, "admin", values)
    prometheus.watch(stage.restart(**place))


FAULTS = {
    digdir_is_down: {"DigDirUnavailable", "ResourcesWaiting"},
    digdir_takes_the_right_to_register_clients: {"ForbiddenByDigDir"},
    maskinporten_refuses_the_operators_token: {"ForbiddenByDigDir"},
    rights_in_the_cluster_are_lost: {"NotReady", "RefusedByCluster", "StatusRefused"},
    all_clients_are_missing: {"MassAbsence"},
    the_operators_key_expires_in_three_days: {"CredentialsExpire"},
    a_scope_is_taken_back: {"NotVerified"},
    a_rotation_is_asked_for_again_and_again: {"NotRotated"},
    keys_cant_be_registered_again: {"KeysExpire"},
    no_pass_gets_an_answer: {"QueueStuck"},
    a_scope_isnt_granted: {"ResourcesNotReady"},
    the_operator_is_killed: {"NoLeader"},
    the_operators_own_secret_is_missing: {"AdminKeyNotRenewed"},
}


def test_nothing_fires_while_all_is_well(stage, prometheus):
    stage.wait_for_passes(3 * len(FLEET), stage.passes)

    assert prometheus.alerts() == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.__name__)
def test_the_alerts_of_a_fault_fire_and_clear_when_it_is_over(stage, namespace, prometheus, fault):
    fired = {}

    def have_fired():
        fired.update(firing(prometheus))
        return fired.keys() >= FAULTS[fault]

    with made(fault, stage, namespace, prometheus):
        wait_for(have_fired, PATIENCE, f"{FAULTS[fault]}")

    assert "error expanding" not in str(fired)
    wait_for(lambda: not firing(prometheus), PATIENCE, "the end of all alerts")


def test_every_panel_of_the_dashboard_has_data(stage, namespace, prometheus):
    file = stage.simulator.admin_jwk_file
    file.write_text(json.dumps({**json.loads(file.read_text()), "exp": int(time.time()) + 300 * DAY}))
    stage.create_secret(namespace, "admin", {"jwk.json": file.read_text()})
    place = {"admin_key_rotation": "true", "admin_key_secret": f"{namespace}/admin/jwk.json"}
    prometheus.watch(stage.restart(**place))
    stage.fault("status", status=503, method="POST", path="/clients$")
    stage.expose_ready(namespace, "api", exposed("read", "974761076"))
    stage.create(namespace, "waits", NOT_GRANTED)

    def find_empty():
        """Give the queries to which there is no answer but NaN, with their panels."""
        return {
            f"{panel['title']}: {target['expr']}"
            for panel in json.loads(DASHBOARD.read_text())["panels"]
            for target in panel.get("targets", ())
            if all(one["value"][1] == "NaN" for one in prometheus.query(substitute(target["expr"], **WINDOW)))
        }

    empty = find_empty()

    def is_full():
        empty.intersection_update(find_empty())
        return not empty

    with suppress(TimeoutError):
        wait_for(is_full, PATIENCE, "data")
    assert empty == set()


def test_a_fault_of_every_alert_is_made():
    assert set.union(*FAULTS.values()) == {rule["alert"].removeprefix(PREFIX) for rule in RULES}
