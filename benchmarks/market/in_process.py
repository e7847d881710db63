"""The market played in one process: the service's own pure parts, without HTTP and without a database.

Matching, `credit`, `reward`, the learner and the budgets' arithmetic are those that the service runs; what is
left out is that decisions are written down. Customers come in a few blocks a day, which are decided for as
`decide-batch` does it. Once a day what has happened is learned: rewards mature when their windows close, and
where the policy says so, open windows teach what is known of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import yaml

from benchmarks.market.customers import FloatArray, IntArray, Market
from benchmarks.market.tally import Tally
from learning.censoring import Came, Seen, weighed
from learning.features import FeatureSet
from learning.learner import Learner
from learning.models import ValueModel
from learning.open_windows import IN_FLIGHT, SHARE
from learning.policy import LearnedPolicy
from learning.rewards import Decided, Mature, Outcome, credit, reward
from learning.rows import Rows
from learning.spec import PolicySpec, read_spec
from playbooks.alike import Case
from playbooks.constraints.circumstances import Circumstances
from playbooks.constraints.counting import Spend
from playbooks.decision import Decision
from playbooks.exploring import budgets_of, losses
from playbooks.goal_documents import OPT_OUT, Goal
from playbooks.library import Library, PublishedPlaybook, expand
from playbooks.matching import Request, Snapshot, decide
from playbooks.matching_many import Asked, Block, WorkedOut
from playbooks.models import DO_NOTHING, Arm, Playbook
from playbooks.offers import Offer

LIBRARY = Path(__file__).parent / "library"
PLACEMENT = "checkout"
# So many of a day's customers come together: about fifty, as many as the service decides for at once where
# they take from the same budgets.
BLOCKS = 6
# Closed windows by which delays are told, as the service keeps them.
_CLOSED = 10_000


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

    def decided(self, goal: Goal) -> Decided:
        made = self.decision
        return Decided(made.decision_id, made.user_id, made.decided_at, goal, self.arm)


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
        # Where exploring may cost anything: it is counted here, so that a block need not be asked one by one.
        free = self._playbook.document.model_copy(update={"exploration_budget": None})
        self._free = Library((replace(self._playbook, document=free),))
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
        self._serve(self._spec.untrained(self._features.names))
        self._open: deque[_Open] = deque()
        self._closed: deque[Came] = deque(maxlen=_CLOSED)
        cents = [round(100 * value) for value in market.values]
        self._places = {arm.id: cents.index(arm.value) for arm in self._playbook.arms}
        self._described = [market.described(customer) for customer in range(len(market))]
        self._past = Past(len(market), cents)
        # Of budgets by their keys: how much is taken, and at most may be.
        self.taken: dict[str, int] = {}
        self.limits: dict[str, int] = {}
        self.tally = Tally()

    def play(self, decisions: int) -> Tally:
        """Let days go by until so many decisions are made, or nobody is left."""
        day, cadence = 0, self._market.parameters.cadence
        while self.tally.decisions < decisions and self._market.here.any():
            morning = self._market.start + timedelta(days=day)
            self._learn(morning)
            coming = np.arange(day % cadence, len(self._market), cadence)
            for place, block in enumerate(np.array_split(coming, BLOCKS)):
                here = block[self._market.here[block]][: decisions - self.tally.decisions]
                if len(here):
                    # Over the whole day: a budget is paced by the clock.
                    self._meet(here, day, morning + place / BLOCKS * timedelta(days=1))
            day += 1
        return self.tally

    def _meet(self, customers: IntArray, day: int, now: datetime) -> None:
        market, who = self._market, customers.tolist()
        decided = self._decided([self._asked(customer, day) for customer in who], now)
        arms = [None if made.arm == DO_NOTHING else self._playbook.arm(made.arm) for made in decided]
        places = [None if arm is None else self._places[arm.id] for arm in arms]
        self.tally.add(market.worth(customers, day), places)
        answers = market.answers(who, day, places)
        for customer, made, arm, place, answer in zip(who, decided, arms, places, answers, strict=True):
            if arm is None or place is None:
                continue
            # An order comes before the customer is decided for again.
            self._past.shown[customer, place] += 1
            self._past.taken[customer, place] += answer.ordered
            waiting, of = _Open(made, arm), made.request_key
            if answer.ordered:
                at = now + answer.after
                said = {"margin": answer.margin, "discount": arm.value / 100, "currency": "EUR"}
                waiting.outcomes.append(Outcome(f"order:{of}", made.user_id, "order_completed", at, said))
                self.tally.realised += answer.margin - arm.value / 100
            if answer.left:
                waiting.outcomes.append(Outcome(f"left:{of}", made.user_id, OPT_OUT, now, {}))
                self.tally.realised -= market.parameters.opt_out.costs
            self._open.append(waiting)

    def _asked(self, customer: int, day: int) -> Asked:
        user = self._market.name(customer)
        key = f"{day}:{user}"
        known = self._described[customer] | self._past.features(customer)
        return Asked(Request(key, user, PLACEMENT, key), Case(user, known, frozenset(), Circumstances()))

    def _decided(self, asked: Sequence[Asked], now: datetime) -> list[Decision]:
        """Decide about customers, and take from the budgets what was drawn and what exploring cost.

        From the first on who is drawn what those before left no room for, the others are decided for anew, as
        the service does; from the first on whom exploring would cost more than is left of the day's budget,
        one after the other.
        """
        decided: list[Decision] = []
        while len(decided) < len(asked):
            fitting = self._while_it_fits(self._together(asked[len(decided) :], now), now)
            if not fitting:
                break
            decided += fitting
        for one in asked[len(decided) :]:
            made = self._alone(one, now)
            self._charge(made, made.explored, now)
            self.tally.narrowed += bool(made.narrowed)
            decided.append(made)
        return decided

    def _circumstances(self, now: datetime) -> Circumstances:
        budgets = self._terms.needs_at(now).budgets
        return Circumstances(levels={one.key: self.taken.get(one.key, 0) for one in budgets})

    def _alone(self, asked: Asked, now: datetime) -> Decision:
        request, case = asked
        return decide(
            self._snapshot,
            request,
            features=case.features,
            audiences=case.audiences,
            circumstances=self._circumstances(now),
            now=now,
        )

    def _together(self, asked: Sequence[Asked], now: datetime) -> Iterator[Decision]:
        """Yield decisions that explore as if that might cost anything."""
        circumstances = self._circumstances(now)
        here = [one._replace(case=one.case._replace(circumstances=circumstances)) for one in asked]
        for made in Block(self._unlimited, PLACEMENT, now, self._worked_out).decide(here):
            if isinstance(made, Exception):
                raise made
            yield made

    def _while_it_fits(self, decided: Iterable[Decision], now: datetime) -> list[Decision]:
        """Return decisions up to the first that budgets have no room for, and take from budgets for them.

        Exploring that stays within a day's budget is not changed by it: so these are the decisions that
        `decide` makes one after the other.
        """
        fitting: list[Decision] = []
        for made in decided:
            lost = self._lost(made, now)
            if not self._fits(made, lost, now):
                break
            self._charge(made, lost, now)
            fitting.append(made)
        return fitting

    def _lost(self, made: Decision, now: datetime) -> dict[str, int]:
        own = [(self._playbook.id, self._playbook.document.exploration_budget)]
        budgets = budgets_of(own, self._spec.costs, self.taken, now)
        # Nobody moves levers here.
        values = np.append(np.array(made.scores) - np.array(made.costs or 0.0), 0.0)
        return losses(values, np.array(made.probabilities), [self._playbook.id] * len(made.scores), budgets)

    def _takes(self, made: Decision, now: datetime) -> list[Spend]:
        if made.arm == DO_NOTHING:
            return []
        arm = self._playbook.arm(made.arm)
        return [spend for one in self._terms.spends if (spend := one.spend(arm, now)) is not None]

    def _fits(self, made: Decision, lost: Mapping[str, int], now: datetime) -> bool:
        explores = self._playbook.document.exploration_budget
        if explores is not None:
            key = explores.counted(self._playbook.id, now).key
            if self.taken.get(key, 0) + sum(lost.values()) > explores.limit:
                return False
        spends = self._takes(made, now)
        return all(self.taken.get(one.budget.key, 0) + one.amount <= one.budget.limit for one in spends)

    def _charge(self, made: Decision, lost: Mapping[str, int], now: datetime) -> None:
        for spend in self._takes(made, now):
            key = spend.budget.key
            self.limits[key] = spend.budget.limit
            self.taken[key] = self.taken.get(key, 0) + spend.amount
        explores = self._playbook.document.exploration_budget
        for playbook, loss in lost.items():
            self.tally.explored += loss
            if explores is not None:
                key = explores.counted(playbook, now).key
                self.limits[key] = explores.limit
                self.taken[key] = self.taken.get(key, 0) + loss

    def _learn(self, now: datetime) -> None:
        window = self._playbook.document.goal.window
        due: list[_Open] = []
        while self._open and self._open[0].decision.decided_at + window <= now:
            due.append(self._open.popleft())
        model: ValueModel | None = None
        if due:
            earned = self._earned(due, [one.outcomes for one in due])
            self._closed.extend(
                Came(one.arm.id, mature.delay, bool(mature.against))
                for one, mature in zip(due, earned, strict=True)
            )
            learnt = self._learner.fold(self._state, self._rows(due, earned, np.ones(len(due))))
            self._state, self._trained, model = learnt.state, self._trained + len(due), learnt.model
        if self._spec.open_windows == "learn":
            model = self._early(now) or model
        if model is not None:
            self._serve(model)

    def _early(self, now: datetime) -> ValueModel | None:
        """Return the model that open windows make, as `learning.open_windows` has it; None: of too few."""
        known = now - IN_FLIGHT
        some = [one for one in self._open if one.decision.decided_at < known]
        if len(some) < SHARE * self._trained:
            return None
        came = [[told for told in one.outcomes if told.occurred_at <= known] for one in some]
        earned = self._earned(some, came)
        seen = [
            Seen(one.arm.id, known - one.decision.decided_at, mature.delay, bool(mature.against))
            for one, mature in zip(some, earned, strict=True)
        ]
        counts = np.array(weighed(self._closed, seen))
        kept = np.flatnonzero(counts > 0).tolist()
        if not kept or len(kept) < SHARE * self._trained:
            return None
        rows = self._rows([some[at] for at in kept], [earned[at] for at in kept], counts[kept])
        return self._learner.fold(self._state, rows).model

    def _earned(self, some: Sequence[_Open], outcomes: Sequence[Sequence[Outcome]]) -> list[Mature]:
        """Return what decisions earned if nothing comes after these outcomes."""
        goal = self._playbook.document.goal
        decided = [one.decided(goal) for one in some]
        credited = credit(decided, [outcome for own in outcomes for outcome in own])
        earned = []
        for one in decided:
            ends = one.decided_at + goal.window
            mature = reward(goal, one, credited.get(one.decision_id, ()), ends)
            if not isinstance(mature, Mature):
                raise TypeError("a window that has ended is not open")
            earned.append(mature)
        return earned

    def _rows(self, some: Sequence[_Open], earned: Sequence[Mature], counts: FloatArray) -> Rows:
        read = {name: [one.decision.features.get(name) for one in some] for name in self._features.inputs}
        return Rows(
            matrix=self._features.rows(read, [one.arm for one in some]),
            targets=np.array([one.value - one.cost for one in earned]),
            propensities=np.array([one.decision.propensity for one in some]),
            importance=counts,
        )

    def _serve(self, model: ValueModel) -> None:
        policy = LearnedPolicy(f"market@{self._trained}", self._spec, self._features, model, self._trained)
        self._snapshot, self._unlimited = (
            Snapshot(library, policy, f"market-{self._market.seed}", costs=self._spec.costs)
            for library in (self._library, self._free)
        )
        self._worked_out = WorkedOut(self._unlimited)
