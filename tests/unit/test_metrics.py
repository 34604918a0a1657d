"""What Prometheus reads."""

from maskinporten_operator.runtime.metrics import Metrics


def samples(metrics):
    return [line for line in metrics.render().decode().splitlines() if line and not line.startswith("#")]


def test_a_gauge_shows_what_is_read_when_somebody_looks():
    metrics, values = Metrics(), [1]
    metrics.gauge("waiting", "How many wait.", lambda: len(values))
    values.append(2)

    assert samples(metrics) == ["maskinporten_operator_waiting 2.0"]
    assert "# HELP maskinporten_operator_waiting How many wait." in metrics.render().decode()
    assert "# TYPE maskinporten_operator_waiting gauge" in metrics.render().decode()


def test_a_gauge_without_a_value_is_absent_until_it_has_one():
    metrics, values = Metrics(), []
    metrics.gauge("end_seconds", "When it ends.", lambda: values[0] if values else None)

    assert samples(metrics) == []
    values.append(1_800_000_000.0)
    assert samples(metrics) == ["maskinporten_operator_end_seconds 1.8e+09"]
