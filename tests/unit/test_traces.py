"""Traces: one span for each pass, and one below it for each call; nothing of it where nobody asked."""

import subprocess
import sys
import threading
from contextlib import AsyncExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import ClassVar

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from maskinporten_operator.adapters.cluster.api import ClusterApi
from maskinporten_operator.adapters.cluster.traced_api import TracedApi
from maskinporten_operator.adapters.digdir.traced_calls import TracedCalls
from maskinporten_operator.adapters.fence import OPEN
from maskinporten_operator.adapters.tracing import OpenTelemetryTracer, open_provider
from maskinporten_operator.assembly.followed_passes import TracingUnavailableError, follow_passes, open_tracer
from maskinporten_operator.model.errors import TransientError
from maskinporten_operator.model.resources import MASKINPORTEN_CLIENT
from maskinporten_operator.plan.outcomes import DONE
from maskinporten_operator.reconcile.client_pass import reconcile_maskinportenclient
from tests.unit.fakes import NAME, NAMESPACE, resource_body
from tests.unit.world import World

ATTRIBUTES = {"maskinporten_operator.kind": "MaskinportenClient"}


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return OpenTelemetryTracer(provider)


class TracedWorld(World):
    """A world whose passes and calls of DigDir are followed."""

    def __init__(self, tracer):
        self.tracer = tracer
        super().__init__()

    def _build_calls(self, http, url):
        return TracedCalls(http, url, lambda *_: None, tracer=self.tracer)

    async def follow(self):
        def reconcile(body, first_seen):
            return reconcile_maskinportenclient(body, first_seen, self.ports)

        traced = follow_passes(MASKINPORTEN_CLIENT, reconcile, self.tracer)
        return await traced(self.cluster.resource, self.first_seen)


async def test_a_pass_is_a_span_with_its_resource_and_its_end_and_its_calls_are_below_it(tracer, exporter):
    world = TracedWorld(tracer)
    await world.follow()

    spans = {span.name: span for span in exporter.get_finished_spans()}
    root = spans.pop("reconcile MaskinportenClient")
    assert dict(root.attributes) == {
        "maskinporten_operator.kind": "MaskinportenClient",
        "k8s.namespace.name": NAMESPACE,
        "maskinporten_operator.name": NAME,
        "maskinporten_operator.outcome": "Synchronized",
    }
    assert root.parent is None
    assert {"GET /clients", "POST /clients", "POST /clients/{client_id}/jwks"} <= spans.keys()
    assert {span.parent.span_id for span in spans.values()} == {root.context.span_id}
    assert {span.kind for span in spans.values()} == {SpanKind.CLIENT}
    assert dict(spans["POST /clients"].attributes) == {
        "peer.service": "digdir",
        "http.request.method": "POST",
        "url.template": "/clients",
        "http.response.status_code": 201,
    }


async def test_spans_tell_neither_ids_nor_anything_secret(tracer, exporter):
    world = TracedWorld(tracer)
    await world.follow()

    text = "".join(span.to_json() for span in exporter.get_finished_spans())
    held = world.held
    for secret in (world.client.client_id, held.key.n, held.key.d, held.kid):
        assert secret not in text


async def test_a_call_that_fails_and_its_pass_are_marked_so(tracer, exporter):
    world = TracedWorld(tracer)
    world.digdir.fault("status", status=503, method="POST", path="/clients$", times=None)
    await world.follow()

    spans = {span.name: span for span in exporter.get_finished_spans()}
    call, root = spans["POST /clients"], spans["reconcile MaskinportenClient"]
    assert call.attributes["http.response.status_code"] == 503
    assert (call.status.status_code, root.status.status_code) == (StatusCode.ERROR, StatusCode.ERROR)
    assert root.status.description == root.attributes["maskinporten_operator.outcome"] == "DigDirUnavailable"
    assert not any(span.events for span in spans.values())


async def test_calls_that_belong_to_no_pass_are_no_spans(tracer, exporter):
    world = TracedWorld(tracer)
    await world.registrations.ready()

    assert exporter.get_finished_spans() == ()


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/api/v1/namespaces/my-team", "/api/v1/namespaces/{namespace}"),
        ("/api/v1/namespaces/my-team/pods", "/api/v1/namespaces/{namespace}/pods"),
        ("/api/v1/namespaces/my-team/secrets/s", "/api/v1/namespaces/{namespace}/secrets/{name}"),
        (
            "/apis/nais.io/v1/namespaces/my-team/maskinportenclients/app/status",
            "/apis/nais.io/v1/namespaces/{namespace}/maskinportenclients/{name}/status",
        ),
    ],
)
async def test_requests_to_the_api_server_are_told_by_their_routes(tracer, exporter, monkeypatch, path, route):
    async def send(self, method, path, *more):
        return type("Response", (), {"status": 404})()

    monkeypatch.setattr(ClusterApi, "_send", send)
    api = TracedApi(None, OPEN, lambda: None, tracer=tracer)
    with tracer.follow_pass(ATTRIBUTES):
        await api._send("GET", path, (), None, "", "", 1.0)

    call = exporter.get_finished_spans()[0]
    assert call.name == f"GET {route}"
    assert (call.attributes["http.response.status_code"], call.status.status_code) == (404, StatusCode.UNSET)
    assert call.attributes["peer.service"] == "kubernetes"


async def test_a_request_without_an_answer_is_marked_so(tracer, exporter, monkeypatch):
    async def send(self, *_):
        raise TransientError("ClusterUnavailable", "secret words")

    monkeypatch.setattr(ClusterApi, "_send", send)
    api = TracedApi(None, OPEN, lambda: None, tracer=tracer)
    with pytest.raises(TransientError), tracer.follow_pass(ATTRIBUTES):
        await api._send("GET", "/api/v1/namespaces/my-team", (), None, "", "", 1.0)

    call = exporter.get_finished_spans()[0]
    assert (call.status.status_code, call.attributes["error.type"]) == (StatusCode.ERROR, "error")
    assert "secret words" not in "".join(span.to_json() for span in exporter.get_finished_spans())


async def test_the_variables_of_opentelemetry_hold(monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    provider = open_provider()

    attributes = provider.resource.attributes
    assert (attributes["service.name"], attributes["deployment.environment.name"]) == ("mine", "test")
    await OpenTelemetryTracer(provider).close()


async def test_without_variables_the_service_has_our_name():
    provider = open_provider()

    assert provider.resource.attributes["service.name"] == "maskinporten-operator"
    await OpenTelemetryTracer(provider).close()


async def test_nothing_is_followed_by_the_way_when_a_pass_is_done(tracer, exporter):
    async def reconcile(body, first_seen):
        return DONE

    await follow_passes(MASKINPORTEN_CLIENT, reconcile, tracer)(resource_body(), None)

    (span,) = exporter.get_finished_spans()
    assert span.attributes["maskinporten_operator.outcome"] == "Done"


class Collector(BaseHTTPRequestHandler):
    """Takes in spans, and notes where they were sent."""

    paths: ClassVar[list[str]] = []

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.paths.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


async def test_spans_are_exported_to_the_endpoint_of_the_variables_at_the_end_at_latest(monkeypatch):
    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        tracer = OpenTelemetryTracer(open_provider())
        with tracer.follow_pass(ATTRIBUTES):
            pass
        await tracer.close()

    assert Collector.paths == ["/v1/traces"]


async def test_a_collector_that_never_answers_doesnt_hold_up_the_end(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr("maskinporten_operator.adapters.tracing.MAX_CLOSE_SECONDS", 0.0)
    provider = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(provider, "shutdown", ended.wait)

    await OpenTelemetryTracer(provider).close()

    assert not ended.is_set()
    ended.set()


def test_an_operator_without_the_library_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "maskinporten_operator.adapters.tracing", None)

    with pytest.raises(TracingUnavailableError, match="--build-arg TRACING=true"):
        open_tracer(SimpleNamespace(tracing=True), AsyncExitStack())


@pytest.mark.parametrize(
    ("variable", "value"), [("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "secret"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "99999")]
)
async def test_a_variable_of_opentelemetry_that_it_doesnt_take_is_named_without_its_value(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    async with AsyncExitStack() as stack:
        with pytest.raises(TracingUnavailableError, match="OTEL_") as refused:
            open_tracer(SimpleNamespace(tracing=True), stack)
    assert value not in str(refused.value)


LEAKS = """
import os
os.environ |= {
    "OTEL_EXPORTER_OTLP_HEADERS": "Authorization: Bearer a-secret",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:a-secret@127.0.0.1:1/?key=a-secret",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
}
from maskinporten_operator.adapters.tracing import NAME, open_provider
from maskinporten_operator.logs import configure_logs
configure_logs("DEBUG", "json")
provider = open_provider()
for _ in range(2):
    provider.get_tracer(NAME).start_span("some span").end()
    provider.force_flush()
"""


def test_what_cant_be_exported_is_told_once_and_without_headers_or_addresses():
    done = subprocess.run([sys.executable, "-c", LEAKS], capture_output=True, text=True, check=True, timeout=60)

    assert "a-secret" not in done.stderr
    assert done.stderr.count("traces can't be exported") == 1


def test_without_the_setting_there_is_no_tracer():
    assert open_tracer(SimpleNamespace(tracing=False), AsyncExitStack()) is None


def test_an_operator_that_isnt_to_trace_imports_nothing_of_opentelemetry():
    look = (
        "import sys, maskinporten_operator.assembly.operator; print([m for m in sys.modules if 'opentelemetry' in m])"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
