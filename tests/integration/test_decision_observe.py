"""A real service seen from outside: its metrics, traces, log, and what the doctor says of it.

Everything a client sends is marked. However the requests go, no mark may turn up in the log, in a trace or
in a metric.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_metrics

from decision.demo.run import LIBRARY
from decision.observe import served
from decision.observe.findings import Subject
from decision.settings import load_settings
from tests.launching import run as nextplay
from tests.launching import running_service

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MARK = "Zzmark"
USER = f"{MARK}-user"
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


@dataclass
class Seen:
    """A running service that has had all sorts of requests."""

    http: httpx2.Client
    data: Path
    log: Path
    statuses: set[int]

    def metrics(self) -> dict[tuple[str, ...], float]:
        families = parse_metrics(self.http.get("/metrics").text)
        return {
            (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
            for family in families
            for sample in family.samples
        }

    def documents(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the lines of the log and the spans, which the console exporter puts beside them."""
        text = self.log.read_text()
        lines: list[dict[str, Any]] = []
        spans: list[dict[str, Any]] = []
        decoder, place = json.JSONDecoder(), 0
        while (place := text.find("{", place)) >= 0:
            document, place = decoder.raw_decode(text, place)
            (spans if "trace_state" in document.get("context", {}) else lines).append(document)
        return lines, spans


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """A service with a log at its most talkative, traces on the console, and marks in its library."""
    data = tmp_path_factory.mktemp("seen")
    shutil.copytree(LIBRARY, data / "library")
    _mark_offers(data / "library" / "offers.yaml")
    log = data.parent / f"{data.name}.log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXTPLAY_LOG_LEVEL", "debug")
        patch.setenv("OTEL_TRACES_EXPORTER", "console")
        with running_service(data, clock=START, seed="test", log=log) as client:
            made = Seen(client.http, data, log, set())
            made.statuses = {answer.status_code for answer in _good(made.http) + _bad(made.http)}
            yield made


def _mark_offers(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(
        "".join(f"{one.rstrip()} {MARK}\n" if one.strip().startswith("name:") else one for one in lines)
    )


def _message(**fields: Any) -> dict[str, Any]:
    properties = {
        "value": 5.0, "categories": ["COFFEE"], "note": f"{MARK}-property", "email": f"{MARK}@example.org",
        "lines": [{"category": "COFFEE", "quantity": 1, "value": 5.0, "discount": 0.0}],
    }  # fmt: skip
    moment = (START - timedelta(days=1)).isoformat()
    common = {"type": "track", "userId": USER, "messageId": f"{MARK}-1", "timestamp": moment}
    return {**common, "event": "order_completed", "properties": properties, **fields}


def _good(http: httpx2.Client) -> list[httpx2.Response]:
    traits = {"name": f"{MARK} Muster", "phone": f"+49{MARK}", "address": {"street": f"{MARK}weg"}}
    answers = [
        http.post("/v1/track", json=_message()),
        http.post("/v1/track", json=_message()),
        http.post("/v1/identify", json={"userId": USER, "messageId": f"{MARK}-2", "traits": traits}),
        http.post("/v1/batch", json={"batch": [_message(messageId=f"{MARK}-3"), {"type": MARK}]}),
    ]
    answers += [http.post(f"/v1/jobs/{job}") for job in ("features", "audiences", "push")]
    ask = {"user_id": USER, "placement": "outbound"}
    headers = {"User-Agent": MARK, "X-Request-Id": MARK, "Baggage": f"user={MARK}", "Cookie": MARK}
    answers += [
        http.post(f"/v1/decide?user={MARK}", json=ask, headers={"Idempotency-Key": f"{MARK}-{n}", **headers})
        for n in range(20)
    ]
    answers += [http.post(f"/v1/jobs/{job}") for job in ("deliver", "reward", "learn")]
    return [*answers, http.get(f"/v1/users/{USER}"), http.get("/v1/summary"), http.get("/v1/playbooks")]


def _bad(http: httpx2.Client) -> list[httpx2.Response]:
    ask = {"user_id": f"{MARK}-stranger", "placement": "outbound"}
    return [
        http.post("/v1/decide", json=ask),
        http.post("/v1/decide", json={**ask, "placement": MARK}),
        http.post("/v1/decide", json={**ask, MARK: 1}),
        http.post("/v1/decide", content=f'{{"user_id": "{MARK}'),
        http.post("/v1/decide", content=f'"{MARK}'.encode() + b"\xff"),
        http.post("/v1/decide", json=ask, headers={"Idempotency-Key": f"{MARK}-0"}),
        http.post("/v1/decide", json={"user_id": MARK * 20_000, "placement": "outbound"}),
        http.post("/v1/track", json=_message(timestamp=MARK)),
        http.post("/v1/track", json=_message(properties=MARK)),
        http.post("/v1/batch", content=MARK),
        http.get(f"/v1/users/{MARK}-nobody"),
        http.get(f"/v1/users/{USER}?limit={MARK}"),
        http.get(f"/v1/decisions/{MARK}"),
        http.post(f"/v1/jobs/{MARK}"),
        http.put("/v1/clock", json={"now": MARK}),
        http.get(f"/{MARK}"),
        http.delete(f"/v1/users/{USER}"),
        http.get("/v1/summary", headers={"Authorization": f"Bearer {MARK}"}),
    ]


def test_requests_went_all_ways(seen: Seen) -> None:
    assert {200, 400, 401, 404, 422} <= seen.statuses


def test_no_mark_in_the_log_the_traces_or_the_metrics(seen: Seen) -> None:
    _break_the_online_store(seen)
    lines, spans = seen.documents()
    assert len(lines) > 40
    assert len(spans) > 60
    assert {line["event"] for line in lines} >= {"request", "features unreachable"}
    assert MARK not in seen.log.read_text()
    assert MARK not in seen.http.get("/metrics").text
    assert seen.metrics()["nextplay_decisions_total", "features_unreachable", "outbound"] == 1


def _break_the_online_store(seen: Seen) -> None:
    """Make a decision fail inside, as a full disk or a careless hand would."""
    path = seen.data / "features" / "online.db"
    with sqlite3.connect(path) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        for table in tables:
            connection.execute(f'ALTER TABLE "{table}" RENAME TO "away_{table}"')
    connection.close()
    try:
        answer = seen.http.post("/v1/decide", json={"user_id": USER, "placement": "outbound"}).json()
        assert answer["fallback"] == "features_unreachable"
    finally:
        with sqlite3.connect(path) as connection:
            for table in tables:
                connection.execute(f'ALTER TABLE "away_{table}" RENAME TO "{table}"')
        connection.close()


def test_a_decision_is_a_trace_of_its_parts(seen: Seen) -> None:
    lines, spans = seen.documents()
    requests = [span for span in spans if span["name"] == "POST /v1/decide"]
    offered = [span for span in requests if "nextplay.decision_id" in span["attributes"]]
    assert offered
    below: dict[str, list[str]] = {}
    for span in spans:
        below.setdefault(span["parent_id"], []).append(span["name"])
    assert {"features", "matching", "commit"} <= set(below[offered[0]["context"]["span_id"]])
    assert offered[0]["attributes"]["url.path"] == "REDACTED"
    assert [span for span in spans if span["name"] == "POST /v1/batch"]
    traced = {line["trace_id"] for line in lines if line.get("route") == "/v1/decide"}
    assert {span["context"]["trace_id"].removeprefix("0x") for span in offered} <= traced


def test_the_log_names_routes_and_requests(seen: Seen) -> None:
    requests = [line for line in seen.documents()[0] if line["event"] == "request"]
    assert {line["route"] for line in requests} >= {"/v1/decide", "/v1/users/{user_id}", "none"}
    ids = [line["request_id"] for line in requests]
    assert len(ids) == len(set(ids))
    refused = seen.http.get("/v1/decisions/nothing").headers["x-request-id"]
    # The line is written once the answer is out, so it may come a moment after it.
    until = time.monotonic() + 10
    while refused not in seen.log.read_text() and time.monotonic() < until:
        time.sleep(0.05)
    assert refused in seen.log.read_text()


def test_metrics_tell_what_happened(seen: Seen) -> None:
    found = seen.metrics()
    assert found["nextplay_events_total", "accepted"] == 3
    assert found["nextplay_events_total", "duplicate"] == 1
    assert found["nextplay_events_total", "refused"] == 3
    assert found["nextplay_requests_total", "POST", "/v1/decide", "200"] >= 21
    assert found["nextplay_decisions_total", "offer", "outbound"] > 0
    assert found["nextplay_decisions_total", "unknown_user", "outbound"] == 1
    assert not [key for key in found if "wrong_placement" in key]
    assert found["nextplay_job_runs_total", "deliver", "succeeded"] == 1
    assert found["nextplay_messages_total", "queued"] > 0
    assert found["nextplay_enrolments_total", "advanced"] > 0
    assert found["nextplay_features_age_seconds",] == 0
    assert found["nextplay_policy_age_seconds",] >= 0
    assert found["nextplay_policy_versions", "next_category"] >= 1
    assert found["nextplay_database_bytes", "file"] > 0
    assert found["nextplay_writer_waiting_rows", "decision"] == 0
    assert found["nextplay_writer_turn_seconds_count",] > 20
    assert found["process_resident_memory_bytes",] > 1e7
    assert not [key for key in found if key[0] == "nextplay_scrape_failures_total"]


def test_metrics_as_openmetrics_and_for_operators_only(seen: Seen) -> None:
    answer = seen.http.get("/metrics", headers=OPENMETRICS)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = parse_openmetrics(answer.text)  # type: ignore[no-untyped-call]
    assert {family.name for family in families} >= {
        "nextplay_requests",
        "nextplay_events",
    }
    assert httpx2.get(str(seen.http.base_url.join("/metrics"))).status_code == 401
    key = seen.http.post("/v1/keys", json={"name": "shop", "scopes": ["decide"]}).json()["key"]
    asked = seen.http.get("/metrics", headers={"Authorization": f"Bearer {key}"})
    assert asked.status_code == 403


def test_how_many_series_there_are_does_not_depend_on_who_asks(seen: Seen) -> None:
    before = len(seen.metrics())
    for number in range(20):
        seen.http.get(f"/v1/users/someone-{number}")
        seen.http.get(f"/nothing/{number}")
        seen.http.post("/v1/decide", json={"user_id": f"new-{number}", "placement": f"made-up-{number}"})
    assert len(seen.metrics()) - before < 40


def doctor(*arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    run = nextplay("doctor", "--json", *arguments)
    document = json.loads(run.stdout)
    assert document["verdict"] in ("ok", "warn", "fail")
    return run.returncode, {one["check"]: one for one in document["checks"]}


def test_the_doctor_beside_a_running_service(seen: Seen) -> None:
    url = str(seen.http.base_url)
    key = seen.http.headers["authorization"].removeprefix("Bearer ")
    files = sorted(seen.data.rglob("*"))
    code, found = doctor("--data", str(seen.data), "--url", url, "--key", key)
    assert sorted(seen.data.rglob("*")) == files
    assert {one["check"]: one for one in found.values() if one["verdict"] == "fail"} == {}
    assert code == 0
    assert "in use by process" in found["owner"]["said"]
    assert "nextplay serves next_category@" in found["port"]["said"]
    assert found["key"]["verdict"] == found["integrity"]["verdict"] == found["database"]["verdict"] == "ok"
    assert (
        found["online store"]["verdict"] == found["learner"]["verdict"] == found["library"]["verdict"] == "ok"
    )
    assert seen.http.get("/ready").status_code == 200


def test_the_doctor_tries_keys(seen: Seen) -> None:
    url = str(seen.http.base_url)
    made = seen.http.post("/v1/keys", json={"name": "till", "scopes": ["events"]}).json()["key"]
    settings = load_settings(data=seen.data)
    tried = [served.key(Subject(settings, url, key)) for key in (None, made, "np_wrong")]
    assert [one.verdict for one in tried] == ["ok", "warn", "fail"]
    assert "lacks the scope operate" in tried[1].said
