import copy
import time

import pytest

from tests.e2e.keys import public_jwk
from tests.e2e.stage import PATIENCE, held_kid
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

SETTINGS = {"key_grace": "1h"}
NOW = int(time.time())


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


def test_an_adopted_key_that_lasts_shorter_keeps_its_end(stage, namespace, register):
    register(keys=[public_jwk("by-hand", exp=NOW + 4711)])
    stage.create_ready(namespace)

    (key,) = (one for one in stage.registration(namespace)["keys"] if one["kid"] == "by-hand")
    assert key["exp"] == NOW + 4711


@pytest.mark.parametrize(
    "fields",
    [{"active": False}, {"integration_type": "api_klient"}],
    ids=["inactive", "of another integration type"],
)
def test_a_client_that_isnt_usable_is_never_adopted_and_stays_as_it_is(stage, namespace, register, fields):
    other = register(**fields)
    before = next(one for one in stage.registrations(namespace) if one["client_id"] == other)

    client = stage.create_ready(namespace)

    assert client["status"]["clientID"] != other
    by_id = {one["client_id"]: one for one in stage.registrations(namespace)}
    assert set(by_id) == {other, client["status"]["clientID"]}
    assert by_id[other] == before


@pytest.mark.parametrize("description", ["App", "app-2", "app ", " app"])
def test_a_description_that_is_only_like_ours_is_somebody_elses(stage, namespace, register, description):
    register(description)

    client = stage.create_ready(namespace)

    assert stage.registration(namespace)["client_id"] == client["status"]["clientID"]
    (other,) = stage.registrations(namespace, description)
    assert (other["client_name"], other["keys"]) == ("by hand", [])


def test_of_several_the_oldest_is_adopted_and_the_others_are_named(stage, namespace, register):
    younger = register(created=NOW - 1000)
    oldest = register(created=NOW - 3000)
    middle = register(created=NOW - 2000)

    client = stage.create_ready(namespace)
    condition = stage.find_condition(namespace, kind="RegistrationUnique")

    assert client["status"]["clientID"] == oldest
    assert condition["status"] == "False"
    assert younger in condition["message"]
    assert middle in condition["message"]
    assert oldest not in condition["message"]
    others = [one for one in stage.registrations(namespace) if one["client_id"] != oldest]
    assert [one["keys"] for one in others] == [[], []]


def test_of_several_the_one_in_the_secret_wins_or_else_the_one_in_the_status(stage, namespace, app, register):
    own = app["status"]["clientID"]
    before = stage.find_secret(namespace)
    older = register(created=NOW - 5000)

    stage.annotate(namespace, "app", resync="true")
    stage.restart()
    condition = stage.wait_for_reason(namespace, "app", "DuplicateRegistrations", kind="RegistrationUnique")
    assert older in condition["message"]
    assert stage.find_secret(namespace)["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]

    stage.delete_secret(namespace)
    stage.wait_for_secret(namespace, unlike=before)
    assert stage.read_secret(namespace)["MASKINPORTEN_CLIENT_ID"] == own
    untouched = next(one for one in stage.registrations(namespace) if one["client_id"] == older)
    assert untouched["keys"] == []


def test_the_condition_about_others_goes_when_they_are_gone(stage, namespace, app, register, change):
    older = register(created=NOW - 5000)
    stage.restart()
    stage.wait_for_reason(namespace, "app", "DuplicateRegistrations", kind="RegistrationUnique")

    change(older, active=False)
    stage.restart()

    wait_for(
        lambda: stage.find_condition(namespace, kind="RegistrationUnique").get("status") != "False",
        PATIENCE,
        "the end of the condition",
    )
    stage.wait_ready(namespace)


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


def test_a_released_client_is_noticed_after_a_restart_too(stage, namespace, app, change):
    own = app["status"]["clientID"]
    since = stage.sequence

    change(own, description="given to somebody else")
    stage.restart()
    stage.wait_for_reason(namespace, "app", "RegistrationReleased")

    assert stage.writes(since) == []
