"""Rewards: which outcome belongs to which decision, and what the decision earned. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from audiences.rules import RuleValueError
from playbooks.goals import matches, parse_where
from playbooks.models import Arm, Goal

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
    """An event of a user that may count towards a goal."""

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
class Mature:
    """The window is closed; `outcome` is the event that earned the value, None when none did."""

    value: float
    outcome: str | None


class Reward(msgspec.Struct, frozen=True):
    """Body of a reward fact; its id is the decision's, its time the end of the window.

    `acts` is False when the drawn arm was not delivered because a cap had no room left: such a reward is
    evaluated as intended and not trained on. `outcome` is the id of the event that earned the value.
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


def reward(
    goal: Goal | None, decision: Decided, outcomes: Iterable[Outcome], now: datetime
) -> Mature | Pending:
    """Return what a decision earned inside [decided_at, decided_at + window), or that it is too early.

    The first outcome that matches is worth `goal.value`, later ones nothing. Doing nothing has no goal and
    earns 0 at once: rewards are counted on top of it.

    Args:
        outcomes: the user's events, those credited to this decision, in any order.
        now: the present; the window is closed when it ends at or before this moment.
    """
    if goal is None or decision.arm is None:
        return Mature(0.0, None)
    closes_at = decision.decided_at + goal.window
    if now < closes_at:
        return Pending(closes_at)
    hits = [outcome for outcome in outcomes if _counts(goal, decision, outcome)]
    if not hits:
        return Mature(0.0, None)
    first = min(hits, key=lambda outcome: (outcome.occurred_at, outcome.event_id))
    return Mature(goal.value, first.event_id)


def credit(decisions: Sequence[Decided], outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    """Give each outcome to one decision of its user; return the outcomes by decision id.

    An outcome with a property `decision_id` goes to the decision of that id or to none. Any other goes to
    the user's latest decision whose window it lies in and whose goal it meets.
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
            if decision.goal is not None and _counts(decision.goal, decision, outcome):
                credited.setdefault(decision.decision_id, []).append(outcome)
                break
    return credited


def _counts(goal: Goal, decision: Decided, outcome: Outcome) -> bool:
    if outcome.name != goal.event or outcome.user_id != decision.user_id or decision.arm is None:
        return False
    if not decision.decided_at <= outcome.occurred_at < decision.decided_at + goal.window:
        return False
    if goal.where is None:
        return True
    rule = parse_where(goal.where, goal.event, decision.arm.attributes)
    try:
        return matches(rule, outcome.properties, decision.arm)
    except RuleValueError:
        # A property of another type than the goal expects: one odd event must not hold up all rewards.
        return False
