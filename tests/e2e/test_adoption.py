import copy

import pytest

from tests.e2e.keys import public_jwk
from tests.e2e.stage import held_kid

pytestmark = pytest.mark.e2e

SETTINGS = {"key_grace": "1h"}


@pytest.fixture
def register(stage, namespace):
    """Register a client by hand, past the operator."""

    def register(description="app", **fields):
        client = {
            "client_name": "by hand",
            "description": f"test:{namespace}:{description}",
            "integration_type": "maskinporten",
            "scopes": ["skatt:some.scope"],
            **fields,
        }
        return stage.simulator.control("POST", "clients", client)["client_id"]

    return register


@pytest.fixture
def change(stage):
    """Change a client by hand, past the operator."""

    def change(client_id, **fields):
        state = stage.simulator.control("GET", "state")
        next(one for one in state["clients"] if one["client_id"] == client_id).update(fields)
        stage.simulator.control("PUT", "state", state)

    return change


def test_a_client_whose_description_was_fixed_a_moment_before_is_adopted_and_not_doubled(
    stage, namespace, register, change
):
    by_hand = register("misspelt", keys=[public_jwk("by-hand")], logo_uri="https://logo.example/nav.svg")
    since = stage.sequence

    change(by_hand, description=f"test:{namespace}:app")
    client = stage.create_ready(namespace)

    assert client["status"]["clientID"] == by_hand
    registered = stage.registration(namespace)
    assert registered["client_id"] == by_hand
    assert registered["logo_uri"] == "https://logo.example/nav.svg"
    assert set(stage.kids(namespace)) == {"by-hand", held_kid(stage.read_secret(namespace))}
    assert "create-client" not in stage.writes(since)


def test_a_client_that_was_given_another_description_is_released_and_nothing_is_changed(stage, namespace, app, change):
    own = app["status"]["clientID"]
    values = stage.read_secret(namespace)
    since = stage.sequence

    change(own, description="given to somebody else")
    before = copy.deepcopy(next(one for one in stage.simulator.clients() if one["client_id"] == own))
    stage.annotate(namespace, "app", resync="true")
    condition = stage.wait_for_reason(namespace, "app", "RegistrationReleased", seconds=20)

    assert condition["status"] == "False"
    assert own in condition["message"]
    assert stage.writes(since) == []
    assert stage.registrations(namespace) == []
    assert next(one for one in stage.simulator.clients() if one["client_id"] == own) == before
    assert stage.read_secret(namespace) == values

    change(own, description=f"test:{namespace}:app")
    stage.kube.patch_client(namespace, "app", {"metadata": {"labels": {"look": "again"}}})
    stage.wait_ready(namespace)
    assert stage.registration(namespace)["client_id"] == own
