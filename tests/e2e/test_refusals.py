import itertools

import httpx
import pytest

from tests.e2e.stage import DEFAULT_SCOPE, PATIENCE
from tools.kube import is_ready, wait_for

pytestmark = pytest.mark.e2e

SETTINGS = {"key_grace": "1h"}
CREATE = {"method": "POST", "path": "/clients$", "times": None}
PUBLISH = {"method": "POST", "path": "/jwks$", "times": None}
REFUSALS = {
    "400": ({"kind": "status", "status": 400}, CREATE, "False", "RefusedByDigDir", "HTTP 400: Simulated fault"),
    "401": (
        {"kind": "status", "status": 401},
        CREATE,
        "False",
        "ForbiddenByDigDir",
        "a cluster admin must check the rights",
    ),
    "403": (
        {"kind": "status", "status": 403},
        CREATE,
        "False",
        "ForbiddenByDigDir",
        "a cluster admin must check the rights",
    ),
    "403 for a key": ({"kind": "status", "status": 403}, PUBLISH, "False", "ForbiddenByDigDir", "a cluster admin must"),
    "409": ({"kind": "status", "status": 409}, CREATE, "False", "RefusedByDigDir", "HTTP 409: Simulated fault"),
}
FAULTS = {
    "500": ({"kind": "status", "status": 500}, "HTTP 500"),
    "503": ({"kind": "status", "status": 503}, "HTTP 503"),
    "HTML": ({"kind": "html"}, "HTTP 502"),
    "dropped before": ({"kind": "drop"}, "can't be reached"),
}


def consuming(*scopes):
    return {"spec": {"scopes": {"consumes": [{"name": scope} for scope in scopes]}}}


def make_others_busy(stage, namespace, count=1):
    """Let other resources become Ready, one after the other: time in which nothing else should happen."""
    for number in range(count):
        stage.create_ready(namespace, f"other-{number}")


def assert_spaced(calls, least):
    """Nothing is tried again hot: between two attempts there are at least so many seconds."""
    gaps = [later["monotonic"] - earlier["monotonic"] for earlier, later in itertools.pairwise(calls)]
    assert all(gap >= least for gap in gaps), gaps


@pytest.mark.parametrize("scope", ["nobody:has.this", "ks:not.granted"], ids=["unknown", "not granted"])
def test_a_scope_that_isnt_granted_is_named_after_one_refused_update_and_an_edit_mends_it_at_once(
    stage, namespace, app, scope
):
    since = stage.sequence
    stage.create(namespace, "refused", scope)
    condition = stage.wait_for_reason(namespace, "refused", "ScopesNotGranted")

    assert condition["status"] == "False"
    assert scope in condition["message"]
    make_others_busy(stage, namespace)
    assert [call["status"] for call in stage.calls("create-client", since) if call["status"] == 400] == []
    assert [call["status"] for call in stage.calls("update-client", since)] == [400]
    assert is_ready(stage.kube.find_client(namespace, "app"))

    stage.kube.patch_client(namespace, "refused", consuming("skatt:some.scope"))
    stage.wait_ready(namespace, "refused")
    assert len(stage.registrations(namespace, "refused")) == 1


def test_a_scope_that_is_granted_and_refused_all_the_same_is_named_and_an_edit_mends_it_at_once(stage, namespace, app):
    scope = {"name": "ks:for.others", "owner_orgno": "971032146", "allowed_integration_types": ["krr"]}
    stage.simulator.control("POST", "scopes", scope)
    stage.simulator.control("POST", "grants", {"scope": "ks:for.others"})
    since = stage.sequence
    stage.create(namespace, "refused", "ks:for.others")
    condition = stage.wait_for_reason(namespace, "refused", "ScopesNotGranted")

    assert condition["status"] == "False"
    assert "DigDir refuses it all the same: ks:for.others (DigDir: Scope ks:for.others is not" in condition["message"]
    assert stage.registration(namespace, "refused")["scopes"] == [DEFAULT_SCOPE]
    make_others_busy(stage, namespace)
    assert len([call for call in stage.calls("create-client", since) if call["status"] == 400]) == 1
    assert is_ready(stage.kube.find_client(namespace, "app"))

    stage.kube.patch_client(namespace, "refused", consuming("skatt:some.scope"))
    stage.wait_ready(namespace, "refused")
    assert len(stage.registrations(namespace, "refused")) == 1


def test_a_scope_that_isnt_granted_leaves_a_ready_resource_its_credentials_and_is_told(stage, namespace):
    stage.create_ready(namespace)
    values = stage.read_secret(namespace)
    stage.kube.patch_client(namespace, "app", consuming("skatt:some.scope", "nobody:has.this"))
    condition = stage.wait_for_reason(namespace, "app", "ScopesNotGranted")

    assert condition["observedGeneration"] == 2
    assert "nobody:has.this" in condition["message"]
    assert stage.read_secret(namespace) == values
    assert stage.registration(namespace)["scopes"] == ["skatt:some.scope"]

    before = stage.find_secret(namespace)
    stage.delete_secret(namespace)
    stage.wait_for_secret(namespace, unlike=before)

    stage.kube.patch_client(namespace, "app", consuming("skatt:some.scope"))
    stage.wait_ready(namespace)


@pytest.mark.parametrize(("fault", "operation", "status", "reason", "words"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_told_once_and_not_repeated_until_an_edit(
    stage, namespace, app, fault, operation, status, reason, words
):
    since = stage.sequence
    stage.fault(**{**operation, **fault})
    stage.create(namespace, "refused")
    condition = stage.wait_for_reason(namespace, "refused", reason)

    assert (condition["status"], words in condition["message"]) == (status, True), condition
    stage.clear_faults()
    make_others_busy(stage, namespace)
    refused = [call for call in stage.simulator.control("GET", f"ledger?since={since}")["entries"] if call["fault"]]
    # A refused token is renewed once, so a 401 is answered by a second attempt; a 400 by one with the default scope.
    assert len(refused) == (2 if fault["status"] in {400, 401} else 1)
    assert not is_ready(stage.kube.find_client(namespace, "refused"))
    assert is_ready(stage.kube.find_client(namespace, "app"))

    stage.kube.patch_client(namespace, "refused", consuming("krr:global/kontaktinformasjon.read"))
    stage.wait_ready(namespace, "refused")
    assert len(stage.registrations(namespace, "refused")) == 1


@pytest.mark.parametrize(("fault", "words"), FAULTS.values(), ids=FAULTS)
def test_a_fault_of_digdirs_is_told_and_tried_again_with_growing_pauses(stage, namespace, fault, words):
    since = stage.sequence
    stage.fault(**{**CREATE, **fault})
    stage.create(namespace)
    condition = stage.wait_for_reason(namespace, "app", "DigDirUnavailable")

    assert condition["status"] == "Unknown"
    assert words in condition["message"]
    wait_for(lambda: len(stage.calls("create-client", since)) >= 2, PATIENCE, "another attempt")
    stage.clear_faults()
    stage.wait_ready(namespace)

    assert_spaced(stage.calls("create-client", since), 0.5)
    assert len(stage.registrations(namespace)) == 1


def test_after_a_429_nobody_calls_until_the_time_is_over(stage, namespace):
    since = stage.sequence
    number = stage.fault("status", status=429, retry_after=4, method="POST", path="/clients$")
    stage.create(namespace)
    condition = stage.wait_for_reason(namespace, "app", "RateLimited")
    assert condition["status"] == "Unknown"
    assert "fewer calls" in condition["message"]
    stage.create(namespace, "other")

    stage.wait_ready(namespace)
    stage.wait_ready(namespace, "other")
    calls = [
        call
        for call in stage.simulator.control("GET", f"ledger?since={since}")["entries"]
        if call["operation"] != "token"
    ]
    refused = next(index for index, call in enumerate(calls) if call["status"] == 429)
    assert calls[refused + 1]["monotonic"] - calls[refused]["monotonic"] >= 3.9
    assert stage.simulator.control("GET", f"faults/{number}")["struck"] == 1


def test_a_fault_elsewhere_leaves_a_ready_resource_ready(stage, namespace):
    stage.create_ready(namespace)
    before = stage.kube.find_client(namespace, "app")
    stage.fault("status", status=503, times=None)
    passes = stage.passes

    stage.annotate(namespace, "app", resync="true")
    stage.wait_for_passes(2, passes)
    ready = stage.find_condition(namespace)
    assert (ready["status"], before["status"]["conditions"][0]["lastTransitionTime"]) == (
        "True",
        ready["lastTransitionTime"],
    )

    stage.clear_faults()
    wait_for(
        lambda: not stage.kube.find_client(namespace, "app")["metadata"].get("annotations"), PATIENCE, "the resync"
    )


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
