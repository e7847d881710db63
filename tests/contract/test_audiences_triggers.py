"""Triggers fire once per cause, for whom they are meant, whatever order things become known in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from audiences.errors import TriggerError, UnknownTrigger
from audiences.events import Event
from audiences.identity.people import EveryoneAlone, People
from audiences.identity.service import IdentityService
from audiences.intake.intake import Intake
from audiences.repository import tags_of
from audiences.scores.facts import GradeChange
from audiences.selection.telling import Membership
from audiences.stages.facts import StageChange
from audiences.triggers.definitions import read_triggers
from audiences.triggers.firing import Firing
from audiences.triggers.service import TriggerService
from feature_repo.specs import load_specs
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.pace import Pace
from tests.unit.test_audiences_triggers_definitions import KNOWN, TEXT

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
VIEWED_A = ("product_viewed", {"product": "A"})


class World:
    """A database, all kinds of triggers, and users of whom a few things are known."""

    def __init__(self, database: Database, clock: SimulatedClock, folder: Path) -> None:
        (folder / "triggers.yaml").write_text(TEXT)
        self._definitions = read_triggers(folder / "triggers.yaml", load_specs().events, KNOWN)
        self.database, self.clock = database, clock
        self.buyers: set[str] = {"ann"}
        self.renewals: dict[str, Any] = {}
        self.companies: dict[str, list[str]] = {}
        self._sent = 0
        self.people: People = EveryoneAlone()
        self.triggers = self.again()

    def again(self) -> TriggerService:
        """A service as after a restart."""
        return TriggerService(
            self.database,
            self.clock,
            self._definitions,
            inside=self._inside,
            members=lambda _audience: self.buyers,
            of_account=lambda account: self.companies.get(account, ()),
            values=self._values,
            people=self.people,
        )

    def happens(
        self, name: str, properties: Mapping[str, Any], *, ago: timedelta = timedelta(0), user: str = "ann"
    ) -> None:
        self._sent += 1
        now = self.clock.now()
        Intake(self.database).take([Event(f"e{self._sent}", user, name, dict(properties), now - ago, now)])

    def records(self, kind: Kind, label: str, body: Any, user: str | None = "ann") -> None:
        now = self.clock.now()
        fact = NewFact(kind, new_id(now), label, user, now, body)
        self.database.write(partial(ledger.append, new=[fact], now=now))

    def pass_(self, time: timedelta) -> None:
        self.clock.move_to(self.clock.now() + time)

    def fired(self, trigger: str, user: str = "ann") -> list[Firing]:
        self.triggers.run()
        with self.database.read() as connection:
            facts = ledger.of_user(connection, user, kinds=(Kind.TRIGGER,))
        return [fact.decode(Firing) for fact in reversed(facts) if fact.label == trigger]

    def _inside(self, users: Sequence[str]) -> Mapping[str, Collection[str]]:
        return {user: {"buyers"} if user in self.buyers else set() for user in users}

    def _values(self, features: Sequence[str]) -> tuple[Sequence[str], Mapping[str, Sequence[Any]]]:
        users = sorted(self.renewals)
        known = {"renewal_on": [self.renewals[user] for user in users], "time_zone": [None] * len(users)}
        return users, {name: known[name] for name in features}


@pytest.fixture
def world(database: Database, clock: SimulatedClock, tmp_path: Path) -> World:
    return World(database, clock, tmp_path)


def test_browsed_and_not_bought_for_three_days(world: World) -> None:
    world.happens(*VIEWED_A)
    world.pass_(2 * DAY)
    assert world.fired("browsed") == []
    # Another view begins the wait again.
    world.happens(*VIEWED_A)
    world.pass_(2 * DAY)
    assert world.fired("browsed") == []
    world.pass_(DAY)
    assert len(world.fired("browsed")) == 1
    assert len(world.fired("browsed")) == 1
    with world.database.read() as connection:
        assert set(tags_of(connection, ["ann"], world.clock.now())) == {"browsed_a_no_order"}
        assert tags_of(connection, ["ann"], world.clock.now() + 30 * DAY) == {}


@pytest.mark.parametrize("name", ["product_viewed", "other"])
def test_another_product_or_event_is_no_cause(world: World, name: str) -> None:
    world.happens(name, {"product": "B"})
    world.pass_(4 * DAY)
    assert world.fired("browsed") == []


def test_who_bought_is_left_alone(world: World) -> None:
    world.happens(*VIEWED_A)
    world.triggers.run()
    world.pass_(DAY)
    world.happens("order_completed", {"value": 5})
    world.pass_(3 * DAY)
    assert world.fired("browsed") == []


def test_three_visits_within_ten_minutes_once(world: World) -> None:
    for _ in range(2):
        world.happens("page_viewed", {})
        world.pass_(3 * MINUTE)
    assert world.fired("golden") == []
    world.happens("page_viewed", {})
    assert len(world.fired("golden")) == 1
    # The fourth and fifth are part of the next count.
    world.happens("page_viewed", {})
    world.happens("page_viewed", {})
    assert len(world.fired("golden")) == 1
    world.happens("page_viewed", {})
    assert len(world.fired("golden")) == 2


def test_visits_too_far_apart_are_no_golden_moment(world: World) -> None:
    for _ in range(4):
        world.happens("page_viewed", {})
        world.pass_(6 * MINUTE)
        assert world.fired("golden") == []


def test_a_late_visit_completes_a_count(world: World) -> None:
    world.happens("page_viewed", {}, ago=6 * MINUTE)
    world.happens("page_viewed", {})
    assert world.fired("golden") == []
    world.happens("page_viewed", {}, ago=3 * MINUTE)
    assert len(world.fired("golden")) == 1


def test_what_is_known_long_after_starts_nothing(world: World) -> None:
    for minutes in range(3):
        world.happens("page_viewed", {}, ago=2 * DAY - minutes * MINUTE)
    assert world.fired("golden") == []


def test_history_that_is_imported_starts_nothing(world: World) -> None:
    now = world.clock.now()
    past = [Event(f"p{number}", "ann", "page_viewed", {}, now, now) for number in range(3)]
    Intake(world.database).take(past, past=True)
    assert world.fired("golden") == []


def test_entering_an_audience_but_not_again_within_a_week(world: World) -> None:
    def enters(entered: bool, *, quiet: bool = False) -> None:
        label = f"buyers.{'entered' if entered else 'left'}"
        world.records(Kind.AUDIENCE, label, Membership("buyers", entered, world.clock.now(), quiet))

    enters(True, quiet=True)
    assert world.fired("new_buyer") == []
    enters(True)
    assert len(world.fired("new_buyer")) == 1
    enters(False)
    world.pass_(DAY)
    enters(True)
    assert len(world.fired("new_buyer")) == 1
    world.pass_(7 * DAY)
    enters(True)
    assert len(world.fired("new_buyer")) == 2


@pytest.mark.parametrize(("up", "quiet", "times"), [(True, False, 1), (False, False, 0), (True, True, 0)])
def test_a_grade(world: World, up: bool, quiet: bool, times: int) -> None:
    change = GradeChange("lead", None, "SQL", 100, {}, handed_over=True, up=up, quiet=quiet)
    world.records(Kind.SCORE, "lead.SQL", change)
    assert len(world.fired("hot")) == times


@pytest.mark.parametrize(("quiet", "times"), [(False, 1), (True, 0)])
def test_a_stage(world: World, quiet: bool, times: int) -> None:
    world.records(Kind.STAGE, "customer.lapsing", StageChange("customer", "new", "lapsing", quiet=quiet))
    assert len(world.fired("lapsed")) == times


def test_a_stage_of_an_account_fires_once_for_each_of_its_users(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.triggers, "_firing", Pace(2))
    world.companies = {"acme": ["ann", "bob", "carl"], "bolt": ["eve"]}
    came = StageChange("customer", "new", "lapsing", account_id="acme")
    world.records(Kind.STAGE, "customer.lapsing", came, user=None)
    quiet = StageChange("customer", "new", "lapsing", account_id="bolt", quiet=True)
    world.records(Kind.STAGE, "customer.lapsing", quiet, user=None)
    # Stopped after the first users; the next run goes on with the others.
    first = world.triggers._fire
    with monkeypatch.context() as patched:
        times: list[int] = []

        def once(*args: Any, **more: Any) -> int:
            times.append(1)
            if len(times) > 1:
                raise RuntimeError("stopped")
            return first(*args, **more)

        patched.setattr(world.triggers, "_fire", once)
        with pytest.raises(RuntimeError):
            world.triggers.run()
    world.triggers = world.again()
    for _ in range(2):
        assert [len(world.fired("lapsed", user)) for user in ("ann", "bob", "carl", "eve")] == [1, 1, 1, 0]


def test_thirty_days_before_the_renewal_in_local_time(world: World) -> None:
    world.renewals = {"ann": datetime(2020, 4, 3, tzinfo=world.clock.now().tzinfo), "bob": None}
    assert world.fired("renewal") == []
    world.pass_(DAY - 121 * MINUTE)  # 3 March, 06:59 UTC
    assert world.fired("renewal") == []
    world.pass_(6 * MINUTE)
    assert len(world.fired("renewal")) == 0
    world.pass_(DAY)
    (firing,) = world.fired("renewal")
    assert firing.cause == "date:2026-04-03"
    world.pass_(DAY)
    assert len(world.fired("renewal")) == 1


def test_a_schedule_that_was_missed_runs_once(world: World) -> None:
    world.buyers = {"ann", "bob"}
    assert world.fired("monday") == []
    world.pass_(22 * DAY)
    world.triggers = world.again()
    for user in ("ann", "bob"):
        assert [one.cause for one in world.fired("monday", user)] == ["schedule:2026-03-23T09:00:00"]
    world.triggers = world.again()
    assert len(world.fired("monday")) == 1


def test_by_hand_once_for_each_key(world: World) -> None:
    assert world.triggers.fire_by_hand("hand", ["ann", "bob", "ann"], by="sam", key="k1") == 2
    assert world.triggers.fire_by_hand("hand", ["ann", "carl"], by="sam", key="k1") == 1
    assert [one.by for one in world.fired("hand")] == ["sam"]
    with pytest.raises(UnknownTrigger, match='did you mean "hand"'):
        world.triggers.fire_by_hand("hands", ["ann"], by="sam", key="k1")
    with pytest.raises(TriggerError, match="send at most 100"):
        world.triggers.fire_by_hand("hand", [f"u{n}" for n in range(101)], by="sam", key="k1")


def test_the_visits_of_joined_profiles_count_together(world: World) -> None:
    identity = IdentityService(world.database)
    now = world.clock.now()
    for user in ("ann", "bob"):
        world.happens("seen", {}, user=user)
    identity.merge("bob", "ann", by="sam", why="the same", now=now)
    identity.refresh()
    world.people = identity.people
    world.triggers = world.again()
    for user in ("ann", "bob", "bob"):
        world.happens("page_viewed", {}, user=user)
    assert len(world.fired("golden")) == 1


def test_only_who_is_in_the_audience(world: World) -> None:
    world.buyers = set()
    assert world.triggers.fire_by_hand("monday", ["ann"], by="sam", key="k1") == 0


def test_after_a_restart_nothing_fires_again(world: World) -> None:
    for _ in range(3):
        world.happens("page_viewed", {})
    assert len(world.fired("golden")) == 1
    world.triggers = world.again()
    assert len(world.fired("golden")) == 1
    described = {one["id"]: one for one in world.triggers.describe()}
    assert (described["golden"]["users"], described["golden"]["last_fired_at"]) == (1, world.clock.now())
