"""Lists of DigDir's that fail while the operator starts: what doesn't need them goes on, and a refusal is no list."""

import pytest

from tests.e2e.stage import PATIENCE, SCOPE, held_kid
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

SETTINGS = {"resync_interval": "1h", "grant_max_age": "2s"}
GRANTED, OPEN = "krr:global/kontaktinformasjon.read", "udir:some.open.scope"


def test_started_while_the_open_scopes_cant_be_listed_it_repairs_secrets_and_registers_what_is_granted(
    stage, namespace
):
    stage.create_ready(namespace, "app", SCOPE, OPEN)
    before = stage.find_secret(namespace)
    assert stage.operator.stop() == 0
    stage.delete_secret(namespace)
    stage.fault("status", status=503, method="GET", path="/scopes/all$", times=None)

    operator = stage.start_ready()
    stage.wait_for_secret(namespace, unlike=before)
    stage.create_ready(namespace, "other", SCOPE, GRANTED)

    assert stage.calls("list-all-scopes")[-1]["status"] == 503
    assert sorted(stage.registration(namespace)["scopes"]) == sorted([SCOPE, OPEN])
    assert stage.read_secret(namespace)["MASKINPORTEN_SCOPES"] == f"{SCOPE} {OPEN}"
    assert held_kid(stage.read_secret(namespace)) in stage.kids(namespace)
    assert sorted(stage.registration(namespace, "other")["scopes"]) == sorted([SCOPE, GRANTED])
    assert "list not read" in operator.output()
    stage.wait_ready(namespace)


def test_while_the_open_scopes_cant_be_listed_digdir_itself_is_asked_for_them(stage, namespace):
    stage.restart()
    stage.fault("status", status=503, method="GET", path="/scopes/all$", times=None)
    stage.restart()
    stage.create(namespace, "app", SCOPE, OPEN, "ks:not.granted")
    condition = stage.wait_for_reason(namespace, "app", "ScopesNotGranted")

    assert "ks:not.granted (DigDir: Scope ks:not.granted is not accessible" in condition["message"]
    assert "open scopes, delegated scopes couldn't be read" in condition["message"]
    assert sorted(stage.registration(namespace)["scopes"]) == sorted([SCOPE, OPEN])
    assert stage.read_secret(namespace)["MASKINPORTEN_SCOPES"] == f"{SCOPE} {OPEN}"


def test_an_operator_whose_client_may_not_list_clients_registers_none_and_says_who_can_mend_it(stage, namespace):
    stage.create_ready(namespace)
    client_ids = {one["client_id"] for one in stage.simulator.clients()}
    assert stage.operator.stop() == 0

    operator = stage.start(admin_scopes="idporten:dcr.write idporten:scopes.write")
    stage.create(namespace, "new")
    condition = stage.wait_for_reason(namespace, "new", "ForbiddenByDigDir")
    wait_for(lambda: len(stage.calls("list-clients")) > 5, PATIENCE, "further attempts")

    assert condition["status"] == "Unknown"
    assert "does not have any of the required scopes: idporten:dcr.read" in condition["message"]
    assert "a cluster admin must check the rights" in condition["message"]
    assert not operator.is_ready()
    assert {one["client_id"] for one in stage.simulator.clients()} == client_ids
    assert stage.find_condition(namespace)["status"] == "True"

    stage.restart()
    stage.wait_ready(namespace, "new")
    assert len(stage.registrations(namespace, "new")) == len(stage.registrations(namespace)) == 1
