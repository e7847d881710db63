"""A portfolio: models that learn from the same rounds; one is in charge until another proves better."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from learning.evidence import Evidence, needed
from learning.simulation.members import Member
from learning.simulation.player import FloatArray, Setting, best

# The chance that a change of who is in charge rests on luck alone.
_ERROR = 0.1


class Portfolio:
    """The first member is in charge at the beginning.

    Before each round all expect a reward of every arm. Of the one that is drawn it becomes known, and the
    squared errors there are the evidence: what exploration by a model loses is bounded by its errors on what
    it is shown (Foster and Rakhlin, "Beyond UCB", ICML 2020). Nothing of a round is used before it is over.
    """

    def __init__(self, setting: Setting, members: Mapping[str, Member]) -> None:
        self._setting = setting
        self._names = list(members)
        self._members = list(members.values())
        self._charge = 0
        self._evidence = Evidence(len(self._members) - 1)
        self._expected = np.zeros((len(self._members), setting.arms))
        # Of each change: after how many rounds, and to whom.
        self.changes: list[tuple[int, str]] = []
        self._round = 0

    @property
    def in_charge(self) -> str:
        """Name of the member in charge."""
        return self._names[self._charge]

    def vector(self, context: FloatArray) -> FloatArray:
        for place, member in enumerate(self._members):
            self._expected[place] = member.expect(context)
        charge = self._members[self._charge]
        return best(self._expected[self._charge] + charge.unsure(context))

    def learn(self, context: FloatArray, action: int, reward: float, vector: FloatArray) -> None:
        self._round += 1
        share = self._setting.share(reward)
        expected = np.clip(self._expected[:, action], 0.0, 1.0)
        for member in self._members:
            member.learn(context, action, share)
        others = [place for place in range(len(self._members)) if place != self._charge]
        self._evidence.add(float(expected[self._charge]), expected[others], share)
        odds = self._evidence.odds
        if others and odds.max() >= needed(len(others), _ERROR):
            self._charge = others[int(odds.argmax())]
            self._evidence = Evidence(len(others))
            self.changes.append((self._round, self.in_charge))
