"""Users move through the shipped lifecycle as their orders come and stay away."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audiences.accounts.primary import NoAccounts
from audiences.definitions import Definitions
from audiences.errors import StageError, UnknownLifecycle
from audiences.events import Event
from audiences.feeds import FeatureFeed
from audiences.intake.intake import Intake
from audiences.placing import place_users
from audiences.scores.service import Scores
from audiences.selection.service import Audiences
from audiences.service import rule_schema, set_tag
from audiences.stages.definitions import read_lifecycles
from audiences.stages.facts import StageChange
from audiences.stages.service import Stages
from feature_repo.specs import load_specs
from feature_repo.store import FeatureRepository
from storage import ledger
from storage.clock import SystemClock
from storage.engine import Database
from storage.ledger import Kind

T0 = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)


class Shop:
    """A database and its feature repository, with the shipped lifecycle."""

    def __init__(self, database: Database, folder: Path) -> None:
        specs = load_specs()
        self.database = database
        self.features = FeatureRepository(folder / "features", specs)
        self.features.apply()
        self.audiences = Audiences(database, self.features, Definitions((), (), {}, ()), rule_schema(specs))
        self.stages = Stages(database, read_lifecycles(folder / "none.yaml", rule_schema(specs)))
        self._orders = 0

    def happens(self, user: str, name: str, at: datetime) -> None:
        self._orders += 1
        Intake(self.database).take([Event(f"e-{self._orders}", user, name, {"value": 5.0}, at, at)])

    def place(self, as_of: datetime) -> dict[str, int]:
        FeatureFeed(self.database, self.features).fill_history()
        self.features.snapshot(as_of)
        scores = Scores(self.database, SystemClock(), ())
        return place_users(
            self.database, self.features, self.audiences, scores, self.stages, NoAccounts(), as_of
        )

    def path(self, user: str) -> list[tuple[str, bool]]:
        with self.database.read() as connection:
            facts = ledger.of_user(connection, user, kinds=(Kind.STAGE,))
        changes: list[StageChange] = [fact.decode(StageChange) for fact in facts]
        return sorted(((one.after, one.quiet) for one in changes), key=lambda one: _PLACES.index(one[0]))


_PLACES = ["awareness", "consideration", "decision", "customer", "repeat", "lapsing", "lost"]


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Iterator[Shop]:
    opened = Shop(database, tmp_path)
    yield opened
    opened.features.close()


def test_a_customer_comes_lapses_and_comes_back(shop: Shop) -> None:
    shop.happens("ann", "identify", T0 - timedelta(days=1))
    assert shop.place(T0) == {"customer": 0}
    assert shop.stages.of("ann")["customer"]["stage"] == "awareness"
    shop.happens("ann", "order_completed", T0 + timedelta(days=1))
    assert shop.place(T0 + timedelta(days=2)) == {"customer": 1}
    assert shop.place(T0 + timedelta(days=3)) == {"customer": 0}
    assert shop.stages.of("ann")["customer"] == {"stage": "customer", "since": T0 + timedelta(days=2)}
    assert shop.place(T0 + timedelta(days=70)) == {"customer": 1}
    assert shop.stages.standing_in("customer") == {"ann": "lapsing"}
    shop.happens("ann", "order_completed", T0 + timedelta(days=80))
    shop.place(T0 + timedelta(days=81))
    with shop.database.read() as connection:
        newest: StageChange = ledger.of_user(connection, "ann", kinds=(Kind.STAGE,))[0].decode(StageChange)
    assert (newest.before, newest.after) == ("lapsing", "repeat")
    assert newest.seconds_before == timedelta(days=11).total_seconds()
    assert newest.rule == "days_since_last_order <= 60"
    told = shop.stages.describe("customer", T0 + timedelta(days=84))
    assert told["standing"]["repeat"] == {"users": 1, "median_days": 3.0, "p90_days": 3.0}


def test_who_is_new_is_placed_quietly(shop: Shop) -> None:
    for days in (5, 10, 15):
        shop.happens("bob", "order_completed", T0 - timedelta(days=days))
    shop.place(T0)
    assert shop.path("bob") == [("awareness", True), ("customer", True), ("repeat", True)]


def test_tags_move_users_too(shop: Shop) -> None:
    shop.happens("ann", "identify", T0 - timedelta(days=1))
    shop.place(T0)
    shop.database.write(lambda connection: set_tag(connection, "ann", "considering", "form", T0, None))
    shop.place(T0 + timedelta(hours=1))
    assert shop.stages.standing_in("customer") == {"ann": "consideration"}


def test_a_stage_is_set_by_hand_and_rules_go_on_from_there(shop: Shop) -> None:
    shop.happens("ann", "identify", T0 - timedelta(days=1))
    shop.place(T0)
    shop.stages.put("ann", "customer", "decision", by="sam", reason="called", now=T0)
    assert shop.stages.standing_in("customer") == {"ann": "decision"}
    shop.happens("ann", "order_completed", T0 + timedelta(hours=1))
    shop.place(T0 + timedelta(hours=2))
    assert shop.stages.standing_in("customer") == {"ann": "customer"}
    with pytest.raises(StageError, match="has no stage 'decided'"):
        shop.stages.put("ann", "customer", "decided", by="sam", reason="", now=T0)
    with pytest.raises(StageError, match="is in the stage 'customer'"):
        shop.stages.put("ann", "customer", "customer", by="sam", reason="", now=T0)
    with pytest.raises(UnknownLifecycle, match="there are customer"):
        shop.stages.put("ann", "client", "customer", by="sam", reason="", now=T0)
