"""The parts of the documentation that come from the code."""

import pytest

from maskinporten_operator.runtime.metrics import PREFIX, Metrics
from tools.generate.marked import replace_marked
from tools.generate.metrics import find_metrics


def test_every_metric_that_is_registered_is_found_in_the_source_with_its_labels():
    metrics = Metrics()
    metrics.count_token_request("200")
    metrics.observe_call("list-clients", "200", 0.1)
    registered = {family.name.removeprefix(f"{PREFIX}_"): family for family in metrics.registry.collect()}
    found = {one.name: one for one in find_metrics()}

    assert registered.keys() <= found.keys()
    for name in ("token_requests", "digdir_request_seconds"):
        labels = registered[name].samples[0].labels.keys() - {"le"}
        assert (registered[name].type, labels) == (found[name].type, set(found[name].labels))


def test_no_metric_is_declared_twice_with_other_words():
    names = [one.name for one in find_metrics()]

    assert sorted(set(names)) == names


def test_a_page_that_lost_its_marks_is_an_error():
    with pytest.raises(ValueError, match="has no marks of metrics"):
        replace_marked("docs/index.md", "metrics", "")
