"""The flow interpreter: pure, one enrolment and one cause at a time.

Time is that of the causes, not of the moment at which somebody gets to them: a wait that ended at noon is
left at noon, also when it is found at midnight, and the next state was entered at noon. A state takes
events with entered_at <= occurred_at < due_at. What happened before does not concern it, and at `due_at`
the timeout comes first. Rules alone, which ask for the user, are answered by the user as they are now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, get_args

import msgspec

from audiences.consent.models import ANY
from delivery.causes import Cause, Drawn, Due, Happened, Moved, OptedOut, TakenOut, TaskDone
from delivery.compiled import CompiledFlow, holds
from delivery.errors import FlowBroken
from delivery.models import AskAgain, Effect, Enrolment, OpenTask, Status
from delivery.view import View
from delivery.waiting import due, later, until
from delivery.wishes import wish
from playbooks import flow as states
from playbooks.draws import share_of

# Keeps the hashes of splits apart from those of everything else that is drawn for a user.
_SPLIT: Final = b"flow.split"
_NOBODY: Final = View()


class Advanced(msgspec.Struct, frozen=True, gc=False):
    """An enrolment after a cause, and what is to be done because of it, in order.

    Where the last effect is `AskAgain` the run goes on with `Drawn`; `again`: the cause itself is to be
    applied after that, for the run stopped before it came to it.
    """

    enrolment: Enrolment
    effects: tuple[Effect, ...] = ()
    again: bool = False


def advance(
    flow: CompiledFlow, enrolment: Enrolment, cause: Cause, now: datetime, view: View = _NOBODY
) -> Advanced:
    """Apply a cause: leave the present state, run through the next ones until one waits or the flow ends.

    An event first lets every wait end that was over when it happened. A cause that does not concern the
    enrolment gives back the same enrolment and no effects; any other raises its revision by one. An event
    that claims to lie after `now` is taken to happen now.

    Args:
        view: the user as they are now; what a flow asks of it is `CompiledFlow.asks`.

    Raises:
        FlowBroken: a state does not exist, states follow each other without end, or a wait ends too late.
    """
    run = _Run(flow, enrolment, view, now)
    if isinstance(cause, TakenOut) and enrolment.status is Status.ACTIVE:
        # Also of what a control has put aside, which is due at no time.
        run.end(cause.result, min(cause.at, now))
        return run.outcome()
    if run.due_at is None:
        return Advanced(enrolment)
    if isinstance(cause, Moved):
        run.move(cause)
        return run.outcome()
    match cause:
        case Due():
            if run.due_at <= now:
                run.time_out(run.due_at)
        case Drawn():
            run.draw(cause)
        case _:
            moment = min(cause.at, now)
            if not run.catch_up(moment):
                return run.outcome(again=True)
            if isinstance(cause, Happened):
                run.happen(cause, moment)
            elif isinstance(cause, OptedOut):
                run.opt_out(cause, moment)
            elif isinstance(cause, TaskDone):
                run.do(cause, moment)
    return run.outcome()


class _Run:
    """The working state of one `advance`."""

    __slots__ = (
        "_before",
        "_drawn",
        "_effects",
        "_flow",
        "_left",
        "_moved",
        "_now",
        "_prefix",
        "_version",
        "_view",
        "arm",
        "due_at",
        "entered_at",
        "result",
        "state",
        "waiting_for",
    )

    def __init__(self, flow: CompiledFlow, before: Enrolment, view: View, now: datetime) -> None:
        self._flow = flow
        self._before = before
        self._view = view
        self._now = now
        self._effects: list[Effect] = []
        self._moved = self._left = False
        self._drawn: str | None = None
        self._version = before.playbook_version
        self._prefix = f"{before.id}:{before.revision + 1}:"
        self.arm = before.arm
        self.state = before.state
        self.entered_at = before.entered_at
        self.due_at = before.due_at if before.status is Status.ACTIVE else None
        self.waiting_for = before.waiting_for
        self.result = before.result

    def catch_up(self, moment: datetime) -> bool:
        """Let waits end that were over at a moment; False if the policy has to be asked on the way."""
        while self.due_at is not None and self.due_at <= moment:
            if self._effects and isinstance(self._effects[-1], AskAgain):
                return False
            self.time_out(self.due_at)
        return True

    def time_out(self, moment: datetime) -> None:
        """Leave the present state because its time is up."""
        if self._before.revision == 0 and not self._moved:
            # It has only begun.
            self._enter(self.state, moment)
            return
        self._named(self.state)
        expires_at = self._expires_at()
        if expires_at is not None and moment >= expires_at:
            self._leave(self._flow.expiry_to, moment)
        elif (following := self._flow.timeouts.get(self.state)) is not None:
            self._enter(following, moment)
        else:
            raise FlowBroken(f"the enrolment rests in state {self.state!r}, where nothing is waited for")

    def happen(self, event: Happened, moment: datetime) -> None:
        """Take an event that the present state waits for, or that reaches the goal."""
        if self.due_at is None:
            return
        if self.waiting_for == event.name and moment >= self.entered_at:
            condition = self._flow.conditions.get(self.state)
            if condition is None or condition(event.properties, self.arm):
                state = self._named(self.state)
                if not isinstance(state, states.WaitForEvent):
                    raise FlowBroken(
                        f"the enrolment waits for an event in state {self.state!r}, which takes none"
                    )
                self._enter(state.on_event, moment)
                return
        goal = self._flow.goal
        since_then = moment >= self._before.began
        if goal is not None and since_then and goal.takes(event.name, event.properties, self.arm):
            self._leave(goal.to, max(moment, self.entered_at))

    def opt_out(self, cause: OptedOut, moment: datetime) -> None:
        """End the run if the denial is one that does."""
        way = self._flow.opt_out
        if self.due_at is None or way is None or moment < self._before.began:
            return
        if way.purposes is None or cause.purpose == ANY or cause.purpose in way.purposes:
            self._leave(way.next, max(moment, self.entered_at))

    def draw(self, cause: Drawn) -> None:
        """Go on with what the policy drew."""
        state = self._named(self.state)
        if not isinstance(state, states.DecideAgain):
            return
        if cause.arm is not None:
            self.arm, self._drawn = cause.arm, cause.decision_id
        self._enter(state.next if cause.arm is not None else state.on_nothing, self.entered_at)

    def do(self, cause: TaskDone, moment: datetime) -> None:
        """Go on with the result of a task."""
        state = self._named(self.state)
        if self.due_at is not None and isinstance(state, states.Task) and cause.result in state.results:
            self._enter(state.results[cause.result], max(moment, self.entered_at))

    def end(self, result: str, moment: datetime) -> None:
        """End the run where it is."""
        self._moved = True
        self.entered_at = max(moment, self.entered_at)
        self.due_at = self.waiting_for = None
        self.result = result

    def move(self, cause: Moved) -> None:
        """Come to a state anew; to one that waits as of when the run came to where it was."""
        waits = isinstance(self._named(cause.state), states.Waiting)
        self._version = cause.version
        self._enter(cause.state, self.entered_at if waits else self._now)

    def outcome(self, *, again: bool = False) -> Advanced:
        """Return the enrolment as it is now; `again`: the cause is still to be applied."""
        if not self._moved:
            return Advanced(self._before)
        ended = self.due_at is None
        after = msgspec.structs.replace(
            self._before,
            playbook_version=self._version,
            arm=self.arm,
            decision_id=self._drawn or self._before.decision_id,
            state=self.state,
            entered_at=self.entered_at,
            due_at=self.due_at,
            waiting_for=self.waiting_for,
            revision=self._before.revision + 1,
            status=Status.ENDED if ended else Status.ACTIVE,
            result=self.result,
        )
        return Advanced(after, tuple(self._effects), again)

    def _leave(self, name: str, moment: datetime) -> None:
        """Take the way of an exit, which no other exit cuts short."""
        self._left = True
        self._enter(name, moment)

    def _enter(self, name: str, moment: datetime) -> None:
        self._moved = True
        self.entered_at = moment
        self.due_at = self.waiting_for = None
        leaving = self._flow.leaving
        if leaving is not None and not self._left and holds(leaving.rule, self._view, self._now):
            self._left, name = True, leaving.next
        for _ in self._flow.states:
            self.state = name
            state = self._named(name)
            following = _COMING[type(state)](self, state, moment)
            if following is None:
                return
            name = following
        raise FlowBroken(f"the states around {name!r} follow each other without end; put a wait between them")

    def _end(self, state: states.End, moment: datetime) -> None:
        self.result = state.result

    def _branch(self, state: states.Branch, moment: datetime) -> str:
        return state.then if holds(self._flow.rules[self.state], self._view, self._now) else state.otherwise

    def _split(self, state: states.Split, moment: datetime) -> str:
        return state.way(share_of((self._before.user_id, self._flow.playbook, self.state), _SPLIT))

    def _do(self, state: states.Doing, moment: datetime) -> str:
        """Wish for what a state does, and pass on."""
        key = f"{self._prefix}{len(self._effects)}"
        self._effects.append(wish(state, self.state, key, moment, self.arm, self._view.answers))
        return state.next

    def _rest(self, state: states.Waiting, moment: datetime) -> str | None:
        """Stay in a state that waits, or return the state that follows as there is nothing to wait for."""
        expires_at = self._expires_at()
        if expires_at is not None and expires_at <= moment:
            return self._flow.expiry_to
        if isinstance(state, states.WaitForEvent):
            ends_at = later(moment, state.timeout, self.state)
            self.waiting_for = state.event
        elif isinstance(state, states.DecideAgain):
            self.due_at = moment
            self._effects.append(AskAgain(f"{self._prefix}{len(self._effects)}", moment))
            return None
        elif isinstance(state, states.Task):
            ends_at = self._give(state, moment)
        elif (found := until(state, self.state, moment, self._view)) is not None:
            ends_at = found
        else:
            return state.until_date.otherwise if state.until_date else ""
        self.due_at = ends_at if expires_at is None else min(ends_at, expires_at)
        return None

    def _give(self, state: states.Task, moment: datetime) -> datetime:
        """Give somebody a task; return until when it can be done."""
        due_at = due(state, self.state, moment, self._flow.hours)
        closes_at = due_at if state.grace is None else later(due_at, state.grace, self.state)
        key = f"{self._prefix}{len(self._effects)}"
        self._effects.append(OpenTask(key, moment, self.state, due_at, closes_at))
        return closes_at

    def _expires_at(self) -> datetime | None:
        if self._flow.expires_after is None or self._left:
            return None
        return later(self._before.began, self._flow.expires_after, self.state)

    def _named(self, name: str) -> states.State:
        try:
            return self._flow.states[name]
        except KeyError:
            raise FlowBroken(
                f"the flow has no state {name!r}, only {sorted(self._flow.states)}; "
                "publish a version that has it, or end the enrolment"
            ) from None


# What it is to come to a state, by its kind: each returns the state that follows at once, or None.
_COMING: Final[Mapping[type[Any], Callable[[_Run, Any, datetime], str | None]]] = {
    states.End: _Run._end,
    states.Branch: _Run._branch,
    states.Split: _Run._split,
    **dict.fromkeys(get_args(states.Waiting), _Run._rest),
    **dict.fromkeys(get_args(states.Doing), _Run._do),
}
