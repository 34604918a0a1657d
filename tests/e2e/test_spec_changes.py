import time

import pytest

from tests.e2e.keys import public_jwk
from tests.e2e.stage import DEFAULT_SCOPE, PATIENCE, held_kid
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

EXPIRES = int(time.time()) + 1_000_000
TWO = ("skatt:some.scope", "krr:global/kontaktinformasjon.read")


def consuming(*scopes):
    return {"spec": {"scopes": {"consumes": [{"name": scope} for scope in scopes]}}}


def test_a_changed_spec_is_put_with_foreign_fields_and_keys_as_they_were(stage, namespace):
    foreign = {"logo_uri": "https://logo.example/nav.svg", "authorization_lifetime": 4711}
    stage.simulator.control(
        "POST",
        "clients",
        {
            "client_name": "by hand",
            "description": f"test:{namespace}:app",
            "integration_type": "maskinporten",
            "scopes": ["skatt:some.scope"],
            "keys": [public_jwk("by-hand", exp=EXPIRES)],
            **foreign,
        },
    )
    client = stage.create_ready(namespace)
    stage.kube.patch_client(namespace, "app", consuming(*TWO))
    changed = stage.wait_ready(namespace)

    registered = stage.registration(namespace)
    assert {name: registered[name] for name in foreign} == foreign
    assert sorted(registered["scopes"]) == sorted(TWO)
    assert {"by-hand", held_kid(stage.read_secret(namespace))} == set(stage.kids(namespace))
    assert next(key["exp"] for key in registered["keys"] if key["kid"] == "by-hand") == EXPIRES
    assert changed["status"]["clientID"] == client["status"]["clientID"] == registered["client_id"]
    assert changed["status"]["observedGeneration"] == 2


def test_one_change_is_one_put_and_one_secret_and_is_told_and_verified(stage, namespace, app, audit):
    key = held_kid(stage.read_secret(namespace))
    audit.mark()
    since = stage.sequence

    stage.kube.patch_client(namespace, "app", consuming(*TWO))
    stage.wait_ready(namespace)
    assert len(stage.calls("token", since)) == 1

    assert stage.writes(since) == ["update-client"]
    writes = [write.resource for write in audit.count(namespace)]
    assert sorted(writes) == ["maskinportenclients/status", "maskinportenclients/status", "secrets"]
    assert held_kid(stage.read_secret(namespace)) == key
    assert stage.kids(namespace) == [key]


@pytest.mark.parametrize("scopes", [TWO, TWO[::-1]], ids=["one order", "the other order"])
def test_the_secret_has_the_scopes_in_the_order_of_the_spec(stage, namespace, scopes):
    client = stage.create_ready(namespace, "app", *scopes)

    assert stage.read_secret(namespace)["MASKINPORTEN_SCOPES"] == " ".join(scopes)
    assert client["status"]["registeredScopes"] == list(scopes)


def test_a_new_order_of_scopes_is_no_change_at_digdir(stage, namespace):
    stage.create_ready(namespace, "app", *TWO)
    since = stage.sequence

    stage.kube.patch_client(namespace, "app", consuming(*TWO[::-1]))
    stage.wait_ready(namespace)

    wait_for(
        lambda: stage.read_secret(namespace)["MASKINPORTEN_SCOPES"] == " ".join(TWO[::-1]), PATIENCE, "the new order"
    )
    assert stage.writes(since) == []


def test_a_spec_that_consumes_nothing_gets_the_default_scope(stage, namespace):
    client = stage.create_ready(namespace, spec={"scopes": {}})

    assert stage.registration(namespace)["scopes"] == [DEFAULT_SCOPE]
    assert stage.read_secret(namespace)["MASKINPORTEN_SCOPES"] == DEFAULT_SCOPE
    assert client["status"]["registeredScopes"] == [DEFAULT_SCOPE]


def test_the_default_scope_gives_way_to_consumed_ones_and_comes_back(stage, namespace):
    stage.create_ready(namespace, spec={"scopes": {}})
    stage.kube.patch_client(namespace, "app", consuming("skatt:some.scope"))
    stage.wait_ready(namespace)
    assert stage.registration(namespace)["scopes"] == ["skatt:some.scope"]

    stage.kube.patch_client(namespace, "app", {"spec": {"scopes": {"consumes": []}}})
    stage.wait_ready(namespace)

    assert stage.registration(namespace)["scopes"] == [DEFAULT_SCOPE]
    assert stage.read_secret(namespace)["MASKINPORTEN_SCOPES"] == DEFAULT_SCOPE


def test_the_name_at_digdir_is_that_of_the_spec_or_the_configured_one(stage, namespace):
    stage.create_ready(namespace, "named", spec={"clientName": "Et navn på norsk: æøå"})
    stage.create_ready(namespace, "unnamed")

    assert stage.registration(namespace, "named")["client_name"] == "Et navn på norsk: æøå"
    assert stage.registration(namespace, "unnamed")["client_name"] == "maskinporten-operator"


def test_edits_that_come_thick_and_fast_end_in_the_last_one(stage, namespace):
    stage.create(namespace)
    for _ in range(15):
        stage.kube.patch_client(namespace, "app", consuming(*TWO))
        stage.kube.patch_client(namespace, "app", consuming(TWO[1]))
    client = stage.wait_ready(namespace)

    assert stage.registration(namespace)["scopes"] == [TWO[1]]
    assert stage.read_secret(namespace)["MASKINPORTEN_SCOPES"] == TWO[1]
    assert stage.kids(namespace) == client["status"]["keyIDs"] == [held_kid(stage.read_secret(namespace))]


def test_a_new_secret_name_gets_a_secret_with_a_registered_key_and_the_same_client(stage, namespace, app):
    stage.kube.patch_client(namespace, "app", {"spec": {"secretName": "another-secret"}})
    changed = stage.wait_ready(namespace)

    values = stage.read_secret(namespace, "another-secret")
    assert values["MASKINPORTEN_CLIENT_ID"] == app["status"]["clientID"]
    assert held_kid(values) in stage.kids(namespace)
    assert changed["status"]["synchronizationSecretName"] == "another-secret"
    stage.wait_for_reason(namespace, "app", "SupersededSecrets", kind="SecretUnique")
    assert held_kid(stage.read_secret(namespace)) in stage.kids(namespace)

    stage.delete_secret(namespace)
    wait_for(lambda: not stage.find_condition(namespace, kind="SecretUnique"), PATIENCE, "one Secret")


def test_the_rotate_annotation_is_carried_out_once_and_taken_off(stage, namespace, app):
    first = held_kid(stage.read_secret(namespace))

    stage.annotate(namespace, "app", rotate="true")
    wait_for(lambda: held_kid(stage.read_secret(namespace)) != first, PATIENCE, "another key")
    wait_for(
        lambda: not stage.kube.find_client(namespace, "app")["metadata"].get("annotations"), PATIENCE, "no annotation"
    )
    passes = stage.passes
    stage.kube.patch_client(namespace, "app", {"metadata": {"labels": {"a": "pass"}}})
    stage.wait_for_passes(1, passes)

    assert sorted(stage.kids(namespace)) == sorted([first, held_kid(stage.read_secret(namespace))])


def test_drift_at_digdir_is_put_right_when_a_resync_is_asked_for(stage, namespace, app):
    state = stage.simulator.control("GET", "state")
    for one in state["clients"]:
        if one["description"] == f"test:{namespace}:app":
            one |= {"scopes": [DEFAULT_SCOPE], "client_name": "Renamed by hand"}
    stage.simulator.control("PUT", "state", state)

    stage.annotate(namespace, "app", resync="true")
    wait_for(lambda: stage.registration(namespace)["scopes"] == ["skatt:some.scope"], PATIENCE, "the scopes again")

    assert stage.registration(namespace)["client_name"] == "maskinporten-operator"
    wait_for(
        lambda: not stage.kube.find_client(namespace, "app")["metadata"].get("annotations"), PATIENCE, "no annotation"
    )
