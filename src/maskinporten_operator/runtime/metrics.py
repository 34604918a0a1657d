"""Metrics in Prometheus' words. No label takes values that users choose."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from maskinporten_operator.model.conditions import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.metrics_core import Metric

    from maskinporten_operator.model.resources import Kind
    from maskinporten_operator.plan.outcomes import Outcome

PREFIX = "maskinporten_operator"
KNOWN_RESULTS = frozenset(str(reason) for reason in Reason) | {"Done"}


class _Gauge(Collector):
    """A gauge that may be absent, which the library's own can't."""

    def __init__(self, name: str, text: str, read: Callable[[], float | None]) -> None:
        self._name, self._text, self._read = name, text, read

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(self._name, self._text, value=self._read())


class Metrics:
    """What the operator counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._passes = Counter(
            f"{PREFIX}_reconcile", "Passes by kind and how they ended.", ["kind", "result"], registry=self.registry
        )
        self._seconds = Histogram(
            f"{PREFIX}_reconcile_time_seconds", "How long passes take.", ["kind"], registry=self.registry
        )
        self._calls = Histogram(
            f"{PREFIX}_digdir_request_seconds",
            "Calls to DigDir by operation and status.",
            ["operation", "status"],
            registry=self.registry,
        )

    def gauge(self, name: str, text: str, read: Callable[[], float | None]) -> None:
        """Show a value that is read when somebody looks; None is no value, and then the metric is absent."""
        self.registry.register(_Gauge(f"{PREFIX}_{name}", text, read))

    @contextmanager
    def time_pass(self, kind: Kind) -> Iterator[None]:
        """Time a pass."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds.labels(kind.name).observe(time.perf_counter() - started)

    def count_pass(self, kind: Kind, outcome: Outcome) -> None:
        """Count a pass by its Ready reason."""
        reason = str(outcome.verdicts[0].reason) if outcome.verdicts else "Done"
        reason = reason if reason in KNOWN_RESULTS else "Other"  # what a status says may be written by anyone
        self._passes.labels(kind.name, reason).inc()

    def observe_call(self, operation: str, status: str, seconds: float) -> None:
        """Count a call to DigDir."""
        self._calls.labels(operation, status).observe(seconds)

    def render(self) -> bytes:
        """Give the text that Prometheus reads."""
        return generate_latest(self.registry)
