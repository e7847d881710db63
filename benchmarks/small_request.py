"""What a customer's small request waits for while executor and learner are at work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.errors import BenchmarkError
from benchmarks.http_load import Requests, run_apart
from benchmarks.jobs_at_work import JobsAtWork
from benchmarks.schedule import Latencies, Schedule
from benchmarks.shop import NOW, SEED, Backlog, opened_shop, pile_up, users

USERS = 200
SCHEDULE = Schedule(rate=200, number=400)
REPEATS = 4
# A day's rewards keep the learner at work for longer than the requests take; the first day is for warming up.
BACKLOG = Backlog(enrolments=10_000, days=REPEATS + 1, decisions_a_day=60_000)


def measure(folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of p99 in milliseconds, loaded and idle, of one running service."""
    from decision.demo.client import running_service  # noqa: PLC0415 - an HTTP client, needed here only

    data = folder / "data"
    say(
        f"makes a backlog of {BACKLOG.enrolments:,} waiting enrolments and "
        f"{BACKLOG.days * BACKLOG.decisions_a_day:,} decisions"
    )
    with opened_shop(data, USERS) as service:
        pile_up(service, BACKLOG, users(USERS))
    with running_service(data, clock=NOW, seed=SEED, log=folder / "service.log") as client:
        requests = Requests(int(client.http.base_url.port or 0), "/v1/track", _bodies(), key=client.key)
        work = JobsAtWork(str(client.http.base_url), client.key)

        def loaded() -> float:
            work.pass_a_day()
            with work.going_on():
                p99 = _p99(requests)
            say(f"p99 {p99:.1f} ms; {work.told()}")
            return p99

        return alternate(loaded, lambda: _p99(requests), REPEATS)


def _p99(requests: Requests) -> float:
    latencies: Latencies = run_apart(requests, SCHEDULE)
    if latencies.errors:
        failed = f"{latencies.errors} of {latencies.number} requests"
        raise BenchmarkError(f"{failed} were not acknowledged; the measurement is void")
    return latencies.p99


def _bodies() -> list[bytes]:
    return [
        msgspec.json.encode(
            {"userId": f"user-{index % USERS}", "event": "page_viewed", "properties": {"path": f"/{index}"}}
        )
        for index in range(1_000)
    ]


SMALL_REQUEST = Benchmark(
    name="small_request_under_load",
    measures="p99 of a tracked event over HTTP while the executor has a backlog and the learner never rests.",
    against="The same requests to the same service while it does nothing else.",
    unit="ms",
    bound=Bound("ratio", "<=", 2),
    run=measure,
)
