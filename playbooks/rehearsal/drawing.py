"""From the policy's probabilities for sampled users to what all who are left are to get."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from playbooks.constraints.binding import Terms
from playbooks.decision import Decision
from playbooks.library import PublishedPlaybook
from playbooks.models import DO_NOTHING, Arm
from playbooks.rehearsal.expecting import NOTHING, Expected, FloatArray, expect
from playbooks.rehearsal.reach import Reach
from playbooks.rehearsal.report import ArmShare, BudgetUse, Cost, NamedShare


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


def budgets_of(
    playbook: PublishedPlaybook, terms: Terms, levels: Mapping[str, int], draws: Draws, now: datetime
) -> Iterator[BudgetUse]:
    """Yield what the playbook is to take from each budget that its arms take from.

    Args:
        levels: how much is taken of budgets, by their keys.
    """
    for one in terms.spends:
        takes = [one.takes(arm) for arm in playbook.arms]
        if not any(takes):
            continue
        budget, expected = one.budget(now), draws.amount(takes)
        taken = levels.get(budget.key, 0)
        users = draws.expected(draws.own[:, [amount > 0 for amount in takes]].sum(axis=1)).expected
        room = max(0, budget.limit - taken)
        short = 1 - room / expected.expected if expected.expected > room else 0.0
        lost = round(users * short, 2)
        yield BudgetUse(budget.rule, budget.period, one.currency, budget.limit, taken, expected, lost)


def costs_of(playbook: PublishedPlaybook, reach: Reach, draws: Draws) -> list[Cost]:
    """Return what it comes to; nothing where its arms carry no money. A playbook has one currency."""
    currencies = {arm.currency for arm in playbook.arms if arm.currency}
    return [
        Cost(currency, draws.amount([arm.cost for arm in playbook.arms]), reach.cost, reach.liability)
        for currency in sorted(currencies)
    ]
