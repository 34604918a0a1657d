"""`maskinporten-operator check`: what it finds in manifests, and how it tells of it."""

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.adapters.cluster.bodies import MAX_BYTES
from maskinporten_operator.adapters.manifest_file import SafeLoader, read_documents
from maskinporten_operator.cli import main
from maskinporten_operator.plan.manifest_findings import Rule
from tools.generate.__main__ import ROOT

GOLDEN = ROOT / "tests" / "golden" / "checked"
SETTINGS = ("--platform", "onprem", "--webproxy-address", "http://proxy.example:8088", "--forbidden-scopes", "secret:*")
APPLICATION = "apiVersion: nais.io/v1alpha1\nkind: Application\nmetadata:\n  name: my-app\nspec:\n"
CLIENT = (
    "apiVersion: nais.io/v1\nkind: MaskinportenClient\nmetadata:\n  name: my-client\nspec:\n  secretName: my-secret\n"
)
EXPOSED = "  scopes:\n    exposes:\n      - {name: some.scope, product: c, enabled: true%s}\n"


def run(*arguments, text=None, **options):
    return CliRunner().invoke(main, ["check", *map(str, arguments)], input=text, **options)


def find(text, *settings):
    """What is found: rule, line and path of each."""
    outcome = run("-o", "json", *settings, "-", text=text)
    assert outcome.exit_code in {0, 1}, outcome.output
    found = json.loads(outcome.stdout)["findings"]
    assert outcome.exit_code == any(one["level"] == "error" for one in found)
    return [(one["rule"], one["line"], one["path"]) for one in found]


LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in pairwise("abcdef")
)
"""A few lines of which aliases make more than a million fields."""
OF_DIGDIR = {"not-granted", "absent-scope", "foreign-prefix", "scope-conflict", "unknown-delegation-source"}
"""The rules that `--granted` looks at: tests/adapters/test_granted_check.py."""
CASES = {
    "a-text-for-a-number": (APPLICATION + '  port: "8080"\n', ("invalid-field", 6, "spec.port")),
    "a-number-for-a-text": (
        APPLICATION + "  env:\n    - {name: A, value: 1}\n",
        ("invalid-field", 7, "spec.env[0].value"),
    ),
    "a-value-that-is-out-of-bounds": (APPLICATION + "  port: 0\n", ("invalid-field", 6, "spec.port")),
    "a-scope-that-is-none": (
        CLIENT + "  scopes:\n    consumes:\n      - name: a:b\n      - name: a b\n",
        ("invalid-field", 10, "spec.scopes.consumes[1].name"),
    ),
    "a-scope-for-administering-clients": (
        CLIENT + "  scopes:\n    consumes:\n      - name: idporten:dcr.write\n",
        ("invalid-field", 9, "spec.scopes.consumes[0].name"),
    ),
    "an-exposed-scope-without-its-right-separator": (
        CLIENT + EXPOSED % ", delegationSource: altinn",
        ("invalid-field", 9, "spec.scopes.exposes[0]"),
    ),
    "a-field-that-is-needed": (CLIENT.replace("secretName", "#"), ("invalid-field", 5, "spec.secretName")),
    "a-null-where-a-value-is-needed": (
        CLIENT.replace("my-secret", "null"),
        ("invalid-field", 6, "spec.secretName"),
    ),
    "no-spec": (CLIENT.partition("spec")[0], ("invalid-field", 1, "spec.secretName")),
    "a-spec-that-is-no-object": (APPLICATION.replace("spec:", "spec: []"), ("invalid-field", 5, "spec")),
    "no-name": (APPLICATION.replace("name:", "namespace:"), ("invalid-field", 3, "metadata.name")),
    "no-metadata": (APPLICATION.replace("  name: my-app\n", ""), ("invalid-field", 3, "metadata.name")),
    "a-name-with-a-dot": (APPLICATION.replace("my-app", "my.app"), ("invalid-field", 4, "metadata.name")),
    "a-name-that-is-too-long": (CLIENT.replace("my-client", "a" * 64), ("invalid-field", 4, "metadata.name")),
    "a-name-in-capitals": (CLIENT.replace("my-client", "My-client"), ("invalid-field", 4, "metadata.name")),
    "a-label-with-spaces": (
        APPLICATION.replace("spec:", "  labels: {team: my team}\nspec:"),
        ("invalid-field", 5, "metadata.labels[team]"),
    ),
    "an-annotation-that-is-no-text": (
        APPLICATION.replace("spec:", "  annotations:\n    nais.io/x: true\nspec:"),
        ("invalid-field", 6, "metadata.annotations[nais.io/x]"),
    ),
    "a-spec-that-is-too-large": (
        APPLICATION + "  image: x\n  ingresses: [" + "a" * (MAX_BYTES + 1) + "]\n",
        ("invalid-field", 5, "spec"),
    ),
    "a-spec-that-is-nested-too-deeply": (
        APPLICATION + "  x: " + "[" * 40 + "]" * 40 + "\n",
        ("invalid-field", 5, "spec"),
    ),
    "a-field-that-kubectl-refuses": (CLIENT + "  clientname: x\n", ("unknown-field", 7, "spec.clientname")),
    "a-field-beside-the-spec": (CLIENT + "spce: {}\n", ("unknown-field", 7, "spce")),
    "a-field-of-the-metadata": (
        CLIENT.replace("spec:", "  team: my-team\nspec:"),
        ("unknown-field", 5, "metadata.team"),
    ),
    "another-version": (CLIENT.replace("nais.io/v1", "nais.io/v1beta1"), ("wrong-version", 1, "apiVersion")),
    "a-scope-that-the-cluster-forbids": (
        CLIENT + "  scopes:\n    consumes:\n      - name: secret:x\n",
        ("forbidden-scope", 9, "spec.scopes.consumes[0].name"),
    ),
    "an-applications-scope-that-the-cluster-forbids": (
        APPLICATION + "  webproxy: true\n  maskinporten: {enabled: true, scopes: {consumes: [{name: secret:x}]}}\n",
        ("forbidden-scope", 7, "spec.maskinporten.scopes.consumes[0].name"),
    ),
    "no-way-out-of-the-premises": (
        APPLICATION + "  maskinporten:\n    enabled: true\n",
        ("webproxy-required", 5, "spec.webproxy"),
    ),
    "a-scope-twice": (
        CLIENT + "  scopes:\n    consumes: [{name: a:b}, {name: a:b}]\n",
        ("repeated-scope", 7, "spec.scopes"),
    ),
    "a-field-without-an-effect": (APPLICATION + "  ingresses: [a]\n", ("not-acted-on", 6, "spec.ingresses")),
    "an-annotation-without-an-effect": (
        APPLICATION.replace("spec:", "  annotations:\n    texas.nais.io/enabled: 'true'\nspec:"),
        ("not-acted-on", 6, "metadata.annotations[texas.nais.io/enabled]"),
    ),
    "a-file-that-is-no-yaml": ("a: b\n  c: d\n", ("no-manifest", 2, "")),
    "a-text": ("not a manifest\n", ("no-manifest", 1, "")),
    "a-member-twice": (CLIENT + "  secretName: other\n", ("no-manifest", 7, "")),
    "a-type-of-its-own": (CLIENT + "  clientName: !secret x\n", ("no-manifest", 7, "")),
    "no-number": (APPLICATION + "  replicas: {min: .nan}\n", ("no-manifest", 6, "")),
    "infinity": (APPLICATION + "  replicas:\n    max: -.inf\n", ("no-manifest", 7, "")),
    "a-number-beyond-all": (APPLICATION + "  port: 1.0e+999\n", ("no-manifest", 6, "")),
    "what-json-cannot-hold": (CLIENT + "  clientName: !!binary /w==\n", ("no-manifest", 7, "")),
    "more-fields-than-any-manifest-has": (LAUGHS, ("no-manifest", 1, "")),
    "what-no-text-holds": ("a: \x00\n", ("no-manifest", None, "")),
    "nested-without-end": ("[" * 100_000, ("no-manifest", None, "")),
    "an-alias-of-itself": ("a: &a [*a]\n", ("no-manifest", None, "")),
}


@pytest.mark.parametrize("case", CASES)
def test_each_kind_of_finding_is_told_with_its_line_and_path(case):
    text, found = CASES[case]

    assert find(text, *SETTINGS) == [found]


def test_there_is_a_case_for_each_rule():
    assert {found[0] for _, found in CASES.values()} == {rule.id for rule in Rule} - OF_DIGDIR


@pytest.mark.parametrize(
    "text",
    [
        CLIENT,
        APPLICATION + "  image: registry.example/x:1\n",
        APPLICATION + "  resources: {limits: {cpu: 1, memory: 512Mi}}\n",
        APPLICATION + "  image: null\n  resources: null\n  env:\n    - {name: A, value: null}\n",
        APPLICATION + "  env:\n    - {name: DAY, value: 2026-01-01}\n    - {name: TIME, value: 12:30}\n",
        APPLICATION.partition("spec")[0],
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: x}\nspec: {port: x}\n",
        "apiVersion: nais.io/v1\nkind: Naisjob\n",
        "- op: replace\n  path: /spec/port\n",
        "# nothing\n---\n",
    ],
)
def test_what_can_be_applied_and_what_is_of_other_kinds_is_passed_over(text):
    assert find(text) == []


def test_rules_of_other_clusters_are_named_where_the_clusters_name_is_known():
    rules = "  accessPolicy: {outbound: {rules: [{application: a, cluster: here}, {application: b, cluster: there}]}}\n"
    backend = ("--egress", "networkpolicy")

    assert find(APPLICATION + rules, *backend) == []
    assert find(APPLICATION + rules, *backend, "--cluster-name", "here") == [
        ("not-acted-on", 6, "spec.accessPolicy.outbound.rules[1]")
    ]


def test_where_controllers_call_from_is_no_matter_of_manifests():
    """The operator itself wants to know it where callers are restricted."""
    classes = ("--platform", "gcp", "--ingress-classes", "example.com=outer")

    assert find(APPLICATION + "  ingresses: ['https://a.example.com']\n", *classes) == []
    assert "ingress-controllers" not in run("--help").stdout


def test_members_of_a_list_are_checked_one_by_one():
    items = "".join("- " + one.replace("\n", "\n  ").rstrip() + "\n" for one in (CLIENT, APPLICATION + "  port: 0\n"))

    found = find("apiVersion: v1\nkind: List\nitems:\n" + items)

    assert found == [("invalid-field", 15, "spec.port")]


def test_json_may_have_tabs_between_its_members():
    found = find('{"apiVersion": "nais.io/v1", "kind": "MaskinportenClient",\n\t"metadata": {"name": "x"}, "spec": {}}')

    assert found == [("invalid-field", 2, "spec.secretName")]


def test_a_template_is_told_to_be_rendered_first():
    outcome = run("-", text=APPLICATION + "  image: {{ image }}\n")

    assert outcome.exit_code == 1
    assert "stdin:6: " in outcome.stdout
    assert "It looks like a template" in outcome.stdout


def test_a_directory_is_searched_for_manifests_and_a_file_is_named_with_its_path(tmp_path):
    for name in ("a.yaml", "below/b.yml", "below/c.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(CLIENT + "  x: 1\n")
    (tmp_path / "chart.yaml").write_text("{{ of another kind }}")
    (tmp_path / ".hidden.yaml").write_text(CLIENT + "  x: 1\n")
    (tmp_path / "notes.txt").write_text(CLIENT)

    found = json.loads(run("-o", "json", tmp_path).stdout)

    assert [one["file"] for one in found["findings"]] == [
        str(tmp_path / name) for name in ("a.yaml", "below/b.yml", "below/c.json")
    ]


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_ends_with_2(tmp_path, content):
    path = tmp_path / "manifest.yaml"
    if content:
        path.write_bytes(content)

    outcome = run(path)

    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert str(path) in outcome.stderr


@pytest.mark.parametrize("arguments", [(), ("--platform", "moon", "-"), ("--platform", "onprem", "-"), ("--x", "-")])
def test_wrong_usage_ends_with_2(arguments):
    assert run(*arguments, text=CLIENT).exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        APPLICATION + "  env:\n    - {name: PASSWORD, value: 8512345678}\n",
        APPLICATION + "  command: [login, 8512345678]\n",
        "apiVersion: v1\nkind: Secret\nstringData:\n  password: '8512345678\n",
        "apiVersion: v1\nkind: Secret\nstringData: {password: 8512345678: }}\n",
    ],
)
@pytest.mark.parametrize("output", ["text", "json", "sarif"])
def test_what_may_be_secret_is_never_quoted(text, output):
    outcome = run("-o", output, "-", text=text)

    assert outcome.exit_code == 1
    assert "85123" not in outcome.output


def test_nothing_moves_the_cursor_of_whoever_looks():
    outcome = run("-", text=CLIENT + '  "\\e[2J": 1\n')

    assert "spec.\\x1b[2J: no field of this kind" in outcome.stdout
    assert "\x1b" not in outcome.stdout


def test_a_files_name_makes_no_line_of_its_own(tmp_path):
    (tmp_path / "a\n::error::forged.yaml").write_text(CLIENT + "  x: 1\n")

    assert not [line for line in run(tmp_path).stdout.splitlines() if line.startswith("::")]


def test_people_are_told_what_is_wrong_and_who_can_fix_it():
    outcome = run(*SETTINGS, "manifests.yaml", catch_exceptions=False)

    assert outcome.exit_code == 1
    assert outcome.stdout == (GOLDEN / "people.txt").read_text()


def test_code_hosts_get_the_same_as_sarif():
    outcome = run(*SETTINGS, "-o", "sarif", "manifests.yaml")
    log = json.loads(outcome.stdout)
    log["runs"][0]["tool"]["driver"]["version"] = "0"

    assert log == json.loads((GOLDEN / "report.sarif").read_text())


def test_sarif_keeps_the_rules_of_its_schema():
    log = json.loads(run(*SETTINGS, "-o", "sarif", "manifests.yaml").stdout)
    (run_,) = log["runs"]
    rules = run_["tool"]["driver"]["rules"]

    assert log["version"] == "2.1.0"
    assert len({rule["id"] for rule in rules}) == len(rules)
    assert run_["results"]
    for one in run_["results"]:
        (location,) = one["locations"]
        assert rules[one["ruleIndex"]]["id"] == one["ruleId"]
        assert one["level"] in {"none", "note", "warning", "error"}
        assert one["message"]["text"]
        assert location["physicalLocation"]["region"]["startLine"] >= 1


@pytest.mark.parametrize(("name", "uri"), [("a b/ø.yaml", "a%20b/%C3%B8.yaml"), ("./x.yaml", "x.yaml")])
def test_a_files_name_is_a_uri_in_sarif(tmp_path, monkeypatch, name, uri):
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("a: b: c")

    (result,) = json.loads(run("-o", "sarif", name).stdout)["runs"][0]["results"]

    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


@pytest.mark.parametrize(("environment", "coloured"), [({"NO_COLOR": None}, True), ({"NO_COLOR": "1"}, False)])
def test_there_is_colour_on_terminals_only(environment, coloured):
    assert ("\x1b[31m" in run("-", text="a: b: c", color=True, env=environment).stdout) == coloured
    assert "\x1b" not in run("-", text="a: b: c", env=environment).stdout


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
members = st.sampled_from(["name", "labels", "annotations", "scopes", "env", "replicas", "secretName", "webproxy"])
parts = json_values | st.dictionaries(members, json_values, max_size=4)


@given(kind=st.sampled_from(["Application", "MaskinportenClient"]), metadata=parts, spec=parts)
def test_whatever_a_manifest_says_it_gets_a_verdict(kind, metadata, spec):
    version = "nais.io/v1alpha1" if kind == "Application" else "nais.io/v1"
    body = {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}

    outcome = run("-o", "json", "-", text=json.dumps(body))

    assert outcome.exit_code in {0, 1}, outcome.exception


@given(text=st.text(alphabet="ab:-[]{}&*!#'\" \n\t0.%~<|>", max_size=40))
def test_whatever_a_file_holds_it_gets_a_verdict(text):
    outcome = run("-", text=text)

    assert outcome.exit_code in {0, 1}, outcome.exception


def test_the_action_and_the_hook_call_the_command():
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())

    assert "bin/maskinporten-operator check" in action["runs"]["steps"][-1]["run"]
    assert hook["entry"] == "maskinporten-operator check"


def test_every_rule_has_a_row_in_the_documentation():
    rows = re.findall(r"^\| `([\w-]+)` \| (error|warning) \|", (ROOT / "docs/commands.md").read_text(), re.MULTILINE)

    assert rows == [(rule.id, rule.level) for rule in Rule]


def test_lines_are_read_by_the_quick_parser():
    assert SafeLoader.__name__ == "CSafeLoader"
    assert read_documents("a:\n  b: 1\n")[0].lines == {"": 1, "a": 1, "a.b": 2}


def test_nothing_is_loaded_that_only_the_operator_needs():
    script = (
        "import sys; from maskinporten_operator.cli import main\n"
        f"main(['check', {str(GOLDEN / 'manifests.yaml')!r}], standalone_mode=False)"
    )
    wrapped = f"try:\n exec({script!r})\nexcept SystemExit: pass\nprint(*sys.modules)"

    modules = subprocess.run(
        [sys.executable, "-c", f"import sys\n{wrapped}"], capture_output=True, text=True, check=True
    ).stdout.split()

    assert "yaml" in modules
    assert not {"kopf", "httpx", "aiohttp", "kubernetes", "jose", "cryptography"} & set(modules)


@pytest.fixture(autouse=True)
def at_the_golden_manifests(monkeypatch):
    monkeypatch.chdir(GOLDEN)
