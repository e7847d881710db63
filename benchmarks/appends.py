"""Facts as a load: what the append benchmarks write, through the writer and past it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection

from audiences.events import EventBody
from benchmarks.errors import BenchmarkError
from storage import ledger
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.times import to_micros
from storage.writer import Work

_START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
_USERS = 5_000
# Columns of `facts` without `seq`, which the database gives.
_COLUMNS = "kind, id, label, user_id, occurred_at, recorded_at, body"
_INSERT = f"INSERT INTO facts ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - names of our own


class Order(msgspec.Struct, frozen=True):
    """One event to be recorded; as JSON its body has about 300 bytes."""

    id: str
    user_id: str
    occurred_at: datetime
    properties: dict[str, Any]


def orders(number: int) -> list[Order]:
    """Return `number` different orders of 5,000 users, a millisecond apart."""
    return [_order(index) for index in range(number)]


def appending(order: Order) -> Work[None]:
    """Return the work that records one order, as an ingested event is recorded."""
    return partial(_append, order)


def plain_rows(new: Sequence[Order]) -> list[tuple[Any, ...]]:
    """Return the rows that `appending` leads to, ready for the driver."""
    return [
        (
            Kind.EVENT.value,
            one.id,
            "order_completed",
            one.user_id,
            (micros := to_micros(one.occurred_at)),
            micros,
            msgspec.json.encode(EventBody(one.properties)).decode(),
        )
        for one in new
    ]


@contextmanager
def bare_connection(folder: Path) -> Iterator[sqlite3.Connection]:
    """Give the driver's own connection to an empty ledger: same tables, indexes, journal and durability."""
    path = folder / "bare.db"
    Database(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA cache_size=-{64 * 1024}")
        yield connection


def insert_together(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows in one durable transaction."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_INSERT, rows)
    connection.execute("COMMIT")


@contextmanager
def opened(folder: Path) -> Iterator[Database]:
    """Give an empty database of our own."""
    database = Database(f"sqlite:///{folder / 'nextplay.db'}")
    try:
        yield database
    finally:
        database.close()


def check_count(found: int, expected: int) -> None:
    """Refuse a measurement that did not write what it was to write."""
    if found != expected:
        raise BenchmarkError(f"{found} facts were recorded instead of {expected}; the measurement is void")


def count(connection: Connection | sqlite3.Connection) -> int:
    """Return how many facts there are."""
    query = "SELECT count(*) FROM facts"
    found = (
        connection.execute(query)
        if isinstance(connection, sqlite3.Connection)
        else connection.exec_driver_sql(query)
    )
    return int(found.fetchone()[0])  # type: ignore[index]


def _append(order: Order, connection: Connection) -> None:
    fact = NewFact(
        Kind.EVENT, order.id, "order_completed", order.user_id, order.occurred_at, EventBody(order.properties)
    )
    ledger.append(connection, [fact], order.occurred_at)


def _order(index: int) -> Order:
    moment = _START + timedelta(milliseconds=index)
    lines = [
        {"category": category, "quantity": 1 + (index + place) % 3, "value": 2.49 + place, "discount": 0.5}
        for place, category in enumerate(("COFFEE", "SALAD MIX", "BACON"))
    ]
    properties = {"value": 10.47, "categories": [line["category"] for line in lines], "lines": lines}
    return Order(new_id(moment), f"user-{index * 7919 % _USERS}", moment, properties)
