"""The chart's alerts as files: what they name is there. That they fire is in tests/alerts and tests/e2e."""

import re

import pytest

from tests.metric_names import PREFIX, RULES, declared_metrics, find_unknown
from tools.generate.__main__ import ROOT

RUNBOOKS = ROOT / "docs" / "runbooks"
INDEX = (RUNBOOKS / "index.md").read_text()
OPERATING = (ROOT / "docs" / "operating.md").read_text()
SECTIONS = ["What users notice", "Look", "Fix", "Who can fix it", "When it clears"]
DESCRIBED = {
    name: set(filter(None, labels.split(",")))
    for cell in re.findall(rf"^\| (`{PREFIX}[^|]*) \|", OPERATING, re.MULTILINE)
    for name, labels in re.findall(rf"`({PREFIX}\w+)(?:\{{([\w,]*)\}})?`", cell)
}
ids = [f"{rule['alert']}-{rule['labels']['severity']}" for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=ids)
def test_an_alert_asks_for_metrics_and_labels_that_the_operator_has(rule):
    assert find_unknown(rule["expr"]) == set()


@pytest.mark.parametrize(
    ("expression", "unknown"),
    [
        ("maskinporten_operator_lead > 0", {"maskinporten_operator_lead"}),
        ('maskinporten_operator_scopes{kind="a"}', {"maskinporten_operator_scopes{kind}"}),
        ("sum by (job, team) (maskinporten_operator_leader)", {"team"}),
        ("sum without (pod, team) (maskinporten_operator_leader)", {"team"}),
    ],
)
def test_what_the_operator_doesnt_have_is_noticed(expression, unknown):
    assert find_unknown(expression) == unknown


@pytest.mark.parametrize("rule", RULES, ids=ids)
def test_an_alert_says_how_bad_it_is_and_its_runbook_says_the_rest(rule):
    page = (ROOT / rule["annotations"]["runbook_url"]).read_text()

    assert rule["labels"]["severity"] in re.search(r"^Alert `\w+`, (.*)\.$", page, re.MULTILINE)[1]
    assert page.startswith(f"# {rule['alert'].removeprefix('MaskinportenOperator')}\n\nAlert `{rule['alert']}`")
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == SECTIONS
    assert {"summary", "description"} < rule["annotations"].keys()


def test_every_runbook_is_of_an_alert_and_in_the_list():
    pages = {path.relative_to(ROOT).as_posix() for path in RUNBOOKS.glob("*.md")}
    assert pages == {rule["annotations"]["runbook_url"] for rule in RULES} | {"docs/runbooks/index.md"}
    assert set(re.findall(r"\((.*?\.md)\) \|", INDEX)) == {path.rpartition("/")[2] for path in pages} - {"index.md"}


def test_every_metric_has_a_row_with_its_labels():
    series = {name: labels - {"le"} for name, labels in declared_metrics().items()}
    declared = {re.sub("_(bucket|count|sum)$", "", name): labels for name, labels in series.items()}

    assert {name: labels for name, labels in DESCRIBED.items() if labels} == {
        name: labels for name, labels in declared.items() if labels
    }
    assert DESCRIBED.keys() == declared.keys()
