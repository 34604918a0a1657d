"""A life from end to end in an extreme of what DigDir may be like; every combination is in tests/adapters."""

import pytest

from tests.e2e.stage import PATIENCE, SCOPE, exposed, held_kid
from tests.manners import ODD
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

KOMMUNE, SKATT = "958935420", "974761076"


@pytest.fixture(scope="module")
def running(bare_stage):
    """DigDir is odd, and the operator has only the rights that it asks for by default."""
    bare_stage.simulator.control("PATCH", "settings", ODD)
    bare_stage.start_ready()
    return bare_stage


def test_client_and_scope_live_from_creation_to_deletion_for_good_and_again(stage, namespace):
    name = f"life.{namespace.rpartition('-')[2]}"  # no hyphens
    full = f"nav:arbeid:{name}"
    stage.create(namespace, spec={"scopes": {"consumes": [{"name": SCOPE}], "exposes": [exposed(name, KOMMUNE)]}})
    first = stage.wait_ready(namespace)["status"]["clientID"]
    assert held_kid(stage.read_secret(namespace)) in stage.kids(namespace)
    assert stage.consumers(full) == {KOMMUNE}

    secret = stage.find_secret(namespace)
    stage.annotate(namespace, "app", rotate="true")
    stage.wait_for_secret(namespace, unlike=secret)
    assert held_kid(stage.read_secret(namespace)) in stage.kids(namespace)

    stage.edit_exposed(namespace, "app", exposed(name, KOMMUNE, SKATT, enabled=False))
    wait_for(lambda: not stage.scope(full)["active"], PATIENCE, "an inactive scope")
    stage.restart()
    stage.edit_exposed(namespace, "app", exposed(name, SKATT))
    wait_for(lambda: stage.scope(full)["active"] and stage.consumers(full) == {SKATT}, PATIENCE, "an active scope")
    stage.edit_exposed(namespace, "app", exposed(name, SKATT, enabled=False))
    wait_for(lambda: not stage.scope(full)["active"], PATIENCE, "an inactive scope")

    stage.annotate(namespace, "app", delete="true")
    stage.delete(namespace)
    assert stage.registration(namespace)["active"] is False
    assert stage.consumers(full) == set()
    assert stage.scope(full)["active"] is False

    second = stage.create_ready(namespace)["status"]["clientID"]
    assert {one["client_id"]: one["active"] for one in stage.registrations(namespace)} == {first: False, second: True}
