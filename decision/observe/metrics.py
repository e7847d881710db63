"""The metrics of this process: what happened is counted here; how things stand is read in `standing`.

No label holds an id of a user, a raw path, or anything else that a client can make up: routes are templates,
placements those of the library, jobs, lanes and states those of the code.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from audiences.tracking.answers import Answer
from storage.engine import Database
from storage.sqlite_writer import SqliteWriter
from storage.writer import Lane, PooledWriter

# Not the library's own default: packages we use register theirs there.
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_TURN_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_TURN_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
_JOB_SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1200.0)

REQUESTS = Counter(
    "nextplay_requests", "Requests answered.", ("route", "method", "status"), registry=REGISTRY
)
REQUEST_SECONDS = Histogram(
    "nextplay_request_seconds",
    "From a request's arrival to the end of its answer.",
    ("route", "method"),
    buckets=_REQUEST_SECONDS,
    registry=REGISTRY,
)
DECISIONS = Counter(
    "nextplay_decisions",
    "Answers of decide: offer, do_nothing, or the reason of a fallback.",
    ("placement", "outcome"),
    registry=REGISTRY,
)
EVENTS = Counter(
    "nextplay_events",
    "Events sent to the service: accepted, duplicate, quarantined, machine or refused.",
    ("result",),
    registry=REGISTRY,
)
EVENTS_LATE = Counter("nextplay_events_late", "Accepted events that arrived late.", registry=REGISTRY)
TURN_SECONDS = Histogram(
    "nextplay_writer_turn_seconds",
    "One turn of the writer: its statements and the durable commit.",
    buckets=_TURN_SECONDS,
    registry=REGISTRY,
)
TURN_ROWS = Histogram(
    "nextplay_writer_turn_rows", "Rows of one turn of the writer.", buckets=_TURN_ROWS, registry=REGISTRY
)
WRITER_REFUSALS = Counter(
    "nextplay_writer_refusals", "Writes refused because too much waits.", ("lane",), registry=REGISTRY
)
JOB_RUNS = Counter("nextplay_job_runs", "Runs of a job that ended.", ("job", "result"), registry=REGISTRY)
JOB_SECONDS = Histogram(
    "nextplay_job_seconds", "Duration of a job's run.", ("job",), buckets=_JOB_SECONDS, registry=REGISTRY
)
JOB_IDLE = Gauge(
    "nextplay_job_seconds_since_success",
    "Since a run of the job last succeeded in this process.",
    ("job",),
    registry=REGISTRY,
)
MESSAGES = Counter("nextplay_messages", "Messages that reached a state.", ("state",), registry=REGISTRY)
FLOW_STEPS = Counter(
    "nextplay_enrolments", "Enrolments that were advanced, ended or got stuck.", ("step",), registry=REGISTRY
)

_MESSAGE_STATES = ("queued", "sent", "delivered", "retried", "failed", "unknown", "suppressed")
_FLOW_STEPS = ("advanced", "ended", "stuck")
# What every scrape shows from the first one on, so that a rate begins at zero.
for _state in _MESSAGE_STATES:
    MESSAGES.labels(_state)
for _step in _FLOW_STEPS:
    FLOW_STEPS.labels(_step)
for _result in ("accepted", "duplicate", "quarantined", "machine", "refused"):
    EVENTS.labels(_result)
for _lane in Lane:
    WRITER_REFUSALS.labels(_lane.name.lower())

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class _Answered:
    """The counters of one route, method and status, looked up once."""

    __slots__ = ("count", "observe")

    def __init__(self, route: str, method: str, status: int) -> None:
        self.count = REQUESTS.labels(route, method, str(status) if status else "none").inc
        self.observe = REQUEST_SECONDS.labels(route, method).observe


_answered: dict[tuple[str, str, int], _Answered] = {}
_decided: dict[tuple[str, str], Counter] = {}


def answered(route: str, method: str, status: int, seconds: float) -> None:
    """Count a request; `route` is the template, `status` 0 when the client left before the answer."""
    method = method if method in _METHODS else "other"
    known = _answered.get((route, method, status))
    if known is None:
        known = _answered[route, method, status] = _Answered(route, method, status)
    known.count()
    known.observe(seconds)


def decided(placement: str, outcome: str) -> None:
    """Count an answer of decide; `placement` must be one of the library."""
    known = _decided.get((placement, outcome))
    if known is None:
        known = _decided[placement, outcome] = DECISIONS.labels(placement, outcome)
    known.inc()


def events(answer: Answer) -> None:
    """Count what became of the events of one request."""
    for result, number in (
        ("accepted", answer.accepted),
        ("duplicate", answer.duplicates),
        ("quarantined", len(answer.quarantined)),
        ("machine", answer.machine),
        ("refused", len(answer.refused)),
    ):
        if number:
            EVENTS.labels(result).inc(number)


@contextmanager
def job(name: str) -> Iterator[None]:
    """Count a run of a job and how long it takes; whatever it raises goes on and counts as a failure."""
    started = time.monotonic()
    result = "failed"
    try:
        yield
        result = "succeeded"
        since = time.monotonic()
        JOB_IDLE.labels(name).set_function(lambda: time.monotonic() - since)
    finally:
        JOB_SECONDS.labels(name).observe(time.monotonic() - started)
        JOB_RUNS.labels(name, result).inc()


def delivered(done: Mapping[str, int]) -> None:
    """Count what a run of the job `deliver` did, by the names of `delivery.models.Report`."""
    for state in _MESSAGE_STATES:
        if number := done.get(state):
            MESSAGES.labels(state).inc(number)
    for step in _FLOW_STEPS:
        if number := done.get(step):
            FLOW_STEPS.labels(step).inc(number)


class WriterMeter:
    """Counts what the writer does (see `storage.writer.Meter`)."""

    def committed(self, rows: int, seconds: float) -> None:
        TURN_ROWS.observe(rows)
        TURN_SECONDS.observe(seconds)

    def refused(self, lane: Lane) -> None:
        WRITER_REFUSALS.labels(lane.name.lower()).inc()


def watch(database: Database) -> None:
    """Count what the writer of a database does from now on."""
    if isinstance(database.writer, SqliteWriter | PooledWriter):
        database.writer.meter = WriterMeter()
