"""Traces by OpenTelemetry: a span for each pass, and one below it for each of its calls.

The only module that knows of OpenTelemetry; it is imported if TRACING asks for it.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from maskinporten_operator.model.traces import NoteEnd

NAME = "maskinporten-operator"
log = structlog.get_logger()
MAX_CLOSE_SECONDS = 3.0
"""How long the last spans are waited for at the end: a collector that doesn't answer holds nothing up."""


def open_provider() -> TracerProvider:
    """Open what exports spans, as the SDK's OTEL_* variables say; by default to a collector on this machine."""
    named = Resource({"service.name": NAME, "service.version": version(NAME)})
    resource = Resource.create().merge(named).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_Exporter()))
    return provider


class _Exporter(OTLPSpanExporter):
    """Says when spans can't be exported, and when they can again: OpenTelemetry's own logs quote addresses."""

    _fails = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        fails = result is not SpanExportResult.SUCCESS
        if fails and not self._fails:
            log.warning(
                "traces can't be exported", remedy="look at the OTEL_EXPORTER_OTLP_* variables and the collector"
            )
        elif self._fails and not fails:
            log.info("traces are exported again")
        self._fails = fails
        return result


class OpenTelemetryTracer:
    """Makes the spans of a provider."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(NAME, version(NAME))

    @contextmanager
    def follow_pass(self, attributes: Mapping[str, str]) -> Iterator[NoteEnd]:
        """Follow a pass; how it ended is to be noted."""
        with self._begin(f"reconcile {attributes['maskinporten_operator.kind']}", trace.SpanKind.INTERNAL) as span:
            span.set_attributes(attributes)

            def note_end(result: str, *, failed: bool) -> None:
                span.set_attribute("maskinporten_operator.outcome", result)
                if failed:
                    span.set_status(trace.StatusCode.ERROR, result)

            yield note_end

    @contextmanager
    def follow_call(self, system: str, method: str, route: str) -> Iterator[NoteEnd]:
        """Follow a call of an API that a pass makes; its status, or what went wrong, is to be noted."""
        if not trace.get_current_span().get_span_context().is_valid:
            yield lambda _, *, failed: None  # noqa: ARG005 - a call that no pass waits for, such as a resync's
            return
        with self._begin(f"{method} {route}", trace.SpanKind.CLIENT) as span:
            span.set_attributes({"peer.service": system, "http.request.method": method, "url.template": route})

            def note_end(result: str, *, failed: bool) -> None:
                if result.isdecimal():
                    span.set_attribute("http.response.status_code", int(result))
                if failed:
                    span.set_attribute("error.type", result)
                    span.set_status(trace.StatusCode.ERROR)

            yield note_end

    @contextmanager
    def _begin(self, name: str, kind: trace.SpanKind) -> Iterator[trace.Span]:
        """Begin a span that tells nothing of an exception: its text may quote anything."""
        with self._tracer.start_as_current_span(
            name, kind=kind, record_exception=False, set_status_on_exception=False
        ) as span:
            yield span

    async def close(self) -> None:
        """Export what is left, as far as that takes little time."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        deadline = asyncio.get_running_loop().time() + MAX_CLOSE_SECONDS
        while closing.is_alive() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
