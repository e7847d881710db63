"""A full disk: what the feature repository says of it, and that nothing half-written stays behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feature_repo.disk import using, write_whole
from feature_repo.errors import StoreUnavailable
from feature_repo.history import Appended, HistoryEvent
from feature_repo.live import Batch
from feature_repo.specs import load_specs
from feature_repo.store import FeatureRepository
from tests.disk import full_disk

SPECS = load_specs()
START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=30)
FULL = "can't be read or written .*: free some room or set its permissions right, then try again"
USERS = 200


def orders(number: int = USERS) -> Iterator[HistoryEvent]:
    for n in range(1, number + 1):
        yield HistoryEvent(n, f"u{n}", "order_completed", START + timedelta(hours=n), {"value": 2.5})


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[FeatureRepository]:
    repository = FeatureRepository(tmp_path / "features", SPECS)
    repository.apply()
    yield repository
    repository.close()


def unfinished(root: Path) -> list[Path]:
    return [path for path in root.rglob(".*") if path.is_file()]


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    write_whole(path, lambda file: file.write(b"first"))
    with full_disk(), pytest.raises(OSError, match="too large"):
        write_whole(path, lambda file: file.write(b"second"))
    assert path.read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]


def test_a_start_leaves_the_registry_as_it_was(repository: FeatureRepository) -> None:
    registry = repository.root / "registry.db"
    before = registry.read_bytes()
    again = FeatureRepository(repository.root, SPECS)
    with full_disk(), pytest.raises(StoreUnavailable, match=FULL):
        again.apply()
    assert registry.read_bytes() == before
    assert not unfinished(repository.root)
    again.apply()
    again.close()


def test_a_first_start_leaves_nothing_and_may_be_repeated(tmp_path: Path) -> None:
    with full_disk(), pytest.raises(StoreUnavailable, match=FULL):
        FeatureRepository(tmp_path / "features", SPECS).apply()
    left = [path.name for path in (tmp_path / "features").rglob("*") if path.is_file()]
    assert left == ["online.lock"]
    repository = FeatureRepository(tmp_path / "features", SPECS)
    repository.apply()
    repository.close()


def test_events_and_snapshots_are_there_whole_or_not_at_all(repository: FeatureRepository) -> None:
    with full_disk(), pytest.raises(StoreUnavailable, match=FULL):
        repository.history.append(orders())
    assert not repository.history.parts("order_completed")
    assert not unfinished(repository.root)
    assert repository.history.append(orders()) == Appended(USERS, 0, 0)
    with full_disk(), pytest.raises(StoreUnavailable, match=FULL):
        repository.snapshot(NOW)
    assert not [path for path in (repository.root / "snapshots").rglob("*") if path.is_file()]
    assert repository.snapshot(NOW) == USERS


def test_what_is_online_stays_until_there_is_room(repository: FeatureRepository) -> None:
    events = list(orders())
    repository.history.append(events)
    repository.snapshot(NOW)
    repository.live.rebuild([], 0)
    with full_disk():
        with pytest.raises(StoreUnavailable, match=FULL):
            repository.publish(NOW)
        with pytest.raises(StoreUnavailable, match=FULL):
            repository.live.take(lambda _: Batch(events, USERS))
        assert repository.online("training", ["u7"], NOW)[0].missing
    assert repository.live.position() == 0
    assert repository.live.take(lambda _: Batch(events, USERS)).last == USERS
    with full_disk(), pytest.raises(StoreUnavailable, match=FULL):
        repository.push(NOW)
    assert repository.push(NOW) == USERS
    assert not repository.online("training", ["u7"], NOW)[0].missing
    repository.publish(NOW)


def test_a_wrong_statement_is_no_matter_of_the_disk(tmp_path: Path) -> None:
    with (
        closing(sqlite3.connect(tmp_path / "some.db")) as connection,
        pytest.raises(sqlite3.OperationalError, match="no such table"),
        using(tmp_path),
    ):
        connection.execute("SELECT * FROM missing")
