"""What selects users beside audiences: scores, lifecycles and triggers, for requests and for jobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from audiences import repository
from audiences.accounts.primary import PrimaryAccounts
from audiences.identity.people import People, canonical_only
from audiences.placing import place_users
from audiences.scores.service import Scores
from audiences.selection.repository import ids_of
from audiences.selection.service import Audiences
from audiences.service import read_values
from audiences.stages.service import Stages
from audiences.triggers.service import TriggerService
from decision.files import LibraryFiles
from feature_repo.errors import SnapshotMissing
from feature_repo.store import FeatureRepository
from storage.clock import Clock
from storage.engine import Database
from storage.leases import Fence


class Selecting:
    """Scores, lifecycles and triggers of one service.

    `scores`, `stages` and `triggers` answer requests; what the jobs do goes through their fences.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        files: LibraryFiles,
        features: FeatureRepository,
        audiences: Audiences,
        people: People,
        accounts: PrimaryAccounts,
        fences: Mapping[str, Fence],
    ) -> None:
        self._people, self._accounts = people, accounts
        self._database, self._clock, self._files = database, clock, files
        self._features, self._audiences = features, audiences
        self.scores = Scores(database, clock, files.scores, people)
        self.stages = Stages(database, files.lifecycles, people)
        self.triggers = self._triggers(database)
        self._scores_job = Scores(fences["scores"].database, clock, files.scores, people)
        self._triggers_job = self._triggers(fences["triggers"].database)
        placing = fences["audiences"].database
        self._placed = (
            Scores(placing, clock, files.scores, people),
            Stages(placing, files.lifecycles, people),
        )

    def score(self) -> int:
        """Take new events into the scores; return how many grades changed."""
        return self._scores_job.run()

    def trigger(self) -> int:
        """Fire what has come about; return how many times triggers fired."""
        return self._triggers_job.run()

    def place(self, as_of: datetime) -> dict[str, int]:
        """Place users by the rules of scores and lifecycles; return how many changed in each."""
        return place_users(
            self._database, self._features, self._audiences, *self._placed, self._accounts, as_of
        )

    def _triggers(self, database: Database) -> TriggerService:
        return TriggerService(
            database,
            self._clock,
            self._files.triggers,
            inside=self._inside,
            members=self._members,
            of_account=lambda account: self._accounts.users_of({account}),
            values=self._values,
            people=self._people,
        )

    def _inside(self, users: Sequence[str]) -> Mapping[str, Collection[str]]:
        return {user: self._audiences.memberships.of(user) for user in users}

    def _members(self, audience: str) -> Collection[str]:
        with self._database.read() as connection:
            return ids_of(connection, list(self._audiences.memberships.members(audience)))

    def _values(self, features: Sequence[str]) -> tuple[Sequence[str], Mapping[str, Sequence[Any]]]:
        """Return all persons, and their values of features as of now; nobody before there are features."""
        with self._database.read() as connection:
            users = canonical_only(self._people, repository.user_ids(connection))
        try:
            table = read_values(self._features, users, self._clock.now(), self._accounts)
        except SnapshotMissing:
            return (), dict.fromkeys(features, ())
        return users, {name: table[name].to_pylist() for name in features}
