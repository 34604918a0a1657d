import pytest

from tests.e2e.stage import held_kid

pytestmark = pytest.mark.e2e

# The lists lag behind the writes, and the operator knows by how much at most.
SETTINGS = {"list_lag": "6s", "key_grace": "1s"}
LAG_SECONDS = 5
LOST = {
    "dropped": {"kind": "drop", "when": "after"},
    "HTML": {"kind": "html", "when": "after"},
    "503": {"kind": "status", "status": 503, "when": "after"},
}


@pytest.fixture
def lagging(stage):
    stage.simulator.control("PATCH", "settings", {"list_lag_seconds": LAG_SECONDS})
    yield stage
    stage.simulator.control("PATCH", "settings", {"list_lag_seconds": 0})


def test_registrations_whose_answers_were_lost_are_found_again_and_not_doubled(lagging, namespace):
    stage = lagging
    for number, fault in enumerate(LOST.values()):
        stage.fault(**fault, method="POST", path="/clients$", skip=number)
    names = [f"app-{number}" for number in range(3)]
    for name in names:
        stage.create(namespace, name)
    for name in names:
        stage.wait_for_reason(namespace, name, "AwaitingList")

    for name in names:
        client = stage.wait_ready(namespace, name)
        registered = stage.registration(namespace, name)
        assert registered["client_id"] == client["status"]["clientID"]
        assert [key["kid"] for key in registered["keys"]] == [held_kid(stage.read_secret(namespace, f"{name}-secret"))]


def test_a_restart_in_the_lag_of_the_lists_doubles_nothing(lagging, namespace):
    stage = lagging
    number = stage.fault("hold", when="after", method="POST", path="/clients$")
    stage.create(namespace)
    stage.wait_for_held(number)
    stage.operator.kill()
    stage.clear_faults()
    stage.start_ready()

    stage.wait_ready(namespace)
    assert len(stage.registrations(namespace)) == 1
