"""What was acknowledged on SQLite survives a power cut, and would not if one `fsync` were taken away."""

from __future__ import annotations

import shutil
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from storage import checkpoints, engine, ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind, NewFact
from tests.faults.power import Disk
from tests.faults.stores import Store
from tests.migrated import copy_migrated

# Larger than the log may grow before it is taken over into the file.
WRITES, BODY = 60, "x" * 120_000


def lost_after_cuts(folder: Path, clock: SimulatedClock) -> tuple[int, Disk]:
    """Cut the power after each of many acknowledged writes; return how many facts any of the cuts lost."""
    path = folder / "live" / "nextplay.db"
    disk = _disk_with_tables(path, folder / "durable")
    lost = 0
    with disk.watching(), closing(Database(f"sqlite:///{path}")) as database:
        for number in range(WRITES):
            fact = NewFact(Kind.EVENT, f"e{number}", "seen", "ann", clock.now(), {"properties": {"x": BODY}})
            database.write(partial(ledger.append, new=[fact], now=clock.now()))
            if number % 6 < 2:
                for written in (False, True):
                    cut = disk.after_a_cut(folder / f"cut-{number}-{written}", database_written=written)
                    lost += number + 1 - facts_in(cut)
    return lost, disk


def _disk_with_tables(path: Path, durable: Path) -> Disk:
    """Return a disk on which an empty database was made long ago: no cut takes its tables."""
    path.parent.mkdir()
    copy_migrated(path)
    disk = Disk(path, durable)
    shutil.copyfile(path, durable / path.name)
    return disk


def facts_in(path: Path) -> int:
    """Open what a cut has left as a service does, and count; a damaged file has lost everything."""
    try:
        with closing(Database(f"sqlite:///{path}")) as database, database.read() as connection:
            counted = ledger.counts(connection).get(Kind.EVENT, {}).get("seen", 0)
    except Exception:  # noqa: BLE001 - a file that can't be opened is one
        return 0
    return counted if Store(f"sqlite:///{path}").damage() is None else 0


def test_acknowledged_facts_survive_a_power_cut(tmp_path: Path, clock: SimulatedClock) -> None:
    lost, disk = lost_after_cuts(tmp_path, clock)
    assert lost == 0
    # Every write was forced, and the log was taken over into the file at least once.
    assert disk.syncs > WRITES
    assert (tmp_path / "durable" / "nextplay.db").stat().st_size > 1_000_000


def test_what_is_not_forced_is_lost_in_order_or_forced_by_the_next_commit_that_is(
    tmp_path: Path, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who takes the log over forces it first, at times of its own.
    monkeypatch.setattr(checkpoints, "_SOONEST", 3600.0)
    path = tmp_path / "live" / "nextplay.db"
    disk = _disk_with_tables(path, tmp_path / "durable")

    def cut(name: str) -> int:
        return facts_in(disk.after_a_cut(tmp_path / name, database_written=False))

    with disk.watching(), closing(Database(f"sqlite:///{path}")) as database:

        def write(number: int, *, forced: bool) -> None:
            fact = NewFact(Kind.EVENT, f"e{number}", "seen", "ann", clock.now(), {"properties": {"x": BODY}})
            database.write(partial(ledger.append, new=[fact], now=clock.now()), forced=forced)

        write(0, forced=True)
        for number in range(1, 6):
            write(number, forced=False)
        assert cut("before") == 1
        write(6, forced=True)
        assert cut("after") == 7


@pytest.mark.parametrize("level", ["NORMAL", "OFF"])
def test_a_commit_that_is_not_forced_to_disk_is_noticed(
    level: str, tmp_path: Path, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = engine._sqlite_engine

    def weaker(*given: Any, **named: Any) -> Any:
        made = real(*given, **named)
        event.listen(made, "connect", lambda one, _: one.execute(f"PRAGMA synchronous={level}").close())
        return made

    monkeypatch.setattr(engine, "_sqlite_engine", weaker)
    lost, _ = lost_after_cuts(tmp_path, clock)
    # Not counted by its fsyncs: those of taking the log over come at their own times.
    assert lost > 0
