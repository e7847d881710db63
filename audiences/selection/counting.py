"""How many users a draft would select: of all of them where that is quick enough, else estimated."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from audiences.errors import AudienceError
from audiences.rules import Rule
from audiences.selection import repository
from audiences.selection.evaluation import People, holding
from audiences.selection.service import Audiences
from audiences.selection.sets import SetSpec
from storage.engine import Database

# Where no process has all users in memory they are read for the count, so many at a time, in random order;
# what is not read after this time, somebody who edits a rule does not wait for.
SECONDS = 3.0
READ = 20_000
_Z = 1.959963984540054  # normal quantile of 97.5 %


@dataclass(frozen=True, slots=True)
class Count:
    """How many users a draft would select. With `sampled`, an estimate between `low` and `high` (95 %)."""

    selected: int
    users: int
    as_of: datetime
    sampled: int | None
    low: int
    high: int


class Counting:
    """Counts drafts. Changes nothing."""

    def __init__(
        self,
        database: Database,
        audiences: Audiences,
        elsewhere: Callable[[str], Count | None] = lambda _: None,
        *,
        seconds: float = SECONDS,
    ) -> None:
        """Wire it.

        Args:
            elsewhere: asks another process, which may have all users in memory, to count a rule.
            seconds: for how long users are read where nobody has.
        """
        self._database = database
        self._audiences = audiences
        self._elsewhere = elsewhere
        self._seconds = seconds

    def count(self, rule: str | None, sets: SetSpec | None, now: datetime) -> Count:
        """Count whom a draft would select.

        Exact where a process has all users in memory, as of when it read them, or where all are read in time.

        Raises:
            RuleError: the rule is none.
            AudienceError: a set names an audience that does not exist.
            feature_repo.errors.SnapshotMissing: no features were computed yet.
        """
        if sets is not None:
            return self._of_sets(sets, now)
        text = rule or ""
        parsed = self._audiences.catalogs.rule(text)
        return self.held(text) or self._elsewhere(text) or self._read(parsed, now)

    def held(self, rule: str) -> Count | None:
        """Count of all users, if this process has them in memory. Raises RuleError."""
        parsed = self._audiences.catalogs.rule(rule)
        if self._audiences.people is None:
            return None
        people, as_of = self._audiences.people
        # Tags are kept only if an audience asks for them; those of now are at hand.
        people = replace(people, tags=self._audiences.population.carrying(parsed.tags, as_of))
        found = self._found(parsed, people, as_of)
        return Count(found, len(people.numbers), as_of, None, found, found)

    def _of_sets(self, sets: SetSpec, now: datetime) -> Count:
        memberships = self._audiences.memberships
        known = self._audiences.catalogs.read().specs
        unknown = sorted(sets.names() - known.keys())
        if unknown:
            raise AudienceError(f"there is no audience {', '.join(map(repr, unknown))}")
        members = len(sets.members(memberships.members))
        as_of = min((memberships.live[n].as_of for n in sets.names() if n in memberships.live), default=now)
        with self._database.read() as connection:
            users = repository.count_numbered(connection)
        return Count(members, users, as_of, None, members, members)

    def _found(self, rule: Rule, people: People, as_of: datetime) -> int:
        return len(holding([rule], people, self._audiences.memberships.members, as_of)[0])

    def _read(self, rule: Rule, now: datetime) -> Count:
        users = self._audiences.users()
        order = np.random.default_rng().permutation(len(users))
        until = time.monotonic() + self._seconds
        found = read = 0
        while read < len(users) and (not read or time.monotonic() < until):
            some = sorted(users[place] for place in order[read : read + READ])
            people = self._audiences.population.read(some, rule.tags, now, everybody=False, names=rule.names)
            found += self._found(rule, people, now)
            read += len(some)
        if read == len(users):
            return Count(found, read, now, None, found, found)
        return _estimated(found, read, len(users), now)


def _estimated(found: int, read: int, users: int, now: datetime) -> Count:
    low, high = _interval(found, read)
    # Of those who were read it is known; the interval is of the others.
    others = users - read
    return Count(
        round(found / read * users),
        users,
        now,
        read,
        found + math.floor(low * others),
        found + math.ceil(high * others),
    )


def _interval(found: int, of: int) -> tuple[float, float]:
    """Wilson's interval of a share, 95 % (Wilson 1927)."""
    share = found / of
    middle = share + _Z**2 / (2 * of)
    spread = _Z * math.sqrt(share * (1 - share) / of + _Z**2 / (4 * of**2))
    scale = 1 + _Z**2 / of
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
