"""The dashboard as a file; that its panels have data is in tests/e2e."""

import json

import pytest

from tests.metric_names import declared_metrics, find_unknown
from tools.generate.dashboard import ROWS, render_dashboard

PANELS = [view for views in ROWS.values() for view in views]
QUERIES = [query for view in PANELS for query in view.queries.values()]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_metrics_and_labels_that_the_operator_has(query):
    assert find_unknown(query) == set()


def test_every_metric_is_shown():
    shown = " ".join(QUERIES)
    assert [
        name for name in declared_metrics() if f"{name}{{" not in shown and not name.endswith(("_count", "_sum"))
    ] == []


def test_every_panel_is_in_grafanas_json_and_lies_beside_the_others():
    panels = json.loads(render_dashboard())["panels"]
    places = [
        (column, line)
        for panel in panels
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for line in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert [panel["title"] for panel in panels if panel["type"] != "row"] == [view.title for view in PANELS]
    assert len(places) == len(set(places))
    assert max(column for column, _ in places) < 24
