import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.keys import edit, private_jwk, public_jwk
from tests.e2e.stage import PATIENCE, held_kid
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

SETTINGS = {"key_grace": "1h"}
JWK = "MASKINPORTEN_CLIENT_JWK"
VALUES = [
    "MASKINPORTEN_CLIENT_ID",
    "MASKINPORTEN_ISSUER",
    "MASKINPORTEN_JWKS_URI",
    "MASKINPORTEN_SCOPES",
    "MASKINPORTEN_TOKEN_ENDPOINT",
    "MASKINPORTEN_WELL_KNOWN_URL",
]


def encoded(**values):
    return {"data": {name: b64encode(value.encode()).decode() for name, value in values.items()}}


def wait_for_values(stage, namespace, expected):
    wait_for(lambda: stage.read_secret(namespace) == expected, PATIENCE, "the values of before")


def test_a_deleted_secret_is_back_with_a_new_registered_key_and_the_same_client(stage, namespace, app):
    before = stage.find_secret(namespace)
    first = stage.read_secret(namespace)
    since = stage.sequence

    stage.delete_secret(namespace)
    stage.wait_for_secret(namespace, unlike=before)

    second = stage.read_secret(namespace)
    assert second["MASKINPORTEN_CLIENT_ID"] == first["MASKINPORTEN_CLIENT_ID"]
    assert held_kid(second) != held_kid(first)
    assert set(stage.kids(namespace)) == {held_kid(first), held_kid(second)}
    assert stage.writes(since) == ["replace-keys"]


def create_many(stage, namespace, count):
    names = [f"app-{number}" for number in range(count)]
    for name in names:
        stage.create(namespace, name)
    return {
        name: stage.wait_ready(namespace, name) and stage.read_secret(namespace, f"{name}-secret") for name in names
    }


@pytest.mark.parametrize("value", ["something else", None], ids=["edited", "removed"])
def test_every_value_is_put_back_without_a_new_key(stage, namespace, value):
    before = create_many(stage, namespace, len(VALUES))
    since = stage.sequence

    for name, edited in zip(before, VALUES, strict=True):
        patch = encoded(**{edited: value}) if value else {"data": {edited: None}}
        stage.patch_secret(namespace, patch, f"{name}-secret")
    for name, values in before.items():
        wait_for(lambda: stage.read_secret(namespace, f"{name}-secret") == values, PATIENCE, f"the values of {name}")

    assert stage.writes(since) == []


def swap(jwk):
    """The same key id with another key's numbers."""
    return edit(private_jwk("another"), kid=json.loads(jwk)["kid"])


GARBAGE = {
    "garbage": lambda _: "garbage",
    "empty": lambda _: "",
    "no object": lambda _: "[]",
    "another key": lambda _: private_jwk("another"),
    "the same key id with another key": swap,
    "a damaged private exponent": lambda jwk: edit(jwk, d="AQAB"),
    "the public half only": lambda jwk: json.dumps({k: v for k, v in json.loads(jwk).items() if k in "kty n e kid"}),
    "too deep": lambda _: "[" * 10_000,
}


def test_a_damaged_key_is_replaced_by_one_new_key(stage, namespace):
    many = create_many(stage, namespace, len(GARBAGE))
    since = stage.sequence

    for (name, before), damage in zip(many.items(), GARBAGE.values(), strict=True):
        stage.patch_secret(namespace, encoded(**{JWK: damage(before[JWK])}), f"{name}-secret")

    def find_new_key(name, before):
        jwk = stage.read_secret(namespace, f"{name}-secret")[JWK]
        return '"mpo-' in jwk and held_kid({JWK: jwk}) != held_kid(before)

    for (name, before), damage in zip(many.items(), GARBAGE, strict=True):
        wait_for(lambda: find_new_key(name, before), PATIENCE, f"a new key instead of {damage}")
        after = stage.read_secret(namespace, f"{name}-secret")
        assert sorted(stage.kids(namespace, name)) == sorted([held_kid(before), held_kid(after)]), damage
        assert {**after, JWK: ""} == {**before, JWK: ""}, damage
    assert stage.writes(since) == ["replace-keys"] * len(GARBAGE)


def test_a_removed_label_is_put_back_and_the_secret_managed_as_before(stage, namespace, app):
    before = stage.find_secret(namespace)
    values = stage.read_secret(namespace)
    since = stage.sequence

    stage.patch_secret(namespace, {"metadata": {"labels": None}})
    wait_for(
        lambda: stage.find_secret(namespace)["metadata"].get("labels") == before["metadata"]["labels"],
        PATIENCE,
        "the labels",
    )
    stage.patch_secret(namespace, encoded(MASKINPORTEN_ISSUER="elsewhere"))
    wait_for_values(stage, namespace, values)

    assert stage.writes(since) == []


def test_an_edited_owner_reference_is_put_back_and_other_owners_stay(stage, namespace, app):
    values = stage.read_secret(namespace)
    (own,) = stage.find_secret(namespace)["metadata"]["ownerReferences"]
    other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "00000000-0000-4000-8000-000000000000"}
    stage.kube.request(
        "POST", f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "other"}, "data": {}}
    )
    other["uid"] = stage.kube.find(f"/api/v1/namespaces/{namespace}/configmaps/other")["metadata"]["uid"]
    edited = {name: value for name, value in own.items() if name not in ("controller", "blockOwnerDeletion")}
    since = stage.sequence

    stage.patch_secret(namespace, {"metadata": {"ownerReferences": [edited, other]}})
    wait_for(
        lambda: own in stage.find_secret(namespace)["metadata"]["ownerReferences"], PATIENCE, "the reference of before"
    )

    owners = stage.find_secret(namespace)["metadata"]["ownerReferences"]
    assert sorted(owner["name"] for owner in owners) == ["app", "other"]
    assert stage.read_secret(namespace) == values
    assert stage.writes(since) == []


def test_a_secret_without_its_owner_reference_is_taken_back_and_a_forged_one_is_not(stage, namespace, app):
    owners, values = stage.find_secret(namespace)["metadata"]["ownerReferences"], stage.read_secret(namespace)
    since = stage.sequence

    stage.patch_secret(namespace, {"metadata": {"ownerReferences": None}})
    wait_for(lambda: stage.find_secret(namespace)["metadata"].get("ownerReferences") == owners, PATIENCE, "the owner")
    stage.patch_secret(namespace, {"metadata": {"ownerReferences": None}, **encoded(**{JWK: swap(values[JWK])})})
    condition = stage.wait_for_reason(namespace, "app", "SecretConflict")

    assert condition["status"] == "False"
    assert "ownerReferences" not in stage.find_secret(namespace)["metadata"]
    assert stage.read_secret(namespace) == {**values, JWK: swap(values[JWK])}
    assert stage.writes(since) == []


def test_of_two_owners_of_a_secret_the_controlling_one_is_ready_and_the_other_is_told(stage, namespace, app):
    other = stage.create_ready(namespace, "other")
    stage.kube.patch_client(namespace, "other", {"spec": {"secretName": "app-secret"}})
    stage.wait_for_reason(namespace, "other", "SecretConflict")
    (ours,) = stage.find_secret(namespace)["metadata"]["ownerReferences"]
    theirs = ours | {"name": "other", "uid": other["metadata"]["uid"]}

    stage.patch_secret(namespace, {"metadata": {"ownerReferences": [ours | {"controller": False}, theirs]}})
    stage.wait_ready(namespace, "other")
    condition = stage.wait_for_reason(namespace, "app", "SecretConflict")

    assert condition["status"] == "False"
    client_id = stage.read_secret(namespace)["MASKINPORTEN_CLIENT_ID"]
    assert client_id == stage.registration(namespace, "other")["client_id"]


def test_what_others_keep_in_the_secret_stays(stage, namespace, app):
    values = stage.read_secret(namespace)
    extra = {"data": {**encoded(EXTRA="kept")["data"], "MASKINPORTEN_ISSUER": None}}
    extra["metadata"] = {"labels": {"team": "some-team"}, "annotations": {"note": "kept"}}

    stage.patch_secret(namespace, extra)
    wait_for_values(stage, namespace, {**values, "EXTRA": "kept"})

    metadata = stage.find_secret(namespace)["metadata"]
    assert metadata["labels"]["team"] == "some-team"
    assert metadata["annotations"]["note"] == "kept"


def test_a_key_that_keeps_disappearing_is_minted_five_times_and_then_reported(stage, namespace, app):
    for _ in range(4):
        before = held_kid(stage.read_secret(namespace))
        stage.patch_secret(namespace, encoded(**{JWK: "garbage"}))
        wait_for(
            lambda: "mpo-" in stage.read_secret(namespace)[JWK] and held_kid(stage.read_secret(namespace)) != before,
            PATIENCE,
            "another key",
        )
    stage.patch_secret(namespace, encoded(**{JWK: "garbage"}))
    condition = stage.wait_for_reason(namespace, "app", "KeyChurn")

    assert condition["status"] == "False"
    assert "5 keys" in condition["message"]
    assert len(stage.kids(namespace)) == 5
    assert stage.read_secret(namespace)[JWK] == "garbage"


def test_keys_are_counted_by_client_also_if_its_resource_is_deleted_and_created_again(stage, namespace, app):
    client = stage.registration(namespace)["client_id"]
    since = stage.sequence
    for _ in range(7):
        stage.delete(namespace)
        wait_for(lambda: stage.find_secret(namespace) is None, PATIENCE, "the garbage collector")
        stage.create(namespace)
        wait_for(
            lambda: stage.find_condition(namespace).get("reason") in {"Synchronized", "KeyChurn"}, PATIENCE, "an end"
        )
    stage.wait_for_reason(namespace, "app", "KeyChurn")

    assert stage.registration(namespace)["client_id"] == client
    assert len(stage.calls("replace-keys", since)) == 4
    stage.restart()
    stage.wait_for_reason(namespace, "app", "KeyChurn")
    assert len(stage.calls("replace-keys", since)) == 4


def test_five_foreign_keys_are_reported_and_none_is_dropped(stage, namespace):
    kids = [f"foreign-{number}" for number in range(5)]
    stage.simulator.control(
        "POST",
        "clients",
        {
            "client_name": "by hand",
            "description": f"test:{namespace}:app",
            "integration_type": "maskinporten",
            "scopes": ["skatt:some.scope"],
            "keys": [public_jwk(kid) for kid in kids],
        },
    )
    since = stage.sequence
    stage.create(namespace)
    condition = stage.wait_for_reason(namespace, "app", "KeyLimitReached")

    assert condition["status"] == "False"
    assert all(kid in condition["message"] for kid in kids)
    assert sorted(stage.kids(namespace)) == kids
    assert "replace-keys" not in stage.writes(since)
    assert stage.find_secret(namespace) is None


def test_a_secret_that_isnt_ours_is_left_alone_and_nothing_is_registered(stage, namespace):
    before = stage.create_secret(namespace, "app-secret", {"password": "hunter2"})
    since = stage.sequence
    stage.create(namespace)
    condition = stage.wait_for_reason(namespace, "app", "SecretConflict")

    assert condition["status"] == "False"
    assert "choose another secretName" in condition["message"]
    assert stage.find_secret(namespace)["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert stage.writes(since) == []

    stage.kube.patch_client(namespace, "app", {"spec": {"secretName": "free"}})
    stage.wait_ready(namespace)
    assert stage.read_secret(namespace) == {"password": "hunter2"}


def test_of_two_resources_that_name_one_secret_the_first_has_it_and_the_other_follows(stage, namespace):
    stage.create_ready(namespace, "first", secret="shared")
    since = stage.sequence
    stage.create(namespace, "second", secret="shared")
    condition = stage.wait_for_reason(namespace, "second", "SecretConflict")
    values = stage.read_secret(namespace, "shared")

    assert condition["status"] == "False"
    assert "first" in condition["message"]
    assert values["MASKINPORTEN_CLIENT_ID"] == stage.registration(namespace, "first")["client_id"]
    assert stage.writes(since) == []
    stage.wait_ready(namespace, "first")

    stage.delete(namespace, "first")
    stage.wait_ready(namespace, "second")
    values = stage.read_secret(namespace, "shared")
    assert values["MASKINPORTEN_CLIENT_ID"] == stage.registration(namespace, "second")["client_id"]


def wait_until_older(resource):
    """Ages are told to the second: of two that were made within one, the uid decides which is the older."""
    made = datetime.fromisoformat(resource["metadata"]["creationTimestamp"])
    wait_for(lambda: datetime.now(UTC) > made + timedelta(seconds=1), PATIENCE, "the next second")


def test_who_waits_for_a_secret_name_follows_when_the_other_gives_it_up(stage, namespace):
    stage.fault("status", status=409, method="POST", path="/clients$")
    stage.create(namespace, "first", secret="shared")
    stage.wait_for_reason(namespace, "first", "RefusedByDigDir")
    wait_until_older(stage.kube.find_client(namespace, "first"))
    stage.create(namespace, "second", secret="shared")
    stage.wait_for_reason(namespace, "second", "SecretConflict")

    stage.kube.patch_client(namespace, "first", {"spec": {"secretName": "of-its-own"}})
    stage.wait_ready(namespace, "second")

    values = stage.read_secret(namespace, "shared")
    assert values["MASKINPORTEN_CLIENT_ID"] == stage.registration(namespace, "second")["client_id"]
    stage.wait_ready(namespace, "first")


def test_who_waits_for_a_secret_name_follows_when_the_other_is_deleted(stage, namespace):
    stage.fault("status", status=409, method="POST", path="/clients$")
    stage.create(namespace, "first", secret="shared")
    stage.wait_for_reason(namespace, "first", "RefusedByDigDir")
    wait_until_older(stage.kube.find_client(namespace, "first"))
    stage.create(namespace, "second", secret="shared")
    stage.wait_for_reason(namespace, "second", "SecretConflict")

    stage.delete(namespace, "first")
    stage.wait_ready(namespace, "second")


def test_the_secret_of_an_earlier_resource_of_the_same_name_is_waited_for(stage, namespace, app):
    stage.patch_secret(namespace, {"metadata": {"finalizers": ["tests.example/hold"]}})
    values = stage.read_secret(namespace)
    since = stage.sequence

    stage.delete(namespace)
    wait_for(
        lambda: stage.find_secret(namespace)["metadata"].get("deletionTimestamp"), PATIENCE, "the garbage collector"
    )
    stage.create(namespace)
    condition = stage.wait_for_reason(namespace, "app", "AwaitingSecretRemoval")
    assert condition["status"] == "Unknown"
    assert stage.read_secret(namespace) == values
    assert stage.writes(since) == []

    stage.patch_secret(namespace, {"metadata": {"finalizers": None}})
    after = stage.wait_ready(namespace)

    assert after["metadata"]["uid"] != app["metadata"]["uid"]
    assert after["status"]["clientID"] == app["status"]["clientID"]
    (owner,) = stage.find_secret(namespace)["metadata"]["ownerReferences"]
    assert owner["uid"] == after["metadata"]["uid"]
    assert held_kid(stage.read_secret(namespace)) in stage.kids(namespace)


def test_deleted_and_created_again_at_once_it_has_its_old_client_and_a_secret_that_works(stage, namespace, app):
    for _ in range(5):
        stage.kube.delete_client(namespace, "app")
        wait_for(lambda: stage.kube.find_client(namespace, "app") is None, PATIENCE, "the deletion")
        stage.create(namespace)
    after = stage.wait_ready(namespace)

    def is_whole():
        secret = stage.find_secret(namespace)
        if not secret or secret["metadata"]["ownerReferences"][0]["uid"] != after["metadata"]["uid"]:
            return False
        return held_kid(stage.read_secret(namespace)) in stage.kids(namespace)

    wait_for(is_whole, PATIENCE, "a Secret that works")
    assert after["status"]["clientID"] == app["status"]["clientID"]
    assert len(stage.registrations(namespace)) == 1
