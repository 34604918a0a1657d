"""A cluster whose CRD is not the operator's, from the time before there was one to its removal."""

from pathlib import Path

import pytest

from maskinporten_operator.model.resources import APPLICATION
from tests.e2e.applications import Applications
from tests.e2e.audit import AuditLog
from tests.e2e.conftest import AUDIT_POLICY
from tests.e2e.stage import PATIENCE, exposed, held_kid
from tools.cluster import Cluster
from tools.install import VALUES, install, install_crd
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

LAX_CRD = Path(__file__).with_name("lax-crd.yaml")
NAIS_CRD = Path(__file__).with_name("nais-application-crd.yaml")
NAMES = [f"app-{number}" for number in range(6)]
SPEC = {"secretName": "app-secret", "scopes": {"consumes": [{"name": "skatt:some.scope"}]}}
INVALID = {
    "no secretName": ({"scopes": {}}, "spec.secretName: Field required"),
    "no spec": ({}, "spec.secretName: Field required"),
    "a secretName that is none": ({**SPEC, "secretName": "Not a name!"}, "spec.secretName"),
    "a secretName of another type": ({**SPEC, "secretName": 17}, "spec.secretName"),
    "a secretName that is too long": ({**SPEC, "secretName": "a" * 254}, "spec.secretName"),
    "a scope that is none": ({**SPEC, "scopes": {"consumes": [{"name": "no colon"}]}}, "spec.scopes.consumes[0].name"),
    "scopes of another type": ({**SPEC, "scopes": ["a:b"]}, "spec.scopes"),
}


@pytest.fixture(scope="module")
def cluster():
    with Cluster.create(name="mpo-lax", nodes=0, audit_policy=AUDIT_POLICY) as cluster:
        install(cluster, {**VALUES, "crds": {"install": False}})
        yield cluster


@pytest.fixture(scope="module")
def running(bare_stage, cluster):
    """An operator that was started before there was a CRD."""
    bare_stage.start()
    bare_stage.operator.wait_for_output("a cluster admin must install the CRD", PATIENCE)
    assert bare_stage.operator.running
    assert not bare_stage.operator.is_ready()
    install_crd(cluster, LAX_CRD)
    bare_stage.operator.wait_ready(PATIENCE)
    return bare_stage


def test_an_operator_that_waited_for_the_crd_works_once_it_is_there(stage, namespace):
    client = stage.create_ready(namespace)
    values = stage.read_secret(namespace)

    assert "registeredScopes" not in client["status"]
    assert (
        client["status"]["clientID"] == stage.registration(namespace)["client_id"] == values["MASKINPORTEN_CLIENT_ID"]
    )
    assert client["status"]["keyIDs"] == [held_kid(values)]


def test_what_the_crd_drops_from_the_status_is_written_once_and_no_more(stage, namespace):
    audit = AuditLog(stage.cluster)
    for name in NAMES:
        stage.create(namespace, name)
    for name in NAMES:
        stage.wait_ready(namespace, name)
    written = [write.name for write in audit.count(namespace) if write.resource.endswith("/status")]
    # One tells of both, unless the answer of Maskinporten came late.
    assert {name: written.count(name) in {1, 2} for name in NAMES} == dict.fromkeys(NAMES, True)

    audit.mark()
    passes = stage.passes
    for name in NAMES:
        stage.kube.patch_client(namespace, name, {"metadata": {"labels": {"a": "pass"}}})
    stage.wait_for_passes(len(NAMES), passes)
    assert audit.count() == []

    stage.restart()
    stage.wait_for_passes(len(NAMES), 0)
    assert len(audit.count()) <= 1

    stage.kube.patch_client(namespace, NAMES[0], {"spec": {"scopes": {"consumes": []}}})
    wait_for(lambda: stage.registration(namespace, NAMES[0])["scopes"] != ["skatt:some.scope"], PATIENCE, "a change")


@pytest.mark.parametrize(("spec", "words"), INVALID.values(), ids=INVALID)
def test_a_bad_spec_that_the_crd_lets_through_is_named_and_an_edit_mends_it(stage, namespace, spec, words):
    since = stage.sequence
    stage.kube.create_client(namespace, "app", spec)
    condition = stage.wait_for_reason(namespace, "app", "InvalidSpec")
    assert (condition["status"], words in condition["message"]) == ("False", True), condition
    assert stage.writes(since) == []

    stage.kube.patch_client(namespace, "app", {"spec": None})
    stage.kube.patch_client(namespace, "app", {"spec": SPEC})
    stage.wait_ready(namespace)


def test_a_ready_resource_whose_spec_is_spoilt_can_be_deleted_for_good(stage, namespace):
    stage.create_ready(namespace)
    stage.kube.patch_client(namespace, "app", {"spec": {"secretName": None}})
    stage.wait_for_reason(namespace, "app", "InvalidSpec")

    stage.annotate(namespace, "app", delete="true")
    stage.delete(namespace)

    assert stage.registration(namespace)["active"] is False


def test_a_ready_resource_that_can_no_longer_be_read_says_so_and_can_be_deleted_for_good(stage, namespace):
    stage.create_ready(namespace)
    foo = 1
    for _ in range(500):
        foo = {"foo": foo}
    stage.kube.patch_client(namespace, "app", {"spec": {"foo": foo}})
    condition = stage.wait_for_reason(namespace, "app", "InvalidSpec")
    assert "spec is nested more than 32 levels deep" in condition["message"]

    stage.annotate(namespace, "app", delete="true")
    stage.delete(namespace)

    assert stage.registration(namespace)["active"] is False


def test_when_the_crd_is_removed_the_process_ends_to_be_started_again(bare_stage, running, cluster):
    cluster.kubectl("delete", "-f", LAX_CRD)

    wait_for(lambda: not bare_stage.operator.running, PATIENCE, "the process's end")
    assert bare_stage.operator.popen.returncode == 1


def test_while_it_waits_for_the_crd_it_is_alive_and_a_signal_ends_it_in_order(bare_stage, running, cluster):
    operator = bare_stage.start()
    operator.wait_for_output("a cluster admin must install the CRD", PATIENCE)

    assert operator.stop() == 0
    bare_stage.start()
    install_crd(cluster, LAX_CRD)
    bare_stage.operator.wait_ready(PATIENCE)


EVIL = ["../x", "..", "%2e%2e/x", "a?b", "a#b", "a b", "a&scope=b", "nav:arbeid:x", "a" * 100_000]


@pytest.mark.parametrize("name", EVIL, ids=lambda one: repr(one[:12]))
def test_an_evil_name_that_the_api_server_lets_through_is_refused_without_a_call(stage, namespace, name):
    since = stage.sequence

    stage.expose(namespace, "api", exposed(name, "974761076"))
    condition = stage.wait_for_reason(namespace, "api", "InvalidSpec")

    assert "spec.scopes.exposes[0]" in condition["message"]
    assert stage.sequence == since


def test_an_invalid_spec_blocks_no_deletion_for_good_and_scopes_are_found_by_description(stage, namespace):
    stage.expose_ready(namespace, "api", exposed("invalid.read", "974761076"))
    stage.kube.patch_client(namespace, "api", {"spec": {"secretName": "Not a name!", "scopes": {"exposes": None}}})
    stage.wait_for_reason(namespace, "api", "InvalidSpec")

    stage.annotate(namespace, "api", delete="true")
    stage.delete(namespace, "api")

    assert stage.scope("nav:arbeid:invalid.read")["active"] is False
    assert stage.consumers("nav:arbeid:invalid.read") == set()
    assert stage.registration(namespace, "api")["active"] is False


def test_with_the_crd_of_nais_an_application_has_a_status_in_the_form_that_it_wants_written_once(stage, namespace):
    install_crd(stage.cluster, NAIS_CRD)
    stage.restart(applications="true", platform="gcp")
    apps = Applications(stage, namespace)
    apps.create()
    apps.wait_for_reason("Synchronized", "MaskinportenReady")

    status = apps.find()["status"]
    assert isinstance(status["synchronizationTime"], int)
    assert {one["type"] for one in status["conditions"]} >= {"Ready", "MaskinportenReady", "Available"}

    stage.wait_until_quiet()
    audit, passes = AuditLog(stage.cluster), stage.passes
    apps.edit(APPLICATION, {"metadata": {"annotations": {"somebody": "looks"}}})
    stage.wait_for_passes(1, passes)
    assert audit.count() == []
