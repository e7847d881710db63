"""What the money of a budget earned, by the decisions that took from it; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np

from playbooks.decision import Decision
from playbooks.stakes import stakes_of


def earned_by(decisions: Sequence[Decision], amounts: Mapping[str, int], takers: Set[str]) -> float | None:
    """Return what a minor unit of a budget earned beyond its cost, in units of reward, at least 0.

    Each decision is held against the best that it could have given without the budget, which may be nothing.
    Where money goes to whoever comes first, this is what a little more of it earns; None: nothing is known.

    Args:
        decisions: as a policy made them and they were recorded.
        amounts: what each took of the budget, in minor units, by decision id.
        takers: arms that take from the budget.
    """
    taken = sum(amounts[one.decision_id] for one in decisions)
    return max(0.0, sum(_gained(one, takers) for one in decisions) / taken) if taken else None


def _gained(decision: Decision, takers: Set[str]) -> float:
    # "Do nothing" is the last of them.
    worths = stakes_of(decision, np.array(decision.scores), None).values
    others = [worth for arm, worth in zip(decision.arms, worths, strict=True) if arm not in takers]
    return float(worths[decision.chosen]) - float(max(others))
