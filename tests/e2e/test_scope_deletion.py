"""Scopes of a resource that is deleted for good, or isn't."""

import pytest

from tests.e2e.stage import NUMBERS, PATIENCE, exposed
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

SETTINGS = {"resync_interval": "1h"}
SKATT, UDIR = "974761076", "970018131"


@pytest.fixture
def name():
    return f"gone{next(NUMBERS)}.read"


def full(name):
    return f"nav:arbeid:{name}"


def test_by_default_scopes_stay_with_their_consumers_and_are_found_again(stage, namespace, name):
    stage.expose_ready(namespace, "api", exposed(name, SKATT))
    since = stage.sequence

    stage.delete(namespace, "api")
    assert stage.sequence == since
    assert stage.scope(full(name))["active"] is True
    assert stage.consumers(full(name)) == {SKATT}

    stage.expose_ready(namespace, "api", exposed(name, SKATT))
    assert not {"create-scope", "update-scope", "grant-access"} & set(stage.writes(since))


def test_deleted_for_good_consumers_go_then_scopes_then_keys_then_the_client(stage, namespace, name):
    stage.expose_ready(namespace, "api", exposed(name, SKATT, UDIR))
    since = stage.sequence

    stage.annotate(namespace, "api", delete="true")
    stage.delete(namespace, "api")

    assert stage.writes(since) == ["revoke-access", "revoke-access", "delete-scope", "delete-keys", "delete-client"]
    assert stage.scope(full(name))["active"] is False
    assert stage.consumers(full(name)) == set()
    assert stage.registration(namespace, "api")["active"] is False


def test_created_again_after_that_it_has_a_new_client_and_its_scope_back_with_the_specs_consumers(
    stage, namespace, name
):
    before = stage.expose_ready(namespace, "api", exposed(name, SKATT))["status"]["clientID"]
    stage.annotate(namespace, "api", delete="true")
    stage.delete(namespace, "api")

    after = stage.expose_ready(namespace, "api", exposed(name, UDIR))["status"]["clientID"]

    assert after != before
    assert stage.scope(full(name))["active"] is True
    assert stage.consumers(full(name)) == {UDIR}


def test_scopes_that_left_the_spec_go_too(stage, namespace, name):
    stage.expose_ready(namespace, "api", exposed(name, SKATT), exposed(f"other.{name}", SKATT))
    stage.edit_exposed(namespace, "api")
    stage.wait_for_reason(namespace, "api", "ScopesWithdrawn", kind="ScopesDeclared")

    stage.annotate(namespace, "api", delete="true")
    stage.delete(namespace, "api")

    for scope in (full(name), full(f"other.{name}")):
        assert stage.scope(scope)["active"] is False
        assert stage.consumers(scope) == set()


def test_a_scope_that_somebody_else_described_meanwhile_stays(stage, namespace, name):
    stage.expose_ready(namespace, "api", exposed(name, SKATT))
    (scope,) = stage.simulator.scopes(full(name))
    scope.pop("accesses")
    stage.simulator.control("POST", "scopes", {**scope, "description": "another team's"})
    before = stage.scope(full(name))

    stage.annotate(namespace, "api", delete="true")
    stage.delete(namespace, "api")

    assert stage.scope(full(name)) == before
    assert stage.registration(namespace, "api")["active"] is False


def test_preserve_wins(stage, namespace, name):
    stage.expose_ready(namespace, "api", exposed(name, SKATT))
    since = stage.sequence

    stage.annotate(namespace, "api", delete="true", preserve="true")
    stage.delete(namespace, "api")

    assert stage.sequence == since
    assert stage.consumers(full(name)) == {SKATT}


@pytest.mark.parametrize("annotations", [{}, {"delete": "true"}], ids=["by the cluster's policy", "by annotation"])
def test_a_clusters_policy_may_be_to_delete(stage, namespace, name, annotations):
    stage.restart(deletion_policy="Delete")
    stage.expose_ready(namespace, "api", exposed(name, SKATT))

    stage.annotate(namespace, "api", **annotations)
    stage.delete(namespace, "api")

    assert stage.scope(full(name))["active"] is False
    assert stage.registration(namespace, "api")["active"] is False
    stage.restart()


@pytest.mark.parametrize("annotation", [{"preserve": "true"}, {"delete": "false"}])
def test_under_that_policy_one_resource_may_be_kept(stage, namespace, name, annotation):
    stage.restart(deletion_policy="Delete")
    stage.expose_ready(namespace, "api", exposed(name, SKATT))
    since = stage.sequence

    stage.annotate(namespace, "api", **annotation)
    stage.delete(namespace, "api")

    assert stage.writes(since) == []
    assert stage.scope(full(name))["active"] is True
    stage.restart()


def test_the_deletion_waits_visibly_while_digdir_is_down_and_goes_on_by_itself(stage, namespace, name):
    stage.expose_ready(namespace, "api", exposed(name, SKATT))
    stage.fault("status", status=503, path="^/api", times=None)

    stage.annotate(namespace, "api", delete="true")
    stage.kube.delete_client(namespace, "api")
    condition = stage.wait_for_reason(namespace, "api", "DigDirUnavailable")
    assert condition["status"] == "Unknown"
    assert condition["message"].startswith("The deletion waits: ")

    stage.clear_faults()
    stage.wait_gone(namespace, "api")
    assert stage.scope(full(name))["active"] is False


def test_preserve_is_the_way_out_when_digdir_is_gone_for_good(stage, namespace, name):
    stage.expose_ready(namespace, "api", exposed(name, SKATT))
    stage.fault("status", status=503, path="^/api", times=None)
    stage.annotate(namespace, "api", delete="true")
    stage.kube.delete_client(namespace, "api")
    stage.wait_for_reason(namespace, "api", "DigDirUnavailable")

    stage.annotate(namespace, "api", preserve="true")

    stage.wait_gone(namespace, "api")
    assert stage.consumers(full(name)) == {SKATT}


def test_a_namespace_takes_resources_and_their_scopes_along_and_nothing_is_created_there(stage, namespace, name, audit):
    resources = [f"api-{number}" for number in range(5)]
    for number, one in enumerate(resources):
        stage.expose(namespace, one, exposed(f"n{number}.{name}", SKATT))
    for one in resources:
        stage.wait_ready(namespace, one)
        stage.annotate(namespace, one, delete="true")
    wait_for(lambda: told(stage, namespace) >= len(resources), PATIENCE, "the Events of the creation")

    audit.mark()
    stage.kube.request("DELETE", f"/api/v1/namespaces/{namespace}")
    wait_for(lambda: stage.kube.find(f"/api/v1/namespaces/{namespace}") is None, PATIENCE, "the namespace's end")

    for number in range(len(resources)):
        assert stage.scope(full(f"n{number}.{name}"))["active"] is False
        assert stage.consumers(full(f"n{number}.{name}")) == set()
    assert audit.creations(namespace) == []


def told(stage, namespace):
    events = stage.kube.request("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
    return sum(one["reason"] == "AccessGranted" for one in events)


def test_a_namespaces_deletion_waits_for_digdir_and_then_completes(stage, namespace, name, audit):
    stage.expose_ready(namespace, "api", exposed(name, SKATT))
    stage.annotate(namespace, "api", delete="true")
    wait_for(lambda: told(stage, namespace), PATIENCE, "the Events of the creation")
    audit.mark()
    stage.fault("status", status=503, path="^/api", times=None)

    stage.kube.request("DELETE", f"/api/v1/namespaces/{namespace}")
    stage.wait_for_reason(namespace, "api", "DigDirUnavailable")
    stage.clear_faults()
    wait_for(lambda: stage.kube.find(f"/api/v1/namespaces/{namespace}") is None, PATIENCE, "the namespace's end")

    assert stage.scope(full(name))["active"] is False
    assert audit.creations(namespace) == []
