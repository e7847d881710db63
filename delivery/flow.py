"""The flow interpreter: pure, one enrolment and one cause at a time.

Time is that of the causes, not of the moment at which somebody gets to them: a wait that ended at noon is
left at noon, also when it is found at midnight, and the next state was entered at noon. A state takes
events with entered_at <= occurred_at < due_at. What happened before does not concern it, and at `due_at`
the timeout comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from delivery.errors import FlowBroken
from delivery.models import Effect, Enrolment, IssueCoupon, MarkUsed, SendMessage, SetTag, Status
from playbooks import flow as states
from playbooks.models import Arm

# Says whether an event's properties satisfy a `where` for an enrolment's arm.
Condition = Callable[[Mapping[str, Any], Arm], bool]


class Due(msgspec.Struct, frozen=True, gc=False):
    """The state's time is up."""


class Happened(msgspec.Struct, frozen=True, gc=False):
    """The user did something."""

    name: str
    occurred_at: datetime
    properties: Mapping[str, Any]


Cause = Due | Happened


@dataclass(frozen=True, slots=True)
class CompiledFlow:
    """A flow whose rules are compiled; `conditions` are those of the states that have a `where`."""

    start: str
    states: Mapping[str, states.State]
    conditions: Mapping[str, Condition]


class Advanced(msgspec.Struct, frozen=True, gc=False):
    """An enrolment after a cause, and what is to be done because of it, in order."""

    enrolment: Enrolment
    effects: tuple[Effect, ...] = ()


def compile_flow(
    flow: states.Flow, condition: Callable[[states.WaitForEvent], Condition | None]
) -> CompiledFlow:
    """Compile a flow with `condition`, which gives the function of a state's `where`, None if it has none."""
    conditions = {
        name: compiled
        for name, state in flow.states.items()
        if isinstance(state, states.WaitForEvent) and (compiled := condition(state)) is not None
    }
    return CompiledFlow(flow.start, flow.states, conditions)


def advance(flow: CompiledFlow, enrolment: Enrolment, cause: Cause, now: datetime) -> Advanced:
    """Apply a cause: leave the present state, run through the next ones until one waits or the flow ends.

    An event first lets every wait end that was over when it happened. A cause that does not concern the
    enrolment gives back the same enrolment and no effects; any other raises its revision by one. An event
    that claims to lie after `now` is taken to happen now.

    Raises:
        FlowBroken: a state does not exist, states follow each other without end, or a wait ends too late.
    """
    run = _Run(flow, enrolment)
    if isinstance(cause, Due):
        if run.due_at is not None and run.due_at <= now:
            run.time_out(run.due_at)
    else:
        moment = min(cause.occurred_at, now)
        while run.due_at is not None and run.due_at <= moment:
            run.time_out(run.due_at)
        if run.takes(cause, moment):
            run.take(moment)
    return run.outcome()


class _Run:
    """The working state of one `advance`."""

    __slots__ = (
        "_before",
        "_effects",
        "_flow",
        "_moved",
        "_prefix",
        "due_at",
        "entered_at",
        "result",
        "state",
        "waiting_for",
    )

    def __init__(self, flow: CompiledFlow, before: Enrolment) -> None:
        self._flow = flow
        self._before = before
        self._effects: list[Effect] = []
        self._moved = False
        self._prefix = f"{before.id}:{before.revision + 1}:"
        self.state = before.state
        self.entered_at = before.entered_at
        self.due_at = before.due_at if before.status is Status.ACTIVE else None
        self.waiting_for = before.waiting_for
        self.result = before.result

    def time_out(self, moment: datetime) -> None:
        """Leave the present state because its time is up."""
        if self._before.revision == 0 and not self._moved:
            self._enter(self.state, moment)
            return
        state = self._named(self.state)
        if isinstance(state, states.WaitForEvent):
            self._enter(state.on_timeout, moment)
        elif isinstance(state, states.Wait):
            self._enter(state.next, moment)
        else:
            raise FlowBroken(f"the enrolment rests in state {self.state!r}, where nothing is waited for")

    def takes(self, event: Happened, moment: datetime) -> bool:
        """Say whether the present state waits for this event."""
        if self.due_at is None or self.waiting_for != event.name or moment < self.entered_at:
            return False
        condition = self._flow.conditions.get(self.state)
        return condition is None or condition(event.properties, self._before.arm)

    def take(self, moment: datetime) -> None:
        """Leave the present state by the event it waits for."""
        state = self._named(self.state)
        if not isinstance(state, states.WaitForEvent):
            raise FlowBroken(f"the enrolment waits for an event in state {self.state!r}, which takes none")
        self._enter(state.on_event, moment)

    def outcome(self) -> Advanced:
        if not self._moved:
            return Advanced(self._before)
        ended = self.due_at is None
        after = msgspec.structs.replace(
            self._before,
            state=self.state,
            entered_at=self.entered_at,
            due_at=self.due_at,
            waiting_for=self.waiting_for,
            revision=self._before.revision + 1,
            status=Status.ENDED if ended else Status.ACTIVE,
            result=self.result,
        )
        return Advanced(after, tuple(self._effects))

    def _enter(self, name: str, moment: datetime) -> None:
        self._moved = True
        self.entered_at = moment
        self.due_at = self.waiting_for = None
        for _ in self._flow.states:
            self.state = name
            state = self._named(name)
            if isinstance(state, states.Wait):
                self.due_at = _later(moment, state.duration, name)
                return
            if isinstance(state, states.WaitForEvent):
                self.due_at = _later(moment, state.timeout, name)
                self.waiting_for = state.event
                return
            if isinstance(state, states.End):
                self.result = state.result
                return
            self._wish(state, moment)
            name = state.next
        raise FlowBroken(f"the states around {name!r} follow each other without end; put a wait between them")

    def _wish(
        self, state: states.Issue | states.Send | states.Tag | states.GoalReached, moment: datetime
    ) -> None:
        key = f"{self._prefix}{len(self._effects)}"
        effect: Effect
        if isinstance(state, states.Issue):
            effect = IssueCoupon(key, moment)
        elif isinstance(state, states.Send):
            effect = SendMessage(key, moment)
        elif isinstance(state, states.GoalReached):
            effect = MarkUsed(key, moment)
        else:
            lasting = state.expires_after
            expires_at = None if lasting is None else _later(moment, lasting, self.state)
            effect = SetTag(key, moment, state.tag, expires_at)
        self._effects.append(effect)

    def _named(self, name: str) -> states.State:
        try:
            return self._flow.states[name]
        except KeyError:
            raise FlowBroken(
                f"the flow has no state {name!r}, only {sorted(self._flow.states)}; "
                "publish a version that has it, or end the enrolment"
            ) from None


def _later(moment: datetime, span: timedelta, state: str) -> datetime:
    try:
        return moment + span
    except OverflowError:
        raise FlowBroken(f"the span of state {state!r}, {span}, leads beyond the year 9999") from None
