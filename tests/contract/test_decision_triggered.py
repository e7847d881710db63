"""What firings begin, in blocks: each once, in their order, and one that fails alone; on both databases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import Connection

from audiences.errors import FeaturesUnavailable
from audiences.features import Features
from audiences.identity.people import EveryoneAlone
from audiences.triggers.firing import Firing
from decision.in_flight import InFlight
from decision.recording import Recorder
from decision.recording_together import RecorderTogether
from decision.surroundings import Surroundings
from decision.together import Together
from decision.triggered import READER, Triggered
from delivery.errors import FlowBroken
from playbooks.constraints.documents import Cap
from playbooks.counters import SqlCounters
from playbooks.decision import Decision
from playbooks.library import Library
from playbooks.matching import Snapshot
from playbooks.models import Arm
from storage import ledger, readers
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ids import new_id
from storage.leases import LeaseLost
from storage.ledger import Fact, Kind, NewFact
from storage.pace import Pace
from tests.contract.test_decision_together import library_of
from tests.deciding import WEEK, Even, Everywhere, Known, playbook

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


class People(EveryoneAlone):
    """Ann has two profiles."""

    def canonical(self, user_id: str) -> str:
        return "ann" if user_id == "ann_at_work" else user_id


class Runs:
    """Begins runs by a fact of each; `broken` are users whose runs can't begin."""

    def __init__(self) -> None:
        self.broken: set[str] = set()

    def refuses(self, connection: Connection, decision: Decision, arm: Arm) -> str | None:
        return None

    def start(self, connection: Connection, decided: Sequence[tuple[Decision, Arm]]) -> None:
        for decision, _ in decided:
            fact = NewFact(Kind.ENROLMENT, decision.decision_id, "started", decision.user_id, NOW, {})
            ledger.append(connection, [fact], NOW)
            if decision.user_id in self.broken:
                raise FlowBroken("its version lacks the offer")


class Reader(Known):
    """Knows nobody's features; `away` while they can't be read."""

    def __init__(self) -> None:
        self.away = False
        self.blocks: list[int] = []

    def read_many(self, user_ids: Sequence[str]) -> list[Features]:
        if self.away:
            raise FeaturesUnavailable("the store is away")
        self.blocks.append(len(user_ids))
        return [Features({}, missing=True, as_of=None) for _ in user_ids]


class World:
    """A trigger `left` of two playbooks at one placement and of one at another; `other` has none."""

    def __init__(self, database: Database) -> None:
        self.database, self.clock = database, SimulatedClock(NOW)
        self.runs, self.reader, self.loaded = Runs(), Reader(), 0
        cap = Cap.model_validate({"kind": "cap", "id": "weekly", "limit": 2, "window": "P7D"})
        left = {"trigger": "left"}
        self.library: Library | None = library_of(
            playbook("one").model_copy(update=left),
            playbook("two").model_copy(update=left),
            playbook("elsewhere").model_copy(update={**left, "placement": "banner"}),
            playbook("asked"),
            constraints=[cap],
        )
        counters, recorder = SqlCounters(database), Recorder(self.runs)
        self.following = Triggered(
            database,
            self.clock,
            self,
            self,
            Together(
                database,
                self.clock,
                self.reader,
                Everywhere().of,
                People(),
                frozenset(),
                Surroundings(database, counters, People()),
                InFlight(),
                counters,
                None,
                at_once=False,
            ),
            recorder,
            RecorderTogether(recorder, self.runs),
            People(),
        )

    def newer(self, connection: Connection) -> Library | None:
        found, self.library = self.library, None
        return found

    def snapshot(self, connection: Connection, library: Library) -> Snapshot:
        return Snapshot(library, _EVEN, "seed")

    def fire(self, *users: str, trigger: str = "left", at: datetime = NOW) -> None:
        facts = [
            NewFact(Kind.TRIGGER, new_id(at), trigger, user, at, Firing(trigger, "cause", at))
            for user in users
        ]
        self.database.write(lambda connection: ledger.append(connection, facts, at))

    def facts(self, kind: Kind) -> list[Fact]:
        with self.database.read() as connection:
            return ledger.read_after(connection, 0, kind=kind)

    def decisions(self) -> list[Decision]:
        return [msgspec.json.decode(fact.body, type=Decision) for fact in self.facts(Kind.DECISION)]


_EVEN = Even()


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def test_a_block_of_firings_is_decided_together_each_once(world: World) -> None:
    users = [f"user-{number}" for number in range(30)]
    world.fire(*users)
    world.fire("old", at=NOW - timedelta(hours=2))
    world.fire("somebody", trigger="other")
    assert world.following.run() == 60
    # Both placements of each, and one look at the features of all of them for each placement.
    assert world.reader.blocks == [30, 30]
    decided = world.decisions()
    assert [one.user_id for one in decided if one.placement == "home"] == users
    assert [one.user_id for one in decided if one.placement == "banner"] == users
    assert {one.playbook for one in decided if one.placement == "home"} == {"one", "two"}
    firings = {fact.id for fact in world.facts(Kind.TRIGGER) if fact.user_id in users}
    assert {one.request_key for one in decided if one.placement == "home"} == {
        f"trigger:{firing}:home" for firing in firings
    }
    assert len(world.facts(Kind.ENROLMENT)) == 60
    assert world.following.run() == 0
    assert len(world.decisions()) == 60


def test_what_a_persons_first_firing_takes_is_seen_by_the_second(world: World) -> None:
    world.fire("ann", "bob", "ann_at_work", "carl")
    assert world.following.run() == 8
    home = [one for one in world.decisions() if one.placement == "home"]
    assert [(one.user_id, one.acts) for one in home] == [
        ("ann", True),
        ("bob", True),
        ("ann", False),
        ("carl", True),
    ]
    # It was seen before anything was drawn, not refused afterwards.
    assert home[2].refused_by is None
    assert home[2].suppressed


def test_who_can_not_begin_a_run_keeps_nobody_else_from_it(world: World) -> None:
    world.runs.broken = {"bob"}
    world.fire("ann", "bob", "carl")
    assert world.following.run() == 4
    # Of what failed nothing is left, also not what was to be written at the end of the turn.
    assert {one.user_id for one in world.decisions()} == {"ann", "carl"}
    assert len(world.facts(Kind.ENROLMENT)) == 4
    world.runs.broken = set()
    assert world.following.run() == 0
    with world.database.read() as connection:
        assert readers.position_of(connection, READER) == world.facts(Kind.TRIGGER)[-1].seq
    counters = SqlCounters(world.database)
    assert counters.read("bob", NOW, since=NOW - WEEK) == {}
    assert counters.read("ann", NOW, since=NOW - WEEK)


def test_while_features_can_not_be_read_firings_wait(world: World) -> None:
    world.fire("ann")
    world.reader.away = True
    with pytest.raises(FeaturesUnavailable):
        world.following.run()
    assert world.decisions() == []
    world.reader.away = False
    assert world.following.run() == 2


def test_what_is_interrupted_goes_on_where_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.following, "_pace", Pace(4))
    users = [f"user-{number}" for number in range(10)]
    world.fire(*users)
    turns = 0
    record = RecorderTogether.record

    def dies(*given: object, **named: object) -> object:
        nonlocal turns
        turns += 1
        if turns == 3:
            raise ConnectionError("the database is gone")
        return record(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(RecorderTogether, "record", dies)
    with pytest.raises(ConnectionError):
        world.following.run()
    monkeypatch.setattr(RecorderTogether, "record", record)
    assert len(world.decisions()) == 8
    assert world.following.run() == 12
    assert sorted(one.user_id for one in world.decisions() if one.placement == "home") == sorted(users)


def test_who_follows_elsewhere_meanwhile_leaves_nothing_to_write(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.fire("ann")
    there = World(world.database)
    read = Reader.read_many

    def late(reader: Reader, users: Sequence[str]) -> list[Features]:
        monkeypatch.setattr(Reader, "read_many", read)
        assert there.following.run() == 2
        return reader.read_many(users)

    monkeypatch.setattr(Reader, "read_many", late)
    with pytest.raises(LeaseLost, match="followed elsewhere"):
        world.following.run()
    assert len(world.decisions()) == 2
    assert world.following.run() == 0
