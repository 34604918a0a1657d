"""`maskinporten-operator check --granted`: what DigDir has of a manifest's scopes, read and never changed."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from maskinporten_operator.assembly.granted_check import MAX_LOOKS, look_at_scopes
from maskinporten_operator.model.errors import OperatorError
from maskinporten_operator.plan.granted_findings import find_granted_findings, find_scopes, list_exposed
from maskinporten_operator.plan.registration_settings import RegistrationSettings
from tests.adapters.conftest import fields, scope_fields
from tests.unit.test_check import OF_DIGDIR
from tools.stack import BIN, Simulator

SETTINGS = RegistrationSettings(cluster="some-cluster", client_name="Some Organisation", scope_prefix="nav")
SKATT = "974761076"
OWN = "889640782"
OPEN, GRANTED, CLOSED = "skatt:open", "skatt:granted", "skatt:closed"
NAME = "some-app"
READS = {
    *("token", "metadata", "list-own-scopes", "list-all-scopes", "list-accesses-given-to-me", "list-own-prefixes"),
    *("list-delegation-sources", "list-clients", "read-scope"),
}
"""What may be asked of DigDir."""


def client(*consumed, exposed=(), name=NAME):
    """A MaskinportenClient that consumes and exposes these."""
    scopes = {"consumes": [{"name": one} for one in consumed], "exposes": list(exposed)}
    spec = {"secretName": "some-secret", "scopes": scopes}
    meta = {"name": name, "namespace": "some-team"}
    return {"apiVersion": "nais.io/v1", "kind": "MaskinportenClient", "metadata": meta, "spec": spec}


def application(*consumed, enabled=True):
    scopes = {"consumes": [{"name": one} for one in consumed]}
    spec = {"maskinporten": {"enabled": enabled, "scopes": scopes}}
    meta = {"name": NAME, "namespace": "some-team"}
    return {"apiVersion": "nais.io/v1alpha1", "kind": "Application", "metadata": meta, "spec": spec}


def exposing(name="some.scope", **more):
    return {"name": name, "product": "arbeid", "enabled": True, "separator": ":", **more}


@pytest.fixture
async def scopes(digdir):
    """What others have: open to all, granted, and neither."""
    digdir.seed(OPEN, owner_orgno=SKATT, accessible_for_all=True)
    digdir.seed(GRANTED, owner_orgno=SKATT)
    digdir.access(GRANTED)
    digdir.seed(CLOSED, owner_orgno=SKATT)


async def check(digdir, *manifests, settings=SETTINGS):
    """Find what DigDir has to say of manifests, as rule, path and message; nothing may be written for it."""
    since = digdir.simulator.ledger.last_sequence
    found = [find_scopes(one, "some-team", settings) for one in manifests]
    found = [one for one in found if one]
    known = await look_at_scopes(digdir.client, digdir.scopes, found, settings)
    calls = digdir.simulator.ledger.entries(since=since)["entries"]
    assert {one["operation"] for one in calls} <= READS
    exposed = list_exposed(found, settings.scope_prefix, enabled_only=True)
    return [
        (one.rule.id, one.path, one.message)
        for manifest in found
        for one in find_granted_findings(manifest, known, exposed, settings)
    ]


# Consumed


async def test_what_is_open_or_granted_has_no_finding(digdir, scopes):
    assert await check(digdir, client(OPEN, GRANTED), application(OPEN, GRANTED)) == []


async def test_a_scope_that_isnt_granted_is_told_with_who_must_grant_it_to_whom(digdir, scopes):
    assert await check(digdir, client(OPEN, CLOSED)) == [
        (
            "not-granted",
            "spec.scopes.consumes[1].name",
            f"{CLOSED} isn't granted: whoever owns skatt: must grant it to organisation {OWN}",
        )
    ]


async def test_of_an_application_it_is_told_at_its_own_field(digdir, scopes):
    found = await check(digdir, application(CLOSED))

    assert [(rule, path) for rule, path, _ in found] == [("not-granted", "spec.maskinporten.scopes.consumes[0].name")]


async def test_an_application_that_doesnt_use_maskinporten_has_no_scopes(digdir, scopes):
    assert await check(digdir, application(CLOSED, enabled=False)) == []


async def test_a_scope_that_was_granted_once_is_told_to_be_so(digdir, scopes):
    await digdir.client.create_client(fields(scopes=[GRANTED]))
    digdir.access(GRANTED, state="DENIED")

    (found,) = await check(digdir, client(GRANTED))

    assert (found[0], "isn't granted any more" in found[2]) == ("not-granted", True)


async def test_a_scope_that_nobody_has_is_told_to_be_absent(digdir, scopes):
    found = await check(digdir, client("skatt:misspelt", "nav:arbeid:none"))

    assert [(rule, message) for rule, _, message in found] == [
        ("absent-scope", "there is no scope skatt:misspelt"),
        ("absent-scope", "there is no scope nav:arbeid:none"),
    ]


async def test_an_own_scope_that_is_inactive_is_for_whoever_exposes_it(digdir):
    await digdir.scopes.create(scope_fields("nav:arbeid:old"))
    await digdir.scopes.deactivate("nav:arbeid:old")

    (found,) = await check(digdir, client("nav:arbeid:old"))

    assert (found[0], found[2]) == ("absent-scope", "nav:arbeid:old is inactive: whoever exposes it must enable it")


async def test_an_own_scope_may_be_consumed(digdir):
    await digdir.scopes.create(scope_fields("nav:arbeid:here"))

    assert await check(digdir, client("nav:arbeid:here")) == []


async def test_a_scope_that_one_of_the_manifests_exposes_need_not_be_there_yet(digdir):
    new = exposing("new")

    assert await check(digdir, client("nav:arbeid:new"), client(exposed=[new], name="api")) == []
    assert await check(digdir, client("nav:arbeid:new"), client(exposed=[new | {"enabled": False}], name="api"))


async def test_a_private_scope_that_the_client_has_got_is_no_finding(digdir):
    """None of DigDir's lists tells of it, and it took it."""
    digdir.seed("skatt:private", owner_orgno=SKATT, accessible_for_all=True, visibility="PRIVATE")
    assert [rule for rule, _, _ in await check(digdir, client("skatt:private"))] == ["not-granted"]

    await digdir.client.create_client(fields(scopes=["skatt:private"]))

    assert await check(digdir, client("skatt:private")) == []
    assert await check(digdir, client("skatt:private", name="another"))


async def test_a_scope_that_the_cluster_forbids_is_told_once_by_the_other_rule(digdir):
    settings = RegistrationSettings("some-cluster", "Some Organisation", forbidden_scopes=("skatt:*",))

    assert await check(digdir, client(CLOSED), settings=settings) == []


async def test_of_many_missing_scopes_some_are_looked_at_alone(digdir, scopes):
    before = digdir.count("read-scope")

    found = await check(digdir, client(*(f"skatt:no.{number}" for number in range(MAX_LOOKS + 5))))

    assert [rule for rule, _, _ in found] == ["absent-scope"] * MAX_LOOKS + ["not-granted"] * 5
    assert all("isn't granted, or doesn't exist: " in message for _, _, message in found[MAX_LOOKS:])
    assert digdir.count("read-scope") - before == MAX_LOOKS


# Exposed


async def test_a_scope_that_is_new_or_the_resources_own_has_no_finding(digdir):
    await digdir.scopes.create(scope_fields("nav:arbeid:own", description=f"some-cluster:some-team:{NAME}.arbeid:own"))

    assert await check(digdir, client(exposed=[exposing("own"), exposing("new")])) == []


async def test_a_scope_of_somebody_else_is_a_conflict(digdir):
    await digdir.scopes.create(scope_fields("nav:arbeid:taken", description="made by hand"))

    (found,) = await check(digdir, client(exposed=[exposing("new"), exposing("taken")]))

    assert found[:2] == ("scope-conflict", "spec.scopes.exposes[1]")
    assert 'its description is "made by hand"' in found[2]


async def test_a_prefix_of_somebody_else_is_told_once(digdir):
    settings = RegistrationSettings("some-cluster", "Some Organisation", scope_prefix="elsewhere")

    ((rule, path, message),) = await check(
        digdir, client(exposed=[exposing("one"), exposing("two")]), settings=settings
    )

    assert (rule, path) == ("foreign-prefix", "spec.scopes.exposes")
    assert message.startswith("elsewhere is no prefix of the organisation's, which has nav")


async def test_a_delegation_source_that_digdir_doesnt_know_is_told(digdir):
    manifest = client(exposed=[exposing("delegated", delegationSource="altinn", separator="/")])
    assert await check(digdir, manifest) == []

    digdir.simulator.state.delegation_sources = {}
    found = await check(digdir, manifest)

    assert [(rule, path) for rule, path, _ in found] == [("unknown-delegation-source", "spec.scopes.exposes[0]")]


# Faults


async def test_a_list_that_cant_be_read_is_a_fault_and_no_verdict(digdir, scopes):
    digdir.fault("status", status=503, path="/scopes/access/all$", times=None)

    with pytest.raises(OperatorError, match="DigDir's list of granted scopes can't be read"):
        await check(digdir, client(CLOSED))


def test_a_manifest_that_cant_be_parsed_has_no_scopes():
    broken = client() | {"spec": {"secretName": "x", "scopes": {"consumes": [{"name": 1}]}}}

    assert find_scopes(broken, "some-team", SETTINGS) is None
    assert find_scopes(application() | {"spec": {"port": "x"}}, "some-team", SETTINGS) is None


# The command


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    with Simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture
def run(simulator, tmp_path):
    """Run the command over these manifests, in a file each; give its exit code, what it printed, and its errors."""

    def run(*manifests, output="json", **settings):
        for number, manifest in enumerate(manifests):
            (tmp_path / f"{number:03}.yaml").write_text(yaml.safe_dump(manifest))
        values = {
            "cluster_name": "some-cluster",
            "digdir_base_url": simulator.url,
            "maskinporten_well_known_url": simulator.well_known_url,
            "admin_client_id": "admin-client",
            "admin_jwk_file": str(simulator.admin_jwk_file),
            **settings,
        }
        environment = {f"MASKINPORTEN_OPERATOR_{name.upper()}": value for name, value in values.items()}
        command = [BIN / "maskinporten-operator", "check", "--granted", "-o", output, str(tmp_path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


def test_what_is_found_offline_and_at_digdir_is_told_together_and_nothing_is_written(simulator, run):
    simulator.control("DELETE", "ledger")
    manifest = client("skatt:misspelt", "skatt:misspelt")

    code, output, errors = run(manifest, client("idporten:dcr.write", name="wrong"))
    found = json.loads(output)["findings"]
    calls = simulator.control("GET", "ledger")["entries"]

    assert (code, errors) == (1, "")
    assert [(one["rule"], one["path"]) for one in found] == [
        ("repeated-scope", "spec.scopes"),
        ("absent-scope", "spec.scopes.consumes[0].name"),
        ("absent-scope", "spec.scopes.consumes[1].name"),
        ("invalid-field", "spec.scopes.consumes[0].name"),
    ]
    assert {one["operation"] for one in calls} <= READS
    assert simulator.control("GET", "violations") == []


def test_people_and_code_hosts_are_told_likewise(run):
    code, text, _ = run(client("skatt:misspelt"), output="text")
    _, sarif, _ = run(client("skatt:misspelt"), output="sarif")

    assert code == 1
    assert "✗ error: spec.scopes.consumes[0].name: there is no scope skatt:misspelt\n    → Whoever" in text
    assert [one["ruleId"] for one in json.loads(sarif)["runs"][0]["results"]] == ["absent-scope"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"admin_client_id": "somebody-else"}, "DigDir's list of"),
        ({"digdir_base_url": "http://127.0.0.1:1"}, "DigDir's list of"),
        ({"admin_jwk_file": ""}, "ADMIN_JWK_FILE"),
    ],
)
def test_without_digdir_there_is_no_verdict_and_the_exit_code_is_2(run, changed, message):
    code, output, errors = run(client(OPEN), **changed)

    assert (code, output) == (2, "")
    assert message in errors
    assert "Traceback" not in errors


def test_there_is_a_case_for_each_rule():
    """Each is expected by name above."""
    text = Path(__file__).read_text()

    assert all(f'"{rule}"' in text for rule in OF_DIGDIR)


def test_a_hundred_manifests_take_as_many_calls_as_one(simulator, run):
    def count(*manifests):
        simulator.control("DELETE", "ledger")
        code, output, _ = run(*manifests)
        assert (code, json.loads(output)["manifests"]) == (1, len(manifests))
        return sorted(one["operation"] for one in simulator.control("GET", "ledger")["entries"])

    one = count(client(CLOSED))

    assert count(*(client(CLOSED, name=f"app-{number}") for number in range(100))) == one
