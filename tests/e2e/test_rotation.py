"""A rotation, while Maskinporten learns of keys late: a workload that asks all the time is never refused a token."""

import pytest

from tests.e2e.stage import PATIENCE, held_kid
from tools.demo.token import find_refusal
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

PROPAGATION = 4


@pytest.fixture(autouse=True, scope="module")
def late(running):
    """Maskinporten knows of clients and keys some seconds after DigDir."""
    running.simulator.control("PATCH", "settings", {"propagation_delay_seconds": PROPAGATION})
    yield
    running.simulator.control("PATCH", "settings", {"propagation_delay_seconds": 0})


def verified(stage, namespace):
    condition = stage.find_condition(namespace, kind="Verified")
    return condition["status"], condition["reason"]


def test_a_new_client_is_ready_at_once_and_verified_when_maskinporten_knows_it(stage, namespace):
    stage.create(namespace)
    stage.wait_for_reason(namespace, "app", "Synchronized")

    assert verified(stage, namespace) == ("Unknown", "WaitingForPropagation")

    wait_for(lambda: verified(stage, namespace) == ("True", "TokenIssued"), PATIENCE, "the proof")


def test_no_token_is_refused_during_a_rotation(stage, namespace):
    stage.create_ready(namespace)
    before, refusals = held_kid(stage.read_secret(namespace)), []
    stage.annotate(namespace, "app", rotate="true")

    def has_rotated():
        values = stage.read_secret(namespace)
        refusals.append(find_refusal(values))
        return held_kid(values) != before and verified(stage, namespace) == ("True", "TokenIssued")

    wait_for(has_rotated, PATIENCE + PROPAGATION, "the rotation")

    assert set(refusals) == {None}
    assert len(refusals) > PROPAGATION
    assert before in stage.kids(namespace)
    assert len(stage.kids(namespace)) == 2


def test_a_restart_in_the_middle_of_a_rotation_leaves_no_key_behind(stage, namespace):
    stage.create_ready(namespace)
    before = held_kid(stage.read_secret(namespace))
    stage.annotate(namespace, "app", rotate="true")
    wait_for(lambda: len(stage.kids(namespace)) == 2, PATIENCE, "the new key")
    (waiting,) = set(stage.kids(namespace)) - {before}

    stage.operator.kill()
    stage.start_ready()
    wait_for(lambda: held_kid(stage.read_secret(namespace)) != before, PATIENCE + PROPAGATION, "the rotation")

    assert set(stage.kids(namespace)) == {before, held_kid(stage.read_secret(namespace))}
    assert waiting not in stage.kids(namespace)


def test_a_request_that_is_put_back_is_one_rotation_and_whoever_sets_it_is_named(stage, namespace):
    stage.create_ready(namespace)
    before = held_kid(stage.read_secret(namespace))
    stage.annotate(namespace, "app", rotate="true")

    def has_been_told():
        client = stage.kube.find_client(namespace, "app")
        return client["status"]["key"]["id"] != before and "rotate" not in str(client["metadata"])

    wait_for(has_been_told, PATIENCE + PROPAGATION, "the rotation, in the status too")

    stage.annotate(namespace, "app", rotate="true")
    condition = stage.wait_for_reason(namespace, "app", "RequestRepeated", kind="Rotated")

    assert "(set by " in condition["message"]
    assert stage.find_condition(namespace)["status"] == "True"
    assert len(stage.kids(namespace)) == 2
