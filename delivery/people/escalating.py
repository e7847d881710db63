"""Tasks that nobody does in time go to whoever is above; each step once, in a transaction with its facts."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from delivery import outbox_repository as outbox
from delivery.people import repository
from delivery.people.assignment import Given, Roster
from delivery.people.facts import escalated_event, fact
from delivery.people.models import Task
from delivery.people.opening import TaskGiver, escalates_at
from delivery.people.telling import ESCALATED, queued
from delivery.plans import Plans
from playbooks import flow as states
from playbooks.controls import repository as controls
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.errors import NextplayError
from storage.pace import Pace

# What an escalation writes: the task, two facts, what another system is told.
_ROWS_EACH = 4


class Escalating:
    """Escalates the tasks of one database. Any number may work side by side."""

    def __init__(self, database: Database, clock: Clock, plans: Plans, giver: TaskGiver, batch: int) -> None:
        self._database, self._clock, self._plans, self._giver = database, clock, plans, giver
        self._pace = Pace(max(1, batch // _ROWS_EACH))

    def run(self) -> int:
        """Escalate every task whose time has come, as often as it has; return how many escalations."""
        if not repository.anything_escalates(self._database, self._clock.now()):
            return 0
        return self._pace.until_done(self._database, self._some, rows_each=_ROWS_EACH)

    def _some(self, connection: Connection, limit: int) -> tuple[int, int]:
        now = self._clock.now()
        if controls.in_force(connection).everything() is not None:
            return 0, 0
        # Before any task is locked, as everywhere.
        roster = self._giver.roster(connection, now)
        due = repository.due_for_escalation(connection, now, limit)
        done = sum(self._escalate(connection, roster, task, version, now) for task, version in due)
        return len(due), done

    def _escalate(
        self, connection: Connection, roster: Roster, task: Task, version: int, now: datetime
    ) -> bool:
        try:
            plan = self._plans.find(connection, task.playbook, version)
        except NextplayError:
            # Its run is set aside with the reason when it falls due.
            repository.change(connection, task, escalate_at=None)
            return False
        state = plan.flow.states.get(task.state)
        if not isinstance(state, states.Task) or task.level >= len(state.escalate):
            repository.change(connection, task, escalate_at=None)
            return False
        step, at = state.escalate[task.level], task.escalate_at or now
        given = roster.give(step.to, None) if step.to is not None else above(roster, task)
        changed = repository.change(
            connection,
            task,
            level=task.level + 1,
            person=given.person,
            team=given.team,
            claimed_at=None,
            snoozed_until=None,
            escalate_at=escalates_at(state, task.opened_at, task.due_at, task.level + 1),
        )
        fact_id = f"{task.id}:escalated:{changed.level}"
        told = fact(changed, "escalated", fact_id, at, level=changed.level, by=task.person)
        ledger.append(connection, [told, escalated_event(changed, at)], now)
        if step.tell is not None:
            outbox.queue(connection, [queued(changed, ESCALATED, now)])
        return True


def above(roster: Roster, task: Task) -> Given:
    """Return who gets a task from whoever has it: the next above who is at work.

    Where nobody above is at work it is the first above all the same; where there is nobody, it stays.
    """
    first = over = roster.staff.supervisor_of(task.person, task.team)
    seen: set[str] = set()
    while over is not None and over not in seen and not roster.at_work(over):
        seen.add(over)
        over = roster.staff.supervisor_of(over, None)
    found = over if over is not None and over not in seen else first
    if found is None or found in roster.gone:
        return Given(task.person, task.team)
    return Given(found, roster.staff.team_of(found) or task.team)
