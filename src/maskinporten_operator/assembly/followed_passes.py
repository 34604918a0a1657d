"""Traces, if the configuration asks for them; else nothing of theirs is imported, and nothing called."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from maskinporten_operator.runtime.metrics import name_result

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AsyncExitStack

    from maskinporten_operator.config import Config
    from maskinporten_operator.model.resources import Kind
    from maskinporten_operator.model.traces import Tracer
    from maskinporten_operator.plan.outcomes import Outcome
    from maskinporten_operator.reconcile.ports import FirstSeen
    from maskinporten_operator.runtime.workers import Reconcile


class TracingUnavailableError(Exception):
    """Traces are asked for, and what exports them isn't installed."""


def open_tracer(config: Config, stack: AsyncExitStack) -> Tracer | None:
    """Open what exports traces, closed by `stack`; None without TRACING.

    Raises:
        TracingUnavailableError: The library isn't installed, or doesn't take an OTEL_* variable.
    """
    if not config.tracing:
        return None
    try:  # imported where it is asked for: its libraries are an extra
        from maskinporten_operator.adapters.tracing import OpenTelemetryTracer, open_provider  # noqa: PLC0415
    except ImportError:
        raise TracingUnavailableError(
            "TRACING needs the extra `tracing`, which this installation doesn't have: build the image with "
            "--build-arg TRACING=true, or turn it off"
        ) from None
    try:
        tracer = OpenTelemetryTracer(open_provider())
    except ValueError as error:  # whose text may quote any of them
        named = ", ".join(re.findall(r"OTEL_[A-Z_]+", str(error))) or "an OTEL_* variable"
        raise TracingUnavailableError(f"TRACING: OpenTelemetry doesn't take the value of {named}") from None
    stack.push_async_callback(tracer.close)
    return tracer


def follow_passes(kind: Kind, reconcile: Reconcile, tracer: Tracer) -> Reconcile:
    """Give a pass that a tracer follows."""

    async def follow(body: Mapping[str, Any], first_seen: FirstSeen) -> Outcome:
        metadata = body["metadata"]
        attributes = {
            "maskinporten_operator.kind": kind.name,
            "k8s.namespace.name": metadata["namespace"],
            "maskinporten_operator.name": metadata["name"],
        }
        with tracer.follow_pass(attributes) as note_end:
            outcome = await reconcile(body, first_seen)
            note_end(name_result(outcome), failed=bool(outcome.retry and outcome.retry.failed))
            return outcome

    return follow
