"""Audiences are evaluated as of a moment, and nothing that happened later is known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audiences.definitions import read_definitions
from audiences.events import Event
from audiences.feeds import FeatureFeed
from audiences.intake.intake import Intake
from audiences.repository import tags_of
from audiences.selection.looking import Looking
from audiences.selection.service import Audiences
from audiences.service import rule_schema
from feature_repo.specs import load_specs
from feature_repo.store import FeatureRepository
from storage import ledger
from storage.engine import Database
from storage.ledger import Kind
from tests.migrated import copy_migrated

T1 = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)
T2 = T1 + timedelta(days=14)
DEFINITIONS = """
audiences:
  - {id: buyer, name: Bought in four weeks, rule: orders_4w > 0}
  - {id: big, name: Spent a lot, rule: value_12w >= 100}
tags:
  - {tag: silent, rule: orders_4w = 0, expires_after: P7D}
"""


class Shop:
    """A database, a feature repository and its audiences."""

    def __init__(self, folder: Path) -> None:
        copy_migrated(folder / "nextplay.db")
        self.database = Database(f"sqlite:///{folder / 'nextplay.db'}")
        specs = load_specs()
        self.features = FeatureRepository(folder / "features", specs)
        self.features.apply()
        (folder / "audiences.yaml").write_text(DEFINITIONS)
        definitions = read_definitions(folder / "audiences.yaml", rule_schema(specs))
        self.audiences = Audiences(self.database, self.features, definitions, rule_schema(specs))
        self._orders = 0

    def order(self, user: str, at: datetime, value: float) -> None:
        self._orders += 1
        event = Event(f"order-{self._orders}", user, "order_completed", {"value": value}, at, at)
        Intake(self.database).take([event])

    def select(self, as_of: datetime) -> dict[str, int]:
        FeatureFeed(self.database, self.features).fill_history()
        self.features.snapshot(as_of)
        return self.audiences.evaluate(as_of)

    def members(self, user: str) -> set[str]:
        return set(self.audiences.memberships.of(user))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    opened = Shop(tmp_path)
    yield opened
    opened.features.close()
    opened.database.close()


def test_what_happens_later_changes_nothing(shop: Shop) -> None:
    shop.order("ann", T1 - timedelta(days=3), 20)
    shop.order("bob", T1 - timedelta(days=40), 150)
    before = shop.select(T1)
    assert before == {"buyer": 1, "big": 1}
    # At T1 and after it: bob comes back, ann spends a fortune, carl appears.
    shop.order("bob", T1, 10)
    shop.order("ann", T1 + timedelta(hours=1), 500)
    shop.order("carl", T1 + timedelta(days=2), 500)
    assert shop.select(T1) == before
    assert (shop.members("ann"), shop.members("bob"), shop.members("carl")) == ({"buyer"}, {"big"}, set())
    assert shop.select(T2) == {"buyer": 3, "big": 3}


def test_entering_and_leaving_are_facts(shop: Shop) -> None:
    shop.order("ann", T1 - timedelta(days=20), 20)
    shop.select(T1)
    shop.select(T1)
    shop.select(T2)
    with shop.database.read() as connection:
        labels = ledger.counts(connection)[Kind.AUDIENCE]
    assert labels == {"buyer.entered": 1, "buyer.left": 1}
    assert shop.members("ann") == set()
    described = {
        one["id"]: (one["size"], one["as_of"]) for one in Looking(shop.database, shop.audiences).all()
    }
    assert described["buyer"] == (0, T2)


def test_tags_are_written_where_a_rule_says_so_and_expire(shop: Shop) -> None:
    shop.order("ann", T1 - timedelta(days=40), 20)
    shop.select(T1)
    with shop.database.read() as connection:
        assert tags_of(connection, ["ann"], T1) == {"silent": T1}
        assert tags_of(connection, ["ann"], T1 + timedelta(days=7)) == {}
        assert ledger.counts(connection)[Kind.TAG] == {"silent": 1}


def test_who_is_in_is_known_again_after_a_restart(shop: Shop, tmp_path: Path) -> None:
    shop.order("ann", T1 - timedelta(days=3), 20)
    shop.select(T1)
    definitions = read_definitions(tmp_path / "audiences.yaml", rule_schema(load_specs()))
    again = Audiences(shop.database, shop.features, definitions, rule_schema(load_specs()))
    assert set(again.memberships.of("ann")) == {"buyer"}
