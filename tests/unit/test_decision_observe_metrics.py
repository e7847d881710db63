"""Metrics: what is counted, and under which names."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from fastapi import FastAPI
from prometheus_client import Counter, Histogram, generate_latest
from sqlalchemy import Connection, insert
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from decision.errors import PortInUse
from decision.observe import metrics, standing
from decision.observe.api import show_alone
from decision.observe.requests import ObserveRequests
from delivery.tables import enrolments, outbox
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.errors import WriterBusy
from storage.writer import QUEUE_ROWS, Lane


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def app() -> FastAPI:
    made = FastAPI()

    async def raw(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("")

    @made.get("/things/{thing}")
    def show(thing: str) -> str:
        if thing == "broken":
            raise ValueError
        return thing

    made.add_route("/raw", raw, methods=["POST"])
    made.add_middleware(ObserveRequests)
    return made


def test_requests_by_template_method_and_status() -> None:
    client = TestClient(app(), raise_server_exceptions=False)
    before = value("nextplay_request_seconds_count", route="/things/{thing}", method="GET")
    for path in ("/things/1", "/things/2", "/things/broken", "/made/up"):
        client.get(path)
    client.post("/raw")
    client.get("/raw")
    client.request("INVENTED", "/raw")
    assert value("nextplay_requests_total", route="/things/{thing}", method="GET", status="200") == 2
    assert value("nextplay_requests_total", route="/things/{thing}", method="GET", status="500") == 1
    assert value("nextplay_requests_total", route="none", method="GET", status="404") >= 1
    assert value("nextplay_requests_total", route="/raw", method="POST", status="200") == 1
    assert value("nextplay_requests_total", route="/raw", method="GET", status="405") == 1
    assert value("nextplay_requests_total", route="/raw", method="other", status="405") == 1
    assert value("nextplay_request_seconds_count", route="/things/{thing}", method="GET") == before + 3
    said = generate_latest(metrics.REGISTRY).decode()
    assert "INVENTED" not in said
    assert "/made/up" not in said


def test_a_job_that_fails_counts_as_failed_and_does_not_look_fresh() -> None:
    with metrics.job("test_job"):
        pass
    first = value("nextplay_job_seconds_since_success", job="test_job")
    with pytest.raises(ValueError, match="no"), metrics.job("test_job"):
        raise ValueError("no")
    assert value("nextplay_job_runs_total", job="test_job", result="succeeded") == 1
    assert value("nextplay_job_runs_total", job="test_job", result="failed") == 1
    assert value("nextplay_job_seconds_count", job="test_job") == 2
    assert value("nextplay_job_seconds_since_success", job="test_job") > first


def test_what_counts_a_kind_of_requests_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[tuple[str, ...]] = []

    def spied(of: Counter | Histogram, labels: Callable[..., Any]) -> None:
        def look_up(*values: str) -> Any:
            looked_up.append(values)
            return labels(*values)

        monkeypatch.setattr(of, "labels", look_up)

    for one in (metrics.REQUESTS, metrics.REQUEST_SECONDS):
        spied(one, one.labels)
    for _ in range(3):
        metrics.answered("/v1/looked-up", "GET", 200, 0.1)
    assert looked_up == [("/v1/looked-up", "GET", "200"), ("/v1/looked-up", "GET")]
    labels = {"route": "/v1/looked-up", "method": "GET"}
    assert value("nextplay_requests_total", **labels, status="200") == 3
    assert value("nextplay_request_seconds_count", **labels) == 3


def test_the_writer_is_watched(database: Database) -> None:
    metrics.watch(database)
    turns, rows = value("nextplay_writer_turn_seconds_count"), value("nextplay_writer_turn_rows_sum")
    refused = value("nextplay_writer_refusals_total", lane="background")
    database.write(lambda connection: connection.exec_driver_sql("SELECT 1").scalar(), rows=3)
    assert value("nextplay_writer_turn_seconds_count") == turns + 1
    assert value("nextplay_writer_turn_rows_sum") == rows + 3

    refusing = threading.Event()

    def hold(_connection: Connection) -> None:
        refusing.wait(60)

    held = database.writer.submit(hold, rows=QUEUE_ROWS, lane=Lane.DECISION)
    futures = []

    def submit_until_refused() -> None:
        while True:
            futures.append(database.writer.submit(lambda _: None, rows=500))

    with pytest.raises(WriterBusy):
        submit_until_refused()
    assert value("nextplay_writer_refusals_total", lane="background") == refused + 1
    refusing.set()
    held.result()
    for future in futures:
        future.result()


@dataclass
class Part:
    """As much of a service as the queues need."""

    database: Database
    clock: SimulatedClock
    apart: None = None


def test_queues_and_their_delays(database: Database, clock: SimulatedClock) -> None:
    now = clock.now()
    service = cast(Any, Part(database, clock))
    assert standing.delivery(service) == ({(): 0}, {(): 0.0}, {}, {(): 0.0})
    common = {
        "user_id": "u", "playbook": "p", "playbook_version": 1, "decision_id": "d", "arm": "{}", "state": "s",
        "entered_at": now, "revision": 0, "status": "active",
    }  # fmt: skip
    due = [{"id": str(late), "due_at": now - timedelta(seconds=late), **common} for late in (-60, 5, 90)]
    common = {"enrolment_id": "e", "queued_at": now, "attempts": 0}
    messages = [
        {"key": "1", "state": "queued", "available_at": now - timedelta(seconds=30), **common},
        {"key": "2", "state": "queued", "available_at": now + timedelta(seconds=30), **common},
        {"key": "3", "state": "sending", "available_at": now, **common},
        {"key": "4", "state": "sent", "available_at": None, **common},
    ]

    def fill(connection: Connection) -> None:
        connection.execute(insert(enrolments), due)
        connection.execute(insert(outbox), messages)

    database.write(fill, rows=7)
    assert standing.delivery(service) == (
        {(): 2},
        {(): 90.0},
        {("queued",): 2.0, ("sending",): 1.0},
        {(): 30.0},
    )
    assert sum(standing.sizes(database).values()) > 10_000


def test_a_process_alone_shows_what_it_can(database: Database, clock: SimulatedClock) -> None:
    service = cast(Any, Part(database, clock))
    server = show_alone(service, 0)
    try:
        text = httpx2.get(f"http://127.0.0.1:{server.server_port}/metrics").text
        with pytest.raises(PortInUse, match="NEXTPLAY_METRICS_PORT"):
            show_alone(service, server.server_port)
    finally:
        server.shutdown()
        server.server_close()
    assert "nextplay_enrolments_due 0.0" in text
    assert 'nextplay_writer_waiting_rows{lane="decision"} 0.0' in text
    assert 'nextplay_events_total{result="accepted"}' in text
    # A part that can't be read is left out, and the others are not.
    assert 'nextplay_scrape_failures_total{part="features"} 1.0' in text
    assert "nextplay_features_age_seconds" not in text


def test_what_was_read_is_kept_for_a_moment(database: Database, clock: SimulatedClock) -> None:
    asked = 0

    class Counting(Part):
        def __getattribute__(self, name: str) -> Any:
            nonlocal asked
            asked += name == "database"
            return super().__getattribute__(name)

    read = standing.Standing(cast(Any, Counting(database, clock)))
    first = list(read.collect())
    once = asked
    assert list(read.collect()) == first
    assert asked == once > 0


def test_the_age_of_features_is_read_from_the_files_names(tmp_path: Path) -> None:
    assert standing.latest_snapshot(tmp_path) is None
    for view, name in (
        ("a", "20260302T090000_000000Z"),
        ("b", "20260301T090000_000000Z"),
        ("b", ".20990101T"),
    ):
        (tmp_path / view).mkdir(exist_ok=True)
        (tmp_path / view / f"{name}.parquet").touch()
    latest = standing.latest_snapshot(tmp_path)
    assert latest is not None
    assert latest.isoformat() == "2026-03-02T09:00:00+00:00"
