"""Who is one person, by the joins that hold: pure.

Joins between users (and carriers of one identity) always hold. A join with the profile of a device, or by a
device, is weak: weak ones are taken in the order in which they were made, and one that would connect two
persons who both have user ids does not count. So two users are never one person through a device, and who
is one person depends on the set of the other joins only, not on their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from audiences.identity.models import Identity, Join, is_known


class Graph:
    """Profiles and the joins between them that were not taken back.

    `first_seen` must name every profile that is asked about or joined.
    """

    def __init__(self, first_seen: Mapping[str, datetime], joins: Iterable[Join] = ()) -> None:
        self.first_seen = dict(first_seen)
        self._joins = {join.id: join for join in sorted(joins, key=_made)}
        self._of: dict[str, list[Join]] = {}
        for join in self._joins.values():
            self._index(join)
        self._persons: dict[str, set[str]] = {}
        self._work_out()

    @property
    def joins(self) -> list[Join]:
        """The joins, in the order in which they were made."""
        return list(self._joins.values())

    def know(self, profile: str, first_seen: datetime) -> None:
        """Add a profile, unless it is there."""
        if profile not in self.first_seen:
            self.first_seen[profile] = first_seen
            self._persons[profile] = {profile}

    def person(self, profile: str) -> frozenset[str]:
        """Return all profiles of the person that a profile belongs to."""
        return frozenset(self._persons[profile])

    def same(self, one: str, other: str) -> bool:
        """Whether two profiles are one person."""
        return self._persons[one] is self._persons[other]

    def users(self, profile: str) -> list[str]:
        """Return the user ids of the person that a profile belongs to, the one known first first."""
        return sorted(filter(is_known, self._persons[profile]), key=self._age)

    def canonical(self, profile: str) -> str:
        """Return the id that a person goes by.

        That is what the latest command made of it; without any the user id (or else the profile) that was
        known first.
        """
        members = self._persons[profile]
        pool = {one for one in members if is_known(one)} or members
        commands = [
            join
            for one in members
            for join in self._of.get(one, ())
            if join.is_command and join.profile == one and join.into in members
        ]
        commands.sort(key=_made)
        if commands:
            end = commands[-1].into
            while further := [join.into for join in commands if join.profile == end]:
                end = further[-1]
            if end in pool:
                return end
        return min(pool, key=self._age)

    def canonicals(self) -> dict[str, str]:
        """Return the canonical id of every profile."""
        found: dict[str, str] = {}
        for profile, members in self._persons.items():
            if profile not in found:
                found.update(dict.fromkeys(members, self.canonical(profile)))
        return found

    def holds_back(self, join: Join) -> list[str]:
        """Return the user ids of the other person that a device belongs to, when a weak join must not be."""
        if not join.is_weak or self.same(join.profile, join.into):
            return []
        ours, theirs = self.users(join.profile), self.users(join.into)
        return ours if ours and theirs else []

    def leads(self, start: str, end: str) -> bool:
        """Whether commands made `start` the same as `end`, one after the other."""
        seen, open_ = {start}, [start]
        while open_:
            here = open_.pop()
            for join in self._of.get(here, ()):
                if join.is_command and join.profile == here and join.into not in seen:
                    seen.add(join.into)
                    open_.append(join.into)
        return end in seen

    def path(self, one: str, other: str) -> list[Join]:
        """Return the fewest joins that make two profiles of a person the same."""
        came: dict[str, Join | None] = {one: None}
        row = [one]
        while row and other not in came:
            here = row.pop(0)
            for join in self._of.get(here, ()):
                there = join.other(here)
                if there not in came and self.same(there, one):
                    came[there] = join
                    row.append(there)
        found: list[Join] = []
        step = came.get(other)
        while step is not None:
            found.append(step)
            other = step.other(other)
            step = came.get(other)
        return found

    def by(self, evidence: Identity) -> list[Join]:
        """Return the joins that an identity made."""
        return [join for join in self.joins if join.evidence == evidence]

    def add(self, join: Join) -> None:
        """Let a join hold."""
        self._joins[join.id] = join
        self._index(join)
        if self.same(join.profile, join.into) or self.holds_back(join):
            return
        if join.is_weak or not (self.users(join.profile) and self.users(join.into)):
            self._unite(join)
        else:
            # What devices follow may change where two persons with user ids become one.
            self._work_out()

    def remove(self, join_id: str) -> None:
        """Let a join hold no more."""
        join = self._joins.pop(join_id)
        for end in (join.profile, join.into):
            self._of[end] = [one for one in self._of[end] if one.id != join_id]
        self._work_out()

    def _work_out(self) -> None:
        self._persons = {profile: {profile} for profile in self.first_seen}
        weak = []
        for join in self.joins:
            if join.is_weak:
                weak.append(join)
            else:
                self._unite(join)
        for join in weak:
            if not self.holds_back(join):
                self._unite(join)

    def _index(self, join: Join) -> None:
        for end in (join.profile, join.into):
            self._of.setdefault(end, []).append(join)

    def _unite(self, join: Join) -> None:
        small, large = sorted((self._persons[join.profile], self._persons[join.into]), key=len)
        if small is not large:
            large |= small
            self._persons.update(dict.fromkeys(small, large))

    def _age(self, profile: str) -> tuple[datetime, str]:
        return self.first_seen[profile], profile


def _made(join: Join) -> tuple[datetime, str]:
    return join.joined_at, join.id
