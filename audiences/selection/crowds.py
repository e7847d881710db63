"""Features of many users, held where rules are answered: in this process, or wherever a reader keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import pyarrow as pa

from audiences.rules import Columns, Rule, Texts, compile_columns
from audiences.rules.columns import Column, Nothing
from audiences.rules.packing import Bits, Mask
from audiences.service import values_of
from feature_repo.store import FeatureRepository


class Crowd(Protocol):
    """Users as rows, of whom rules can be answered."""

    def answer(
        self,
        rules: Sequence[Rule],
        tags: Mapping[str, Mask],
        audiences: Mapping[str, Mask],
        now: datetime,
    ) -> Bits:
        """For whom each rule holds: a row of packed bits a rule.

        Args:
            tags, audiences: which rows have a tag or are in an audience; nobody, where one isn't given.
        """
        ...


@dataclass(frozen=True, slots=True)
class Share:
    """Some of the users to be read, with what is known of them beside their features, row by row."""

    users: Sequence[str]
    accounts: Sequence[str | None]
    traits: Mapping[str, pa.Array]
    texts: Mapping[str, Texts]

    def read(self, features: FeatureRepository, names: Iterable[str], as_of: datetime) -> Columns:
        """Read their features through Feast as of a moment; a name that nobody has a value of is there too.

        Raises:
            feature_repo.errors.SnapshotMissing: no features were computed yet.
        """
        wanted = set(names)
        table = values_of(features, self.users, as_of, self.accounts, self.traits)
        read = Columns.from_arrow(table.select([name for name in table.column_names if name in wanted]))
        columns: dict[str, Column] = {
            **{name: Nothing(len(self.users)) for name in wanted},
            **read.columns,
            **self.texts,
        }
        return Columns(len(self.users), columns)


class Reader(Protocol):
    """Reads shares of users and keeps what it read."""

    def read(
        self, shares: Iterable[Share], names: Sequence[str], as_of: datetime, beat: Callable[[], None]
    ) -> Crowd:
        """Read what rules may name of all shares, one after the other.

        Args:
            beat: to be called now and then, to say that it goes on.
        """
        ...


@dataclass(frozen=True, slots=True)
class Held:
    """Users in the memory of this process."""

    columns: Columns
    threads: int = 1

    def answer(
        self,
        rules: Sequence[Rule],
        tags: Mapping[str, Mask],
        audiences: Mapping[str, Mask],
        now: datetime,
    ) -> Bits:
        columns = Columns(self.columns.length, self.columns.columns, tags=tags, audiences=audiences)
        return compile_columns(rules)(columns, now=now, threads=self.threads)


@dataclass(frozen=True, slots=True)
class Here:
    """Reads users into the memory of this process."""

    features: FeatureRepository
    threads: int = 1

    def read(
        self, shares: Iterable[Share], names: Sequence[str], as_of: datetime, beat: Callable[[], None]
    ) -> Held:
        read = []
        for share in shares:
            read.append(share.read(self.features, names, as_of))
            beat()
        nobody = Columns(0, {name: Nothing(0) for name in names})
        return Held(Columns.joined(read) if read else nobody, self.threads)
