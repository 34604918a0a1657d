"""`maskinporten-operator plan`: what it says an operator would do, one does that starts then; and it writes nothing."""

import json
import re

import pytest

from maskinporten_operator.plan.planned_writes import NEW_CLIENT
from tests.e2e.applications import Applications
from tests.e2e.audit import OPERATOR, READS
from tests.e2e.stage import NUMBERS, PATIENCE, exposed
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

SETTINGS = {
    "resync_interval": "1h",
    "applications": "true",
    "workloads": "false",
    "platform": "gcp",
    "egress": "networkpolicy",
    "maskinporten_hosts": "test.maskinporten.no",
}
SKATT, UDIR = "974761076", "970018131"
OTHER_SCOPE = "krr:global/kontaktinformasjon.read"
SOMETHING_TO_DO = 3


@pytest.fixture
def states(stage, namespace):
    """Resources in different states, of which an operator that starts finds out; it is started after the test's own."""
    number = next(NUMBERS)
    for name in ("quiet", "edited", "leaver"):
        stage.create_ready(namespace, name)
    stage.expose_ready(namespace, "api", exposed(f"p{number}.old", SKATT, UDIR))
    stage.create_ready(namespace, "restored")
    stage.kube.patch_client(namespace, "restored", {"metadata": {"finalizers": None}})
    stage.wait_until_quiet()
    stage.operator.stop()
    stage.create(namespace, "new")
    applications = Applications(stage, namespace)
    applications.create("shop")
    consumed = [{"name": "skatt:some.scope"}, {"name": OTHER_SCOPE}]
    stage.kube.patch_client(namespace, "edited", {"spec": {"scopes": {"consumes": consumed}}})
    stage.edit_exposed(namespace, "api", exposed(f"p{number}.old", SKATT), exposed(f"p{number}.new", UDIR))
    stage.annotate(namespace, "leaver", delete="true")
    stage.kube.delete_client(namespace, "leaver")
    stage.kube.patch_client(namespace, "restored", {"metadata": {"finalizers": None}})
    stage.kube.delete_client(namespace, "restored")
    stage.wait_gone(namespace, "restored")
    wait_for(lambda: stage.find_secret(namespace, "restored-secret") is None, PATIENCE, "the garbage collector")
    stage.create(namespace, "restored")
    yield
    applications.delete(name="shop")


def plan(stage, *arguments, expected):
    done = stage.operator.run_command("plan", *arguments)
    assert done.returncode == expected, done.stderr
    return done.stdout


def wait_for_what_was_planned(stage, namespace):
    for name in ("quiet", "edited", "api", "new", "restored", "shop"):
        stage.wait_ready(namespace, name)
    stage.wait_gone(namespace, "leaver")


def show_planned(one):
    """A planned write as DigDir's ledger has those that are made: what is made new has no id yet."""
    return one["method"], re.sub(f"{NEW_CLIENT}[0-9]+", "NEW", one["path"]), one["query"].get("scope")


def test_an_operator_that_starts_does_what_was_planned_and_planning_wrote_nothing(stage, namespace, states, audit):
    audit.mark()
    since = stage.sequence

    found = json.loads(plan(stage, "-n", namespace, "-o", "json", "--exit-code", expected=SOMETHING_TO_DO))

    assert {one["name"]: one["action"] for one in found["resources"]} == {
        "api": "create",
        "edited": "change",
        "leaver": "delete",
        "new": "create",
        "quiet": "unchanged",
        "restored": "change",
        "shop": "create",
    }
    assert stage.writes(since) == []
    assert [
        one for one in audit.read_since_mark() if one["user"]["username"] == OPERATOR and one["verb"] not in READS
    ] == []
    text = plan(stage, "-n", namespace, expected=0)
    assert "7 resources: 3 to create, 2 to change, 1 to delete, 0 blocked, 1 unchanged" in text
    since = stage.sequence
    stage.start_ready()
    wait_for_what_was_planned(stage, namespace)
    calls = stage.simulator.control("GET", f"ledger?since={since}")["entries"]
    made = "|".join(stage.registration(namespace, name)["client_id"] for name in ("new", "shop"))
    did = [
        (
            call["method"],
            re.sub(made, "NEW", call["path"].removeprefix("/api/v1")),
            call["scope"] if call["query"] else None,
        )
        for call in calls
        if call["method"] != "GET" and call["operation"] != "token"
    ]
    planned = [show_planned(write) for one in found["resources"] for write in one["writes"]]
    assert sorted(planned, key=str) == sorted(did, key=str)
    assert (
        json.loads(plan(stage, "-n", namespace, "-o", "json", "--exit-code", expected=0))["summary"]["unchanged"] == 6
    )
