"""A flow with its rules compiled, ready to be interpreted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from audiences.rules import OneUser
from delivery.people.hours import Known
from delivery.view import View
from playbooks import flow as states
from playbooks.flow import OnOptOut
from playbooks.models import Arm

# Says whether an event's properties satisfy a `where` for an enrolment's arm.
Condition = Callable[[Mapping[str, Any], Arm], bool]


@dataclass(frozen=True, slots=True)
class GoalExit:
    """The event that ends a run because the goal is reached, and the state it goes to."""

    event: str
    counts: Condition | None
    to: str

    def takes(self, event: str, properties: Mapping[str, Any], arm: Arm) -> bool:
        """Say whether an event reaches the goal of an arm."""
        return event == self.event and (self.counts is None or self.counts(properties, arm))


@dataclass(frozen=True, slots=True)
class RuleExit:
    """A rule over the user that ends a run, and the state it goes to."""

    rule: OneUser
    next: str


@dataclass(frozen=True, slots=True)
class CompiledFlow:
    """A flow whose rules are compiled.

    `timeouts` name the state to which each that waits goes when its time is up. `conditions` are those of the
    states that have a `where`, `rules` those of branches. `asks` says whether the flow asks for the user as
    they are: then `advance` needs a view. `hours` are those in which people work, for tasks that are due in
    working hours.
    """

    start: str
    states: Mapping[str, states.State]
    timeouts: Mapping[str, str]
    conditions: Mapping[str, Condition]
    rules: Mapping[str, OneUser]
    playbook: str = ""
    goal: GoalExit | None = None
    leaving: RuleExit | None = None
    opt_out: OnOptOut | None = None
    expires_after: timedelta | None = None
    expiry_to: str = ""
    asks: bool = False
    hours: Known = field(default_factory=dict)


def compile_flow(
    flow: states.Flow,
    condition: Callable[[states.WaitForEvent], Condition | None],
    rule: Callable[[str], OneUser] | None = None,
    *,
    playbook: str = "",
    goal: tuple[str, Condition | None] = ("", None),
    hours: Known | None = None,
) -> CompiledFlow:
    """Compile a flow.

    Args:
        condition: gives the function of a state's `where`, None if it has none.
        rule: compiles a rule over users; may be left out where no state has one.
        playbook: salts the splits.
        goal: the event of the playbook's goal, and what has to be true of it.
        hours: when people work.
    """
    conditions = {
        name: compiled
        for name, state in flow.states.items()
        if isinstance(state, states.WaitForEvent) and (compiled := condition(state)) is not None
    }
    of_user = rule or _no_rule
    exits = flow.exits
    return CompiledFlow(
        flow.start,
        flow.states,
        {name: to for name, state in flow.states.items() if (to := _timeout(name, state)) is not None},
        conditions,
        {name: of_user(one.rule) for name, one in flow.states.items() if isinstance(one, states.Branch)},
        playbook,
        GoalExit(*goal, exits.goal.next) if exits.goal else None,
        RuleExit(of_user(exits.rule.when), exits.rule.next) if exits.rule else None,
        exits.opt_out,
        exits.expiry.after if exits.expiry else None,
        exits.expiry.next if exits.expiry else "",
        exits.rule is not None or any(map(_asks, flow.states.values())),
        hours or {},
    )


def holds(rule: OneUser, view: View, now: datetime) -> bool:
    """Say whether a rule is true of a user. Raises RuleValueError for a value of another type."""
    return rule(view.values, tags=view.tags, audiences=view.audiences, now=now)[0]


def _timeout(name: str, state: states.State) -> str | None:
    if isinstance(state, states.WaitForEvent):
        return state.on_timeout
    if isinstance(state, states.Wait):
        return state.next
    if isinstance(state, states.Task):
        return state.on_overdue
    # The policy or the counters were asked, and nobody could answer: they are asked again.
    return name if isinstance(state, states.DecideAgain | states.Issue) else None


def _asks(state: states.State) -> bool:
    if isinstance(state, states.Wait):
        return state.duration is None
    if isinstance(state, states.Send):
        return bool(state.among)
    return isinstance(state, states.Branch)


def _no_rule(text: str) -> OneUser:
    raise ValueError(f"nobody compiles the rule {text!r}")
