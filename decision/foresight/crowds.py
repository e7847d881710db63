"""Reads crowds: the users of an audience, or everybody, as columns of what matching looks at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from pyroaring import BitMap
from sqlalchemy import Connection

from audiences.accounts.primary import Accounts as PrimaryAccounts
from audiences.selection import repository as selection_repository
from audiences.selection.bitmaps import to_numbers
from audiences.selection.memberships import Memberships
from decision.foresight.looking_into import LookingInto
from playbooks.constraints.binding import Terms
from playbooks.constraints.counting import of_account
from playbooks.constraints.windows import longest
from playbooks.matching import Snapshot
from playbooks.rehearsal import repository
from playbooks.rehearsal.crowd import Accounts, Crowd, Mask, audiences_of, thresholds
from playbooks.rehearsal.groups import IntArray
from playbooks.rehearsal.repository import UseColumns
from playbooks.rehearsal.uses import CountedUses
from storage.engine import Database

# So many ids are read sooner with those of everybody than by their numbers.
_MANY = 20_000


class Crowds:
    """Reads users of one service as they are now."""

    def __init__(
        self,
        database: Database,
        memberships: Memberships,
        canonicals: Callable[[], Mapping[str, str]],
        accounts: PrimaryAccounts,
        looking: LookingInto,
    ) -> None:
        """Wire it.

        Args:
            canonicals: returns the id of the person of every profile that goes by another one's.
            looking: asks each user for what constraints need beside uses.
        """
        self._database, self._memberships, self._canonicals = database, memberships, canonicals
        self._accounts, self._looking = accounts, looking

    def read(self, audience: str | None, snapshot: Snapshot, now: datetime) -> Crowd:
        """Return the users of an audience (None: all) as matching looks at them for a snapshot."""
        library = snapshot.library
        terms = [library.rules.terms(one) for one in library.playbooks]
        with self._database.read() as connection:
            persons = self._persons(connection)
            numbers = self._numbers(connection, audience, persons)
            used = _used(connection, terms, numbers, persons, now)
        names = Names(self._database, numbers)
        audiences = audiences_of(snapshot)
        if any(one.conditions for one in terms):
            # Rules may ask for any of them.
            audiences |= self._memberships.live.keys()
        inside = {name: _among(numbers, self._memberships.members(name)) for name in sorted(audiences)}
        seen = self._looking.at(library, names, inside, len(numbers), now)
        return Crowd(
            size=len(numbers),
            names=names,
            inside=inside,
            uses=used,
            accounts=self._of_accounts(terms, names, len(numbers), now),
            zones=[ZoneInfo(name) for name in seen.zones],
            lives=seen.lives,
            stopped=seen.stopped,
        )

    def everybody(self) -> Names:
        """Return all users."""
        with self._database.read() as connection:
            numbers = self._numbers(connection, None, self._persons(connection))
        return Names(self._database, numbers)

    def _persons(self, connection: Connection) -> dict[int, int]:
        """Return the number of the person of every profile that goes by another one's."""
        canonicals = self._canonicals()
        named = selection_repository.numbers_of(connection, canonicals.keys() | set(canonicals.values()))
        return {
            named[profile]: named.get(person, -1)
            for profile, person in canonicals.items()
            if profile in named
        }

    def _numbers(self, connection: Connection, audience: str | None, persons: Mapping[int, int]) -> IntArray:
        if audience is not None:
            return to_numbers(self._memberships.members(audience)).astype(np.int64)
        everybody = repository.everybody(connection)
        return everybody[~np.isin(everybody, np.fromiter(persons, np.int64, len(persons)))]

    def _of_accounts(self, terms: Sequence[Terms], names: Names, size: int, now: datetime) -> Accounts | None:
        """Read the accounts of users and what these used, where anything is counted for accounts."""
        counters, lookback = _counters(terms, of_account=True)
        if not counters:
            return None
        users = names(np.arange(size))
        account_of = self._accounts.of(users)
        places = {account: place for place, account in enumerate(sorted(set(account_of.values())))}
        of = np.array([places.get(account_of.get(user, ""), -1) for user in users], np.int64)
        subjects = {of_account(account): place for account, place in places.items()}
        with self._database.read() as connection:
            used = repository.uses_of_subjects(connection, subjects, counters, now - lookback, now)
        return Accounts(of, len(places), CountedUses(used.whose, used.counters, used.moments, used.names))


class Names:
    """Ids of users by place; when they are asked for by the many, those of all users are read, once."""

    def __init__(self, database: Database, numbers: IntArray) -> None:
        self._database, self._numbers = database, numbers
        self._all: Mapping[int, str] | None = None

    def __len__(self) -> int:
        return len(self._numbers)

    def __call__(self, places: IntArray) -> list[str]:
        wanted = self._numbers[places].tolist()
        with self._database.read() as connection:
            if self._all is None and len(wanted) >= _MANY:
                self._all = dict(selection_repository.population(connection))
            names = self._all or selection_repository.names_of(connection, wanted)
        # Who is erased meanwhile is nobody, who gets nothing.
        return [names.get(number, "") for number in wanted]


def _among(numbers: IntArray, members: BitMap) -> Mask:
    """Say which of some numbers, ascending, are members."""
    found = np.zeros(len(numbers), dtype=np.bool_)
    if len(numbers):
        wanted = to_numbers(members).astype(np.int64)
        places = np.minimum(numbers.searchsorted(wanted), len(numbers) - 1)
        found[places[numbers[places] == wanted]] = True
    return found


def _counters(terms: Sequence[Terms], *, of_account: bool) -> tuple[set[str], timedelta]:
    """Return the counters that may stop something, and how far back they look."""
    counted = [(one, under) for under in terms for one in under.counted if one.of_account == of_account]
    counters = {threshold.counter for one, under in counted for threshold in thresholds(under, one)}
    return counters, max((longest(one.window) for one, _ in counted), default=timedelta(0))


def _used(
    connection: Connection,
    terms: Sequence[Terms],
    numbers: IntArray,
    persons: Mapping[int, int],
    now: datetime,
) -> CountedUses:
    counters, lookback = _counters(terms, of_account=False)
    if not counters or not len(numbers):
        return CountedUses.none()
    used = repository.uses_since(connection, counters, now - lookback, now)
    whose = _by_person(used, persons)
    places = np.minimum(numbers.searchsorted(whose), len(numbers) - 1)
    known = numbers[places] == whose
    return CountedUses(places[known], used.counters[known], used.moments[known], used.names)


def _by_person(used: UseColumns, persons: Mapping[int, int]) -> IntArray:
    """Return whose uses these are: the person's, whichever profile's they were."""
    whose = used.whose.copy()
    profiles = np.fromiter(persons, np.int64, len(persons))
    for profile in profiles[np.isin(profiles, used.whose)].tolist():
        whose[used.whose == profile] = persons[profile]
    return whose
