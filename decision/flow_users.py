"""Users as flows see them: features, tags, audiences, where they live, when they are most active."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from audiences import repository
from audiences.accounts.primary import Accounts
from audiences.identity.people import People
from audiences.selection.memberships import Memberships
from audiences.selection.standing import Standing
from audiences.service import read_values
from decision.whereabouts import Whereabouts
from delivery.best_hour import active, best_hour
from delivery.preference import Tally, answering, tallied
from delivery.view import View
from feature_repo.errors import SnapshotMissing
from feature_repo.store import FeatureRepository
from storage import ledger
from storage.engine import Database
from storage.ledger import Kind

# How far back, and over how many events at most, one looks for the hours at which a user is active.
_LOOK_BACK = timedelta(days=90)
_EVENTS = 200
# The same of messages, which are fewer; and of how many of everybody's the population's shares are, and for
# how long they are taken to hold.
_ANSWERS_BACK = timedelta(days=180)
_MESSAGES = 400
_POPULATION = 5_000
_FRESH = timedelta(minutes=10)


class FlowUsers:
    """Implements `delivery.view.Views` over features, tags and audiences."""

    def __init__(
        self,
        database: Database,
        features: FeatureRepository,
        memberships: Memberships,
        standing: Standing,
        people: People,
        accounts: Accounts,
        whereabouts: Whereabouts,
    ) -> None:
        """`whereabouts` knows where users live."""
        self._database, self._features = database, features
        self._memberships, self._standing = memberships, standing
        self._people, self._accounts, self._whereabouts = people, accounts, whereabouts
        self._everybody: tuple[datetime, Mapping[str, Tally]] | None = None

    def read(self, users: Sequence[str], now: datetime) -> Mapping[str, View]:
        persons = sorted({self._people.canonical(user) for user in users})
        values = self._values(persons, now)
        with self._database.read() as connection:
            self._memberships.load(connection)
            seen = {person: self._view(connection, person, values[person], now) for person in persons}
        return {user: seen[self._people.canonical(user)] for user in users}

    def _view(self, connection: Connection, person: str, values: Mapping[str, Any], now: datetime) -> View:
        profiles = self._people.members(person)
        zone = self._whereabouts.of(person)
        facts = ledger.of_users(connection, profiles, kinds=[Kind.EVENT], limit=_EVENTS)
        return View(
            zone,
            values,
            repository.tags_of(connection, profiles, now).keys(),
            self._memberships.of(person),
            best_hour(active(facts, now - _LOOK_BACK), zone),
            self._answers(connection, profiles, now),
        )

    def _answers(self, connection: Connection, profiles: Sequence[str], now: datetime) -> Mapping[str, float]:
        """Return which share of messages a person is expected to answer, by channel."""
        facts = ledger.of_users(connection, profiles, kinds=[Kind.MESSAGE], limit=_MESSAGES)
        mine = tallied(one for one in facts if one.occurred_at > now - _ANSWERS_BACK)
        if self._everybody is None or not timedelta(0) <= now - self._everybody[0] < _FRESH:
            self._everybody = now, tallied(ledger.latest(connection, Kind.MESSAGE, _POPULATION))
        return answering(mine, self._everybody[1])

    def _values(self, persons: Sequence[str], now: datetime) -> Mapping[str, Mapping[str, Any]]:
        """Return what rules may name of each person; before there are features only stages and grades."""
        try:
            table = read_values(self._features, persons, now, self._accounts)
        except SnapshotMissing:
            rows: list[dict[str, Any]] = [{} for _ in persons]
        else:
            rows = table.to_pylist()
        for name, texts in self._standing.texts(persons).items():
            for person, row in zip(persons, rows, strict=True):
                row[name] = texts.get(person)
        return dict(zip(persons, rows, strict=True))
