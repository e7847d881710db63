"""The append benchmarks, small: what they time is really written, and both sides write the same."""

from __future__ import annotations

import gc
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from benchmarks import append_latency, durable_appends
from benchmarks.appends import (
    appending,
    bare_connection,
    check_count,
    insert_together,
    opened,
    orders,
    plain_rows,
)
from benchmarks.errors import BenchmarkError
from benchmarks.schedule import Schedule
from benchmarks.serving import like_a_server
from decision.cli import SWITCH_SECONDS
from storage import collecting

COLUMNS = "kind, id, label, user_id, occurred_at, recorded_at, body"


def test_both_sides_write_the_same_rows(tmp_path: Path) -> None:
    new = orders(100)
    with opened(tmp_path) as database:
        for future in [database.writer.submit(appending(order)) for order in new]:
            future.result()
        with database.read() as connection:
            ours = [
                tuple(row) for row in connection.execute(text(f"SELECT {COLUMNS} FROM facts ORDER BY seq"))
            ]
    with bare_connection(tmp_path) as connection:
        insert_together(connection, plain_rows(new))
        with closing(connection.execute(f"SELECT {COLUMNS} FROM facts ORDER BY seq")) as cursor:
            bare = cursor.fetchall()
        journal = connection.execute("PRAGMA journal_mode").fetchone()[0]
        synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
    assert ours == bare == plain_rows(new)
    assert 200 <= len(bare[0][-1]) <= 400
    assert (journal, synchronous) == ("wal", 2)


def test_both_sides_give_a_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable_appends, "ROWS", 640)
    monkeypatch.setattr(durable_appends, "REPEATS", 3)
    pairs = durable_appends.measure(tmp_path, lambda _: None)
    assert len(pairs) == 3
    assert all(pair.subject > 100 and pair.floor > 100 for pair in pairs)


def test_both_sides_keep_to_the_schedule(tmp_path: Path) -> None:
    schedule = Schedule(rate=500, number=250)
    new = orders(schedule.number)
    for latencies in (
        append_latency.through_the_writer_on_time(tmp_path, schedule, new),
        append_latency.past_it_on_time(tmp_path, schedule, plain_rows(new)),
    ):
        assert (latencies.number, latencies.errors) == (250, 0)
        assert 250 < latencies.rate < 600
        assert 0 < latencies.p50 <= latencies.p95 <= latencies.p99 <= latencies.max


def test_what_is_never_durable_ends_the_measurement(tmp_path: Path) -> None:
    schedule = Schedule(rate=500, number=20)
    twice = plain_rows(orders(19))[:1] * 20
    with pytest.raises(sqlite3.IntegrityError):
        append_latency.past_it_on_time(tmp_path, schedule, twice)


def test_a_measuring_process_is_set_like_a_server_and_put_back() -> None:
    before = (gc.get_threshold(), sys.getswitchinterval(), gc.get_freeze_count())
    with like_a_server():
        assert gc.get_freeze_count() > before[2]
        assert (gc.get_threshold()[0], sys.getswitchinterval()) == (collecting.YOUNG_OBJECTS, SWITCH_SECONDS)
    assert (gc.get_threshold(), sys.getswitchinterval(), gc.get_freeze_count()) == (*before[:2], 0)


def test_a_count_that_is_off_voids_the_measurement() -> None:
    check_count(3, 3)
    with pytest.raises(BenchmarkError, match="2 facts were recorded instead of 3"):
        check_count(2, 3)
