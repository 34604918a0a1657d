"""The chart as Helm renders it: no cluster is needed, only the pinned helm."""

import pytest

from tests.chart.rendered import Rendered
from tools.cluster import control_plane
from tools.generate.manifests import render_chart
from tools.stack import RELEASE

MIN_VALUES = {"settings": {"clusterName": "test"}, "credentials": {"existingSecret": "some-secret"}}


@pytest.fixture(scope="session")
def helm():
    return control_plane() / "helm"


@pytest.fixture(scope="session")
def render(helm):
    """Render the chart with values besides the least that it needs, or with these alone."""

    def run(*options, alone=False, release=RELEASE, **values):
        merged = values if alone else merge(MIN_VALUES, values)
        return Rendered(render_chart(helm, merged, *options, release=release))

    return run


def merge(one, other):
    both = {name: merge(one[name], other[name]) for name in one.keys() & other.keys() if isinstance(other[name], dict)}
    return {**one, **other, **both}
