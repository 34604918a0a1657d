"""Metrics in Prometheus' words. No label takes values that users choose."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from maskinporten_operator.model.conditions import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maskinporten_operator.model.resources import Kind
    from maskinporten_operator.plan.outcomes import Outcome

PREFIX = "maskinporten_operator"
KNOWN_RESULTS = frozenset(str(reason) for reason in Reason) | {"Done"}


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

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Show a value that is read when somebody looks."""
        Gauge(f"{PREFIX}_{name}", text, registry=self.registry).set_function(read)

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
