"""The gauges, read at each scrape."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from maskinporten_operator.model.resources import Kind
    from maskinporten_operator.runtime.metrics import Metrics
    from maskinporten_operator.runtime.queue import WorkQueue
    from maskinporten_operator.runtime.state_counts import StateCounts
    from maskinporten_operator.runtime.store import WatchedResourceStore
    from maskinporten_operator.runtime.workers import Workers


def add_gauges(
    metrics: Metrics,
    queue: WorkQueue,
    workers: Workers,
    stores: Mapping[Kind, WatchedResourceStore],
    read_states: Callable[[], StateCounts],
) -> None:
    """Add the gauges of the queue, the workers and the known resources."""
    gauge, gauges = metrics.gauge, metrics.gauges
    gauge("queue_depth", "Resources of both kinds that wait for a pass.", lambda: len(queue))
    gauge("resources", "Resources of both kinds that are known.", lambda: sum(map(len, stores.values())))
    gauge("workers", "How many passes may be under way at once.", lambda: workers.count)
    gauge("active_workers", "How many passes are under way.", lambda: workers.active)
    gauge(
        "longest_running_pass_seconds",
        "How long the oldest pass under way takes so far; 0 without one.",
        lambda: workers.longest_run,
    )
    gauges(
        "resources_by_state",
        "Known resources by the status of `Ready` and its reason; `New` without one.",
        ("kind", "ready", "reason"),
        lambda: read_states().resources,
    )
    gauges(
        "false_conditions",
        "Conditions beside Ready that are False, by resources' kind, type and reason.",
        ("kind", "condition", "reason"),
        lambda: read_states().false_conditions,
    )
    gauges(
        "scopes",
        "Exposed scopes by the state that the statuses tell.",
        ("state",),
        lambda: read_states().scopes,
    )
