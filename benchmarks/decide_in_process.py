"""How long a decision takes without HTTP, from features to durable."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.appends import bare_connection, insert_together
from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.durable_appends import BARE_BATCH
from benchmarks.errors import BenchmarkError
from benchmarks.shop import PLACEMENT, opened_shop, users
from playbooks.decision import Decision
from storage.ids import new_id
from storage.ledger import Kind
from storage.times import to_micros

if TYPE_CHECKING:
    from decision.decider import Decider

USERS = 300
DECISIONS = 1_000
UNDER_WAY = 32
REPEATS = 7


def measure(folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of microseconds for each decision."""
    asked = users(USERS)
    say(f"makes a shop of {USERS} users")
    with opened_shop(folder / "data", USERS) as service, bare_connection(folder) as connection:
        decider, log = service.decider, service.decisions
        records = [log.recorded(decider.decide(user_id, PLACEMENT).decision_id) for user_id in asked]
        if any(record.fallback for record in records):
            raise BenchmarkError("decisions were made without features; the measurement is void")
        repeat = iter(range(1_000))

        def bare() -> float:
            rows = rows_of(records, next(repeat))
            started = time.perf_counter()
            for start in range(0, len(rows), BARE_BATCH):
                insert_together(connection, rows[start : start + BARE_BATCH])
            return (time.perf_counter() - started) / len(rows) * 1e6

        return alternate(lambda: _decide(decider, asked), bare, REPEATS)


def _decide(decider: Decider, asked: Sequence[str]) -> float:
    from decision.answers import DecideRequest  # noqa: PLC0415 - imports Feast, seconds

    waiting: deque[Future[Any]] = deque()
    started = time.perf_counter()
    for number in range(DECISIONS):
        if len(waiting) == UNDER_WAY:
            waiting.popleft().result()
        waiting.append(decider.submit(DecideRequest(user_id=asked[number % len(asked)], placement=PLACEMENT)))
    for future in waiting:
        future.result()
    return (time.perf_counter() - started) / DECISIONS * 1e6


def rows_of(records: Sequence[Decision], repeat: int) -> list[tuple[Any, ...]]:
    """Return the decisions' records as rows of the ledger under fresh ids, ready for the driver."""
    rows = []
    for number in range(DECISIONS):
        record = records[number % len(records)]
        moment = record.decided_at + timedelta(seconds=repeat)
        micros = to_micros(moment)
        body = msgspec.json.encode(record).decode()
        rows.append(
            (Kind.DECISION.value, new_id(moment), record.placement, record.user_id, micros, micros, body)
        )
    return rows


DECIDE_IN_PROCESS = Benchmark(
    name="decide_in_process",
    measures=f"A decision without HTTP, {UNDER_WAY} under way: features, scores, draw, durable record.",
    against=f"Bare `executemany` of the same records alone, {BARE_BATCH} a commit.",
    unit="µs",
    bound=Bound("value", "<=", 2000),
    run=measure,
)
