"""A contest: the arms of some playbooks side by side, as they are scored and drawn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from playbooks.constraints.scoping import ALL
from playbooks.lineup import Side
from playbooks.models import DO_NOTHING, Arm
from playbooks.policy import FloatArray

_FREE: Mapping[str, float] = MappingProxyType({})


class Contest:
    """The arms of some playbooks side by side, "do nothing" last."""

    __slots__ = (
        "arms",
        "costs",
        "exploring",
        "ids",
        "levers",
        "most",
        "names",
        "owners",
        "pilots",
        "playbooks",
        "weights",
    )

    def __init__(self, sides: Sequence[Side], rates: Mapping[str, float] = _FREE) -> None:
        """`rates` say what a minor unit of a currency costs, in units of reward; of others nothing."""
        self.playbooks = tuple(side.playbook for side in sides)
        competing = [
            (arm, side.playbook)
            for side in sides
            for arm in side.playbook.arms
            if side.arms is ALL or arm.id in side.arms
        ]
        self.arms: tuple[Arm, ...] = tuple(arm for arm, _ in competing)
        self.owners = tuple(owner for _, owner in competing)
        # The playbook of each arm.
        self.names = [owner.id for owner in self.owners]
        self.ids = [*(arm.id for arm in self.arms), DO_NOTHING]
        self.weights = np.array([owner.document.weight for owner in self.owners], dtype=np.float64)
        self.levers = {one.id: one.document.weight for one in self.playbooks if one.document.weight != 1}
        # The budget of each playbook that has one for exploring.
        budgets = [(one.id, one.document.exploration_budget) for one in self.playbooks]
        self.exploring = [(name, budget) for name, budget in budgets if budget is not None]
        self.pilots = {one.id: one.version for one in self.playbooks if one.trial is not None}
        # How many arms the playbook with the most of them has.
        self.most = max(Counter(owner.key for owner in self.owners).values(), default=0)
        # What outcomes say that an offer came to is in what is learned from them.
        costs = np.array(
            [
                0.0 if owner.document.goal.cost is not None else rates.get(arm.currency, 0.0) * arm.cost
                for arm, owner in competing
            ],
            dtype=np.float64,
        )
        # Expected cost of each arm in units of reward, None where none costs anything.
        self.costs: FloatArray | None = costs if costs.any() else None

    def only(self, places: Sequence[int]) -> Contest:
        """Return the contest of some of the arms, in their order."""
        found = Contest(())
        found.playbooks = self.playbooks
        found.arms = tuple(self.arms[place] for place in places)
        found.owners = tuple(self.owners[place] for place in places)
        found.names = [owner.id for owner in found.owners]
        found.ids = [*(arm.id for arm in found.arms), DO_NOTHING]
        found.weights = self.weights[list(places)]
        found.levers, found.exploring, found.pilots = self.levers, self.exploring, self.pilots
        found.most = max(Counter(owner.key for owner in found.owners).values(), default=0)
        found.costs = None if self.costs is None else self.costs[list(places)]
        return found
