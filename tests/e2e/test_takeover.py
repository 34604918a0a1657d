"""What Digdirator, the Go operator of the NAIS platform, leaves behind: taken over, and finalized in the end."""

import pytest

from maskinporten_operator.model.maskinportenclient import DIGDIRATOR_FINALIZERS
from tests.e2e.keys import private_jwk, public_jwk
from tests.e2e.stage import FINALIZER, NUMBERS, PATIENCE, SCOPE, exposed, held_kid
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

SETTINGS = {"take_over_digdirator": "true", "resync_interval": "1h"}
SKATT = "974761076"


@pytest.fixture
def left(stage, namespace):
    """A resource with its client, scope, Secret and status, as Digdirator leaves them when it is switched off."""
    scope = f"nav:arbeid:left{next(NUMBERS)}.read"
    kid = "3f0e8a1c-0f51-4b6c-9b1e-5f5b6f1f7a11"
    registered = stage.simulator.control(
        "POST",
        "clients",
        {
            "client_name": "ARBEIDS- OG VELFERDSETATEN",
            "description": f"test:{namespace}:app",
            "integration_type": "maskinporten",
            "scopes": [SCOPE],
            "access_token_lifetime": 3600,
            "keys": [public_jwk(kid)],
        },
    )
    stage.simulator.control("POST", "scopes", {"name": scope, "description": f"arbeid - test:{namespace}:app"})
    stage.simulator.control("POST", "grants", {"scope": scope, "consumer_orgno": SKATT})
    stage.operator.stop()
    spec = {
        "secretName": "app-secret",
        "scopes": {"consumes": [{"name": SCOPE}], "exposes": [exposed(scope[11:], SKATT)]},
    }
    created = stage.kube.create_client(namespace, "app", spec, finalizers=list(DIGDIRATOR_FINALIZERS[:1]))
    owner = {
        "apiVersion": "nais.io/v1",
        "kind": "MaskinportenClient",
        "name": "app",
        "uid": created["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    values = {"MASKINPORTEN_CLIENT_ID": registered["client_id"], "MASKINPORTEN_CLIENT_JWK": private_jwk(kid)}
    labels = {"app": "app", "type": "maskinporten.nais.io"}
    stage.create_secret(namespace, "app-secret", values, labels=labels, ownerReferences=[owner])
    status = {
        "clientID": registered["client_id"],
        "keyIDs": [kid],
        "synchronizationState": "Synchronized",
        "synchronizationHash": "b4f5e1d3a9c2e7f0",
        "synchronizationSecretName": "app-secret",
        "correlationID": "0b7f3c1e-6e3c-4a55-8a71-0f6f0d3f1c22",
    }
    path = f"/apis/nais.io/v1/namespaces/{namespace}/maskinportenclients/app/status"
    stage.kube.request("PATCH", path, {"status": status}, "application/merge-patch+json")
    stage.start_ready()
    return registered["client_id"], kid, scope


def test_it_keeps_its_client_its_key_its_scope_and_its_consumers(stage, namespace, left):
    client_id, kid, scope = left

    client = stage.wait_ready(namespace)

    assert client["status"]["clientID"] == client_id
    assert stage.registration(namespace)["client_id"] == client_id
    assert stage.kids(namespace) == [kid]
    assert held_kid(stage.read_secret(namespace)) == kid
    assert stage.scope(scope)["description"] == f"test:{namespace}:app.{scope[4:]}"
    assert stage.consumers(scope) == {SKATT}
    calls = set(stage.writes())
    assert not {"create-client", "replace-keys", "create-scope", "grant-access", "revoke-access"} & calls


@pytest.mark.parametrize("seen", [True, False], ids=["after it was taken over", "before it ever was"])
def test_deleted_for_good_its_finalizers_go_too(stage, namespace, left, seen):
    client_id, _, scope = left
    if seen:
        stage.wait_ready(namespace)
        assert FINALIZER in stage.kube.find_client(namespace, "app")["metadata"]["finalizers"]
    stage.annotate(namespace, "app", delete="true")

    stage.delete(namespace)

    assert stage.registration(namespace)["client_id"] == client_id
    assert stage.registration(namespace)["active"] is False
    assert stage.scope(scope)["active"] is False
    assert stage.consumers(scope) == set()


def test_by_default_its_finalizers_go_and_nothing_at_digdir(stage, namespace, left):
    client_id, _, scope = left
    stage.wait_ready(namespace)

    stage.delete(namespace)

    assert stage.registration(namespace)["client_id"] == client_id
    assert stage.registration(namespace)["active"] is True
    assert stage.consumers(scope) == {SKATT}


def test_without_the_setting_its_finalizers_are_its_own(stage, namespace, left):
    stage.wait_ready(namespace)
    stage.restart(take_over_digdirator="false")

    stage.kube.delete_client(namespace, "app")
    wait_for(
        lambda: stage.kube.find_client(namespace, "app")["metadata"]["finalizers"] == [DIGDIRATOR_FINALIZERS[0]],
        PATIENCE,
        "our part of the deletion",
    )

    stage.restart()
    stage.wait_gone(namespace)
