"""Readers miss nothing and repeat nothing, also while many transactions end in any order."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import pytest
from sqlalchemy import Connection, select, update

from delivery.repository import hold_reader
from storage import ledger, readers
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Fact, Kind, NewFact
from storage.order import PLACES, TransactionTooLarge, places
from storage.schema import facts, ledger_base

Read = Callable[[Connection, int], list[tuple[int, str]]]


def fact(clock: SimulatedClock, fact_id: str) -> NewFact:
    return NewFact(Kind.EVENT, fact_id, "seen", "ann", clock.now(), {})


def read_settled(connection: Connection, position: int) -> list[tuple[int, str]]:
    page: list[Fact] = ledger.read_after(connection, position, kind=Kind.EVENT, limit=50)
    return [(one.seq, one.id) for one in page]


def read_naively(connection: Connection, position: int) -> list[tuple[int, str]]:
    """Read whatever is visible above a position, as `read_after` must not."""
    query = select(facts.c.seq, facts.c.id).where(facts.c.seq > position).order_by(facts.c.seq).limit(50)
    return [(row.seq, row.id) for row in connection.execute(query)]


class Reader:
    """Follows the ledger with a cursor, moving it in a transaction of its own."""

    def __init__(self, database: Database, name: str, read: Read) -> None:
        self.seen: list[str] = []
        self._database, self._name, self._read = database, name, read

    def take(self) -> int:
        with self._database.read() as connection:
            page = self._read(connection, readers.position_of(connection, self._name))
        if page:
            self._database.write(partial(readers.advance, reader=self._name, position=page[-1][0]))
        self.seen += [fact_id for _, fact_id in page]
        return len(page)

    def finish(self) -> list[str]:
        while self.take():
            pass
        return self.seen


@pytest.fixture
def wide(postgres_url: str) -> Iterator[Database]:
    """A Postgres, where transactions end in any order."""
    with closing(Database(postgres_url)) as database:
        yield database


def hold_open(database: Database, new: NewFact, clock: SimulatedClock) -> Callable[[], None]:
    """Record a fact in a transaction that stays open until the returned function is called."""
    written, go_on = threading.Event(), threading.Event()

    def work(connection: Connection) -> None:
        ledger.append_unless_known(connection, [new], clock.now())
        written.set()
        go_on.wait(60)

    future = database.writer.submit(work)
    assert written.wait(60)

    def end() -> None:
        go_on.set()
        future.result()

    return end


def test_a_fact_that_commits_late_is_not_missed(wide: Database, clock: SimulatedClock) -> None:
    right, naive = Reader(wide, "right", read_settled), Reader(wide, "naive", read_naively)
    end = hold_open(wide, fact(clock, "slow"), clock)
    wide.write(partial(ledger.append, new=[fact(clock, "fast")], now=clock.now()))
    assert naive.take() == 1
    assert right.take() == 0
    end()
    assert right.finish() == ["slow", "fast"]
    # What a cursor without a horizon does: "slow" has the lower number and is behind it for ever.
    assert naive.finish() == ["fast"]


def test_many_writers_one_reader(wide: Database, clock: SimulatedClock) -> None:
    writers, rounds = 6, 40
    committed: list[str] = []
    lock, done = threading.Lock(), threading.Event()

    def write(writer: int) -> None:
        chance = random.Random(writer)
        for turn in range(rounds):
            names = [f"{writer}:{turn}:{index}" for index in range(chance.randint(1, 5))]
            fails, before, after = chance.random() < 0.25, chance.random() / 100, chance.random() / 50
            immediate = chance.random() < 0.7

            def work(
                connection: Connection, names: list[str] = names, fails: bool = fails,
                before: float = before, after: float = after, immediate: bool = immediate,
            ) -> None:  # fmt: skip
                time.sleep(before)
                record = ledger.append_unless_known if immediate else ledger.append
                record(connection, [fact(clock, name) for name in names], clock.now())
                time.sleep(after)
                if fails:
                    raise InterruptedError

            try:
                wide.write(work, rows=len(names))
            except InterruptedError:
                continue
            with lock:
                committed.extend(names)

    def follow(reader: Reader) -> None:
        while not done.is_set():
            reader.take()

    right, naive = Reader(wide, "right", read_settled), Reader(wide, "naive", read_naively)
    writing = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    reading = [threading.Thread(target=follow, args=(reader,)) for reader in (right, naive)]
    for thread in [*writing, *reading]:
        thread.start()
    for thread in writing:
        thread.join()
    done.set()
    for thread in reading:
        thread.join()
    assert len(committed) > writers * rounds
    assert sorted(right.finish()) == sorted(committed)
    missed = set(committed) - set(naive.finish())
    assert missed, "the reader without a horizon was to miss some: this test proves nothing"


def take_held(connection: Connection, chance: random.Random) -> list[str] | None:
    """Take a page while holding the cursor; None if another holds it. Some die after they moved it."""
    position = hold_reader(connection, "shared")
    if position is None:
        return None
    page = ledger.read_after(connection, position, kind=Kind.EVENT, limit=7)
    if page:
        readers.advance(connection, "shared", page[-1].seq)
    time.sleep(chance.random() / 200)
    if chance.random() < 0.2:
        raise InterruptedError
    return [one.id for one in page]


def test_readers_that_hold_their_cursor_share_the_facts(database: Database, clock: SimulatedClock) -> None:
    """Several workers under one name, as the executors are; some die after they moved the cursor."""
    committed, taken = [f"{turn}:{index}" for turn in range(60) for index in range(5)], list[str]()
    done = threading.Event()

    def work(seed: int) -> None:
        chance = random.Random(seed)
        while True:
            last = done.is_set()
            try:
                page = database.write(partial(take_held, chance=chance))
            except InterruptedError:
                continue
            if page:
                taken.extend(page)
            elif last and page is not None:
                return

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for worker in workers:
        worker.start()
    for turn in range(60):
        new = [fact(clock, name) for name in committed[5 * turn : 5 * turn + 5]]
        database.write(partial(ledger.append, new=new, now=clock.now()), rows=5)
    done.set()
    for worker in workers:
        worker.join()
    assert sorted(taken) == sorted(committed)


def test_facts_of_one_transaction_come_in_their_order(database: Database, clock: SimulatedClock) -> None:
    def work(connection: Connection) -> None:
        ledger.append_unless_known(connection, [fact(clock, "a"), fact(clock, "b")], clock.now())
        ledger.append_unless_known(connection, [fact(clock, "b"), fact(clock, "c")], clock.now())
        ledger.append(connection, [fact(clock, "d")], clock.now())

    database.write(work)
    database.write(partial(ledger.append, new=[fact(clock, "e")], now=clock.now()))
    reader = Reader(database, "reader", read_settled)
    assert reader.finish() == ["a", "b", "c", "d", "e"]
    assert reader.take() == 0


def test_a_cursor_never_goes_back(database: Database) -> None:
    for position in (5, 9, 7):
        database.write(partial(readers.advance, reader="reader", position=position))
    with database.read() as connection:
        assert readers.position_of(connection, "reader") == 9


def test_of_two_who_read_the_same_facts_one_keeps_them(database: Database) -> None:
    def move(before: int, position: int) -> bool:
        return database.write(lambda connection: readers.advance_from(connection, "reader", before, position))

    assert move(0, 5)
    assert not move(0, 4)
    assert not move(4, 8)
    assert move(5, 6)
    with database.read() as connection:
        assert readers.position_of(connection, "reader") == 6


def test_facts_of_another_server_stay_below_new_ones(postgres_url: str, clock: SimulatedClock) -> None:
    with closing(Database(postgres_url)) as database:
        database.write(partial(ledger.append, new=[fact(clock, "old")], now=clock.now()))
        # As a dump of a server with higher transaction ids leaves them.
        database.write(
            lambda connection: connection.execute(update(facts).values(seq=facts.c.seq + PLACES * 10**6))
        )
    with closing(Database(postgres_url)) as database:

        def fail(connection: Connection) -> None:
            ledger.append_unless_known(connection, [fact(clock, "lost")], clock.now())
            raise InterruptedError

        with pytest.raises(InterruptedError):
            database.write(fail)
        for name in ("1", "2"):
            database.write(partial(ledger.append, new=[fact(clock, name)], now=clock.now()))
        assert Reader(database, "reader", read_settled).finish() == ["old", "1", "2"]
        with database.read() as connection:
            assert connection.execute(select(ledger_base.c.base)).scalar_one() > 0


def test_a_transaction_that_can_not_be_numbered_is_refused(wide: Database) -> None:
    with pytest.raises(TransactionTooLarge, match="in pieces"):
        wide.write(lambda connection: places(connection, PLACES + 1))


def test_several_kinds_are_read_in_one_order(database: Database, clock: SimulatedClock) -> None:
    kinds = [Kind.EVENT, Kind.TAG, Kind.PAST_EVENT, Kind.EVENT, Kind.PAST_EVENT]
    for number, kind in enumerate(kinds):
        new = NewFact(kind, f"f{number}", "seen", "ann", clock.now(), {})
        database.write(partial(ledger.append, new=[new], now=clock.now()))
    with database.read() as connection:
        page = ledger.read_after(connection, 0, kind=(Kind.EVENT, Kind.PAST_EVENT))
        past = ledger.of_user(connection, "ann", kinds=(Kind.PAST_EVENT,))
    assert [one.id for one in page] == ["f0", "f2", "f3", "f4"]
    assert [one.id for one in past] == ["f4", "f2"]


@pytest.mark.parametrize("kind", [Kind.EVENT, (Kind.EVENT, Kind.CONSENT)])
def test_a_page_costs_the_same_however_long_the_ledger_is(
    sqlite_url: str, clock: SimulatedClock, kind: Kind | tuple[Kind, ...]
) -> None:
    with closing(Database(sqlite_url)) as database:
        costs = [_steps(_grown(database, clock, start), kind) for start in (0, 500)]
    assert costs[1] < 2 * costs[0], costs


def _grown(database: Database, clock: SimulatedClock, start: int) -> Database:
    for first in range(start, max(500, 9 * start), 500):
        new = [fact(clock, f"f{number}") for number in range(first, first + 500)]
        database.write(partial(ledger.append, new=new, now=clock.now()), rows=500)
    return database


def _steps(database: Database, kind: Kind | tuple[Kind, ...]) -> int:
    """Count the steps, in hundreds, that SQLite takes for a page."""
    steps: list[None] = []
    with database.read() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.set_progress_handler(lambda: steps.append(None), 100)
        assert len(ledger.read_after(connection, 100, kind=kind, limit=50)) == 50
        driver.set_progress_handler(None, 0)
    return len(steps)
