"""Only namespaces with a label are managed."""

import pytest

from tests.e2e.applications import Applications
from tests.e2e.stage import NUMBERS, PATIENCE, exposed
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

SETTINGS = {"namespace_selector": "tests.example/team in (a, b),!tests.example/ignored", "applications": "true"}
LABEL = "tests.example/team"


def label(stage, namespace, **labels):
    patch = {"metadata": {"labels": {f"tests.example/{name}": value for name, value in labels.items()}}}
    stage.kube.request("PATCH", f"/api/v1/namespaces/{namespace}", patch, "application/merge-patch+json")


@pytest.fixture
def name():
    return f"selected{next(NUMBERS)}.read"


def test_elsewhere_a_resource_is_told_so_and_nothing_is_done(stage, namespace, name):
    since = stage.sequence

    stage.expose(namespace, "api", exposed(name, "974761076"))
    condition = stage.wait_for_reason(namespace, "api", "NamespaceNotSelected")

    assert condition["status"] == "False"
    assert stage.sequence == since
    assert stage.find_secret(namespace, "api-secret") is None
    assert not stage.kube.find_client(namespace, "api")["metadata"].get("finalizers")


def test_an_application_elsewhere_gets_nothing(stage, namespace):
    applications = Applications(stage, namespace)
    applications.create()

    def reason():
        conditions = applications.find().get("status", {}).get("conditions", [])
        return next((one["reason"] for one in conditions if one["type"] == "Ready"), None)

    wait_for(lambda: reason() == "NamespaceNotSelected", PATIENCE, "the condition")
    assert stage.kube.find_client(namespace, "app") is None


def test_a_namespace_that_gets_the_label_is_taken_up_at_once(stage, namespace):
    stage.create(namespace)
    stage.wait_for_reason(namespace, "app", "NamespaceNotSelected")

    label(stage, namespace, team="a")

    stage.wait_ready(namespace)


def test_one_that_has_it_from_the_start_is_never_told_otherwise(stage, namespace):
    label(stage, namespace, team="b")
    seen = []
    stage.create(namespace)

    def is_ready():
        condition = stage.find_condition(namespace)
        seen.append(condition.get("reason"))
        return condition.get("status") == "True"

    wait_for(is_ready, PATIENCE, "Ready")
    assert "NamespaceNotSelected" not in seen


@pytest.mark.parametrize("change", [{"team": None}, {"team": "c"}, {"ignored": ""}], ids=["gone", "another", "ignored"])
def test_one_that_loses_it_keeps_what_it_has_and_nothing_changes_there(stage, namespace, change):
    label(stage, namespace, team="a")
    stage.create_ready(namespace)
    registered, secret = stage.registration(namespace), stage.read_secret(namespace)
    since = stage.sequence

    label(stage, namespace, **change)
    stage.wait_for_reason(namespace, "app", "NamespaceNotSelected")
    stage.kube.patch_client(namespace, "app", {"spec": {"clientName": "Another name"}})
    wait_for(lambda: stage.find_condition(namespace)["observedGeneration"] == 2, PATIENCE, "a look at the edit")

    assert stage.writes(since) == []
    assert stage.registration(namespace) == registered
    assert stage.read_secret(namespace) == secret


def test_deleted_there_a_resource_goes_and_its_client_stays_whatever_is_asked(stage, namespace):
    label(stage, namespace, team="a")
    stage.create_ready(namespace)
    label(stage, namespace, team=None)
    stage.wait_for_reason(namespace, "app", "NamespaceNotSelected")
    stage.annotate(namespace, "app", delete="true")
    since = stage.sequence

    stage.delete(namespace)

    assert stage.writes(since) == []
    assert stage.registration(namespace)["active"] is True
