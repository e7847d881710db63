"""Fills a database with enrolments that wait: more than an executor would record in a benchmark's time."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

import msgspec
from sqlalchemy import Connection, text

from benchmarks.errors import BoundsExceeded
from benchmarks.transitions import NOW, ROUND, body
from storage.engine import Database
from storage.times import to_micros
from storage.writer import TURN_ROWS

_MONTH = timedelta(days=30)
# Rows of one statement that fills.
_AT_ONCE = 100_000
_COLUMNS = (
    "id, user_id, playbook, playbook_version, decision_id, arm, state, entered_at, due_at, waiting_for, "
    "revision, status, started_at"
)
# Begun one a millisecond, so that ids are as they come; those that are due lie evenly among them.
_SQLITE = f"""
    INSERT INTO enrolments ({_COLUMNS})
    WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :last),
    named AS (SELECT i, printf('%012x', :millis + i) AS h FROM n)
    SELECT substr(h, 1, 8) || '-' || substr(h, 9) || '-7000-8000-' || printf('%012x', i), 'user-' || i,
        'greetings', 1, substr(h, 1, 8), :arm, 'rest', :entered,
        CASE WHEN i % :every = 0 AND i < :every * :due THEN :now ELSE :later + i END,
        'goodbye', 1, 'active', :entered
    FROM named
"""  # noqa: S608 - names of our own
_POSTGRES = f"""
    INSERT INTO enrolments ({_COLUMNS})
    SELECT substr(h, 1, 8) || '-' || substr(h, 9) || '-7000-8000-' || lpad(to_hex(i), 12, '0'), 'user-' || i,
        'greetings', 1, substr(h, 1, 8), :arm, 'rest', CAST(:entered AS bigint),
        CASE WHEN i % CAST(:every AS bigint) = 0 AND i < CAST(:every AS bigint) * CAST(:due AS bigint)
            THEN CAST(:now AS bigint) ELSE CAST(:later AS bigint) + i END,
        'goodbye', 1, 'active', CAST(:entered AS bigint)
    FROM (SELECT i, lpad(to_hex(CAST(:millis AS bigint) + i), 12, '0') AS h
        FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint) - 1) AS n(i)) AS named
"""  # noqa: S608 - names of our own


def fill_waiting(database: Database, number: int, due: int) -> None:
    """Record so many enrolments by SQL alone; of them `due`, evenly among the others, are due at `NOW`.

    Raises:
        BoundsExceeded: fewer than are due.
    """
    if number < due:
        raise BoundsExceeded(
            f"{due:,} enrolments are due at a time, so at least as many wait, not {number:,}"
        )
    for first in range(0, number, _AT_ONCE):
        last = min(first + _AT_ONCE, number)
        database.write(partial(_add, first=first, last=last, every=number // due, due=due), rows=TURN_ROWS)
    if not database.is_sqlite:
        # Which a server does by itself within a minute or so.
        database.write(_analyse)


def _analyse(connection: Connection) -> None:
    connection.exec_driver_sql("ANALYZE enrolments")


def _add(connection: Connection, *, first: int, last: int, every: int, due: int) -> None:
    (arm,) = body().arms
    entered: datetime = NOW - ROUND
    statement = text(_SQLITE if connection.dialect.name == "sqlite" else _POSTGRES)
    values = {
        "first": first,
        "last": last,
        "every": every,
        "due": due,
        "millis": to_micros(entered - _MONTH) // 1_000,
        "arm": msgspec.json.encode(arm).decode(),
        "entered": to_micros(entered),
        "now": to_micros(NOW),
        "later": to_micros(NOW + _MONTH),
    }
    connection.execute(statement, values)
