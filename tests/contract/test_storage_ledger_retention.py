"""What is old goes, what a reader still needs stays, and the counters remember."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import Connection

from storage import ledger, projection, readers
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.errors import ConfigurationError
from storage.ledger import Kind, NewFact
from storage.retention import Purged, purge, retention_of
from storage.writer import TURN_ROWS

SEEN = {Kind.EVENT: {"seen": 1_300}, Kind.CHANGE: {"published": 1}}


@pytest.fixture
def filled(database: Database, clock: SimulatedClock) -> Database:
    """A ledger with 1,300 events, 100 of each of the last 13 days, and a change of the first day."""
    for day in range(13):
        at = clock.now() - timedelta(days=12 - day)
        new = [NewFact(Kind.EVENT, f"{day:02}:{number:02}", "seen", "ann", at, {}) for number in range(100)]
        if day == 0:
            new.append(NewFact(Kind.CHANGE, "first", "published", None, at, {}))
        database.write(partial(ledger.append, new=new, now=at), rows=len(new))
    return database


def events_of(database: Database) -> list[str]:
    with database.read() as connection:
        return [fact.id for fact in ledger.read_after(connection, 0, kind=Kind.EVENT)]


def check(database: Database) -> None:
    with database.read() as connection:
        assert ledger.counts(connection) == SEEN
        assert projection.recount(connection) == []


def test_what_is_old_goes_and_stays_counted(filled: Database, clock: SimulatedClock) -> None:
    assert purge(filled, {Kind.EVENT: 5}, clock.now()) == [Purged(Kind.EVENT, 700, 0, None)]
    left = events_of(filled)
    assert (len(left), left[0]) == (600, "07:00")
    check(filled)
    with filled.read() as connection:
        assert ledger.get(connection, Kind.CHANGE, "first") is not None
    assert purge(filled, {Kind.EVENT: 5}, clock.now()) == [Purged(Kind.EVENT, 0, 0, None)]
    clock.move_to(clock.now() + timedelta(days=1))
    assert purge(filled, {Kind.EVENT: 5, Kind.CHANGE: None}, clock.now())[0].purged == 100
    check(filled)


def test_nothing_goes_that_a_reader_has_not_taken(filled: Database, clock: SimulatedClock) -> None:
    with filled.read() as connection:
        taken = ledger.read_after(connection, 0, kind=Kind.EVENT, limit=250)[-1].seq
    filled.write(partial(readers.advance, reader="slow", position=taken))
    assert purge(filled, {Kind.EVENT: 5}, clock.now()) == [Purged(Kind.EVENT, 250, 450, "slow")]
    assert events_of(filled)[0] == "02:50"
    check(filled)
    with filled.read() as connection:
        last = ledger.read_after(connection, 0, kind=Kind.EVENT)[-1].seq
    filled.write(partial(readers.advance, reader="slow", position=last))
    assert purge(filled, {Kind.EVENT: 5}, clock.now()) == [Purged(Kind.EVENT, 450, 0, None)]
    check(filled)


def test_a_reader_keeps_only_the_kinds_it_takes(filled: Database, clock: SimulatedClock) -> None:
    """A reader of decisions comes no further while there are none: it must not keep all events for ever."""
    old = NewFact(Kind.DECISION, "old", "home", "ann", clock.now() - timedelta(days=12), {})
    filled.write(partial(ledger.append, new=[old], now=clock.now()))
    filled.write(partial(readers.advance, reader="of decisions", position=1, kinds=[Kind.DECISION]))
    assert purge(filled, {Kind.EVENT: 5, Kind.DECISION: 5}, clock.now()) == [
        Purged(Kind.EVENT, 700, 0, None),
        Purged(Kind.DECISION, 0, 1, "of decisions"),
    ]
    both = [Kind.DECISION, Kind.EVENT]
    filled.write(partial(readers.advance, reader="of both", position=2, kinds=both))
    clock.move_to(clock.now() + timedelta(days=1))
    assert purge(filled, {Kind.EVENT: 5}, clock.now()) == [Purged(Kind.EVENT, 0, 100, "of both")]
    with filled.read() as connection:
        last = ledger.read_after(connection, 0, kind=Kind.DECISION)[-1].seq
    moves = [("of decisions", 1, [Kind.DECISION]), ("of both", 2, both)]
    for reader, before, kinds in moves:
        move = partial(readers.advance_from, reader=reader, before=before, position=last, kinds=kinds)
        assert filled.write(move)
    assert [one.purged for one in purge(filled, {Kind.EVENT: 5, Kind.DECISION: 5}, clock.now())] == [100, 1]


def test_an_interrupted_purge_goes_on(filled: Database, clock: SimulatedClock) -> None:
    class Dying:
        """A database whose third write dies before its commit, as do all after it."""

        writes = 0
        read = staticmethod(filled.read)

        def write(self, work: object, *, rows: int) -> object:
            assert rows <= TURN_ROWS
            self.writes += 1

            def die(connection: Connection) -> None:
                work(connection)  # type: ignore[operator]
                raise InterruptedError

            return filled.write(die if self.writes > 2 else work, rows=rows)  # type: ignore[arg-type]

    projection.catch_up(filled)
    with pytest.raises(InterruptedError):
        purge(Dying(), {Kind.EVENT: 5}, clock.now())  # type: ignore[arg-type]
    assert 600 < len(events_of(filled)) < 1_300
    check(filled)
    purge(filled, {Kind.EVENT: 5}, clock.now())
    assert len(events_of(filled)) == 600
    check(filled)


@pytest.mark.parametrize(
    ("given", "said"), [({"events": 3}, "the kinds are event"), ({"event": 0}, "1 or more")]
)
def test_a_wrong_setting_is_explained(given: dict[str, int | None], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        retention_of(given)
    assert retention_of({"event": 3, "change": None}) == {Kind.EVENT: 3, Kind.CHANGE: None}
