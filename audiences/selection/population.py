"""Users as rows, read through Feast in shares, with the tags, stages and grades that rules ask for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import numpy as np
from pyroaring import BitMap

from audiences import repository as audiences_repository
from audiences.accounts.primary import Accounts, NoAccounts
from audiences.rules import Schema, Texts
from audiences.selection import repository
from audiences.selection.crowds import Here, Reader, Share
from audiences.selection.evaluation import People
from audiences.selection.repository import Numbered
from audiences.service import read_values
from feature_repo.store import FeatureRepository
from storage.engine import Database

# Users of one read, a multiple of 8: Feast's join takes a second for as many, and holds them several times.
SHARE = 100_000


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
    """Reads users as rows."""

    def __init__(
        self,
        database: Database,
        features: FeatureRepository,
        schema: Schema,
        sources: Sequence[Source] = (),
        canonical: Callable[[str], str] = str,
        accounts: Accounts | None = None,
        reader: Reader | None = None,
    ) -> None:
        """Wire it.

        Args:
            canonical: says under which id a user's person goes, who has the tags of all profiles.
            reader: reads the features of everybody and keeps them; None: this process does.
        """
        self._reader = reader or Here(features)
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
        names: Collection[str] | None = None,
        beat: Callable[[], None] = lambda: None,
    ) -> People:
        """Read users, in the order of their numbers, as they were at a moment.

        Args:
            tags: those that are asked for.
            names: those that are asked for; None: all that rules may name.
            beat: called after each share, to say that it goes on.

        Raises:
            feature_repo.errors.SnapshotMissing: no features were computed yet.
        """
        ids = [user.user_id for user in users]
        wanted = sorted(self._schema.names if names is None else names)
        # Some users are read at once here; a cluster would take seconds to begin.
        reader = self._reader if everybody else Here(self._features)
        crowd = reader.read(self._shares(ids, wanted), wanted, as_of, beat)
        numbers = np.asarray([user.number for user in users], dtype=np.uint32)
        return People(crowd, numbers, everybody, self.carrying(tags, as_of))

    def carrying(self, tags: Collection[str], as_of: datetime) -> dict[str, BitMap]:
        """The persons who carry some tags at a moment, whichever of their profiles does."""
        found: dict[str, BitMap] = {}
        with self._database.read() as connection:
            for tag in tags:
                holders = repository.numbers_carrying(connection, tag, as_of)
                elsewhere = {
                    canonical for one in holders if (canonical := self._canonical(one.user_id)) != one.user_id
                }
                found[tag] = BitMap(one.number for one in holders)
                found[tag] |= BitMap(repository.numbers_of(connection, elsewhere).values())
        return found

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

    def _shares(self, ids: Sequence[str], names: Sequence[str]) -> Iterator[Share]:
        of_users = self._accounts.of(ids)
        asked = [source for source in self._sources if not source.options.keys().isdisjoint(names)]
        texts_of = {name: of for source in asked for name, of in source.texts(ids).items() if name in names}
        for at in range(0, len(ids), SHARE):
            share = ids[at : at + SHARE]
            accounts = [of_users.get(user) for user in share]
            texts = {name: Texts.of(of.get(user) for user in share) for name, of in texts_of.items()}
            yield Share(share, accounts, self._accounts.traits(accounts), texts)

    def _carried(self, tags: Collection[str], as_of: datetime) -> dict[str, set[str]]:
        with self._database.read() as connection:
            holders = {tag: audiences_repository.holders_of(connection, tag, as_of) for tag in tags}
        return {tag: set(map(self._canonical, users)) for tag, users in holders.items()}
