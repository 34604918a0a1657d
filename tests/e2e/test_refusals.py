"""What DigDir refuses, and its faults, one of each kind: all of them are tried in tests/unit/test_pass_faults.py."""

import itertools

import httpx
import pytest

from tests.e2e.stage import PATIENCE
from tools.kube import is_ready, wait_for

pytestmark = pytest.mark.e2e

SETTINGS = {"key_grace": "1h"}
UNGRANTED = "ks:not.granted"


def consuming(*scopes):
    return {"spec": {"scopes": {"consumes": [{"name": scope} for scope in scopes]}}}


def test_a_scope_that_isnt_granted_is_named_after_one_refused_update_and_an_edit_mends_it_at_once(
    stage, namespace, app
):
    since = stage.sequence
    stage.create(namespace, "refused", UNGRANTED)
    condition = stage.wait_for_reason(namespace, "refused", "ScopesNotGranted")

    assert condition["status"] == "False"
    assert UNGRANTED in condition["message"]
    stage.create_ready(namespace, "other")
    assert [call["status"] for call in stage.calls("create-client", since) if call["status"] == 400] == []
    assert [call["status"] for call in stage.calls("update-client", since)] == [400]
    assert is_ready(stage.kube.find_client(namespace, "app"))

    stage.kube.patch_client(namespace, "refused", consuming("skatt:some.scope"))
    stage.wait_ready(namespace, "refused")
    assert len(stage.registrations(namespace, "refused")) == 1


def test_a_refusal_is_told_once_and_not_repeated_until_an_edit(stage, namespace, app):
    since = stage.sequence
    stage.fault("status", status=403, method="POST", path="/clients$", times=None)
    stage.create(namespace, "refused")
    condition = stage.wait_for_reason(namespace, "refused", "ForbiddenByDigDir")

    assert condition["status"] == "False"
    assert "a cluster admin must check the rights" in condition["message"]
    stage.clear_faults()
    stage.create_ready(namespace, "other")
    refused = [call for call in stage.simulator.control("GET", f"ledger?since={since}")["entries"] if call["fault"]]
    assert len(refused) == 1
    assert not is_ready(stage.kube.find_client(namespace, "refused"))
    assert is_ready(stage.kube.find_client(namespace, "app"))

    stage.kube.patch_client(namespace, "refused", consuming("krr:global/kontaktinformasjon.read"))
    stage.wait_ready(namespace, "refused")
    assert len(stage.registrations(namespace, "refused")) == 1


def test_a_fault_of_digdirs_is_told_and_tried_again_with_growing_pauses(stage, namespace):
    since = stage.sequence
    stage.fault("status", status=503, method="POST", path="/clients$", times=None)
    stage.create(namespace)
    condition = stage.wait_for_reason(namespace, "app", "DigDirUnavailable")

    assert condition["status"] == "Unknown"
    assert "HTTP 503" in condition["message"]
    wait_for(lambda: len(stage.calls("create-client", since)) >= 2, PATIENCE, "another attempt")
    stage.clear_faults()
    stage.wait_ready(namespace)

    attempts = [call["monotonic"] for call in stage.calls("create-client", since)]
    pauses = [later - earlier for earlier, later in itertools.pairwise(attempts)]
    assert all(pause >= 0.5 for pause in pauses), pauses
    assert len(stage.registrations(namespace)) == 1


def test_an_answer_that_doesnt_come_is_given_up_and_looked_for(stage, namespace):
    number = stage.fault("hold", when="after", method="POST", path="/clients$")
    stage.create(namespace)
    stage.wait_for_held(number)
    condition = stage.wait_for_reason(namespace, "app", "DigDirUnavailable")
    assert "ReadTimeout" in condition["message"]

    stage.wait_ready(namespace)
    assert len(stage.registrations(namespace)) == 1


def test_the_api_server_refuses_what_no_operator_should_see(stage, namespace):
    for spec, words in (
        ({}, "spec.secretName: Required value"),
        ({"secretName": "Not A Name"}, "spec.secretName"),
        ({"secretName": "a" * 254}, "spec.secretName: Too long"),
        ({"secretName": "ok", "clientName": "x" * 256}, "spec.clientName: Too long"),
    ):
        with pytest.raises(httpx.HTTPStatusError, match=words):
            stage.kube.create_client(namespace, "app", spec)
