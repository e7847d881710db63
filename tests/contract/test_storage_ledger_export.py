"""Exported facts are those of the ledger, also after an interruption, an erasure and retention."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import duckdb
import pytest

from storage import export as export_module
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.erasure import erase
from storage.errors import ConfigurationError
from storage.export import Exported, ExportFailed, export
from storage.ledger import Kind, NewFact
from storage.retention import purge
from storage.tombstones import FACTS
from tests.disk import full_disk


@pytest.fixture
def filled(database: Database, clock: SimulatedClock) -> Database:
    """Four days of events, twelve a day, and decisions of one day, recorded not in the order of time."""
    for number in range(48):
        at = clock.now() - timedelta(days=number % 4)
        label, user = ("seen", "ann") if number % 3 else ("order", None)
        new = [NewFact(Kind.EVENT, f"e{number}", label, user, at, {"properties": {"n": number, "é": "'"}})]
        if number % 4 == 0:
            new.append(NewFact(Kind.DECISION, f"d{number}", "home", "ann", at, {"propensity": 0.5}))
        database.write(partial(ledger.append, new=new, now=clock.now()))
    return database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the export goes, apart from the database."""
    return tmp_path / "out"


def rows(folder: Path, kind: Kind, columns: str) -> list[tuple[object, ...]]:
    query = f"SELECT {columns} FROM read_parquet('{folder}/{kind}/*/*.parquet') ORDER BY ALL"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found: list[tuple[object, ...]] = connection.execute(query).fetchall()
    return found


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_duckdb_reads_what_the_ledger_holds(filled: Database, clock: SimulatedClock, folder: Path) -> None:
    exported = export(filled, folder, list(Kind), None, None)
    days = [date(2026, 2, 27) + timedelta(days=day) for day in range(4)]
    assert exported == [
        *(Exported(Kind.EVENT, day, 12, True, False) for day in days),
        Exported(Kind.DECISION, days[-1], 12, True, False),
    ]
    with filled.read() as connection:
        facts = ledger.read_after(connection, 0, kind=Kind.EVENT)
    expected = sorted((fact.id, fact.label, fact.occurred_at, fact.body) for fact in facts)
    assert rows(folder, Kind.EVENT, "id, label, occurred_at, body") == expected
    types = rows(folder, Kind.EVENT, "DISTINCT typeof(occurred_at), typeof(recorded_at), typeof(day)")
    assert types == [("TIMESTAMP WITH TIME ZONE", "TIMESTAMP WITH TIME ZONE", "DATE")]
    assert rows(folder, Kind.EVENT, "sum(CAST(body->'properties'->>'n' AS INT))") == [(sum(range(48)),)]
    assert rows(folder, Kind.EVENT, "count(*) - count(user_id)") == [(16,)]
    assert rows(folder, Kind.EVENT, "min(recorded_at)") == [(clock.now(),)]


def test_only_the_days_that_are_asked_for(filled: Database, folder: Path) -> None:
    export(filled, folder, [Kind.EVENT], date(2026, 2, 28), date(2026, 3, 2))
    assert files(folder) == {f"event/day={day}/facts.parquet" for day in ("2026-02-28", "2026-03-01")}
    with pytest.raises(ConfigurationError, match="--until is exclusive"):
        export(filled, folder, [Kind.EVENT], date(2026, 3, 2), date(2026, 3, 2))


def test_again_writes_only_what_changed(filled: Database, clock: SimulatedClock, folder: Path) -> None:
    export(filled, folder, [Kind.EVENT], None, None)
    assert not any(one.written for one in export(filled, folder, [Kind.EVENT], None, None))
    late = NewFact(Kind.EVENT, "late", "seen", "bob", datetime(2026, 2, 28, tzinfo=UTC), {})
    filled.write(partial(ledger.append, new=[late], now=clock.now()))
    again = export(filled, folder, [Kind.EVENT], None, None)
    assert [(one.day.day, one.facts) for one in again if one.written] == [(28, 13)]
    erase(filled, [FACTS], ["ann"], clock.now())
    assert all(one.written for one in export(filled, folder, [Kind.EVENT], None, None))
    assert rows(folder, Kind.EVENT, "DISTINCT user_id = 'ann'") == [(False,), (None,)]


def test_an_interrupted_export_goes_on(
    filled: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = 2

    def full_disk(handle: int) -> None:
        nonlocal finished
        finished -= 1
        if finished < 0:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ConfigurationError, match="No space left on device"):
        export(filled, folder, [Kind.EVENT], None, None)
    monkeypatch.undo()
    assert files(folder) == {"event/day=2026-02-27/facts.parquet"}
    again = export(filled, folder, [Kind.EVENT], None, None)
    assert [one.written for one in again] == [False, True, True, True]
    assert rows(folder, Kind.EVENT, "count(*)") == [(48,)]


def test_a_full_disk_leaves_no_part_of_a_day_behind(filled: Database, folder: Path) -> None:
    with (
        full_disk(),
        pytest.raises(ConfigurationError, match=r"can't write to .*nothing of that day was left"),
    ):
        export(filled, folder, [Kind.EVENT], None, None)
    assert not [path for path in folder.rglob("*") if path.is_file()]
    export(filled, folder, [Kind.EVENT], None, None)
    assert rows(folder, Kind.EVENT, "count(*)") == [(48,)]


def test_a_file_with_fewer_rows_than_facts_is_refused(
    filled: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = export_module._facts
    monkeypatch.setattr(export_module, "_facts", lambda *given: iter(list(real(*given))[1:]))
    with pytest.raises(ExportFailed, match="has 11 rows where the ledger counted 12"):
        export(filled, folder, [Kind.EVENT], None, None)
    assert files(folder) == set()


def test_what_retention_took_away_stays_exported(
    filled: Database, clock: SimulatedClock, folder: Path
) -> None:
    export(filled, folder, [Kind.EVENT], None, None)
    late = NewFact(Kind.EVENT, "late", "seen", "bob", datetime(2026, 2, 28, tzinfo=UTC), {})
    purge(filled, {Kind.EVENT: 1}, clock.now())
    filled.write(partial(ledger.append, new=[late], now=clock.now()))
    again = export(filled, folder, [Kind.EVENT], None, None)
    assert [(one.day.day, one.facts, one.kept) for one in again] == [
        (28, 12, True),
        (1, 12, False),
        (2, 12, False),
    ]
    assert rows(folder, Kind.EVENT, "count(*)") == [(48,)]
