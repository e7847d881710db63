"""To whom a task comes: its owner, the next of a team in turn, or the one with the least to do. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import msgspec

from delivery.people.staff import Staff
from playbooks.draws import share_of

Assign = Literal["owner", "round_robin", "load"] | None

# Keeps the hashes that share out a leaver's users apart from all others.
_SHARED_OUT = b"people.leaver"


class Given(msgspec.Struct, frozen=True):
    """Who has a task, and in whose queue it lies; nobody has what anybody of the team may take."""

    person: str | None = None
    team: str | None = None


class Owned(msgspec.Struct, frozen=True):
    """That traits name the owner of a user or of the user's account `key`; `name` is what they say."""

    name: str
    key: str


@dataclass
class Roster:
    """The staff at one moment. `turns` and `loads` go on with each task that is given.

    `gone` says who left and to whom everything went, `turns` who got a team's last task that was dealt in
    turn, `loads` how many undone tasks people have. `dealt` are the teams whose turn has gone on.
    """

    staff: Staff
    now: datetime
    gone: dict[str, str] = field(default_factory=dict)
    turns: dict[str, str] = field(default_factory=dict)
    loads: dict[str, int] = field(default_factory=dict)
    dealt: set[str] = field(default_factory=set)

    def at_work(self, person: str) -> bool:
        """Whether tasks may come to a person now."""
        known = person in self.staff.people and person not in self.gone
        return known and not self.staff.is_away(person, self.now)

    def successor(self, name: str) -> str:
        """Return the person or team to whom everything of somebody went; who did not leave, is it."""
        seen = {name}
        while (following := self.gone.get(name)) is not None and following not in seen:
            seen.add(following)
            name = following
        return name

    def give(self, assignee: str, assign: Assign, owned: Owned | None = None) -> Given:
        """Give a task to somebody.

        The owner gets it who is at work; a task without one, whose owner is away or unknown, goes to the
        assignee: to a person, or to the next of a team in turn. Where nobody of a team is at work, or nobody
        is asked for by `assign`, it lies in the team's queue; what is for a person who is away, in the queue
        of the person's team.
        """
        if assign == "owner" and owned is not None and (owner := self.owner(owned)) is not None:
            return self._to(owner)
        named = self.successor(assignee)
        if named in self.staff.people:
            # Somebody who is away finds it in the team's queue, where others see it meanwhile.
            team = self.staff.team_of(named)
            return self._to(named) if self.at_work(named) or team is None else Given(None, team)
        if named not in self.staff.teams:
            return Given()
        if assign is None:
            return Given(None, named)
        person = self._least_loaded(named) if assign == "load" else self._next(named)
        return Given(None, named) if person is None else self._to(person, named)

    def belongs_to(self, owned: Owned) -> str | None:
        """Return the owner, whether at work or not; None if nobody of the staff is."""
        called = self.staff.called(owned.name)
        if called is None:
            return None
        found = self.successor(called)
        if found not in self.staff.teams:
            return found if found in self.staff.people and found not in self.gone else None
        # A leaver's users were shared out among a team: each stays with the same person.
        there = [one for one in self.staff.members(found) if one not in self.gone]
        return max(there, key=lambda one: share_of((owned.key, one), _SHARED_OUT), default=None)

    def owner(self, owned: Owned) -> str | None:
        """Return the owner if at work."""
        found = self.belongs_to(owned)
        return found if found is not None and self.at_work(found) else None

    def _next(self, team: str) -> str | None:
        members, last = self.staff.members(team), self.turns.get(team)
        start = members.index(last) + 1 if last in members else 0
        person = next((one for one in members[start:] + members[:start] if self.at_work(one)), None)
        if person is not None:
            self._dealt(team, person)
        return person

    def _least_loaded(self, team: str) -> str | None:
        members, last = self.staff.members(team), self.turns.get(team)
        ready = [one for one in members if self.at_work(one)]
        least = min((self.loads.get(one, 0) for one in ready), default=0)
        # Of those with equally little to do the one after whoever got the last.
        start = members.index(last) + 1 if last in members else 0
        for one in members[start:] + members[:start]:
            if one in ready and self.loads.get(one, 0) == least:
                self._dealt(team, one)
                return one
        return None

    def _dealt(self, team: str, person: str) -> None:
        self.turns[team] = person
        self.dealt.add(team)

    def _to(self, person: str, team: str | None = None) -> Given:
        self.loads[person] = self.loads.get(person, 0) + 1
        return Given(person, team or self.staff.team_of(person))
