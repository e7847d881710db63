"""Users and the accounts they are of, with real Feast."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from audiences.accounts.primary import PrimaryAccounts
from audiences.definitions import read_definitions
from audiences.events import Event
from audiences.feeds import FeatureFeed
from audiences.identity.service import IdentityService
from audiences.intake.intake import Intake
from audiences.selection.crowds import Reader
from audiences.selection.service import Audiences
from audiences.service import rule_schema
from feature_repo.specs import load_specs
from feature_repo.store import FeatureRepository
from storage.engine import Database
from tests.migrated import copy_migrated

T1 = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)
DAY = timedelta(days=1)
RULE = "account.orders_12w >= 3"
DEFINITIONS = f"audiences:\n  - {{id: account_buys, name: Its account buys, rule: {RULE}}}\n"


class Business:
    """A database, features and audiences, and who is of which account."""

    def __init__(self, folder: Path) -> None:
        copy_migrated(folder / "nextplay.db")
        self.database = Database(f"sqlite:///{folder / 'nextplay.db'}")
        self.identity = IdentityService(self.database)
        self.accounts = PrimaryAccounts(self.database, self.identity.people)
        specs = load_specs()
        self.features = FeatureRepository(folder / "features", specs)
        self.features.apply()
        self.schema = rule_schema(specs)
        self._folder = folder
        self.audiences = self.open(DEFINITIONS)
        self._intake = Intake(self.database, identities=self.identity)

    def open(self, text: str, reader: Reader | None = None) -> Audiences:
        (self._folder / "audiences.yaml").write_text(text)
        return Audiences(
            self.database,
            self.features,
            read_definitions(self._folder / "audiences.yaml", self.schema),
            self.schema,
            canonical=self.identity.people.canonical,
            accounts=self.accounts,
            reader=reader,
        )

    def order(self, user: str, at: datetime) -> None:
        self._intake.take([Event(uuid4().hex, user, "order_completed", {"value": 9}, at, at)])

    def group(self, user: str, account: str, at: datetime) -> None:
        event = Event(uuid4().hex, user, "group", {}, at, at, "group", None, account_id=account)
        self._intake.take([event])

    def compute(self, as_of: datetime) -> None:
        """What the job `features` does for selecting."""
        FeatureFeed(self.database, self.features, self.identity.people).fill_history()
        people = self.identity.people
        self.features.snapshot(as_of, people.canonicals(), self.accounts.everyone())

    def selected(self) -> list[str]:
        return [u for u in ("ann", "bob", "eve", "zoe") if self.audiences.memberships.of(u)]
