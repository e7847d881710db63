"""One enrolment and what happened to it: through its flow, with the policy asked where the flow says so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from delivery.causes import Cause, Moved, TaskDone
from delivery.deciding import DecideAgain
from delivery.errors import FlowBroken
from delivery.flow import advance
from delivery.models import AskAgain, Effect, Enrolment
from delivery.plans import Plan, Plans
from delivery.step import Step, stuck
from delivery.view import View
from storage.clock import Clock
from storage.errors import NextplayError


class Stepper:
    """Applies causes to enrolments."""

    def __init__(self, plans: Plans, clock: Clock, decide_again: DecideAgain | None = None) -> None:
        self._plans, self._clock, self._decide_again = plans, clock, decide_again

    def step(self, connection: Connection, before: Enrolment, causes: Sequence[Cause], view: View) -> Step:
        """Apply causes to an enrolment; what can't go on is set aside with the reason."""
        plan: Plan | None = None
        effects: list[Effect] = []
        enrolment = before
        now = self._clock.now()
        done = False
        try:
            plan = self._plans.find(connection, before.playbook, _version(before, causes))
            for cause in causes:
                enrolment = self._advance(connection, plan, enrolment, cause, now, view, effects)
                done = done or isinstance(cause, TaskDone)
        except NextplayError as error:
            return Step(stuck(enrolment, str(error)), plan, effects)
        redrawn = (
            enrolment.decision_id != before.decision_id
            or enrolment.playbook_version != before.playbook_version
        )
        return Step(enrolment, plan, effects, redrawn, view.zone, done)

    def _advance(
        self,
        connection: Connection,
        plan: Plan,
        enrolment: Enrolment,
        cause: Cause,
        now: datetime,
        view: View,
        effects: list[Effect],
    ) -> Enrolment:
        """Apply a cause, and what the policy draws where the flow has it asked on the way."""
        causes = [cause]
        # Each state may be come to once with the cause pending and once after it.
        for _ in range(2 * len(plan.flow.states) + 2):
            if not causes:
                return enrolment
            cause = causes.pop(0)
            advanced = advance(plan.flow, enrolment, cause, now, view)
            enrolment = advanced.enrolment
            effects += advanced.effects
            if advanced.again:
                causes.insert(0, cause)
            if advanced.effects and isinstance(asked := advanced.effects[-1], AskAgain):
                if self._decide_again is None:
                    raise FlowBroken("this service has no policy to ask again")
                causes.insert(0, self._decide_again(connection, enrolment, asked.key, now))
        raise FlowBroken(f"the flow asks the policy again and again around {enrolment.state!r}")


def _version(enrolment: Enrolment, causes: Sequence[Cause]) -> int:
    """Return the version by whose flow causes are applied: where a run is moved, the one it moves to."""
    moved = causes[0] if causes else None
    return moved.version if isinstance(moved, Moved) else enrolment.playbook_version
