"""`maskinporten-operator inventory`: what in the organisation belongs to which resource, changed by nobody."""

import json
import time

import pytest

from tests.e2e.stage import NUMBERS, exposed

pytestmark = pytest.mark.e2e

SETTINGS = {"resync_interval": "1h"}
SKATT, UDIR = "974761076", "970018131"


@pytest.fixture
def inventory(stage):
    """Run the command, configured as the operator is, with more arguments; give what it printed."""

    def run(*arguments, expected=0, **settings):
        done = stage.operator.run_command("inventory", *arguments, **settings)
        assert done.returncode == expected, done.stderr
        return done.stdout if expected == 0 else done.stderr

    return run


@pytest.fixture
def organisation(stage, namespace):
    """One of each kind of thing."""
    name = f"s{next(NUMBERS)}"
    stage.expose_ready(namespace, "api", exposed(f"{name}.managed", SKATT), exposed(f"{name}.withdrawn"))
    stage.edit_exposed(namespace, "api", exposed(f"{name}.managed", SKATT))
    stage.wait_for_reason(namespace, "api", "ScopesWithdrawn", kind="ScopesDeclared")
    stage.create_ready(namespace, "leaver")
    stage.delete(namespace, "leaver")
    stage.operator.stop()  # what comes now is managed by nobody yet
    spec = [exposed(f"{name}.adopted", SKATT), exposed(f"{name}.taken"), exposed(f"{name}.new")]
    stage.expose(namespace, "late", *spec)
    client = {"client_name": "by hand", "description": f"test:{namespace}:late", "integration_type": "maskinporten"}
    adopted = stage.simulator.control("POST", "clients", {**client, "scopes": ["skatt:some.scope"]})["client_id"]
    duplicate = stage.simulator.control(
        "POST", "clients", {**client, "description": f"test:{namespace}:api", "scopes": ["skatt:some.scope"]}
    )["client_id"]
    scopes = {"adopted": f"test:{namespace}:late.arbeid:{name}.adopted", "taken": "by hand"}
    for last, description in scopes.items():
        stage.simulator.control("POST", "scopes", {"name": f"nav:arbeid:{name}.{last}", "description": description})
    for orgno in (SKATT, UDIR):
        stage.simulator.control("POST", "grants", {"scope": f"nav:arbeid:{name}.adopted", "consumer_orgno": orgno})
    yield name, adopted, duplicate
    stage.start_ready()


def test_each_client_and_scope_is_told_by_how_it_stands_to_the_resources(stage, namespace, organisation, inventory):
    name, adopted, duplicate = organisation
    before, since = stage.simulator.control("GET", "state"), stage.sequence

    found = json.loads(inventory("-o", "json"))

    mine = [one for one in found["items"] if namespace in one["resource"] + one["description"]]
    resources = {(one["state"], one["name"]): one["resource"] for one in mine}
    managed = stage.kube.find_client(namespace, "api")["status"]["clientID"]
    (orphaned,) = (one["client_id"] for one in stage.registrations(namespace, "leaver"))
    assert resources == {
        ("Managed", managed): f"{namespace}/api",
        ("Duplicate", duplicate): f"{namespace}/api",
        ("Managed", f"nav:arbeid:{name}.managed"): f"{namespace}/api",
        ("Withdrawn", f"nav:arbeid:{name}.withdrawn"): f"{namespace}/api",
        ("Orphaned", orphaned): "",
        ("Adoptable", adopted): f"{namespace}/late",
        ("Adoptable", f"nav:arbeid:{name}.adopted"): f"{namespace}/late",
        ("Conflict", f"nav:arbeid:{name}.taken"): f"{namespace}/late",
        ("Missing", f"nav:arbeid:{name}.new"): f"{namespace}/late",
    }
    (scope,) = (one for one in mine if one["name"] == f"nav:arbeid:{name}.adopted")
    assert scope["revokes"] == [UDIR]
    assert found["foreign"]["clients"] >= 100
    assert found["foreign"]["scopes"] >= 100
    assert stage.writes(since) == []
    assert stage.simulator.control("GET", "state") == before


def test_people_get_a_table_with_the_conflicts_first(stage, namespace, organisation, inventory):
    _, adopted, _ = organisation

    lines = inventory().splitlines()

    assert lines[0].split() == ["STATE", "KIND", "NAME", "RESOURCE", "DESCRIPTION"]
    assert lines[1].startswith("Conflict")
    assert any(adopted in line and f"{namespace}/late" in line for line in lines)
    assert any(line.endswith(f"(adopting it revokes {UDIR})") for line in lines)
    assert "concern nobody here" in lines[-1]


def test_what_is_logged_isnt_between_what_is_shown(stage, inventory, tmp_path):
    soon = tmp_path / "admin.jwk"
    soon.write_text(json.dumps(json.loads(stage.simulator.admin_jwk_file.read_text()) | {"exp": time.time() + 86400}))

    assert json.loads(inventory("-o", "json", admin_jwk_file=str(soon)))["cluster"] == "test"


def test_a_fault_of_digdir_ends_it_with_a_line_and_1(stage, inventory):
    stage.fault("status", status=503, path="/clients$", times=None)

    assert "DigDir has a fault: list clients gave HTTP 503" in inventory(expected=1)


def test_a_wrong_configuration_ends_it_with_2(inventory):
    assert "CLUSTER_NAME" in inventory(expected=2, cluster_name="")
