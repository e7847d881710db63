"""The history read back as events, user by user, to compute states from it."""

# ruff: noqa: S608 - names in the SQL come from validated documents, values are escaped literals

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb

from feature_repo import sql
from feature_repo.history import History, HistoryEvent

_BATCH = 10_000


def replay(history: History, upto: int, user_ids: Sequence[str] | None = None) -> Iterator[HistoryEvent]:
    """Yield the events with numbers up to `upto`, in the order of users and, of each, of numbers.

    `user_ids` narrows it to some users, as the history names them. What does not fit a column is null in the
    history already, so `properties` are what features were computed from.
    """
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        streams = [
            _events(connection.cursor(), history, event, upto, user_ids)
            for event in history.schemas.events
            if history.parts(event)
        ]
        yield from heapq.merge(*streams, key=lambda event: (event.user_id, event.sequence))


def _events(
    connection: Any, history: History, event: str, upto: int, user_ids: Sequence[str] | None
) -> Iterator[HistoryEvent]:
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("empty", history.schemas.arrow_schema(event).empty_table())
    files = sql.literal(str(history.root / event / "*.parquet"))
    some = "" if user_ids is None else f" AND user_id IN ({', '.join(map(sql.literal, user_ids)) or 'NULL'})"
    query = (
        f"SELECT * FROM (SELECT * FROM empty UNION ALL BY NAME "
        f"SELECT * FROM read_parquet({files}, union_by_name = true)) "
        f"WHERE sequence <= {upto}{some} ORDER BY user_id, sequence"
    )
    columns = history.schemas.events[event]
    for batch in connection.sql(query).to_arrow_reader(_BATCH):
        for row in batch.to_pylist():
            properties = {name: row[name] for name in columns}
            yield HistoryEvent(row["sequence"], row["user_id"], event, row["occurred_at"], properties)
