"""The market played in one process: the service's own pure parts, without HTTP and without a database.

`decide`, `credit`, `reward`, the learner and the budgets' arithmetic are those that the service runs; what is
left out is that decisions are written down. Rewards mature when their windows close, and are learned once a
day.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import yaml

from benchmarks.market.customers import Market
from benchmarks.market.tally import Tally
from learning.features import FeatureSet
from learning.learner import Learner
from learning.policy import LearnedPolicy
from learning.rewards import Decided, Mature, Outcome, credit, reward
from learning.rows import Rows
from learning.spec import PolicySpec, read_spec
from playbooks.constraints.circumstances import Circumstances
from playbooks.decision import Decision
from playbooks.goal_documents import OPT_OUT
from playbooks.library import Library, PublishedPlaybook, expand
from playbooks.matching import Request, Snapshot, decide
from playbooks.models import DO_NOTHING, Arm, Playbook
from playbooks.offers import Offer

LIBRARY = Path(__file__).parent / "library"
PLACEMENT = "checkout"


def published(folder: Path = LIBRARY) -> PublishedPlaybook:
    """Return the playbook of the market's library as it is served."""
    text = (folder / "playbooks" / "coupons.yaml").read_text(encoding="utf-8")
    document = Playbook.model_validate(yaml.safe_load(text))
    listed = yaml.safe_load((folder / "offers.yaml").read_text(encoding="utf-8"))
    offers = {one.id: one for one in map(Offer.model_validate, listed)}
    return PublishedPlaybook(document, 1, expand(document, offers))


@dataclass(slots=True)
class _Open:
    """A decision whose window is open, and what followed it so far."""

    decision: Decision
    arm: Arm
    outcomes: list[Outcome] = field(default_factory=list)


class Past:
    """Which coupons each customer was shown and took: the features `shown`, `taken_300` and so on."""

    def __init__(self, customers: int, values: Sequence[int]) -> None:
        """`values` of the coupons in cents."""
        self._values = list(values)
        self.shown, self.taken = (np.zeros((customers, len(self._values)), dtype=np.int64) for _ in range(2))

    def features(self, customer: int) -> dict[str, int]:
        """Return what decisions know of a customer's past."""
        told = {}
        for name, counts in (("shown", self.shown[customer]), ("taken", self.taken[customer])):
            told[name] = int(counts.sum())
            told |= {
                f"{name}_{value}": count for value, count in zip(self._values, counts.tolist(), strict=True)
            }
        return told


class Playing:
    """One policy in one market, day by day."""

    def __init__(self, market: Market, folder: Path = LIBRARY) -> None:
        self._market = market
        self._playbook = published(folder)
        self._library = Library((self._playbook,))
        self._terms = self._library.rules.terms(self._playbook)
        self._spec: PolicySpec = read_spec(folder / "policy.yaml")
        words = yaml.safe_load((folder / "vocabularies.yaml").read_text(encoding="utf-8"))["vocabularies"]
        self._features = FeatureSet(self._spec.features, {"value": words["arm_value"]})
        task = self._spec.task(self._features.names)
        if self._spec.learner is None:
            raise ValueError("the market's policy has to learn")
        self._learner: Learner = self._spec.learner.start(task)
        self._state: bytes | None = None
        self._trained = 0
        self._policy = self._serve(self._spec.untrained(self._features.names))
        self._open: deque[_Open] = deque()
        self._past = Past(len(market), [round(100 * value) for value in market.values])
        # Of budgets by their keys: how much is taken, and at most may be.
        self.taken: dict[str, int] = {}
        self.limits: dict[str, int] = {}
        self.tally = Tally()

    def play(self, decisions: int) -> Tally:
        """Let days go by until so many decisions are made, or nobody is left."""
        day = 0
        while self.tally.decisions < decisions and self._market.here.any():
            now = self._market.start + timedelta(days=day)
            self._learn(now)
            for customer in range(day % self._market.parameters.cadence, len(self._market), 7):
                if self._market.here[customer] and self.tally.decisions < decisions:
                    # Over the whole day: a budget is paced by the clock.
                    self._meet(customer, day, now + customer / len(self._market) * timedelta(days=1))
            day += 1
        return self.tally

    def _meet(self, customer: int, day: int, now: datetime) -> None:
        market, user = self._market, self._market.name(customer)
        budgets = self._terms.needs_at(now).budgets
        levels = {one.key: self.taken.get(one.key, 0) for one in budgets}
        snapshot = Snapshot(self._library, self._policy, f"market-{market.seed}", costs=self._spec.costs)
        made = decide(
            snapshot,
            Request(f"{day}:{user}", user, PLACEMENT, f"{day}:{user}"),
            features=market.described(customer) | self._past.features(customer),
            audiences=frozenset(),
            circumstances=Circumstances(levels=levels),
            now=now,
        )
        arm = None if made.arm == DO_NOTHING else self._playbook.arm(made.arm)
        self._charge(made, arm, now)
        place = None if arm is None else self._place(arm)
        self.tally.add(market.worth(customer, day), place, made)
        answer = market.answer(customer, day, place)
        if arm is None or place is None:
            return
        # An order comes before the customer is decided for again.
        self._past.shown[customer, place] += 1
        self._past.taken[customer, place] += answer.ordered
        waiting = _Open(made, arm)
        if answer.ordered:
            said = {"margin": answer.margin, "discount": arm.value / 100, "currency": "EUR"}
            order = Outcome(f"order:{day}:{user}", user, "order_completed", now + answer.after, said)
            waiting.outcomes.append(order)
            self.tally.realised += answer.margin - arm.value / 100
        if answer.left:
            waiting.outcomes.append(Outcome(f"left:{user}", user, OPT_OUT, now, {}))
            self.tally.realised -= market.parameters.opt_out.costs
        self._open.append(waiting)

    def _charge(self, made: Decision, arm: Arm | None, now: datetime) -> None:
        for spending in self._terms.spends if arm is not None else ():
            if arm is not None and (spend := spending.spend(arm, now)) is not None:
                key = spend.budget.key
                self.limits[key] = spend.budget.limit
                self.taken[key] = self.taken.get(key, 0) + spend.amount
        for playbook, lost in made.explored.items():
            budget = self._playbook.document.exploration_budget
            if budget is not None:
                key = budget.counted(playbook, now).key
                self.limits[key] = budget.limit
                self.taken[key] = self.taken.get(key, 0) + lost

    def _place(self, arm: Arm) -> int:
        return int(np.flatnonzero(np.isclose(self._market.values, arm.value / 100))[0])

    def _learn(self, now: datetime) -> None:
        window = self._playbook.document.goal.window
        due: list[_Open] = []
        while self._open and self._open[0].decision.decided_at + window <= now:
            due.append(self._open.popleft())
        if not due:
            return
        rows = self._rows(due, now)
        learnt = self._learner.fold(self._state, rows)
        self._state, self._trained = learnt.state, self._trained + len(rows)
        self._policy = self._serve(learnt.model)

    def _rows(self, due: Sequence[_Open], now: datetime) -> Rows:
        goal = self._playbook.document.goal
        decided = [
            Decided(one.decision.decision_id, one.decision.user_id, one.decision.decided_at, goal, one.arm)
            for one in due
        ]
        credited = credit(decided, [outcome for one in due for outcome in one.outcomes])
        earned = []
        for one in decided:
            mature = reward(goal, one, credited.get(one.decision_id, ()), now)
            earned.append(mature.value - mature.cost if isinstance(mature, Mature) else 0.0)
        matrix = np.array([self._features.matrix(one.decision.features, [one.arm])[0] for one in due])
        return Rows(
            matrix=matrix,
            targets=np.array(earned),
            propensities=np.array([one.decision.propensity for one in due]),
            importance=np.ones(len(due)),
        )

    def _serve(self, model: object) -> LearnedPolicy:
        return LearnedPolicy(f"market@{self._trained}", self._spec, self._features, model, self._trained)  # type: ignore[arg-type]
