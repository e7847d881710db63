"""Whoever writes in the background takes turns of a few rows while people ask, and gets everything done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from audiences.events import Event
from audiences.importing.reader import Row
from audiences.importing.service import Imports
from audiences.intake.intake import Intake
from audiences.scores.definitions import read_scores
from audiences.scores.service import Scores
from audiences.service import rule_schema
from audiences.stages.definitions import read_lifecycles
from audiences.stages.service import Stages
from audiences.tracking.importer import EventImporter
from audiences.triggers.definitions import Known, read_triggers
from audiences.triggers.service import TriggerService
from feature_repo.specs import load_specs
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind
from storage.pace import Pace
from storage.retention import purge

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
FEW, USERS = 3, 10
SCORES = """
scores:
  - id: lead
    name: Lead
    grades: [{grade: MQL, at: 5}]
    points:
      - {id: opens, event: opened, points: 9}
      - {id: buys, rule: orders_4w > 0, points: 1}
"""
TRIGGERS = """
triggers:
  - {id: opens, name: Opened, when: {event: opened}}
  - {id: stays, name: Did not leave, when: {event: opened, unless: {event: left, after: PT1H}}}
"""


@pytest.fixture
def sqlite_database(sqlite_url: str) -> Iterator[Database]:
    """Only here does a turn have an end: on Postgres nobody waits for another's."""
    opened = Database(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Lets every turn take a few items; how many each of them took."""
    taken: list[int] = []
    real = Pace.turn

    def turn(pace: Pace, connection: object, work: Callable[[int], tuple[int, object]]) -> object:
        def watched(limit: int) -> tuple[int, object]:
            done, result = work(limit)
            taken.append(done)
            return done, result

        return real(pace, connection, watched)  # type: ignore[arg-type]

    monkeypatch.setattr(Pace, "rows", lambda *_: FEW)
    monkeypatch.setattr(Pace, "turn", turn)
    yield taken
    assert len(taken) >= USERS / FEW
    assert max(taken) <= FEW


def facts(database: Database, kind: Kind) -> int:
    with database.read() as connection:
        return sum(ledger.counts(connection).get(kind, {}).values())


def opened(database: Database) -> None:
    """Ten users open something; nobody takes turns of it yet."""
    Intake(database).take([Event(f"e-{n}", f"user-{n}", "opened", {}, NOW, NOW) for n in range(USERS)])


def test_scores(sqlite_database: Database, turns: list[int], tmp_path: Path) -> None:
    (tmp_path / "scores.yaml").write_text(SCORES)
    specs = load_specs()
    scores = Scores(
        sqlite_database,
        SimulatedClock(NOW),
        read_scores(tmp_path / "scores.yaml", rule_schema(specs), specs.events),
    )
    scores.begin()
    opened(sqlite_database)
    assert scores.run() == USERS
    # For whom a rule over features holds, and no longer holds.
    users = {f"user-{n}" for n in range(USERS)}
    assert scores.hold("lead", "buys", users) == 0
    assert scores.explain("user-7", "lead")["lines"] == {"buys": 1, "opens": 9}
    scores.hold("lead", "buys", set())
    assert scores.explain("user-7", "lead")["lines"] == {"opens": 9}


def test_stages(sqlite_database: Database, turns: list[int], tmp_path: Path) -> None:
    stages = Stages(sqlite_database, read_lifecycles(tmp_path / "none.yaml", rule_schema(load_specs())))
    (lifecycle,) = stages.lifecycles
    ids = [f"user-{n}" for n in range(USERS)]
    stages.move(lifecycle.spec.id, ids, [np.zeros(USERS, bool) for _ in lifecycle.rules], NOW)
    assert facts(sqlite_database, Kind.STAGE) == len(stages.standing_in(lifecycle.spec.id)) == USERS


def test_triggers(sqlite_database: Database, turns: list[int], tmp_path: Path) -> None:
    (tmp_path / "triggers.yaml").write_text(TRIGGERS)
    clock = SimulatedClock(NOW)
    triggers = TriggerService(
        sqlite_database,
        clock,
        read_triggers(tmp_path / "triggers.yaml", load_specs().events, Known({}, [], {}, {})),
        inside=lambda users: dict.fromkeys(users, ()),
        members=lambda _: (),
        values=lambda names: ((), dict.fromkeys(names, ())),
    )
    opened(sqlite_database)
    assert triggers.run() == USERS
    clock.move_to(NOW + timedelta(hours=2))
    # The other has stayed away for an hour.
    assert triggers.run() == USERS
    assert triggers.run() == 0


def test_imports(sqlite_database: Database, turns: list[int]) -> None:
    imports = Imports(
        sqlite_database,
        SimulatedClock(NOW),
        {"events": EventImporter(Intake(sqlite_database), past=True)},
    )
    row = {"type": "track", "event": "opened", "timestamp": NOW.isoformat()}
    rows = [Row(n, {**row, "userId": f"user-{n}", "messageId": f"m-{n}"}) for n in range(1, USERS + 1)]
    first = imports.take("events", [*rows, Row(99, error="cut off")])
    assert (first.recorded, first.duplicates, [one.line for one in first.refused]) == (USERS, 0, [99])
    assert imports.take("events", rows).duplicates == USERS


def test_retention(sqlite_database: Database, turns: list[int]) -> None:
    opened(sqlite_database)
    (gone,) = purge(sqlite_database, {Kind.EVENT: 30}, NOW + timedelta(days=60))
    assert (gone.purged, gone.held) == (USERS, 0)
