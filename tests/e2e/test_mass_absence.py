import pytest

from tests.e2e.stage import PATIENCE
from tools.kube import wait_for
from tools.stack import Simulator

pytestmark = pytest.mark.e2e

SETTINGS = {"resync_interval": "2s", "key_pool_size": "32", "key_grace": "1h"}
NAMES = [f"app-{number}" for number in range(30)]


@pytest.fixture(scope="module")
def fleet(running):
    """Thirty resources that are Ready, and the state of DigDir then: more than five that are gone are a mass."""
    namespace = "fleet"
    running.kube.create_namespace(namespace)
    for name in NAMES:
        running.create(namespace, name)
    for name in NAMES:
        running.wait_ready(namespace, name)
    return namespace, running.simulator.control("GET", "state")


def ready_by_name(stage, namespace):
    path = f"/apis/nais.io/v1/namespaces/{namespace}/maskinportenclients"
    found = {}
    for client in stage.kube.request("GET", path)["items"]:
        ready = next(one for one in client["status"]["conditions"] if one["type"] == "Ready")
        found[client["metadata"]["name"]] = (ready["status"], ready["reason"])
    return found


def wait_for_all(stage, namespace, status, reason):
    expected = dict.fromkeys(NAMES, (status, reason))
    wait_for(lambda: ready_by_name(stage, namespace) == expected, PATIENCE, f"{reason} of all")


def made_by_operators(simulator):
    return [one["description"] for one in simulator.clients() if one["description"].startswith("test:")]


def test_an_empty_list_is_not_believed_while_each_client_can_still_be_read(stage, fleet):
    namespace, _ = fleet
    stage.fault("empty-list-error", method="GET", path="/clients$", times=None)
    since, passes = stage.sequence, stage.passes

    stage.wait_for_passes(2 * len(NAMES), passes)

    assert set(ready_by_name(stage, namespace).values()) == {("True", "Synchronized")}
    assert stage.writes(since) == []
    assert len(stage.calls("list-clients", since)) >= 2


def test_when_all_clients_are_gone_nothing_is_made_anew_and_every_resource_says_so(stage, fleet):
    namespace, state = fleet
    since = stage.sequence
    stage.simulator.control("PUT", "state", {**state, "clients": []})
    stage.simulator.control("PATCH", "settings", {"empty_list_is_error": True})

    wait_for_all(stage, namespace, "Unknown", "MassAbsence")
    passes = stage.passes
    stage.wait_for_passes(2 * len(NAMES), passes)
    condition = stage.find_condition(namespace, NAMES[0])
    assert "30 of 30" in condition["message"]
    assert "cluster admin" in condition["message"]
    assert stage.writes(since) == []

    stage.simulator.control("PUT", "state", state)
    stage.simulator.control("PATCH", "settings", {"empty_list_is_error": False})
    wait_for_all(stage, namespace, "True", "Synchronized")
    assert stage.writes(since) == []


def test_a_single_client_that_is_gone_is_made_anew_when_a_second_look_says_the_same(stage, fleet):
    namespace, _ = fleet
    state = stage.simulator.control("GET", "state")
    gone = next(one for one in state["clients"] if one["description"] == f"test:{namespace}:app-0")
    state["clients"].remove(gone)
    since = stage.sequence
    stage.simulator.control("PUT", "state", state)

    condition = stage.wait_for_reason(namespace, "app-0", "RegistrationAbsent")
    assert condition["status"] == "Unknown"
    assert gone["client_id"] in condition["message"]
    assert stage.writes(since) == []

    client = stage.wait_ready(namespace, "app-0", seconds=120)
    assert client["status"]["clientID"] != gone["client_id"]
    assert stage.registration(namespace, "app-0")["client_id"] == client["status"]["clientID"]
    values = stage.read_secret(namespace, "app-0-secret")
    assert values["MASKINPORTEN_CLIENT_ID"] == client["status"]["clientID"]
    assert stage.writes(since) == ["create-client", "replace-keys"]


def test_behind_a_swapped_address_nothing_is_registered(stage, fleet, tmp_path):
    namespace, _ = fleet
    with Simulator(tmp_path) as other:
        stage.restart(
            digdir_base_url=other.url,
            maskinporten_well_known_url=other.well_known_url,
            admin_jwk_file=str(other.admin_jwk_file),
        )
        wait_for_all(stage, namespace, "Unknown", "MassAbsence")
        stage.wait_for_passes(2 * len(NAMES), stage.passes)
        assert made_by_operators(other) == []

    stage.restart()
    wait_for_all(stage, namespace, "True", "Synchronized")
