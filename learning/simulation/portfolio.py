"""A portfolio: models that learn from the same rounds; one is in charge until another proves better."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from learning.simulation.members import Member
from learning.simulation.player import FloatArray, Setting, best
from learning.succession import Succession

# The chance that a change of who is in charge rests on luck alone.
_ERROR = 0.1


class Portfolio:
    """The first member is in charge at the beginning.

    Before each round all expect a reward of every arm. Of the one that is drawn it becomes known, and the
    errors there are the evidence (`Succession`). Nothing of a round is used before it is over.
    """

    def __init__(self, setting: Setting, members: Mapping[str, Member]) -> None:
        self._setting = setting
        self._members = list(members.values())
        self._succession = Succession(list(members), _ERROR)
        self._expected = np.zeros((len(self._members), setting.arms))
        # Of each change: after how many rounds, and to whom.
        self.changes: list[tuple[int, str]] = []

    def vector(self, context: FloatArray) -> FloatArray:
        for place, member in enumerate(self._members):
            self._expected[place] = member.expect(context)
        place = self._succession.place
        return best(self._expected[place] + self._members[place].unsure(context))

    def learn(self, context: FloatArray, action: int, reward: float, vector: FloatArray) -> None:
        share = self._setting.share(reward)
        expected = np.clip(self._expected[:, action], 0.0, 1.0)
        for member in self._members:
            member.learn(context, action, share)
        changes = self._succession.take(expected[None, :], np.array([share]))
        self.changes += [(one.rounds, one.member) for one in changes]
