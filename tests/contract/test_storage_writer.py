"""The writer: durable before answered, alone before together, never more than it can take."""

from __future__ import annotations

import sqlite3
import threading
import time
from concurrent.futures import Future
from contextlib import closing
from functools import partial

import pytest
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import IntegrityError

from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.errors import DatabaseUnavailable, WriterBusy
from storage.ledger import Kind, NewFact
from storage.pace import Pace
from storage.writer import QUEUE_ROWS, TURN_ROWS, Lane, Work


def fact(clock: SimulatedClock, fact_id: str) -> NewFact:
    return NewFact(Kind.EVENT, fact_id, "seen", "ann", clock.now(), {})


def wait_for(event: threading.Event) -> None:
    event.wait(60)


def test_a_result_comes_back_after_the_commit(database: Database, clock: SimulatedClock) -> None:
    def work(connection: Connection) -> str:
        ledger.append(connection, [fact(clock, "a")], clock.now())
        return "done"

    assert database.writer.submit(work).result() == "done"
    with database.read() as connection:
        assert ledger.get(connection, Kind.EVENT, "a") is not None


def test_one_failing_piece_of_work_leaves_the_others(database: Database, clock: SimulatedClock) -> None:
    database.write(lambda connection: ledger.append(connection, [fact(clock, "taken")], clock.now()))
    hold = threading.Event()
    futures: list[Future[None]] = [database.writer.submit(lambda _: wait_for(hold))]
    futures += [
        database.writer.submit(partial(ledger.append, new=[fact(clock, fact_id)], now=clock.now()))
        for fact_id in ("1", "2", "taken", "3")
    ]
    hold.set()
    failed = [isinstance(future.exception(), IntegrityError) for future in futures]
    assert failed == [False, False, False, True, False]
    with database.read() as connection:
        assert ledger.counts(connection) == {Kind.EVENT: {"seen": 4}}


def test_who_gives_up_waiting_stops_nobody(database: Database) -> None:
    """Those whose work has not begun are left out; one that has begun goes on to its end."""
    hold, begun = threading.Event(), threading.Event()

    def first(_: Connection) -> str:
        begun.set()
        wait_for(hold)
        return "first"

    busy = [database.writer.submit(first) for _ in range(8)]
    assert begun.wait(60)
    given_up = database.writer.submit(lambda _: "second")
    last = database.writer.submit(lambda _: "last")
    cancelled = given_up.cancel()
    assert not busy[0].cancel()
    hold.set()
    assert [future.result(5) for future in busy] == ["first"] * 8
    assert last.result(5) == "last"
    assert cancelled
    assert given_up.cancelled()
    assert database.write(lambda _: "more") == "more"


def test_work_too_large_for_a_turn_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="split it"):
        database.writer.submit(lambda _: None, rows=TURN_ROWS + 1)


def test_a_full_queue_is_said(database: Database) -> None:
    hold = threading.Event()
    blockers = [database.writer.submit(lambda _: hold.wait(60)) for _ in range(8)]
    accepted = 0
    try:
        with pytest.raises(WriterBusy, match="try again"):  # noqa: PT012 - one of many calls is refused
            while True:
                database.writer.submit(lambda _: None, rows=TURN_ROWS)
                accepted += 1
    finally:
        hold.set()
    assert QUEUE_ROWS // TURN_ROWS - 8 <= accepted <= QUEUE_ROWS // TURN_ROWS
    assert all(blocker.result() for blocker in blockers)


def test_after_closing_nothing_is_taken(database_url: str) -> None:
    database = Database(database_url)
    done = database.writer.submit(lambda _: "last")
    database.close()
    assert done.result() == "last"
    with pytest.raises(DatabaseUnavailable, match="shutting down"):
        database.writer.submit(lambda _: None)


def test_decisions_go_first(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    hold, order = threading.Event(), []
    database.writer.submit(lambda _: hold.wait(60))
    waiting = [database.writer.submit(lambda _: order.append("background"), rows=TURN_ROWS) for _ in range(3)]
    waiting += [database.writer.submit(lambda _: order.append("decision"), lane=Lane.DECISION)]
    hold.set()
    for future in waiting:
        future.result()
    database.close()
    assert order[0] == "decision"


def test_a_lost_connection_is_said_and_the_next_write_has_another(postgres_url: str) -> None:
    database = Database(postgres_url)

    def loses(connection: Connection) -> None:
        connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        database.write(loses)
    assert database.write(lambda connection: connection.exec_driver_sql("SELECT 1").scalar()) == 1
    database.close()


def test_a_file_that_somebody_else_writes_to_is_said(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, clock: SimulatedClock
) -> None:
    def work(connection: Connection) -> None:
        ledger.append(connection, [fact(clock, "a")], clock.now())

    monkeypatch.setattr("storage.engine._SQLITE_BUSY_MS", 10)
    with closing(Database(sqlite_url)) as database:
        with closing(sqlite3.connect(str(database.url.database), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(DatabaseUnavailable, match="database is locked"):
                database.write(work)
            other.execute("ROLLBACK")
        database.write(work)


def test_who_waits_does_not_wait_for_the_background_and_the_background_is_not_starved(
    sqlite_url: str,
) -> None:
    database = Database(sqlite_url)
    begun, hold, order = threading.Event(), threading.Event(), list[str]()

    def first(_: Connection) -> None:
        begun.set()
        hold.wait(60)

    database.writer.submit(first)
    begun.wait(60)
    waiting = [database.writer.submit(lambda _: order.append("background"), rows=TURN_ROWS) for _ in range(3)]
    waiting += [
        database.writer.submit(lambda _: order.append("request"), rows=TURN_ROWS, lane=Lane.REQUEST)
        for _ in range(3)
    ]
    hold.set()
    for future in waiting:
        future.result()
    database.close()
    assert order == ["request", "background"] * 3


@pytest.mark.parametrize(("computed", "fitting"), [(0.0, 5), (0.012, 60)])
def test_a_turn_of_the_background_may_take_as_long_as_who_asked_computed(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, computed: float, fitting: int
) -> None:
    monkeypatch.setattr("storage.sqlite_writer._ASKED_LATELY", 60.0)
    database = Database(sqlite_url)
    begun, hold = threading.Event(), threading.Event()
    spent = [0.0]
    # What a machine's own would tell depends on who else is at work there.
    monkeypatch.setattr("storage.sqlite_writer.time.thread_time", lambda: spent[0])

    def first(_: Connection) -> None:
        begun.set()
        hold.wait(60)

    def request(_: Connection) -> None:
        spent[0] += computed
        # It stands still for this long, which counts for nothing.
        time.sleep(0.05)

    database.writer.submit(first)
    begun.wait(60)
    database.writer.submit(request, lane=Lane.REQUEST)
    # Of work that was never done yet five rows are expected to fit into a millisecond.
    rows = database.writer.submit(Pace(1_000).rows)
    hold.set()
    assert rows.result(60) == fitting
    database.close()


def test_only_what_asks_for_it_is_not_forced_to_disk(database: Database) -> None:
    asked = "PRAGMA synchronous" if database.is_sqlite else "SHOW synchronous_commit"

    def level(connection: Connection) -> str:
        return str(connection.exec_driver_sql(asked).scalar())

    forced, not_forced = ("2", "1") if database.is_sqlite else ("on", "off")
    assert database.write(level) == forced
    assert database.write(level, forced=False) == not_forced
    assert database.write(level) == forced


def test_of_two_that_wait_for_each_other_both_are_done(postgres_url: str) -> None:
    begun: list[str] = []
    both_hold_one = threading.Barrier(2)

    def holding(name: str, first: int, then: int) -> Work[str]:
        def work(connection: Connection) -> str:
            begun.append(name)
            connection.execute(select(func.pg_advisory_xact_lock(first)))
            if begun.count(name) == 1:
                both_hold_one.wait(60)
            connection.execute(select(func.pg_advisory_xact_lock(then)))
            return name

        return work

    with closing(Database(postgres_url)) as database:
        one = database.writer.submit(holding("one", 1, 2))
        two = database.writer.submit(holding("two", 2, 1))
        assert [one.result(), two.result()] == ["one", "two"]
    assert len(begun) == 3
