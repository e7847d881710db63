"""From the policy's probabilities for sampled users to what all who are left are to get."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from playbooks.decision import Decision
from playbooks.library import PublishedPlaybook
from playbooks.models import DO_NOTHING, Arm
from playbooks.rehearsal.expecting import NOTHING, Expected, FloatArray, expect
from playbooks.rehearsal.reach import Reach
from playbooks.rehearsal.report import ArmShare, Cost, NamedShare


@dataclass(frozen=True)
class Draws:
    """Probabilities of sampled users who are left for a playbook: `own` (sample, arms), the others (sample,).

    `users` is how many are left in all.
    """

    own: FloatArray
    others: FloatArray
    nothing: FloatArray
    unknown: FloatArray
    users: int

    @classmethod
    def of(cls, playbook: PublishedPlaybook, decisions: Sequence[Decision], users: int) -> Draws:
        """Take them from the decisions about the sampled users."""
        columns = {arm.id: place for place, arm in enumerate(playbook.arms)}
        own = np.zeros((len(decisions), len(columns)))
        others, nothing, unknown = (np.zeros(len(decisions)) for _ in range(3))
        for row, decision in enumerate(decisions):
            if decision.fallback is not None:
                unknown[row] = 1.0
                continue
            for arm, probability in zip(decision.arms, decision.probabilities, strict=True):
                if arm == DO_NOTHING:
                    nothing[row] += probability
                elif arm in columns:
                    own[row, columns[arm]] = probability
                else:
                    others[row] += probability
        return cls(own, others, nothing, unknown, users)

    def expected(self, probability: FloatArray) -> Expected:
        """Return how many users something happens to, given its probability for each sampled one."""
        cut = np.clip(probability, 0.0, 1.0)
        return expect(cut, cut * (1 - cut), self.users)

    @property
    def contacted(self) -> Expected:
        """How many get any arm of the playbook."""
        return self.expected(self.own.sum(axis=1))

    def amount(self, amounts: Sequence[int]) -> Expected:
        """Return what the drawn arms come to, each arm having its amount."""
        each = np.array(amounts, dtype=np.float64)
        means = self.own @ each
        variances = np.maximum(0.0, self.own @ each**2 - means**2)
        return expect(means, variances, self.users, float(each.max(initial=0.0)))


def arm_shares(playbook: PublishedPlaybook, reach: Reach, draws: Draws) -> Iterator[ArmShare]:
    """Yield what is expected of each arm."""
    for place, arm in enumerate(playbook.arms):
        yield ArmShare(
            arm=arm.id,
            channel=arm.channel,
            content=arm.content,
            offer=arm.offer,
            users=reach.arms[arm.id],
            gets=draws.expected(draws.own[:, place]) if reach.arms[arm.id] else NOTHING,
            value=arm.value,
            cost=arm.cost,
            liability=arm.liability,
            currency=arm.currency,
        )


def shares_by(playbook: PublishedPlaybook, draws: Draws, name: Callable[[Arm], str]) -> Iterator[NamedShare]:
    """Yield what is expected of the arms of each name (channel, content), in the order of names."""
    names = [name(arm) for arm in playbook.arms]
    for one in sorted(set(names)):
        yield NamedShare(one, draws.expected(draws.own[:, [each == one for each in names]].sum(axis=1)))


def costs_of(playbook: PublishedPlaybook, reach: Reach, draws: Draws) -> list[Cost]:
    """Return what it comes to; nothing where its arms carry no money. A playbook has one currency."""
    currencies = {arm.currency for arm in playbook.arms if arm.currency}
    return [
        Cost(currency, draws.amount([arm.cost for arm in playbook.arms]), reach.cost, reach.liability)
        for currency in sorted(currencies)
    ]
