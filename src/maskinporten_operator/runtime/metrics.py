"""Metrics in Prometheus' words. No label takes values that users choose."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maskinporten_operator.plan.outcomes import Outcome

PREFIX = "maskinporten_operator"


class Metrics:
    """What the operator counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._passes = Counter(f"{PREFIX}_reconcile", "Passes by how they ended.", ["result"], registry=self.registry)
        self._seconds = Histogram(f"{PREFIX}_reconcile_time_seconds", "How long passes take.", registry=self.registry)
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
    def time_pass(self) -> Iterator[None]:
        """Time a pass."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds.observe(time.perf_counter() - started)

    def count_pass(self, outcome: Outcome) -> None:
        """Count a pass by its Ready reason."""
        self._passes.labels(str(outcome.verdicts[0].reason) if outcome.verdicts else "Done").inc()

    def observe_call(self, operation: str, status: str, seconds: float) -> None:
        """Count a call to DigDir."""
        self._calls.labels(operation, status).observe(seconds)

    def render(self) -> bytes:
        """Give the text that Prometheus reads."""
        return generate_latest(self.registry)
