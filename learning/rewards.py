"""Rewards: which outcome belongs to which decision, and what the decision earned. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from audiences.rules import RuleValueError
from playbooks.goal_documents import Counting, Goal, ValueRefused
from playbooks.goals import matches, parse_where
from playbooks.models import Arm

# A property of an event that names the decision it answers.
DECISION_PROPERTY = "decision_id"


@dataclass(frozen=True, slots=True)
class Decided:
    """What a reward needs of a decision. `goal` and `arm` are None when it was to do nothing."""

    decision_id: str
    user_id: str
    decided_at: datetime
    goal: Goal | None
    arm: Arm | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """An event of a user, or their opting out, that may count towards a goal or against a decision."""

    event_id: str
    user_id: str
    name: str
    occurred_at: datetime
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pending:
    """The window is open until `until`."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Refused:
    """An outcome that was credited to a decision and can't be counted, and why."""

    outcome: Outcome
    why: str


@dataclass(frozen=True, slots=True)
class Mature:
    """The window is closed.

    `value` is what success brought and what speaks against the decision took, `cost` what outcomes say that
    the offer came to. `outcome` is the event that decided the value (of a sum the first), None without any;
    `delay` how long after the decision it happened. `against` are the outcomes that spoke against it.
    """

    value: float
    outcome: str | None = None
    cost: float = 0.0
    delay: timedelta | None = None
    against: tuple[str, ...] = ()
    refused: tuple[Refused, ...] = ()


class Reward(msgspec.Struct, frozen=True):
    """Body of a reward fact; its id is the decision's, its time the end of the window.

    `acts` is False when the drawn arm was not delivered because a cap had no room left: such a reward is
    evaluated as intended and not trained on. `outcome` is the id of the event that decided the value, `delay`
    the seconds from the decision to it; `against` are the outcomes that spoke against the decision. `cost` is
    what outcomes say that the offer came to, where the goal reads it.

    A reward that is judged again, because an outcome came late or by another goal, is a new fact with the
    next `version`; the last one counts. `goal` is the playbook's version whose goal judged, where that is not
    the decision's own.
    """

    decision_id: str
    placement: str
    policy: str
    playbook: str | None
    arm: str
    acts: bool
    decided_at: datetime
    value: float
    outcome: str | None
    cost: float = 0.0
    delay: float | None = None
    against: tuple[str, ...] = ()
    version: int = 1
    goal: int | None = None

    @property
    def earned(self) -> float:
        """What is learned from and judged by: the value, net of the cost that outcomes say."""
        return self.value - self.cost


def reward(
    goal: Goal | None, decision: Decided, outcomes: Iterable[Outcome], now: datetime
) -> Mature | Pending:
    """Return what a decision earned inside [decided_at, decided_at + window), or that it is too early.

    Outcomes of one kind count as the goal aggregates them; each kind that speaks against the decision counts
    once. Doing nothing has no goal and earns 0 at once: rewards are counted on top of it.

    Args:
        outcomes: those credited to this decision, in any order.
        now: the present; the window is closed when it ends at or before this moment.
    """
    if goal is None or decision.arm is None:
        return Mature(0.0)
    closes_at = decision.decided_at + goal.window
    if now < closes_at:
        return Pending(closes_at)
    hits: list[Outcome] = []
    against: dict[int, Outcome] = {}
    for outcome in sorted(outcomes, key=lambda one: (one.occurred_at, one.event_id)):
        kind = kind_of(goal, decision, outcome)
        if kind == 0:
            hits.append(outcome)
        elif kind is not None:
            against.setdefault(kind - 1, outcome)
    taken = sum(goal.negatives[kind].value for kind in against)
    spoke = tuple(outcome.event_id for _, outcome in sorted(against.items()))
    worth, refused = _worth(goal, hits)
    if not worth:
        return Mature(goal.default + taken, against=spoke, refused=refused)
    best, value, cost = _aggregated(goal, worth)
    return Mature(value + taken, best.event_id, cost, best.occurred_at - decision.decided_at, spoke, refused)


def credit(decisions: Sequence[Decided], outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    """Give each outcome to one decision of its user; return the outcomes by decision id.

    An outcome with a property `decision_id` goes to the decision of that id or to none. Any other goes to
    the user's latest decision whose goal counts it, and in whose window it lies.
    """
    by_user: dict[str, list[Decided]] = {}
    for decision in sorted(decisions, key=lambda one: (one.decided_at, one.decision_id), reverse=True):
        by_user.setdefault(decision.user_id, []).append(decision)
    credited: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        candidates = by_user.get(outcome.user_id, ())
        named = outcome.properties.get(DECISION_PROPERTY)
        for decision in candidates:
            if named is not None and decision.decision_id != named:
                continue
            if decision.goal is not None and kind_of(decision.goal, decision, outcome) is not None:
                credited.setdefault(decision.decision_id, []).append(outcome)
                break
    return credited


def kind_of(goal: Goal, decision: Decided, outcome: Outcome) -> int | None:
    """Return what an outcome is to a decision: 0 success, n its n-th negative, None nothing."""
    if outcome.user_id != decision.user_id or decision.arm is None:
        return None
    for kind, counting in enumerate(goal.countings):
        if _counts(counting, decision, decision.arm, outcome):
            return kind
    return None


def _counts(counting: Counting, decision: Decided, arm: Arm, outcome: Outcome) -> bool:
    if outcome.name != counting.name:
        return False
    if not decision.decided_at <= outcome.occurred_at < decision.decided_at + counting.window:
        return False
    if counting.where is None:
        return True
    rule = parse_where(counting.where, counting.name, arm.attributes)
    try:
        return matches(rule, outcome.properties, arm)
    except RuleValueError:
        # A property of another type than the goal expects: one odd event must not hold up all rewards.
        return False


def _worth(
    goal: Goal, hits: Sequence[Outcome]
) -> tuple[list[tuple[Outcome, float, float]], tuple[Refused, ...]]:
    """Return each outcome with its worth and cost, and those that can't be counted."""
    worth, refused = [], []
    for outcome in hits:
        try:
            cost = 0.0 if goal.cost is None else goal.cost.read(outcome.properties)
            worth.append((outcome, goal.worth(outcome.properties), cost))
        except ValueRefused as error:
            refused.append(Refused(outcome, str(error)))
    return worth, tuple(refused)


def _aggregated(goal: Goal, worth: Sequence[tuple[Outcome, float, float]]) -> tuple[Outcome, float, float]:
    """Return which outcome of some, in their order, decided, and the value and cost they come to."""
    match goal.aggregation:
        case "first":
            return worth[0]
        case "last":
            return worth[-1]
        case "max":
            # The first of equal ones.
            return max(worth, key=lambda one: one[1])
        case "sum":
            cost = sum(one[2] for one in worth)
            total = sum(one[1] for one in worth)
            most = (goal.most or 0.0, goal.cost.most if goal.cost else 0.0)
            return worth[0][0], min(most[0], total), min(most[1], cost)
