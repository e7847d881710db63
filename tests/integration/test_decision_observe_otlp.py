"""Traces sent by OTLP to a collector over HTTP, as a real service sends them."""

from __future__ import annotations

import gzip
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from decision.demo.run import LIBRARY
from tests.launching import running_service

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
USER = "Zzmark-user"
REQUEST, PARTS = "POST /v1/decide", ("features", "matching", "commit")


class Collector(ThreadingHTTPServer):
    """Takes what exporters send, by the OTLP specification: protobuf, possibly packed, to /v1/traces."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Collects)
        self.received: list[tuple[str, ExportTraceServiceRequest]] = []

    def spans(self) -> dict[str, Any]:
        """Return the spans that came, by name; of equal names the last."""
        return {
            span.name: span
            for _, request in list(self.received)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }


class _Collects(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.received.append((self.path, ExportTraceServiceRequest.FromString(body)))
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """The test's output is not a log."""


@contextmanager
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _known(http: httpx2.Client) -> None:
    """Give the user an order and features."""
    bought = {"value": 5.0, "categories": ["COFFEE"]}
    event = {"userId": USER, "messageId": "m1", "event": "order_completed", "properties": bought}
    moment = (START - timedelta(days=1)).isoformat()
    http.post("/v1/track", json={**event, "timestamp": moment}).raise_for_status()
    http.post("/v1/jobs/features").raise_for_status()


def attributes(of: Any) -> dict[str, str]:
    return {one.key: one.value.string_value for one in of.attributes}


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_collector_gets_the_spans_of_a_decision(
    compression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(LIBRARY, tmp_path / "library")
    with collector() as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "shop-decisions")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with running_service(tmp_path, clock=START, seed="test", log=tmp_path / "log") as client:
            _known(client.http)
            trace = "0af7651916cd43dd8448eb211c80319c"
            answer = client.http.post(
                "/v1/decide",
                json={"user_id": USER, "placement": "outbound"},
                headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"},
            ).raise_for_status()
            until = time.monotonic() + 60
            while not server.spans().keys() >= {REQUEST, *PARTS} and time.monotonic() < until:
                time.sleep(0.05)
        spans = server.spans()
        assert {path for path, _ in server.received} == {"/v1/traces"}
        resource = server.received[0][1].resource_spans[0].resource
    assert attributes(resource)["service.name"] == "shop-decisions"
    request = spans[REQUEST]
    assert request.trace_id.hex() == trace
    assert attributes(request)["nextplay.decision_id"] == answer.json()["decision_id"]
    for part in PARTS:
        assert spans[part].parent_span_id == request.span_id
        assert request.start_time_unix_nano <= spans[part].start_time_unix_nano
    assert USER not in "".join(str(request) for _, request in server.received)


def test_a_collector_that_is_away_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(LIBRARY, tmp_path / "library")
    # Nothing listens there.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    log = tmp_path / "log"
    with running_service(tmp_path, clock=START, seed="test", log=log) as client:
        slowest = 0.0
        for _ in range(20):
            started = time.monotonic()
            client.http.post("/v1/decide", json={"user_id": USER, "placement": "outbound"}).raise_for_status()
            slowest = max(slowest, time.monotonic() - started)
        assert slowest < 2.0
        stopping = time.monotonic()
    # A reachable one would get the last spans; this one is given up.
    assert time.monotonic() - stopping < 6.0
    said = log.read_text()
    assert "Traceback" not in said
    assert USER not in said
