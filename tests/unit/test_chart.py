"""The chart as files; what Helm makes of it is in tests/chart."""

import json
import re
from importlib.metadata import version

import pytest
import yaml

from maskinporten_operator.config import Config
from tools.generate.chart import CHART, PLACED, find_value

TEXT = (CHART / "values.yaml").read_text()
VALUES = yaml.safe_load(TEXT)
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
TEMPLATES = "".join(path.read_text() for path in CHART.glob("templates/**/*.*"))


def find(tree, path, step=lambda node, name: node[name]):
    for name in path.split("."):
        tree = step(tree, name)
    return tree


@pytest.mark.parametrize("setting", Config.model_fields)
def test_every_setting_is_reached_by_a_value_that_the_schema_describes(setting):
    path = find_value(setting)

    find(VALUES, path)
    assert find(SCHEMA, path, lambda node, name: node["properties"][name])["description"]


@pytest.mark.parametrize("name", VALUES["settings"])
def test_every_setting_has_a_comment(name):
    assert re.search(rf"^  # .*\n  {name}:", TEXT, re.MULTILINE)


@pytest.mark.parametrize("setting", PLACED)
def test_a_setting_that_follows_from_another_value_is_written_by_a_template(setting):
    assert f'"{setting.upper()}"' in TEMPLATES or f"OPERATOR_{setting.upper()}" in TEMPLATES


def test_every_value_is_described_and_nothing_else():
    def compare(values, schema, path=""):
        if values == {} and "properties" in schema:
            return  # an object of Kubernetes' that isn't there
        if isinstance(values, dict) and schema.get("additionalProperties") is False:
            assert set(values) == set(schema["properties"]) - (set() if path else {"global", "enabled"}), path
            for name, value in values.items():
                compare(value, schema["properties"][name], f"{path}.{name}")
        elif isinstance(values, dict):
            assert "additionalProperties" in schema or path == ".simulator.seed", path

    compare(VALUES, SCHEMA)


def test_a_slip_is_refused_at_each_level_of_our_own():
    def check(schema, path=""):
        if "properties" in schema:
            assert schema["additionalProperties"] is False, path
        for name, child in schema.get("properties", {}).items():
            check(child, f"{path}.{name}")
        if isinstance(schema.get("items"), dict):
            check(schema["items"], f"{path}[]")

    check(SCHEMA)


def test_the_chart_is_of_this_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert chart["version"] == chart["appVersion"] == version("maskinporten-operator")
