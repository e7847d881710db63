"""Events reach features once each, in one order, late or imported, and whatever process dies in between."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audiences import feeds
from audiences.events import Event
from audiences.feeds import HISTORY_READER, PUSH_READER, FeatureFeed
from audiences.identity.models import Person
from audiences.intake.intake import Intake
from decision.cli import app
from decision.errors import FeaturesDiffer
from feature_repo.history import HistoryEvent
from feature_repo.specs import load_specs
from feature_repo.store import FeatureRepository
from feature_repo.verification import Verified, same_value, verify
from storage import readers
from storage.engine import Database
from storage.faultpoints import aim
from tests.faults.launcher import Request
from tests.launching import Forked, launcher

SPECS = load_specs(vocabularies={"arm_category": ["a", "b", "c"]})
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def order(number: int, user: str, at: datetime, *categories: str) -> Event:
    lines = [{"category": one, "quantity": 1, "value": 2.5, "discount": number % 2} for one in categories]
    properties: dict[str, Any] = {"value": 2.5 * number, "categories": list(categories), "lines": lines}
    return Event(f"order-{number}", user, "order_completed", properties, at, NOW)


def orders(start: int, number: int) -> list[Event]:
    chance = random.Random(start)
    return [
        order(n, f"u{n % 7}", NOW - timedelta(days=400) * chance.random(), *chance.sample("abc", n % 3))
        for n in range(start, start + number)
    ]


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[FeatureRepository]:
    repository = FeatureRepository(tmp_path / "features", SPECS)
    repository.apply()
    yield repository
    repository.close()


def sequences(repository: FeatureRepository) -> dict[str, int]:
    states = repository.live.states
    persons = {user_id: (user_id,) for user_id in states.users("", 99)}
    return {one.user_id: one.sequences[one.user_id] for one in states.current(persons, LATER)}


def verified(repository: FeatureRepository, as_of: datetime = LATER) -> Verified:
    return verify(repository.live.states, repository.snapshots, as_of, 1_000)


def test_live_and_imported_events_are_applied_in_one_order(
    database: Database, repository: FeatureRepository
) -> None:
    feed = FeatureFeed(database, repository)
    intake = Intake(database)
    intake.take(orders(1, 20))
    intake.take([order(50, "u1", NOW - timedelta(days=300), "a")], past=True)
    intake.take([order(51, "u1", NOW - timedelta(days=200), "b")])
    assert feed.push(LATER) == 22
    assert feed.push(LATER) == 0
    assert feed.fill_history() == 22
    assert verified(repository) == Verified(7, 0, [])
    values = repository.online("training", ["u1"], LATER)[0].values
    assert (
        values["orders_52w"]
        == sum(
            event.user_id == "u1" and event.occurred_at >= LATER - timedelta(weeks=52)
            for event in orders(1, 20)
        )
        + 2
    )
    with database.read() as connection:
        assert readers.position_of(connection, PUSH_READER) == readers.position_of(connection, HISTORY_READER)


def test_an_event_is_seen_at_the_next_push_and_a_batch_does_not_undo_it(
    database: Database, repository: FeatureRepository
) -> None:
    feed = FeatureFeed(database, repository)
    Intake(database).take(orders(1, 20))
    feed.apply()
    feed.fill_history()
    position = feed.history_position()
    repository.snapshot(LATER)
    # Comes in while the batch is under way, dated before its T.
    Intake(database).take([order(60, "u3", NOW, "a", "b")])
    feed.push(LATER)
    seen = repository.online("training", ["u3"], LATER)[0].values
    assert (seen["last_order_value"], seen["last_order_items"]) == (150.0, 2)
    repository.publish(LATER, position=position)
    assert repository.online("training", ["u3"], LATER)[0].values["last_order_value"] == 150.0
    assert verified(repository).newer == 1
    feed.fill_history()
    assert verified(repository) == Verified(7, 0, [])


def test_states_are_computed_again_from_history_and_ledger(
    database: Database, repository: FeatureRepository
) -> None:
    feed = FeatureFeed(database, repository)
    Intake(database).take(orders(1, 30))
    feed.push(LATER)
    feed.fill_history()
    Intake(database).take(orders(31, 10))
    feed.push(LATER)
    before = sequences(repository)
    repository.close()
    for path in repository.root.glob("state.db*"):
        path.unlink()
    # The first 30 from the history, the others from the ledger.
    assert feed.apply() == 10
    after = sequences(repository)
    assert after == before
    feed.fill_history()
    assert verified(repository) == Verified(7, 0, [])


def test_other_features_mean_other_states(
    database: Database, repository: FeatureRepository, tmp_path: Path
) -> None:
    feed = FeatureFeed(database, repository)
    Intake(database).take(orders(1, 30))
    feed.apply()
    feed.fill_history()
    words = load_specs(vocabularies={"arm_category": ["c", "b", "a"]})
    other = FeatureRepository(repository.root, words)
    assert other.live.position() is None
    FeatureFeed(database, other).apply()
    assert other.live.position() is not None
    assert verified(other) == Verified(7, 0, [])
    other.close()


class Joined:
    """Says that two profiles are one person, from a revision on."""

    def __init__(self, *members: str) -> None:
        self.revision = 1
        self.of = Person(members[0], members, 1)

    def person(self, user_id: str) -> Person:
        return self.of if user_id in self.of.members else Person(user_id, (user_id,), self.revision)

    def canonical(self, user_id: str) -> str:
        return self.person(user_id).canonical

    def members(self, user_id: str) -> tuple[str, ...]:
        return self.person(user_id).members

    def moved_since(self, revision: int) -> list[str]:
        return ["u1", "u2"] if revision < self.revision else []


def test_a_person_has_the_events_of_all_profiles_and_the_undo_gives_them_back(
    database: Database, repository: FeatureRepository
) -> None:
    Intake(database).take(orders(1, 30))
    feed = FeatureFeed(database, repository)
    feed.push(LATER)
    alone = repository.online("training", ["u1", "u2"], LATER)
    people = Joined("u1", "u2")
    joined = FeatureFeed(database, repository, people)
    joined.push(LATER)
    pushed = repository.online("training", ["u1"], LATER)[0].values
    joined.fill_history()
    (expected,) = (
        row
        for row in repository.snapshots.compute(LATER, {"u2": "u1"})["user_rfm"].to_pylist()
        if row["user_id"] == "u1"
    )
    assert expected["orders_52w"] > alone[0].values["orders_52w"]
    for name, value in expected.items():
        if name not in ("user_id", "event_timestamp"):
            assert same_value(pushed[name], value), name
    people.of, people.revision = Person("u1", ("u1",), 2), 2
    joined.push(LATER)
    again = repository.online("training", ["u1", "u2"], LATER)
    assert [row.values["value_52w"] for row in again] == [row.values["value_52w"] for row in alone]


def apply_until_killed() -> None:
    """Apply what is new, seven events at a time, in a process that is killed before its n-th turn ends."""
    url, root, times = sys.argv[1:]
    feeds._APPLIED_EVENTS = 7
    database = Database(url, create=False)
    repository = FeatureRepository(Path(root), load_specs(vocabularies={"arm_category": ["a", "b", "c"]}))
    aim(f"feed.before_cursor:{times}")
    FeatureFeed(database, repository).apply()


def test_a_killed_process_applies_nothing_twice_and_loses_nothing(
    database: Database, database_url: str, repository: FeatureRepository, tmp_path: Path
) -> None:
    Intake(database).take(orders(1, 60))
    if database.is_sqlite:
        # One process owns the file.
        database.close()
    repository.close()
    for times in (1, 3, 2):
        killed = Request(
            [database_url, str(repository.root), str(times)],
            str(tmp_path / "log"),
            entry="tests.contract.test_audiences_feeds:apply_until_killed",
        )
        status = Forked(launcher().start(killed)).wait(120)
        assert status == -signal.SIGKILL, (tmp_path / "log").read_text()
    again = Database(database_url) if database.is_sqlite else database
    try:
        feed = FeatureFeed(again, repository)
        assert feed.apply() == 60 - 6 * 7
        feed.fill_history()
    finally:
        if again is not database:
            again.close()
    assert verified(repository) == Verified(7, 0, [])


def test_the_command_says_what_differs(database: Database, tmp_path: Path) -> None:
    specs = load_specs()
    (tmp_path / "library").mkdir()
    repository = FeatureRepository(tmp_path / "features", specs)
    feed = FeatureFeed(database, repository)
    Intake(database).take(orders(1, 20))
    feed.apply()
    feed.fill_history()
    arguments = ["features", "verify", "--data", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "7 users compared, 0 passed over" in result.output
    assert "no differences" in result.output
    repository.live.states.rebuild("u1", [HistoryEvent(1, "u1", "order_completed", NOW, {"value": 1.0})])
    repository.close()
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, FeaturesDiffer)
    assert "u1: value_52w is 1.0 by events and" in result.output
