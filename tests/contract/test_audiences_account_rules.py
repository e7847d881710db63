"""What is said of accounts selects their users: traits in rules, lifecycles of accounts and who is called."""

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
from audiences.definitions import AudienceSpec, read_definitions
from audiences.errors import StageError, TraitError, UnknownLifecycle
from audiences.events import Event
from audiences.feeds import FeatureFeed
from audiences.identity.service import IdentityService
from audiences.intake.intake import Intake
from audiences.placing import place_users
from audiences.scores.service import Scores
from audiences.selection.service import Audiences
from audiences.selection.standing import Standing, options_of, schema_with
from audiences.service import rule_features, rule_schema
from audiences.stages.definitions import read_lifecycles
from audiences.stages.facts import StageChange
from audiences.stages.service import Stages
from audiences.traits.definitions import read_account_traits
from feature_repo.specs import load_specs
from feature_repo.store import FeatureRepository
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind

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
STAGES = """
lifecycles:
  - id: company
    of: account
    name: Companies
    start: prospect
    stages:
      - {id: prospect, to: [{stage: customer, when: account.orders_12w >= 1}]}
      - {id: customer, to: [{stage: partner, when: account.tier = 'gold'}]}
      - {id: partner, end: true}
  - id: buyer
    name: Buyers
    start: new
    stages:
      - {id: new, to: [{stage: active, when: account.orders_12w >= 2}]}
      - {id: active, end: true}
"""
PARTNERS = {"id": "partners", "name": "Of a partner", "rule": "account.stage = 'partner'"}
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
        (folder / "stages.yaml").write_text(STAGES)
        lifecycles = read_lifecycles(folder / "stages.yaml", schema)
        schema = schema_with(schema, options_of(lifecycles, ()))
        self.clock = clock
        self.stages = Stages(database, lifecycles, people)
        self.accounts = PrimaryAccounts(database, people, traits)
        self.features = FeatureRepository(folder / "features", specs)
        self.features.apply()
        self.audiences = Audiences(
            database,
            self.features,
            read_definitions(folder / "audiences.yaml", schema),
            schema,
            sources=[Standing(Scores(database, clock, ()), self.stages, self.accounts)],
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

    def place(self, as_of: datetime = T1) -> dict[str, int]:
        scores = Scores(self.database, self.clock, ())
        return place_users(
            self.database, self.features, self.audiences, scores, self.stages, self.accounts, as_of
        )

    def changes(self) -> list[tuple[str | None, StageChange]]:
        """The facts of the companies' stages: of which user, and what they say."""
        with self.database.read() as connection:
            facts = ledger.read_after(connection, 0, kind=Kind.STAGE)
        changes = [(fact.user_id, fact.decode(StageChange)) for fact in facts]
        return [(user, change) for user, change in changes if change.lifecycle == "company"]

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


def test_accounts_move_through_their_lifecycle_and_their_users_are_selected_by_it(business: Business) -> None:
    assert business.place() == {"buyer": 2, "company": 2}
    assert business.stages.standing_in("company") == {"acme": "customer", "bolt": "customer"}
    assert business.stages.standing_in("buyer") == {
        "ann": "active",
        "bob": "active",
        "eve": "new",
        "zoe": "new",
    }
    # Who is there for the first time is placed quietly, and no fact of an account is a user's.
    assert {(user, change.account_id, change.after, change.quiet) for user, change in business.changes()} == {
        (None, account, stage, True) for account in ("acme", "bolt") for stage in ("prospect", "customer")
    }
    business.audiences.catalogs.create(AudienceSpec.model_validate(PARTNERS), "sam", T1)
    assert business.audiences.evaluate(T1)["partners"] == 0
    business.crm_says("acme", "gold", T1)
    assert business.place(T1 + 2 * DAY) == {"buyer": 0, "company": 1}
    ((user, change),) = [one for one in business.changes() if not one[1].quiet]
    assert (user, change.account_id, change.before, change.after) == (None, "acme", "customer", "partner")
    assert (change.seconds_before, change.rule) == (2 * DAY.total_seconds(), "account.tier = 'gold'")
    # The stage changed and nothing else: the users of the account are looked at again.
    assert (business.audiences.evaluate_changed(T1 + 2 * DAY) or {})["partners"] == 2
    assert business.of("ann") == {"gold", "partners"}
    assert business.audiences.evaluate(T1 + 2 * DAY)["partners"] == 2
    business.stages.put("acme", "company", "customer", by="sam", reason="lapsed", now=T1, of_accounts=True)
    business.stages.put("bolt", "company", "partner", by="sam", reason="won", now=T1, of_accounts=True)
    assert (business.audiences.evaluate_changed(T1 + 3 * DAY) or {})["partners"] == 1
    assert "partners" in business.of("eve")


def test_a_lifecycle_is_of_users_or_of_accounts(business: Business) -> None:
    business.place()
    told = business.stages.describe("company", T1 + DAY)
    assert (told["of"], told["accounts"], told["standing"]["customer"]) == (
        "account",
        2,
        {"accounts": 2, "median_days": 1.0, "p90_days": 1.0},
    )
    assert list(business.stages.of("acme", of_accounts=True)) == ["company"]
    assert list(business.stages.of("ann")) == ["buyer"]
    said: dict[str, Any] = {"by": "sam", "reason": "", "now": T1}
    with pytest.raises(UnknownLifecycle, match="'company' is of accounts"):
        business.stages.put("ann", "company", "partner", **said)
    with pytest.raises(UnknownLifecycle, match="'buyer' is of users"):
        business.stages.put("acme", "buyer", "active", of_accounts=True, **said)
    with pytest.raises(StageError, match="account 'acme' is in the stage 'customer'"):
        business.stages.put("acme", "company", "customer", of_accounts=True, **said)
    # An account that is called like a user goes its own way.
    business.group("bob", "bob")
    business.compute(T1 + DAY)
    business.place(T1 + DAY)
    assert business.stages.of("bob", of_accounts=True)["company"]["stage"] == "customer"
    assert business.stages.of("bob")["buyer"]["stage"] == "active"


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
