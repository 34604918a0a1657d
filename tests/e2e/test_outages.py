import pytest

from tests.e2e.stage import PATIENCE, held_kid
from tools.kube import is_ready, wait_for

pytestmark = pytest.mark.e2e

SETTINGS = {"resync_interval": "30m"}
OTHER_SCOPE = "krr:global/kontaktinformasjon.read"
EDIT = {"spec": {"scopes": {"consumes": [{"name": OTHER_SCOPE}]}}}
RESOURCES = "maskinporten_operator_resources"


@pytest.fixture(scope="module")
def running(bare_stage, proxy):
    bare_stage.start_ready()
    return bare_stage


def converge(stage, namespace):
    for name in ("edited", "deleted", "untouched"):
        stage.create(namespace, name)
    for name in ("edited", "deleted", "untouched"):
        stage.wait_ready(namespace, name)
    assert stage.operator.metric(RESOURCES) == 3


def wait_for_complaint(stage, position):
    """Wait until the operator has noticed."""
    wait_for(lambda: "watch failed" in stage.operator.output()[position:], PATIENCE, "the operator's complaint")


def change_much(stage, namespace):
    """Edit one, make one, delete one past its finalizer, so that only a list tells that it is gone."""
    stage.kube.patch_client(namespace, "edited", EDIT)
    stage.create(namespace, "made")
    stage.kube.patch_client(namespace, "deleted", {"metadata": {"finalizers": None}})
    stage.delete(namespace, "deleted")


def assert_caught_up(stage, namespace, seconds=PATIENCE):
    stage.wait_ready(namespace, "edited", seconds)
    stage.wait_ready(namespace, "made", seconds)
    wait_for(lambda: stage.operator.metric(RESOURCES) == 3, seconds, "the end of what was deleted")
    assert stage.registration(namespace, "edited")["scopes"] == [OTHER_SCOPE]
    assert is_ready(stage.kube.find_client(namespace, "untouched"))
    for name in ("edited", "made", "untouched"):
        assert stage.kids(namespace, name) == [held_kid(stage.read_secret(namespace, f"{name}-secret"))]
    assert stage.registration(namespace, "deleted")["active"] is True


@pytest.mark.parametrize("status", [503, 429])
def test_after_an_api_server_in_need_everything_is_caught_up_with(stage, namespace, proxy, status):
    converge(stage, namespace)
    position = len(stage.operator.output())

    proxy.refuse(status)
    try:
        wait_for_complaint(stage, position)
        change_much(stage, namespace)
    finally:
        proxy.refuse(None)

    assert_caught_up(stage, namespace)


def test_after_an_api_server_that_was_killed_everything_is_caught_up_with(stage, namespace, proxy, cluster):
    converge(stage, namespace)
    position = len(stage.operator.output())

    cluster.stop_component("kube-apiserver", graceful=False)
    try:
        wait_for_complaint(stage, position)
        assert stage.operator.running
        proxy.refuse(503)
    finally:
        cluster.start_component("kube-apiserver")
        cluster.wait_ready()
    try:
        change_much(stage, namespace)
    finally:
        proxy.refuse(None)

    assert_caught_up(stage, namespace)


def test_a_secret_that_went_in_the_outage_is_back_after_it(stage, namespace, proxy):
    stage.create_ready(namespace)
    before = stage.find_secret(namespace)
    position = len(stage.operator.output())

    proxy.refuse(503)
    try:
        wait_for_complaint(stage, position)
        stage.delete_secret(namespace)
    finally:
        proxy.refuse(None)

    stage.wait_for_secret(namespace, unlike=before)
    wait_for(lambda: held_kid(stage.read_secret(namespace)) in stage.kids(namespace), PATIENCE, "a registered key")


def test_started_while_the_api_server_is_in_need_it_waits_and_then_works(stage, namespace, proxy):
    stage.create_ready(namespace)
    stage.operator.stop()
    proxy.refuse(503)
    try:
        operator = stage.start()
        operator.wait_for_output("waiting", PATIENCE)
        assert operator.running
    finally:
        proxy.refuse(None)

    operator.wait_ready(PATIENCE)
    stage.kube.patch_client(namespace, "app", EDIT)
    stage.wait_ready(namespace)


def test_started_while_digdir_is_down_it_says_so_and_then_works(stage, namespace):
    stage.operator.stop()
    stage.fault("status", status=503, times=None)
    operator = stage.start()
    stage.create(namespace)
    condition = stage.wait_for_reason(namespace, "app", "DigDirUnavailable")
    assert condition["status"] == "Unknown"
    assert operator.running
    assert not operator.is_ready()

    stage.clear_faults()
    operator.wait_ready(PATIENCE)
    stage.wait_ready(namespace)


def test_a_token_that_digdir_no_longer_takes_is_renewed_once(stage, namespace):
    stage.create_ready(namespace, "first")
    since = stage.sequence
    stage.fault("status", status=401, method="POST", path="/clients$")
    stage.create_ready(namespace, "second")

    assert len(stage.calls("token", since)) == 2  # the other one verifies the second client
    assert [call["status"] for call in stage.calls("create-client", since)] == [401, 201]


def test_an_operator_whose_own_client_is_unknown_says_who_can_mend_it(stage, namespace):
    stage.operator.stop()
    stage.start(admin_client_id="nobody")
    stage.create(namespace)
    condition = stage.wait_for_reason(namespace, "app", "ForbiddenByDigDir")
    assert condition["status"] != "True"
    assert "a cluster admin must check its client id, key and scopes" in condition["message"]

    stage.operator.stop()
    stage.start_ready()
    stage.wait_ready(namespace)
