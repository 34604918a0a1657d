"""The chart's alerts by promtool: when they fire, when not yet, and when they clear."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.metric_names import RULES
from tools.generate.__main__ import ROOT
from tools.programs import MissingToolError
from tools.prometheus import prometheus

CASES = Path(__file__).with_name("rules.yaml")
ALERTS = ROOT / "deploy" / "chart" / "files" / "alerts.yaml"


@pytest.fixture(scope="session")
def promtool():
    try:
        return prometheus() / "promtool"
    except MissingToolError as error:
        if os.environ.get("ALL_TESTS") == "required":
            raise
        pytest.skip(str(error))


@pytest.mark.parametrize(("command", "file"), [("check", ALERTS), ("test", CASES)])
def test_promtool_finds_nothing_wrong(promtool, command, file):
    ended = subprocess.run([promtool, command, "rules", file], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_each_severity_of_each_alert_has_a_case_in_which_it_fires_and_each_alert_one_in_which_it_doesnt():
    fires, silent = set(), set()
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        alert = f"MaskinportenOperator{case['name'].partition(';')[0]}"
        for look in case["promql_expr_test"]:
            assert f'alertname="{alert}"' in look["expr"]
            silent |= {alert} if not look["exp_samples"] else set()
            fires |= {(alert, sample["labels"]) for sample in look["exp_samples"] if "severity" in sample["labels"]}

    assert fires == {(rule["alert"], f'{{severity="{rule["labels"]["severity"]}"}}') for rule in RULES}
    assert silent == {rule["alert"] for rule in RULES}
