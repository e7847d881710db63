"""Runs a flow for a user without doing anything: what would happen, and when. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from delivery.causes import Cause, Drawn, Due, Happened, OptedOut, TaskDone
from delivery.flow import advance
from delivery.models import (
    AskAgain,
    CallWebhook,
    Effect,
    Enrolment,
    GivePoints,
    IssueCoupon,
    MarkUsed,
    OpenTask,
    SendMessage,
    SetTag,
    Status,
)
from delivery.plans import Plan
from delivery.view import View
from playbooks.flow.drawing import says
from playbooks.models import Arm

# A flow that goes round for ever, by waits, is shown so far.
MOST_MOVES = 200


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that is to happen in a simulation: just one of an event, a task's result, an opt-out."""

    at: datetime
    event: str | None = None
    properties: Mapping[str, Any] = {}
    task: str | None = None
    opt_out: str | None = None

    def cause(self) -> Cause:
        """Return it as it moves a run."""
        if self.task is not None:
            return TaskDone(self.task, self.at)
        if self.opt_out is not None:
            return OptedOut(self.opt_out, self.at)
        return Happened(self.event or "", self.at, self.properties)


class Line(msgspec.Struct, frozen=True):
    """Something that would happen at a moment; `kind` is `given`, `effect`, `waits` or `ends`."""

    at: datetime
    kind: str
    text: str


def simulate(
    plan: Plan, arm: Arm, user_id: str, at: datetime, view: View, given: Sequence[Given] = ()
) -> list[Line]:
    """Return the timeline of a run that begins at a moment.

    The user stays as in `view`; where the flow has the policy decide again, it draws the same variant.

    Raises:
        FlowBroken: the flow can't be interpreted.
    """
    played = _Simulation(plan, _begun(plan, arm, user_id, at), view)
    return played.run(sorted(given, key=lambda one: one.at))


def messages(
    plan: Plan, arm: Arm, user_id: str, at: datetime, view: View, until: datetime
) -> Sequence[SendMessage]:
    """Return the messages that a run wishes for before `until` if nothing happens that it waits for.

    See `simulate`.
    """
    played = _Simulation(plan, _begun(plan, arm, user_id, at), view)
    played.run((), until)
    return [one for one in played.effects if isinstance(one, SendMessage)]


def _begun(plan: Plan, arm: Arm, user_id: str, at: datetime) -> Enrolment:
    name, start = "simulated", plan.flow.start
    return Enrolment(name, user_id, plan.playbook, plan.version, name, arm, start, at, at, started_at=at)


class _Simulation:
    def __init__(self, plan: Plan, run: Enrolment, view: View) -> None:
        self._plan, self._enrolment, self._view = plan, run, view
        self._lines: list[Line] = []
        self.effects: list[Effect] = []

    def run(self, given: Sequence[Given], until: datetime | None = None) -> list[Line]:
        ahead = list(given)
        for _ in range(MOST_MOVES):
            due_at = self._enrolment.due_at
            if due_at is None or (until is not None and due_at >= until):
                break
            if ahead and ahead[0].at < due_at:
                one = ahead.pop(0)
                self._lines.append(Line(one.at, "given", _given(one)))
                if not self._move(one.cause(), one.at):
                    self._lines.append(Line(one.at, "given", "changes nothing for this run"))
            else:
                self._move(Due(), due_at)
        else:
            self._lines.append(Line(self._enrolment.entered_at, "waits", "and so on: the rest is not shown"))
        return self._lines

    def _move(self, cause: Cause, now: datetime) -> bool:
        """Apply a cause and what the policy is taken to draw; return whether anything moved."""
        advanced = advance(self._plan.flow, self._enrolment, cause, now, self._view)
        moved = advanced.enrolment is not self._enrolment
        self._enrolment = advanced.enrolment
        self.effects += advanced.effects
        self._lines += [Line(one.at, "effect", _effect(one, self._plan)) for one in advanced.effects]
        if advanced.effects and isinstance(advanced.effects[-1], AskAgain):
            self._move(Drawn("simulated", self._enrolment.arm), now)
            return not advanced.again or self._move(cause, now) or moved
        if moved:
            self._lines.append(self._stands())
        return moved

    def _stands(self) -> Line:
        run = self._enrolment
        if run.status is Status.ENDED or run.due_at is None:
            return Line(run.entered_at, "ends", f"ends in {run.state!r}: {run.result}")
        state = says(self._plan.flow.states[run.state])
        return Line(run.entered_at, "waits", f"waits in {run.state!r} ({state}) until {told(run.due_at)}")


def told(moment: datetime) -> str:
    """Return a moment as people read it."""
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


def _given(one: Given) -> str:
    if one.task is not None:
        return f"the task is done: {one.task}"
    if one.opt_out is not None:
        return f"the user opts out of {one.opt_out}"
    return f"the user does {one.event}"


def _effect(one: Effect, plan: Plan) -> str:  # noqa: PLR0911 - an effect, a return
    match one:
        case IssueCoupon():
            return "a coupon is issued"
        case MarkUsed():
            return "the goal is noted: the coupon counts as used"
        case SetTag():
            until = "" if one.expires_at is None else f" until {told(one.expires_at)}"
            return f"the tag {one.tag!r} is put on{until}"
        case SendMessage():
            return f"the content {one.content!r} is sent on {one.channel!r}, if nothing stops it"
        case GivePoints():
            return f"{one.points:+g} points in the score {one.score!r}"
        case OpenTask():
            return f"a task is opened: {says(plan.flow.states[one.state])}, due {told(one.due_at)}"
        case CallWebhook():
            return f"another system is told: {says(plan.flow.states[one.state])}"
        case AskAgain():
            return "the policy is asked again; say it draws the same variant"
