"""To whom a task comes: its owner, the next of a team in turn, or the one with the least to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
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
    turn, `loads` how many undone tasks people have.
    """

    staff: Staff
    now: datetime
    gone: Mapping[str, str] = field(default_factory=dict)
    turns: dict[str, str] = field(default_factory=dict)
    loads: dict[str, int] = field(default_factory=dict)

    def at_work(self, person: str) -> bool:
        """Whether tasks may come to a person now."""
        known = person in self.staff.people and person not in self.gone
        return known and not self.staff.is_away(person, self.now)

    def ready(self, team: str) -> list[str]:
        """Return who of a team is at work, in the order of the file."""
        return [one for one in self.staff.members(team) if self.at_work(one)]

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
        if assign == "owner" and (owner := self._owner(owned)) is not None:
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

    def _owner(self, owned: Owned | None) -> str | None:
        called = None if owned is None else self.staff.called(owned.name)
        if owned is None or called is None:
            return None
        found = self.successor(called)
        if found in self.staff.teams:
            # A leaver's users were shared out among a team: each stays with the same person.
            ready = self.ready(found)
            return max(ready, key=lambda one: share_of((owned.key, one), _SHARED_OUT)) if ready else None
        return found if self.at_work(found) else None

    def _next(self, team: str) -> str | None:
        members, last = self.staff.members(team), self.turns.get(team)
        start = members.index(last) + 1 if last in members else 0
        person = next((one for one in members[start:] + members[:start] if self.at_work(one)), None)
        if person is not None:
            self.turns[team] = person
        return person

    def _least_loaded(self, team: str) -> str | None:
        ready = self.ready(team)
        least = min((self.loads.get(one, 0) for one in ready), default=0)
        # Of those with equally little to do the one after whoever got the last.
        members, last = self.staff.members(team), self.turns.get(team)
        start = members.index(last) + 1 if last in members else 0
        for one in members[start:] + members[:start]:
            if one in ready and self.loads.get(one, 0) == least:
                self.turns[team] = one
                return one
        return None

    def _to(self, person: str, team: str | None = None) -> Given:
        self.loads[person] = self.loads.get(person, 0) + 1
        return Given(person, team or self.staff.team_of(person))
