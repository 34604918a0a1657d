"""An API provider's scopes: made, changed, and given to consumers, among thousands that aren't ours."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from tests.e2e.stage import NUMBERS, PATIENCE, exposed
from tools.generate.__main__ import ROOT
from tools.kube import wait_for

pytestmark = pytest.mark.e2e

FOREIGN = {"generate_clients": 5000, "generate_scopes": 5000}
SETTINGS = {"resync_interval": "1h", "applications": "true", "key_pool_size": "64"}
SKATT, UDIR, KS = "974761076", "970018131", "971032146"
LISTS = ("list-clients", "list-own-scopes", "list-accesses-given-to-me", "list-all-scopes", "list-delegation-sources")


@pytest.fixture
def name():
    """The last part of a scope's name, of this test alone."""
    return f"scope{next(NUMBERS)}.read"


def full(name, product="arbeid", separator=":"):
    return f"nav:{product}{separator}{name}"


def find_state(stage, namespace, scope, resource="api"):
    listed = (stage.kube.find_client(namespace, resource) or {}).get("status", {}).get("exposedScopes", [])
    return next(((one["state"], one["consumers"]) for one in listed if one["name"] == scope), None)


def wait_for_state(stage, namespace, scope, state, consumers, resource="api"):
    look = lambda: find_state(stage, namespace, scope, resource) == (state, consumers)  # noqa: E731
    wait_for(look, PATIENCE, f"{scope} {state} with {consumers} consumers")


def events(stage, namespace, reason):
    found = stage.kube.request("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
    return [one["message"] for one in found if one["reason"] == reason]


def test_the_example_as_it_stands(stage, namespace):
    manifest = yaml.safe_load((ROOT / "deploy" / "examples" / "expose.yaml").read_text())
    manifest["metadata"]["namespace"] = namespace
    path = f"/apis/nais.io/v1alpha1/namespaces/{namespace}/applications"
    stage.kube.request("POST", path, manifest)

    stage.wait_ready(namespace, "my-api")
    scope = stage.scope("nav:arbeid:some.scope.read")

    assert scope["active"] is True
    assert scope["at_max_age"] == 120
    assert scope["allowed_integration_types"] == ["maskinporten"]
    assert scope["visibility"] == "PUBLIC"
    assert scope["description"] == f"test:{namespace}:my-api.arbeid:some.scope.read"
    assert stage.consumers("nav:arbeid:some.scope.read") == {"123456789"}
    wait_for_state(stage, namespace, "nav:arbeid:some.scope.read", "Active", 1, "my-api")


@pytest.mark.parametrize(
    ("more", "scope"),
    [
        ({"name": "{}", "separator": "."}, "nav:arbeid.{}"),
        ({"name": "æøå/{}"}, "nav:arbeid/æøå/{}"),
    ],
    ids=["a dot written", "Norwegian letters"],
)
def test_the_full_name_follows_the_separator(stage, namespace, name, more, scope):
    more = {key: value.format(name) for key, value in more.items()}

    stage.expose_ready(namespace, "api", exposed(consumers=[{"orgno": SKATT}], **more))

    assert stage.scope(scope.format(name))["active"] is True
    assert stage.consumers(scope.format(name)) == {SKATT}


def test_what_is_told_of_a_scope_and_its_consumers(stage, namespace, name):
    client = stage.expose_ready(namespace, "api", exposed(name, SKATT, UDIR))

    assert client["status"]["exposedScopes"] == [{"name": full(name), "state": "Active", "consumers": 2}]
    assert stage.find_condition(namespace, "api", "ConsumersValid")["status"] == "True"
    wait_for(lambda: events(stage, namespace, "AccessGranted"), PATIENCE, "Events")
    assert events(stage, namespace, "ScopeCreated") == [f"Created {full(name)}"]
    assert events(stage, namespace, "AccessGranted") == [
        f"Granted {full(name)} to {SKATT}; granted {full(name)} to {UDIR}"
    ]


def test_every_field_of_a_spec_reaches_the_scope_and_foreign_ones_stay(stage, namespace, name):
    stage.expose_ready(namespace, "api", exposed(f"a/{name}", SKATT))
    scope = f"nav:arbeid/a/{name}"
    add_by_hand(stage, scope, {"long_description": "what somebody wrote by hand"})
    since = stage.sequence

    changed = exposed(
        f"a/{name}",
        SKATT,
        atMaxAge=600,
        visibility="private",
        accessibleForAll=True,
        delegationSource="altinn",
        allowedIntegrations=["maskinporten", "krr"],
    )
    stage.edit_exposed(namespace, "api", changed)
    stage.wait_ready(namespace, "api")

    found = stage.scope(scope)
    assert (found["at_max_age"], found["visibility"], found["accessible_for_all"]) == (600, "PRIVATE", True)
    assert found["delegation_source"] == "https://www.altinn.no/"
    assert found["allowed_integration_types"] == ["maskinporten", "krr"]
    assert found["more"]["long_description"] == "what somebody wrote by hand"
    assert found["more"]["authorization_max_lifetime"] == 600
    assert found["active"] is True
    assert stage.writes(since) == ["update-scope"]

    stage.edit_exposed(namespace, "api", exposed(f"a/{name}", SKATT))
    stage.wait_ready(namespace, "api")
    assert stage.scope(scope)["delegation_source"] is None
    assert stage.writes(since) == ["update-scope", "update-scope"]


def add_by_hand(stage, scope, more):
    """Somebody changes a scope at DigDir by hand."""
    (document,) = stage.simulator.scopes(scope)
    document.pop("accesses")
    stage.simulator.control("POST", "scopes", {**document, "more": {**document["more"], **more}})


def test_a_consumer_added_removed_and_added_costs_one_write_each(stage, namespace, name):
    stage.expose_ready(namespace, "api", exposed(name, SKATT))
    scope, since = full(name), stage.sequence

    for consumers, write in (
        ([SKATT, UDIR], "grant-access"),
        ([SKATT], "revoke-access"),
        ([SKATT, UDIR], "grant-access"),
    ):
        mark = stage.sequence
        stage.edit_exposed(namespace, "api", exposed(name, *consumers))
        wait_for_state(stage, namespace, scope, "Active", len(consumers))
        stage.wait_ready(namespace, "api")
        assert stage.consumers(scope) == set(consumers)
        assert stage.writes(mark) == [write]
    assert len(stage.calls("list-accesses", since)) == 0


def test_disabled_it_is_inactive_and_enabled_again_it_begins_with_the_specs_consumers(stage, namespace, name):
    stage.expose_ready(namespace, "api", exposed(name, SKATT, UDIR))
    scope, since = full(name), stage.sequence

    stage.edit_exposed(namespace, "api", exposed(name, SKATT, UDIR, enabled=False))
    wait_for_state(stage, namespace, scope, "Inactive", 2)
    assert stage.scope(scope)["active"] is False
    assert stage.writes(since) == ["delete-scope"]

    mark = stage.sequence
    stage.edit_exposed(namespace, "api", exposed(name, KS, UDIR))
    wait_for_state(stage, namespace, scope, "Active", 2)
    assert stage.consumers(scope) == {KS, UDIR}
    assert stage.writes(mark) == ["revoke-access", "update-scope", "grant-access"]
    wait_for(lambda: events(stage, namespace, "ScopeActivated"), PATIENCE, "an Event")
    assert events(stage, namespace, "ScopeDeactivated") == [f"Deactivated {scope} (enabled is false)"]


def test_a_scope_with_another_description_is_never_touched(stage, namespace, name):
    description = f"test:{namespace}:ap.arbeid:{name}"
    seed = {"name": full(name), "description": description, "at_max_age": 77}
    stage.simulator.control("POST", "scopes", seed)
    stage.simulator.control("POST", "grants", {"scope": full(name), "consumer_orgno": UDIR})
    before = stage.scope(full(name))
    since = refresh(stage)

    stage.expose(namespace, "api", exposed(name, SKATT), exposed(f"other.{name}", SKATT))
    condition = stage.wait_for_reason(namespace, "api", "ScopeConflict")

    assert condition["status"] == "False"
    assert full(name) in condition["message"]
    assert description in condition["message"]
    assert f"test:{namespace}:api.arbeid:{name}" in condition["message"]
    assert stage.scope(full(name)) == before
    assert stage.consumers(full(f"other.{name}")) == {SKATT}
    assert sorted(stage.writes(since)) == sorted(["create-client", "replace-keys", "create-scope", "grant-access"])
    assert find_state(stage, namespace, full(name))[0] == "Conflict"


def refresh(stage):
    """Restart the operator, so that it knows what was put there by hand; give the number of the latest call then."""
    stage.restart()
    return stage.sequence


def test_of_two_that_expose_one_scope_the_one_that_has_it_keeps_it(stage, namespace, name):
    stage.expose_ready(namespace, "first", exposed(name, SKATT))

    stage.expose(namespace, "second", exposed(name, UDIR))
    condition = stage.wait_for_reason(namespace, "second", "ScopeConflict")

    assert f"test:{namespace}:first" in condition["message"]
    stage.wait_ready(namespace, "first")
    assert stage.consumers(full(name)) == {SKATT}


@pytest.mark.parametrize(
    "evil",
    ["../x", "..", "a/../b", "%2e%2e/x", "a?b", "a#b", "a b", "a\nb", "a" * 1_000_000, "a&scope=b", "a:b", ""],
    ids=str.__repr__ if False else lambda one: repr(one[:12]),
)
def test_an_evil_name_is_refused_before_any_call(stage, namespace, evil):
    since = stage.sequence

    with pytest.raises(Exception, match=r"spec\.scopes\.exposes|too large"):
        stage.expose(namespace, "api", exposed(evil, SKATT))

    assert stage.sequence == since
    assert stage.kube.find_client(namespace, "api") is None


@pytest.mark.parametrize(
    "orgno", ["..", "12345678", "1234567890", "12345678a", "١٢٣٤٥٦٧٨٩", "123 56789", "974761076/../x"]
)
def test_an_evil_organisation_number_is_refused_before_any_call(stage, namespace, name, orgno):
    since = stage.sequence

    with pytest.raises(Exception, match="orgno"):
        stage.expose(namespace, "api", exposed(name, orgno))

    assert stage.sequence == since


def test_thirty_resources_with_three_scopes_and_five_consumers_each(stage, namespace):
    size = 30
    orgnos = [SKATT, UDIR, KS, "991825827", "958935420"]
    before, since = json.dumps(stage.read_foreign(), sort_keys=True), stage.sequence
    resources = {
        f"api-{number}": [exposed(f"many{number}.s{which}", *orgnos) for which in range(3)] for number in range(size)
    }
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda one: stage.expose(namespace, one, *resources[one]), resources))
    for one in resources:
        stage.wait_ready(namespace, one)

    writes = stage.writes(since)
    names = [full(scope["name"]) for scopes in resources.values() for scope in scopes]
    assert all(stage.consumers(scope) == set(orgnos) for scope in names)
    assert {one: writes.count(one) for one in set(writes)} == {
        "create-client": size,
        "replace-keys": size,
        "create-scope": 3 * size,
        "grant-access": 15 * size,
    }
    assert len(stage.calls("list-accesses", since)) == 0
    assert sum(len(stage.calls(one, since)) for one in LISTS) <= 8
    assert json.dumps(stage.read_foreign(), sort_keys=True) == before

    # A resync of the same, spread over a tenth of the interval
    since = stage.sequence
    stage.restart(resync_interval="10s")
    stage.wait_for_passes(2 * size, 0)
    wait_for(lambda: len(stage.calls("list-accesses", since)) >= 2 * len(names), PATIENCE, "two rounds of access lists")
    assert stage.writes(since) == []
    stage.restart()
