"""What Prometheus reads."""

import pytest

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import ConflictError, StandbyError, TerminatingError
from maskinporten_operator.model.resources import APPLICATION, MASKINPORTEN_CLIENT
from maskinporten_operator.plan.outcomes import DONE, Outcome, Retry, not_ready
from maskinporten_operator.runtime.metrics import Metrics


def samples(metrics, name):
    lines = metrics.render().decode().splitlines()
    return [line for line in lines if line.startswith(f"maskinporten_operator_{name}")]


def test_a_gauge_shows_what_is_read_when_somebody_looks():
    metrics, values = Metrics(), [1]
    metrics.gauge("waiting", "How many wait.", lambda: len(values))
    values.append(2)

    assert samples(metrics, "waiting") == ["maskinporten_operator_waiting 2.0"]
    assert "# HELP maskinporten_operator_waiting How many wait." in metrics.render().decode()
    assert "# TYPE maskinporten_operator_waiting gauge" in metrics.render().decode()


def test_a_gauge_without_a_value_is_absent_until_it_has_one():
    metrics, values = Metrics(), []
    metrics.gauge("end_seconds", "When it ends.", lambda: values[0] if values else None)

    assert samples(metrics, "end_seconds") == []
    values.append(1_800_000_000.0)
    assert samples(metrics, "end_seconds") == ["maskinporten_operator_end_seconds 1.8e+09"]


def test_what_gauges_share_is_read_once_for_each_scrape_and_not_kept():
    metrics, readings = Metrics(), []

    def read():
        readings.append(None)
        return len(readings)

    shared = metrics.share(read)
    metrics.gauge("one", "One.", shared)
    metrics.gauge("other", "Another.", lambda: 10 * shared())
    readings.clear()

    for number in (1, 2):
        text = metrics.render().decode()
        assert f"maskinporten_operator_one {number}.0" in text
        assert f"maskinporten_operator_other {10 * number}.0" in text


SILENT = {
    "Done": DONE,
    "Waiting": Outcome((), Retry(5.0, failed=False), 0, silent="Waiting"),
    "Standby": not_ready(StandbyError(Reason.CLUSTER_UNAVAILABLE, "another replica may lead").blocker),
    "Conflict": not_ready(ConflictError(Reason.CLUSTER_UNAVAILABLE, "it changed").blocker),
}


@pytest.mark.parametrize("result", SILENT)
def test_a_pass_that_reports_nothing_is_counted_by_how_it_ended(result):
    metrics = Metrics()
    metrics.count_pass(APPLICATION, SILENT[result])

    counted = f'maskinporten_operator_reconcile_total{{kind="Application",result="{result}"}} 1.0'
    assert samples(metrics, "reconcile_total") == [counted]


def test_a_resource_that_is_going_away_is_done():
    metrics = Metrics()
    metrics.count_pass(MASKINPORTEN_CLIENT, not_ready(TerminatingError(Reason.TERMINATING, "it goes").blocker))

    assert 'result="Done"' in samples(metrics, "reconcile_total")[0]


def test_a_conflict_is_no_error():
    metrics = Metrics()
    metrics.count_retry(MASKINPORTEN_CLIENT, SILENT["Conflict"])

    assert samples(metrics, "reconcile_errors") == []
    assert samples(metrics, "retries_total") == ['maskinporten_operator_retries_total{kind="MaskinportenClient"} 1.0']


def test_refused_statuses_are_counted_by_kind_from_none_on():
    metrics = Metrics()
    metrics.count_refused_status(MASKINPORTEN_CLIENT)

    counted = {
        'maskinporten_operator_statuses_refused_total{kind="MaskinportenClient"} 1.0',
        'maskinporten_operator_statuses_refused_total{kind="Application"} 0.0',
    }
    assert set(samples(metrics, "statuses_refused_total")) == counted


def test_dropped_events_are_counted_from_none_on():
    metrics = Metrics()
    assert samples(metrics, "events_dropped_total") == ["maskinporten_operator_events_dropped_total 0.0"]
    metrics.count_dropped_event()

    assert samples(metrics, "events_dropped_total") == ["maskinporten_operator_events_dropped_total 1.0"]
