"""Plays the coming days for sampled users: matching decides at every occasion, and what it uses counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

import msgspec

from playbooks.constraints.allowing import limits_of
from playbooks.decision import Decision
from playbooks.matching import Request, Snapshot, decide
from playbooks.models import Arm
from playbooks.rehearsal.asking import Member, begun_by
from storage.times import to_micros


class Occasion(NamedTuple):
    """A decision about a user, by place, at a placement; `why` names what it rests on.

    One that a trigger begins chooses among the playbooks that name it.
    """

    at: datetime
    user: int
    placement: str
    why: str
    trigger: str | None = None


class Contact(NamedTuple):
    """An arm that was drawn for a user."""

    at: datetime
    user: int
    arm: Arm
    version: int


class Sending(NamedTuple):
    """A message to a user, by place, or what a user is shown at once."""

    at: datetime
    user: int
    channel: str


@dataclass
class Played:
    """What came of it: contacts in their order; how often each playbook competed, and was stopped by what."""

    contacts: list[Contact] = field(default_factory=list)
    decisions: Counter[str] = field(default_factory=Counter)
    competed: Counter[str] = field(default_factory=Counter)
    stopped: Counter[tuple[str, str]] = field(default_factory=Counter)
    first_stop: dict[str, datetime] = field(default_factory=dict)


class Simulation:
    """Users as they change by what they get; of budgets each spends for all users that one stands for."""

    def __init__(
        self, snapshot: Snapshot, members: Mapping[str, Sequence[Member]], weight: float, seed: str
    ) -> None:
        """Begin with users as they are.

        Args:
            members: by placement the same users, as matching is asked about them there.
            weight: how many users each stands for.
            seed: of the draws.
        """
        self._snapshot, self._members, self._weight, self._seed = snapshot, members, weight, seed
        users = max((len(one) for one in members.values()), default=0)
        self._begun: dict[str, Snapshot] = {}
        self._uses: list[dict[str, list[int]]] = [{} for _ in range(users)]
        self._levels: dict[str, int] = {}
        for listed in members.values():
            for user, member in enumerate(listed):
                for counter, moments in member.circumstances.uses.items():
                    self._uses[user][counter] = list(moments)
                self._levels |= member.circumstances.levels

    def play(self, occasions: Sequence[Occasion]) -> Played:
        """Decide at each occasion, in their order."""
        played = Played()
        for number, occasion in enumerate(occasions):
            member = self._members[occasion.placement][occasion.user]
            if not member.missing:
                self._decide(occasion, member, f"{self._seed}:{number}", played)
        return played

    def _decide(self, occasion: Occasion, member: Member, key: str, played: Played) -> None:
        circumstances = msgspec.structs.replace(
            member.circumstances, uses=self._uses[occasion.user], levels=self._levels
        )
        decision = decide(
            self._serving(occasion.trigger),
            Request("", member.user_id, occasion.placement, key),
            features=member.features,
            audiences=member.audiences,
            circumstances=circumstances,
            now=occasion.at,
        )
        played.decisions[occasion.placement] += 1
        played.competed.update({arm.partition("/")[0] for arm in decision.arms[:-1]})
        for rule, names in decision.suppressed.items():
            played.first_stop.setdefault(rule, occasion.at)
            played.stopped.update({(name.partition("/")[0], rule) for name in names})
        if decision.acts:
            arm, version = self._use(occasion, decision, member), decision.playbook_version or 0
            played.contacts.append(Contact(occasion.at, occasion.user, arm, version))

    def _serving(self, trigger: str | None) -> Snapshot:
        if trigger is None:
            return self._snapshot
        if trigger not in self._begun:
            library = begun_by(trigger, self._snapshot.library)
            self._begun[trigger] = replace(self._snapshot, library=library)
        return self._begun[trigger]

    def _use(self, occasion: Occasion, decision: Decision, member: Member) -> Arm:
        """Count what the drawn arm uses up; return it."""
        library, now = self._snapshot.library, occasion.at
        playbook = library.get(decision.playbook or "", decision.playbook_version or 0)
        terms, arm = library.rules.terms(playbook), playbook.arm(decision.arm)
        for limit in limits_of(terms, arm, member.circumstances, now):
            if limit.counts:
                self._uses[occasion.user].setdefault(limit.counter, []).append(to_micros(now))
        for one in terms.spends:
            if (spend := one.spend(arm, now)) is not None:
                taken = self._levels.get(spend.budget.key, 0) + round(spend.amount * self._weight)
                self._levels[spend.budget.key] = taken
        return arm
