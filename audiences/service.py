"""Selecting users: evaluates audiences and tag rules over all users as of a moment, and knows who is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import Connection

from audiences import repository
from audiences.definitions import Definitions, TagSpec
from audiences.identity.people import EveryoneAlone, People, canonical_only, together
from audiences.rules import Columns, Schema, Type, compile_columns, members
from feature_repo.aggregates import FeatureType
from feature_repo.specs import Specs
from feature_repo.store import FeatureRepository
from storage import ledger
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.pace import Pace
from storage.writer import TURN_ROWS

SERVICE = "audience_rules"
# At most in a turn: a change writes a member or tag and a fact.
_CHANGES_PER_WRITE = TURN_ROWS // 2
_NOBODY: frozenset[str] = frozenset()

_TYPES: Mapping[FeatureType, Type] = {
    "int": Type.NUMBER,
    "float": Type.NUMBER,
    "text": Type.TEXT,
    "bool": Type.BOOL,
    "time": Type.TIMESTAMP,
    "floats": Type.NUMBERS,
}


class Membership(msgspec.Struct, frozen=True):
    """Body of the fact that a user entered or left an audience."""

    audience: str
    entered: bool
    as_of: datetime


class Tagging(msgspec.Struct, frozen=True):
    """Body of the fact that a user was tagged."""

    tag: str
    source: str
    expires_at: datetime | None


class Memberships:
    """Who is in which audience now, held in memory and replaced as a whole."""

    def __init__(self) -> None:
        self._of: Mapping[str, frozenset[str]] = {}

    def of(self, user_id: str) -> Set[str]:
        """Return the audiences a user is in."""
        return self._of.get(user_id, _NOBODY)

    def load(self, connection: Connection) -> None:
        """Take what the database holds."""
        self._of = {user: frozenset(names) for user, names in repository.memberships(connection).items()}


def set_tag(
    connection: Connection,
    user_id: str,
    tag: str,
    source: str,
    at: datetime,
    expires_at: datetime | None,
) -> None:
    """Put a tag on a user in the caller's transaction; one already there is renewed."""
    set_tags(connection, [user_id], tag, source, at, expires_at)


def set_tags(
    connection: Connection,
    user_ids: Sequence[str],
    tag: str,
    source: str,
    at: datetime,
    expires_at: datetime | None,
) -> None:
    """Put a tag on users and note it in the ledger."""
    row = {"tag": tag, "source": source, "set_at": at, "expires_at": expires_at}
    repository.set_tags(connection, [{"user_id": user_id, **row} for user_id in user_ids])
    body = Tagging(tag, source, expires_at)
    ledger.append(connection, [NewFact(Kind.TAG, new_id(at), tag, user, at, body) for user in user_ids], at)


def rule_schema(specs: Specs) -> Schema:
    """Return what rules of audiences may speak of: the features of the service `audience_rules`, and tags."""
    features = specs.features_of(SERVICE)
    return Schema({name: _TYPES[spec.type] for name, spec in features.items()}, tags=True, audiences=False)


class Audiences:
    """The audiences of one service."""

    def __init__(
        self,
        database: Database,
        features: FeatureRepository,
        definitions: Definitions,
        people: People | None = None,
    ) -> None:
        """`people` says who is one person; without it every profile is one."""
        self._people = people or EveryoneAlone()
        self._database = database
        self._features = features
        self._definitions = definitions
        self._recording = Pace(_CHANGES_PER_WRITE)
        self._tagging = Pace(_CHANGES_PER_WRITE)
        self.memberships = Memberships()
        with database.read() as connection:
            self.memberships.load(connection)

    def evaluate(self, as_of: datetime) -> dict[str, int]:
        """Evaluate every audience and tag rule for all users as of a moment.

        Reads features through Feast as they were at `as_of`, so nothing later is known. What changed is
        recorded as entered and left; a run that is stopped is completed by the next.

        Returns:
            Size of each audience.

        Raises:
            feature_repo.errors.SnapshotMissing: no features were computed yet.
        """
        holding = self._holding(as_of)
        sizes = {}
        for index, audience in enumerate(self._definitions.audiences):
            self._replace(audience.id, holding[index], as_of)
            sizes[audience.id] = len(holding[index])
        for index, tag in enumerate(self._definitions.tags, start=len(self._definitions.audiences)):
            self._tag(tag, sorted(holding[index]), as_of)
        with self._database.read() as connection:
            self.memberships.load(connection)
        return sizes

    def describe(self) -> list[dict[str, Any]]:
        """Return every audience with its rule, size and the moment of its latest evaluation."""
        with self._database.read() as connection:
            runs = repository.last_runs(connection)
        result = []
        for audience in self._definitions.audiences:
            as_of, size = runs.get(audience.id, (None, None))
            result.append({**audience.model_dump(), "size": size, "as_of": as_of})
        return result

    def _holding(self, as_of: datetime) -> list[set[str]]:
        """Return, for each rule, the users it holds for."""
        with self._database.read() as connection:
            users = canonical_only(self._people, repository.user_ids(connection))
            carried = together(self._people, repository.tags_by_user(connection, as_of))
        table = self._features.historical(SERVICE, users, as_of)
        names = {tag for rule in self._definitions.rules for tag in rule.tags}
        tags = {tag: np.array([tag in carried.get(user, _NOBODY) for user in users]) for tag in names}
        bits = compile_columns(self._definitions.rules)(Columns.from_arrow(table, tags=tags), now=as_of)
        return [{users[row] for row in members(rule_bits, len(users))} for rule_bits in bits]

    def _replace(self, audience: str, inside: set[str], as_of: datetime) -> None:
        with self._database.read() as connection:
            before = repository.members_of(connection, audience)
        for change, users in (("entered", sorted(inside - before)), ("left", sorted(before - inside))):
            record = partial(_record, audience=audience, change=change, as_of=as_of)
            self._recording.write(self._database, users, record)
        self._database.write(
            lambda connection: repository.record_run(connection, audience, as_of, len(inside))
        )

    def _tag(self, spec: TagSpec, users: Sequence[str], as_of: datetime) -> None:
        expires_at = as_of + spec.expires_after if spec.expires_after else None

        def tag(connection: Connection, some: Sequence[str]) -> int:
            set_tags(connection, some, spec.tag, "rule", as_of, expires_at)
            return len(some)

        self._tagging.write(self._database, users, tag)


def _record(connection: Connection, users: Sequence[str], audience: str, change: str, as_of: datetime) -> int:
    entered = change == "entered"
    if entered:
        repository.enter(connection, audience, users, as_of)
    else:
        repository.leave(connection, audience, users)
    body = Membership(audience, entered, as_of)
    label = f"{audience}.{change}"
    ledger.append(
        connection, [NewFact(Kind.AUDIENCE, new_id(as_of), label, user, as_of, body) for user in users], as_of
    )
    return len(users)
