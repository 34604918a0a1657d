"""Metrics in Prometheus' words. No label takes values that users choose."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.resources import APPLICATION, MASKINPORTEN_CLIENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from maskinporten_operator.model.resources import Kind
    from maskinporten_operator.plan.outcomes import Outcome
    from maskinporten_operator.runtime.queue import Key

    Counts = Mapping[tuple[str, ...], float]

T = TypeVar("T")
PREFIX = "maskinporten_operator"
KNOWN_RESULTS = frozenset(str(reason) for reason in Reason) | {"Done", "Waiting", "Standby", "Conflict"}


def name_result(outcome: Outcome) -> str:
    """Name how a pass ended, by its Ready reason or by `Outcome.silent`."""
    reason = str(outcome.verdicts[0].reason) if outcome.verdicts else outcome.silent
    return reason if reason in KNOWN_RESULTS else "Other"  # what a status says may be written by anyone


class _Gauge(Collector):
    """A gauge that may be absent, which the library's own can't."""

    def __init__(self, name: str, text: str, read: Callable[[], float | None]) -> None:
        self._name, self._text, self._read = name, text, read

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(self._name, self._text, value=self._read())


class _Gauges(Collector):
    """A gauge with labels, read at each scrape."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...], read: Callable[[], Counts]) -> None:
        self._name, self._text, self._labels, self._read = name, text, labels, read

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for values, count in sorted(self._read().items()):
            family.add_metric(values, count)
        yield family


class Metrics:
    """What the operator counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._readings: dict[Callable[[], Any], Any] = {}
        self._passes = Counter(
            f"{PREFIX}_reconcile",
            "Passes by the kind of resource and the reason they ended with; `Done` for a resource that is being "
            "deleted, `Waiting` for an Application whose MaskinportenClient hasn't said anything yet, `Conflict` where "
            "somebody else wrote to an object meanwhile, `Standby` where a write was held back since another replica "
            "may lead.",
            ["kind", "result"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            f"{PREFIX}_reconcile_time_seconds", "How long passes take.", ["kind"], registry=self.registry
        )
        self._errors = Counter(
            f"{PREFIX}_reconcile_errors",
            "Passes in which something went wrong, be it an outage or a refusal.",
            ["kind"],
            registry=self.registry,
        )
        self._retries = Counter(
            f"{PREFIX}_retries",
            "Passes that ended with another one to come, after an error or a wait.",
            ["kind"],
            registry=self.registry,
        )
        self._waits = Histogram(
            f"{PREFIX}_queue_wait_seconds", "How long resources wait for a pass.", ["kind"], registry=self.registry
        )
        self._declare_calls()

    def _declare_calls(self) -> None:
        self._calls = Histogram(
            f"{PREFIX}_digdir_request_seconds",
            "Calls to DigDir by operation, and HTTP status, `error`, or `unsent` without a token or the leadership.",
            ["operation", "status"],
            registry=self.registry,
        )
        self._refused_statuses = Counter(
            f"{PREFIX}_statuses_refused",
            "Statuses that the API server refused to store: the served CRD has another schema. An Event at the "
            "resource quotes it.",
            ["kind"],
            registry=self.registry,
        )
        for kind in (MASKINPORTEN_CLIENT, APPLICATION):  # an increase is seen only of what was there before
            self._refused_statuses.labels(kind.name)
        self._dropped_events = Counter(
            f"{PREFIX}_events_dropped",
            "Kubernetes Events that were given up: too many waited, or the API server refused one.",
            registry=self.registry,
        )
        self._tokens = Counter(
            f"{PREFIX}_token_requests",
            "Requests for the operator's own token, by HTTP status or `error`; `unsigned` where ADMIN_SIGNER didn't "
            "sign.",
            ["status"],
            registry=self.registry,
        )

    def gauge(self, name: str, text: str, read: Callable[[], float | None]) -> None:
        """Add a gauge whose value is read at each scrape; it is absent while that is None."""
        self.registry.register(_Gauge(f"{PREFIX}_{name}", text, read))

    def gauges(self, name: str, text: str, labels: tuple[str, ...], read: Callable[[], Counts]) -> None:
        """Add a gauge with labels, read at each scrape; the labels' values must be few."""
        self.registry.register(_Gauges(f"{PREFIX}_{name}", text, labels, read))

    @contextmanager
    def time_pass(self, kind: Kind) -> Iterator[None]:
        """Time a pass."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds.labels(kind.name).observe(time.perf_counter() - started)

    def count_pass(self, kind: Kind, outcome: Outcome) -> None:
        """Count a pass by its result."""
        self._passes.labels(kind.name, name_result(outcome)).inc()

    def count_retry(self, kind: Kind, outcome: Outcome) -> None:
        """Count that a pass has to be repeated, and whether for an error."""
        if outcome.retry:
            self._retries.labels(kind.name).inc()
            if outcome.retry.failed:
                self._errors.labels(kind.name).inc()

    def observe_wait(self, key: Key, seconds: float) -> None:
        """Count how long a resource waited for its pass."""
        self._waits.labels(key.kind.name).observe(seconds)

    def count_token_request(self, status: str) -> None:
        """Count a request for the operator's own token, by HTTP status, `error`, or `unsigned` if the signer failed."""
        self._tokens.labels(status).inc()

    def count_refused_status(self, kind: Kind) -> None:
        """Count a status that the API server refused."""
        self._refused_statuses.labels(kind.name).inc()

    def count_dropped_event(self) -> None:
        """Count a Kubernetes Event that was dropped."""
        self._dropped_events.inc()

    def observe_call(self, operation: str, status: str, seconds: float) -> None:
        """Count a call to DigDir."""
        self._calls.labels(operation, status).observe(seconds)

    def share(self, read: Callable[[], T]) -> Callable[[], T]:
        """Give a reading for several gauges, which is made once at each scrape and not kept beyond."""

        def read_once() -> T:
            if read not in self._readings:
                self._readings[read] = read()
            reading: T = self._readings[read]
            return reading

        return read_once

    def render(self) -> bytes:
        """Give the text that Prometheus reads."""
        try:
            return generate_latest(self.registry)
        finally:
            self._readings.clear()
