"""Opens the tasks that runs come to, and leaves those that runs go on without; in the runs' transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from delivery.models import OpenTask, Status
from delivery.outbox_repository import Queued
from delivery.people import repository
from delivery.people.assignment import Roster
from delivery.people.facts import fact
from delivery.people.models import Task
from delivery.people.owners import NoOwners, Owners
from delivery.people.repository import Wanted
from delivery.people.staff import Staff
from delivery.people.telling import OPENED, queued
from delivery.step import Step
from playbooks import flow as states
from storage import ledger


class TaskGiver:
    """Gives people the tasks of flows."""

    def __init__(self, staff: Staff | None = None, owners: Owners | None = None) -> None:
        self.staff, self._owners = staff or Staff(), owners or NoOwners()

    def roster(self, connection: Connection, now: datetime) -> Roster:
        """Return the staff as it is, which nobody else changes before the transaction ends."""
        repository.lock_staff(connection)
        loads = repository.loads(connection, sorted(self.staff.people))
        return Roster(self.staff, now, repository.gone(connection), repository.turns(connection), loads)

    def owned_by(self, connection: Connection, person: str) -> int:
        """Return of how many accounts and users traits name a person as the owner."""
        return sum(self.staff.called(one.name) == person for one in self._owners.said(connection))

    def owned(
        self, connection: Connection, now: datetime, wanted: Wanted, limit: int
    ) -> list[tuple[str, str, str]]:
        """Return (user, account or "", owner) of users who are owned, at most so many.

        Whose owner left has the successor, whose owner is away still has them.
        """
        roster = Roster(self.staff, now, repository.gone(connection))
        found: list[tuple[str, str, str]] = []
        for user, account, said in self._owners.users(connection):
            owner = roster.belongs_to(said)
            if owner is None or not _is_wanted(wanted, owner, self.staff.team_of(owner)):
                continue
            if len(found) == limit:
                break
            found.append((user, account, owner))
        return found

    def keep(self, connection: Connection, steps: Sequence[Step], now: datetime) -> list[Queued]:
        """Open and leave the tasks of steps; return what other systems are told of those opened."""
        wishes = [
            (step, one, state)
            for step in steps
            for one in step.effects
            if isinstance(one, OpenTask)
            and step.plan is not None
            and isinstance(state := step.plan.flow.states.get(one.state), states.Task)
        ]
        opened = self._open(connection, wishes, now) if wishes else []
        self._leave(connection, steps, now)
        return [
            queued(task, OPENED, now)
            for task, (_, _, state) in zip(opened, wishes, strict=True)
            if state.tell is not None
        ]

    def _open(
        self, connection: Connection, wishes: Sequence[tuple[Step, OpenTask, states.Task]], now: datetime
    ) -> list[Task]:
        roster = self.roster(connection, now)
        opened: list[Task] = []
        for step, wish, state in wishes:
            run = step.enrolment
            owned = self._owners.of(connection, run.user_id) if state.assign == "owner" else None
            given = roster.give(state.assignee, state.assign, owned)
            opened.append(
                Task(
                    wish.key,
                    run.user_id,
                    run.id,
                    run.decision_id,
                    int(wish.key.rsplit(":", 2)[1]),
                    run.playbook,
                    wish.state,
                    state.title,
                    state.assignee,
                    given.person,
                    given.team,
                    tuple(state.results),
                    wish.at,
                    wish.due_at,
                    wish.closes_at,
                    escalate_at=escalates_at(state, wish.at, wish.due_at, 0),
                )
            )
        repository.add(connection, opened)
        keep_turns(connection, roster)
        facts = [fact(one, "opened", f"{one.id}:opened", one.opened_at, due_at=one.due_at) for one in opened]
        ledger.append(connection, facts, now)
        return opened

    def _leave(self, connection: Connection, steps: Sequence[Step], now: datetime) -> None:
        """Leave the tasks that runs went on without. A result lets a run go on with its task."""
        resting = {step.enrolment.id: _rests_in(step) for step in steps if _may_leave(step)}
        if not resting:
            return
        left = [
            repository.change(connection, one, left_at=_left_at(one, now), escalate_at=None)
            for one in repository.undone_of(connection, sorted(resting))
            if one.id != resting[one.enrolment_id]
        ]
        facts = [
            fact(one, "left", f"{one.id}:left", one.left_at or now, late=one.is_overdue(now)) for one in left
        ]
        ledger.append(connection, facts, now)


def keep_turns(connection: Connection, roster: Roster) -> None:
    """Keep whose turn it was last."""
    for team in sorted(roster.dealt):
        repository.keep_turn(connection, team, roster.turns[team])


def _is_wanted(wanted: Wanted, owner: str, team: str | None) -> bool:
    if wanted.person not in (None, owner) or wanted.team not in (None, team):
        return False
    return wanted.people is None or owner in wanted.people or team in wanted.teams


def escalates_at(state: states.Task, opened_at: datetime, due_at: datetime, level: int) -> datetime | None:
    """Return when a task that was escalated `level` times is escalated next, None if it isn't."""
    if level >= len(state.escalate):
        return None
    step = state.escalate[level]
    if step.overdue_by is not None:
        return due_at + step.overdue_by
    return opened_at + (step.share or 1.0) * (due_at - opened_at)


def _may_leave(step: Step) -> bool:
    if step.done:
        return False
    waits_for_people: Mapping[str, states.State] = step.plan.flow.states if step.plan else {}
    # Whose plan can't be found, or who was moved from another version, may have had one all the same.
    return (
        step.plan is None
        or step.redrawn
        or any(isinstance(one, states.Task) for one in waits_for_people.values())
    )


def _rests_in(step: Step) -> str | None:
    """Return the task in which a run rests now."""
    given = [one for one in step.effects if isinstance(one, OpenTask)]
    active = step.enrolment.status is Status.ACTIVE
    return given[-1].key if given and active and given[-1].state == step.enrolment.state else None


def _left_at(task: Task, now: datetime) -> datetime:
    # Nobody could do it any more from then on, however late the run went on.
    return min(task.closes_at, now)
