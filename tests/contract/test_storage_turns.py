"""Turns lent to a guest: one writer at a time, whatever becomes of the guest."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection

from storage import collecting, ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.errors import DatabaseUnavailable
from storage.faultpoints import VARIABLE
from storage.ledger import Kind, NewFact
from storage.sqlite_writer import SqliteWriter
from storage.turns import Borrower, Guest, Loan
from storage.writer import Lane

ROOT = Path(__file__).parents[2]
# A guest in a process of its own: says "ready", then writes a row for each line it reads.
_GUEST = """
import socket, sys, time
from datetime import UTC, datetime
from storage import ledger
from storage.engine import Database
from storage.ledger import Kind, NewFact
from storage.turns import Borrower

url, end, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
now = datetime(2026, 3, 2, tzinfo=UTC)
database = Database(url, turns=Borrower(socket.socket(fileno=end)))
print("ready", flush=True)
for line in sys.stdin:
    def work(connection):
        fact = NewFact(Kind.EVENT, line.strip(), "seen", "bob", now, {})
        ledger.append_unless_known(connection, [fact], now)
        print("in turn", flush=True)
        time.sleep(pause)
    database.write(work)
    print("written", flush=True)
"""


@dataclass
class Host:
    """The owner of a file, and the end of the turns for a guest."""

    url: str
    database: Database
    overdue: list[float] = field(default_factory=list)

    @property
    def writer(self) -> SqliteWriter:
        writer = self.database.writer
        assert isinstance(writer, SqliteWriter)
        return writer

    def invite(self) -> Database:
        """Open the file as a guest of this process."""
        ours, theirs = socket.socketpair()
        Guest(ours, self.writer, lambda: None)
        return Database(self.url, turns=Borrower(theirs))


@pytest.fixture
def host(sqlite_url: str) -> Iterator[Host]:
    database = Database(sqlite_url)
    yield Host(sqlite_url, database)
    database.close()


def write(connection: Connection, name: str, clock: SimulatedClock) -> None:
    ledger.append(connection, [NewFact(Kind.EVENT, name, "seen", "ann", clock.now(), {})], clock.now())


def names(database: Database) -> set[str]:
    with database.read() as connection:
        return {fact.id for fact in ledger.read_after(connection, 0, kind=Kind.EVENT, limit=5_000)}


def test_both_write_and_nothing_is_lost(host: Host, clock: SimulatedClock) -> None:
    guest = host.invite()
    futures: list[Future[None]] = []
    for number in range(300):
        for who, database in (("host", host.database), ("guest", guest)):
            work = partial(write, name=f"{who}-{number}", clock=clock)
            lane = Lane.REQUEST if who == "host" else Lane.BACKGROUND
            futures.append(database.writer.submit(work, lane=lane))
    for future in futures:
        future.result(30)
    assert names(host.database) == {f"{who}-{number}" for who in ("host", "guest") for number in range(300)}
    guest.close()


def test_nobody_waits_for_a_full_collection_of_the_guest(
    host: Host, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = host.invite()
    begun, go_on = threading.Event(), threading.Event()

    def collect() -> None:
        begun.set()
        go_on.wait(60)

    monkeypatch.setattr("storage.collecting.due", lambda: not begun.is_set())
    monkeypatch.setattr("storage.sqlite_writer.gc.collect", collect)
    # More than fits into a turn, so that there is something left to ask for.
    first, second = [
        guest.writer.submit(partial(write, name=name, clock=clock), rows=500) for name in ("first", "second")
    ]
    first.result(10)
    assert begun.wait(60)
    host.writer.submit(partial(write, name="host", clock=clock), lane=Lane.REQUEST).result(10)
    assert names(host.database) == {"first", "host"}
    go_on.set()
    second.result(10)
    guest.close()


def test_full_collections_are_due_now_and_then_where_turns_are_lent() -> None:
    before = gc.get_threshold()
    gc.collect()
    try:
        collecting.between_turns()
        assert not collecting.due()
        for _ in range(11):
            gc.collect(1)
        assert collecting.due()
        gc.collect()
        assert not collecting.due()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
    for _ in range(11):
        gc.collect(1)
    assert not collecting.due(), "elsewhere Python sees to it itself"


def test_a_guest_writes_in_its_turn_only(host: Host, clock: SimulatedClock) -> None:
    guest = host.invite()
    begun, hold = threading.Event(), threading.Event()

    def busy(_: Connection) -> None:
        begun.set()
        hold.wait(60)

    host.database.writer.submit(busy)
    begun.wait(60)
    future = guest.writer.submit(partial(write, name="guest", clock=clock))
    time.sleep(0.2)
    assert not future.done()
    hold.set()
    future.result(10)
    assert names(host.database) == {"guest"}
    guest.close()


def test_who_waits_goes_first_and_the_guest_is_not_starved(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = host.invite()
    begun, hold, order = threading.Event(), threading.Event(), list[str]()
    asked, writer = threading.Event(), host.database.writer
    assert isinstance(writer, SqliteWriter)
    plain = writer.lend

    def lend(loan: Loan) -> bool:
        lent = plain(loan)
        asked.set()
        return lent

    monkeypatch.setattr(writer, "lend", lend)

    def busy(_: Connection) -> None:
        begun.set()
        hold.wait(60)

    host.database.writer.submit(busy)
    begun.wait(60)
    waiting = [guest.writer.submit(lambda _: order.append("guest"), rows=500) for _ in range(3)]
    assert asked.wait(60)
    waiting += [
        host.database.writer.submit(lambda _: order.append("request"), rows=500, lane=Lane.REQUEST)
        for _ in range(3)
    ]
    hold.set()
    for future in waiting:
        future.result(10)
    assert order[:2] == ["request", "guest"]
    assert sorted(order) == ["guest"] * 3 + ["request"] * 3
    guest.close()


def test_a_second_guest_waits_for_the_first(host: Host) -> None:
    first = host.invite()
    opened: list[Database] = []
    thread = threading.Thread(target=lambda: opened.append(host.invite()))
    thread.start()
    time.sleep(0.3)
    assert not opened
    first.close()
    thread.join(10)
    opened[0].close()


def test_without_a_host_nothing_is_written(host: Host, clock: SimulatedClock) -> None:
    ours, theirs = socket.socketpair()
    guest = Database(host.url, turns=Borrower(theirs))
    ours.close()
    with pytest.raises(DatabaseUnavailable, match="shutting down"):
        guest.write(partial(write, name="late", clock=clock))
    with pytest.raises(DatabaseUnavailable):
        guest.write(partial(write, name="later", clock=clock))
    guest.close()
    assert names(host.database) == set()


@dataclass
class Apart:
    """A guest in another process."""

    process: subprocess.Popen[str]

    def ask(self, name: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


def start(host: Host, *, pause: float = 0.0, patience: float = 10.0, aim: str = "") -> Apart:
    ours, theirs = socket.socketpair()
    end = theirs.fileno()
    process = subprocess.Popen(
        [sys.executable, "-c", _GUEST, host.url, str(end), str(pause)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[end], cwd=ROOT, text=True,
        env={**os.environ, VARIABLE: aim},
    )  # fmt: skip
    theirs.close()

    def overdue() -> None:
        host.overdue.append(time.monotonic())
        process.kill()

    Guest(ours, host.writer, overdue, patience)
    apart = Apart(process)
    assert apart.said() == "ready"
    return apart


def test_a_guest_that_is_killed_in_its_turn_leaves_nothing_and_blocks_nobody(
    host: Host, clock: SimulatedClock
) -> None:
    apart = start(host, aim="writer.before_commit")
    apart.ask("never")
    assert apart.process.wait(60) == -signal.SIGKILL
    started = time.monotonic()
    host.database.write(partial(write, name="host", clock=clock), lane=Lane.REQUEST)
    assert time.monotonic() - started < 2
    assert names(host.database) == {"host"}
    apart.end()
    # The next one finds everything free.
    following = start(host)
    following.ask("again")
    assert [following.said(), following.said()] == ["in turn", "written"]
    assert names(host.database) == {"host", "again"}
    following.end()


def test_a_guest_that_stands_still_in_its_turn_is_ended(host: Host, clock: SimulatedClock) -> None:
    apart = start(host, pause=60, patience=0.5)
    apart.ask("never")
    assert apart.said() == "in turn"
    started = time.monotonic()
    host.database.write(partial(write, name="host", clock=clock), lane=Lane.REQUEST)
    assert time.monotonic() - started < 5
    assert host.overdue
    assert names(host.database) == {"host"}
    apart.end()
