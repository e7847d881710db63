"""Users as columns, read through Feast in shares, with the tags, stages and grades that rules ask for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import numpy as np

from audiences import repository as audiences_repository
from audiences.accounts.primary import Accounts, NoAccounts
from audiences.rules import Columns, Schema, Texts
from audiences.rules.columns import Column, Nothing
from audiences.selection.evaluation import People
from audiences.selection.repository import Numbered
from audiences.service import read_values
from feature_repo.store import FeatureRepository
from storage.engine import Database

# Users of one read: Feast's join takes a second for as many, and holds them several times over.
SHARE = 100_000
_NO_ROWS = np.zeros(0, dtype=np.bool_)


class Source(Protocol):
    """What other services know of users and rules may ask: the stage of a lifecycle, the grade of a score."""

    @property
    def options(self) -> Mapping[str, Sequence[str]]:
        """The names, and the values each can have."""
        ...

    def texts(self, users: Collection[str]) -> Mapping[str, Mapping[str, str]]:
        """By name: the value of each user who has one."""
        ...


class Population:
    """Reads users as columns."""

    def __init__(
        self,
        database: Database,
        features: FeatureRepository,
        schema: Schema,
        sources: Sequence[Source] = (),
        canonical: Callable[[str], str] = str,
        accounts: Accounts | None = None,
    ) -> None:
        """Wire it; `canonical` says under which id a user's person goes, who has the tags of all profiles."""
        self._canonical = canonical
        self._accounts = accounts or NoAccounts()
        self._database = database
        self._features = features
        self._schema = schema
        self._sources = sources

    def read(
        self,
        users: Sequence[Numbered],
        tags: Collection[str],
        as_of: datetime,
        *,
        everybody: bool,
        beat: Callable[[], None] = lambda: None,
    ) -> People:
        """Read users, in the order of their numbers, as they were at a moment.

        Args:
            tags: those that are asked for.
            beat: called after each share, to say that it goes on.

        Raises:
            feature_repo.errors.SnapshotMissing: no features were computed yet.
        """
        shares = []
        for at in range(0, max(len(users), 1), SHARE):
            ids = [user.user_id for user in users[at : at + SHARE]]
            shares.append(self._share(ids, tags, as_of))
            beat()
        numbers = np.asarray([user.number for user in users], dtype=np.uint32)
        return People(Columns.joined(shares), numbers, everybody)

    def values(
        self, users: Sequence[str], tags: Collection[str], as_of: datetime
    ) -> list[tuple[dict[str, object], set[str]]]:
        """The same of few users as plain values, each with the tags that the user carries."""
        table = read_values(self._features, users, as_of, self._accounts)
        carried = self._carried(tags, as_of)
        known = {name: of for source in self._sources for name, of in source.texts(users).items()}
        rows = table.to_pylist()
        return [
            (
                {
                    **{name: row.get(name) for name in self._schema.names},
                    **{name: of.get(user) for name, of in known.items()},
                },
                {tag for tag, holders in carried.items() if user in holders},
            )
            for user, row in zip(users, rows, strict=True)
        ]

    def _share(self, ids: list[str], tags: Collection[str], as_of: datetime) -> Columns:
        if not ids:
            return Columns(
                0, {name: Nothing(0) for name in self._schema.names}, tags=dict.fromkeys(tags, _NO_ROWS)
            )
        table = read_values(self._features, ids, as_of, self._accounts)
        read = Columns.from_arrow(table.select([n for n in table.column_names if n in self._schema.names]))
        columns: dict[str, Column] = {
            **{name: Nothing(len(ids)) for name in self._schema.names},
            **read.columns,
        }
        for source in self._sources:
            for name, of in source.texts(ids).items():
                columns[name] = Texts.of(of.get(user) for user in ids)
        carried = self._carried(tags, as_of)
        bits = {tag: np.asarray([user in carried[tag] for user in ids], dtype=np.bool_) for tag in tags}
        return Columns(len(ids), columns, tags=bits)

    def _carried(self, tags: Collection[str], as_of: datetime) -> dict[str, set[str]]:
        with self._database.read() as connection:
            holders = {tag: audiences_repository.holders_of(connection, tag, as_of) for tag in tags}
        return {tag: set(map(self._canonical, users)) for tag, users in holders.items()}
