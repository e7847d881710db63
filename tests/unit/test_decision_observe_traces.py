"""Traces: off unless asked for, the parts of a decision below its request, and nobody's ids in them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from fastapi import FastAPI
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

from decision.observe import traces
from storage.errors import ConfigurationError

MARK = "Mustermann"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    """Traces are on, and what is exported is kept here."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(traces.without_paths())
    provider.add_span_processor(SimpleSpanProcessor(kept))
    traces.use(provider)
    kept.provider = provider  # type: ignore[attr-defined]
    yield kept
    traces.use(None)


@pytest.mark.parametrize(
    ("environment", "exporter"),
    [
        ({}, None),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, None),
        ({"OTEL_TRACES_EXPORTER": "Console"}, "console"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, None),
    ],
)
def test_the_environment_says_where_to(environment: dict[str, str], exporter: str | None) -> None:
    assert traces.wanted(environment) == exporter


def test_an_exporter_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    with pytest.raises(ConfigurationError, match="may be otlp, console or none"):
        traces.configure()
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier pigeon")
    with pytest.raises(ConfigurationError, match="http/protobuf or grpc"):
        traces.configure()


def test_off_nothing_is_made() -> None:
    with traces.span("features") as outer, traces.span("commit") as inner:
        traces.note(decision_id="d")
    assert (outer, inner) == (None, None)
    assert traces.span("features") is traces.span("commit")


def test_whether_fastapi_makes_spans_is_said_to_it_once(request: pytest.FixtureRequest) -> None:
    assert traces.of_requests() == {"tracing": False, "metrics": False, "logs": False}
    request.getfixturevalue("exporter")
    assert traces.of_requests()["tracing"]


def test_a_raw_routes_request_and_its_parts_without_the_clients_words(exporter: InMemorySpanExporter) -> None:
    provider: TracerProvider = exporter.provider  # type: ignore[attr-defined]
    app = FastAPI(telemetry={"metrics": False, "logs": False, "tracer_provider": provider})

    async def decide(_request: Request) -> Response:
        traces.note(decision_id="d1")
        with traces.span("features"):
            pass
        committed: Future[None] = Future()
        traces.span_until_done("commit", committed)
        committed.set_exception(ValueError(MARK))
        return Response()

    app.add_route("/v1/decide/{who}", decide, methods=["POST"])
    TestClient(app).post(f"/v1/decide/{MARK}?who={MARK}", json={"user_id": MARK})
    TestClient(app).get(f"/{MARK}")
    features, commit, request, unknown = exporter.get_finished_spans()
    assert [features.name, commit.name] == ["features", "commit"]
    assert (request.name, unknown.name) == ("POST /v1/decide/{who}", "GET")
    assert request.context is not None
    for part in (features, commit):
        assert part.parent is not None
        assert part.parent.span_id == request.context.span_id
    assert request.attributes is not None
    assert request.attributes["nextplay.decision_id"] == "d1"
    assert commit.attributes == {"error.type": "ValueError"}
    assert MARK not in "".join(span.to_json() for span in exporter.get_finished_spans())


def test_what_fails_in_a_span_leaves_no_message(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match=MARK), traces.span("matching"):
        raise ValueError(MARK)
    (span,) = exporter.get_finished_spans()
    assert MARK not in span.to_json()
