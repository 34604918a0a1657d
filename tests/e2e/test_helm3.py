"""What Helm 4 does with the chart in test_chart.py, from the install to the end of the release, by Helm 3."""

import pytest

from tests.e2e.test_chart import (  # noqa: F401
    cluster,
    pytestmark,
    release,
    test_helm_test_asks_the_operator_whether_it_is_ready,
    test_the_example_is_ready_by_what_the_chart_installed_alone,
    test_upgrade_and_rollback_and_uninstall_lose_and_rewrite_nothing,
)
from tools.cluster import helm3


@pytest.fixture(scope="module")
def program():
    return helm3()
