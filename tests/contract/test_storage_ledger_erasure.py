"""After an erasure nobody finds the user, and counts and evaluations are what they were."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, make_url, select

from storage import ledger, projection
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.erasure import Erased, UserUnknown, erase
from storage.ledger import Kind, NewFact
from storage.schema import erasures
from storage.tombstones import FACTS

SECRET = "grandmother's telephone"
DECISION = {
    "decision_id": "d1", "user_id": "ann", "placement": "home", "decided_at": "2026-03-02T09:00:00Z",
    "request_key": "ann-1", "seed": "s", "library": "l", "policy": "p@1", "features": {"city": SECRET},
    "audiences": ["rich"], "uses": {"cap": 1}, "suppressed": {"cap": ["welcome"]}, "arms": ["a", "nothing"],
    "scores": [0.5, 0.0], "weights": [], "probabilities": [0.75, 0.25], "draw": 0.3, "chosen": 0,
    "propensity": 0.75, "playbook": "x", "playbook_version": 2,
}  # fmt: skip
REWARD = {
    "decision_id": "d1", "placement": "home", "policy": "p@1", "playbook": "x", "arm": "a", "acts": True,
    "decided_at": "2026-03-02T09:00:00Z", "value": 2.5, "outcome": "event-of-ann",
}  # fmt: skip


def fill(database: Database, clock: SimulatedClock, events: int = 3) -> None:
    now = clock.now()
    new = [
        NewFact(Kind.DECISION, "d1", "home", "ann", now, DECISION),
        NewFact(Kind.REWARD, "d1", "matured", "ann", now + timedelta(days=1), REWARD),
        NewFact(Kind.ENROLMENT, "ann:started", "started", "ann", now, {"user_id": "ann"}),
        NewFact(Kind.EVENT, "annual", "seen", "annabel", now, {"properties": {"note": "hers"}}),
    ]
    database.write(partial(ledger.append, new=new, now=now))
    for start in range(0, events, 500):
        new = [
            NewFact(Kind.EVENT, f"ann-{number}", "seen", "ann", now, {"properties": {"note": SECRET}})
            for number in range(start, min(start + 500, events))
        ]
        database.write(partial(ledger.append, new=new, now=now), rows=len(new))


def body_of(database: Database, kind: Kind, fact_id: str) -> tuple[str | None, dict[str, Any]]:
    with database.read() as connection:
        fact = ledger.get(connection, kind, fact_id)
    assert fact is not None
    return fact.user_id, fact.decode(dict[str, Any])


def test_facts_keep_what_evaluations_need_and_no_more(database: Database, clock: SimulatedClock) -> None:
    fill(database, clock)
    with database.read() as connection:
        before = ledger.counts(connection)
        untouched = ledger.of_user(connection, "annabel")
    erased = erase(database, [FACTS], ["ann"], clock.now())
    assert erased.places == {"facts": 6}
    user, decision = body_of(database, Kind.DECISION, "d1")
    assert user == erased.pseudonym
    gone = {"user_id", "request_key", "seed", "features", "audiences", "uses", "draw"}
    assert decision == {"erased": True} | {k: v for k, v in DECISION.items() if k not in gone}
    user, reward = body_of(database, Kind.REWARD, "d1")
    assert (user, reward) == (erased.pseudonym, {"erased": True} | REWARD | {"outcome": None})
    assert body_of(database, Kind.EVENT, "ann-1") == (erased.pseudonym, {"erased": True})
    with database.read() as connection:
        (started,) = ledger.read_after(connection, 0, kind=Kind.ENROLMENT)
    assert started.id == f"{erased.pseudonym}.{started.seq}:started"
    assert started.body == '{"erased":true}'
    with database.read() as connection:
        assert ledger.of_user(connection, "ann") == []
        assert ledger.of_user(connection, "annabel") == untouched
        after = ledger.counts(connection)
        assert after.pop(Kind.CHANGE) == {"user_erased": 1}
        assert after == before
        assert projection.recount(connection) == []
    with pytest.raises(UserUnknown, match="'ann'"):
        erase(database, [FACTS], ["ann"], clock.now())


def test_readers_find_tombstones_in_their_place(database: Database, clock: SimulatedClock) -> None:
    fill(database, clock)
    with database.read() as connection:
        before = ledger.read_after(connection, 0, kind=Kind.EVENT)
    pseudonym = erase(database, [FACTS], ["ann"], clock.now()).pseudonym
    with database.read() as connection:
        after = ledger.read_after(connection, 0, kind=Kind.EVENT)
    hers = {"user_id": pseudonym, "body": '{"erased":true}'}
    assert after == [
        msgspec.structs.replace(fact, **hers) if fact.user_id == "ann" else fact for fact in before
    ]


def test_an_interrupted_erasure_goes_on_under_its_pseudonym(
    database: Database, clock: SimulatedClock
) -> None:
    fill(database, clock, events=1_200)

    class Dying:
        """A database whose third write dies before its commit."""

        writes = 0
        read = staticmethod(database.read)

        def write(self, work: Any, *, rows: int = 1) -> Any:
            self.writes += 1

            def die(connection: Connection) -> None:
                work(connection)
                raise InterruptedError

            return database.write(die if self.writes == 3 else work, rows=rows)

    with pytest.raises(InterruptedError):
        erase(Dying(), [FACTS], ["ann"], clock.now())  # type: ignore[arg-type]
    with database.read() as connection:
        pseudonym = connection.execute(select(erasures.c.pseudonym)).scalar_one()
        assert 0 < len(ledger.of_user(connection, pseudonym, limit=2_000)) < 1_203
    assert erase(database, [FACTS], ["ann"], clock.now()) == Erased(pseudonym, {"facts": 1_203})
    with database.read() as connection:
        assert connection.execute(select(erasures)).all() == []
        assert len(ledger.of_user(connection, pseudonym, limit=2_000)) == 1_203


def test_nothing_is_left_in_the_file(sqlite_url: str, clock: SimulatedClock) -> None:
    path = Path(str(make_url(sqlite_url).database))
    with closing(Database(sqlite_url)) as database:
        fill(database, clock, events=400)
    assert SECRET.encode() in path.read_bytes()
    with closing(Database(sqlite_url)) as database:
        erase(database, [FACTS], ["ann"], clock.now())
    assert SECRET.encode() not in path.read_bytes()


def test_nothing_is_left_in_a_log_that_is_taken_over_meanwhile(tmp_path: Path, clock: SimulatedClock) -> None:
    path = tmp_path / "nextplay.db"
    stop = threading.Event()

    def take_over() -> None:
        with closing(sqlite3.connect(path)) as connection:
            while not stop.is_set():
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    log = path.with_name(f"{path.name}-wal")
    with closing(Database(f"sqlite:///{path}")) as database:
        others = [threading.Thread(target=take_over) for _ in range(2)]
        for other in others:
            other.start()
        try:
            for number in range(40):
                fact = NewFact(Kind.EVENT, f"ann-{number}", "seen", "ann", clock.now(), {})
                database.write(partial(ledger.append, new=[fact], now=clock.now()))
                erase(database, [FACTS], ["ann"], clock.now())
                assert log.stat().st_size == 0
        finally:
            stop.set()
            for other in others:
                other.join()
