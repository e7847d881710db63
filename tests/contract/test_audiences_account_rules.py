"""What is said of accounts selects their users: traits of messages and CRMs in rules, on both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from audiences.accounts.primary import PrimaryAccounts
from audiences.crm.definitions import read_crm
from audiences.crm.service import Crm
from audiences.definitions import read_definitions
from audiences.errors import TraitError
from audiences.events import Event
from audiences.feeds import FeatureFeed
from audiences.identity.service import IdentityService
from audiences.intake.intake import Intake
from audiences.selection.service import Audiences
from audiences.service import rule_features, rule_schema
from audiences.traits.definitions import read_account_traits
from feature_repo.specs import load_specs
from feature_repo.store import FeatureRepository
from storage.clock import SimulatedClock
from storage.engine import Database

T1 = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)
DAY = timedelta(days=1)
TRAITS = """
account_traits:
  - {name: tier, type: text}
  - {name: seats, type: int}
  - {name: renews_at, type: time}
"""
AUDIENCES = """
audiences:
  - {id: gold, name: Of a gold account, rule: account.tier = 'gold'}
  - {id: large, name: Many seats and orders, rule: account.seats >= 100 AND account.orders_12w >= 1}
  - {id: renews, name: Renews in a month, rule: account.renews_at < now() + INTERVAL '30 days'}
"""
CRM = """
sources:
  - id: acme_crm
    type: kind
    objects:
      - when: company
        id: id
        updated_at: at
        account_id: id
        account_traits: {tier: tier}
"""


class Business:
    """A database, features and audiences; users belong to accounts, of which somebody tells."""

    def __init__(self, database: Database, clock: SimulatedClock, folder: Path) -> None:
        self.database, self.identity = database, IdentityService(database)
        for name, text in (("traits", TRAITS), ("audiences", AUDIENCES), ("crm", CRM)):
            (folder / f"{name}.yaml").write_text(text)
        specs = load_specs()
        traits = read_account_traits(folder / "traits.yaml", rule_features(specs))
        schema, people = rule_schema(specs, traits), self.identity.people
        self.accounts = PrimaryAccounts(database, people, traits)
        self.features = FeatureRepository(folder / "features", specs)
        self.features.apply()
        self.audiences = Audiences(
            database,
            self.features,
            read_definitions(folder / "audiences.yaml", schema),
            schema,
            canonical=people.canonical,
            accounts=self.accounts,
        )
        self._intake = Intake(database, identities=self.identity)
        self._crm = Crm(database, clock, self._intake, read_crm(folder / "crm.yaml"))

    def group(self, user: str, account: str, at: datetime = T1 - DAY, **traits: Any) -> None:
        self._intake.take(
            [Event(uuid4().hex, user, "group", traits, at, at, "group", None, account_id=account)]
        )

    def order(self, user: str, at: datetime = T1 - DAY) -> None:
        self._intake.take([Event(uuid4().hex, user, "order_completed", {"value": 9}, at, at)])

    def crm_says(self, account: str, tier: str, at: datetime) -> None:
        body = {"kind": "company", "id": account, "at": at.isoformat(), "tier": tier}
        source = self._crm.source("acme_crm")
        assert self._crm.submit(source, uuid4().hex, json.dumps(body).encode()).result().outcome == "recorded"

    def compute(self, as_of: datetime = T1) -> None:
        FeatureFeed(self.database, self.features, self.identity.people).fill_history()
        self.features.snapshot(as_of, self.identity.people.canonicals(), self.accounts.everyone())

    def of(self, user: str) -> set[str]:
        return set(self.audiences.memberships.of(user))


@pytest.fixture
def business(database: Database, clock: SimulatedClock, tmp_path: Path) -> Iterator[Business]:
    """Ann and bob of acme, eve of bolt, zoe of none; each has ordered."""
    opened = Business(database, clock, tmp_path)
    for user, account in (("ann", "acme"), ("bob", "acme"), ("eve", "bolt")):
        opened.group(user, account)
    for user in ("ann", "bob", "eve", "zoe"):
        opened.order(user)
    opened.compute()
    yield opened
    opened.features.close()


def test_a_gold_account_s_users_are_selected_whoever_told_the_tier(business: Business) -> None:
    business.group("ann", "acme", tier="gold", seats=120, renews_at="2026-03-20T00:00:00Z")
    assert business.audiences.evaluate(T1) == {"gold": 2, "large": 2, "renews": 2}
    assert business.of("bob") == {"gold", "large", "renews"}
    assert business.of("eve") == business.of("zoe") == set()
    # A CRM tells of the account alone: no user did anything, and its users are looked at all the same.
    business.crm_says("bolt", "gold", T1)
    business.crm_says("acme", "silver", T1)
    assert business.audiences.evaluate_changed(T1 + DAY) == {"gold": 1, "large": 2, "renews": 2}
    assert (business.of("eve"), business.of("ann")) == ({"gold"}, {"large", "renews"})
    # So does a message of somebody whose own account is another one.
    business.group("zoe", "core", T1 + 2 * DAY)
    business.audiences.evaluate_changed(T1 + 2 * DAY)
    business.group("zoe", "acme", T1 + DAY, tier="gold")
    assert business.audiences.evaluate_changed(T1 + 3 * DAY) == {"gold": 3, "large": 2, "renews": 2}
    assert business.of("zoe") == set()
    assert business.audiences.evaluate(T1 + 3 * DAY) == {"gold": 3, "large": 2, "renews": 2}


def test_what_is_of_another_type_is_not_known(business: Business) -> None:
    business.group("ann", "acme", tier=3, seats="many", renews_at="soon")
    business.group("eve", "bolt", tier=None, seats=1e300, renews_at=True)
    assert business.audiences.evaluate(T1) == {"gold": 0, "large": 0, "renews": 0}
    (values, _), (nobody, _) = business.audiences.population.values(["ann", "zoe"], set(), T1)
    names = ("account.tier", "account.seats", "account.renews_at")
    assert [values[name] for name in names] == [nobody[name] for name in names] == [None] * 3
    assert values["account.orders_12w"] == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("account_traits: [{name: orders_12w, type: int}]", "rules know account.orders_12w as a feature"),
        ("account_traits: [{name: stage, type: text}]", "rules know account.stage as a stage"),
        ("account_traits: [{name: tier, type: text}, {name: tier, type: int}]", "'tier' is there twice"),
        ("account_traits: [{name: tier, type: word}]", "account_traits.0.type"),
        ("account_traits: [{name: Tier, type: text}]", "account_traits.0.name"),
    ],
)
def test_a_wrong_trait_is_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "traits.yaml").write_text(text)
    with pytest.raises(TraitError) as refused:
        read_account_traits(tmp_path / "traits.yaml", rule_features(load_specs()))
    assert said in str(refused.value)
