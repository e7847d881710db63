"""What people do with tasks: take them, hand them on, put them off, write to them, say what they came to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from delivery.causes import TaskDone
from delivery.errors import (
    NoResult,
    NotYours,
    PersonUnknown,
    SnoozeRefused,
    TaskChanged,
    TaskClosed,
    TaskTaken,
    TaskUnknown,
)
from delivery.executor import Executor
from delivery.models import Enrolment, Status
from delivery.people import repository
from delivery.people.facts import done_event, fact
from delivery.people.models import Caller, Task, TaskState
from delivery.people.repository import Wanted
from delivery.people.rights import may_see, teams_of
from delivery.people.staff import Staff
from playbooks.suggesting import closest
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ids import new_id
from storage.writer import Lane

# What a change of a task writes: the task, a fact or two.
_ROWS = 3


class Desk:
    """Tasks, for those who do them."""

    def __init__(self, database: Database, clock: Clock, executor: Executor, staff: Staff) -> None:
        self.database, self._clock, self._executor, self.staff = database, clock, executor, staff

    def now(self) -> datetime:
        """Return the present moment."""
        return self._clock.now()

    def admit(self, caller: Caller) -> Caller:
        """Let a caller in.

        Raises:
            NotYours: the person is not of the staff, or left.
        """
        if caller.person is not None and not caller.everything:
            if caller.person not in self.staff.people:
                raise NotYours(f"this key is {caller.person}'s, whom people.yaml does not have")
            with self.database.read() as connection:
                if caller.person in repository.gone(connection):
                    raise NotYours(f"{caller.person} left: this key opens no tasks any more; revoke it")
        return caller

    def wanted(self, caller: Caller, **chosen: Any) -> Wanted:
        """Return which of the tasks that are a caller's are asked for (see `Wanted`)."""
        if caller.everything or caller.person is None:
            return Wanted(self.now(), **chosen)
        below, teams = self.staff.below(caller.person), teams_of(self.staff, caller)
        return Wanted(self.now(), people={caller.person, *below}, teams=teams, **chosen)

    def roll(self) -> dict[str, Any]:
        """Return who is on the staff, and the teams."""
        now = self.now()
        with self.database.read() as connection:
            gone = repository.gone(connection)
            loads = repository.loads(connection, sorted(self.staff.people))
        people = [
            {
                "id": one.id,
                "name": one.name,
                "team": one.team,
                "supervisor": self.staff.supervisor_of(one.id, None),
                "away": self.staff.is_away(one.id, now),
                "went_to": gone.get(one.id),
                "tasks": loads[one.id],
            }
            for one in self.staff.people.values()
        ]
        teams = [
            {
                "id": one.id,
                "name": one.name,
                "supervisor": one.supervisor,
                "people": self.staff.members(one.id),
            }
            for one in self.staff.teams.values()
        ]
        return {"people": people, "teams": teams}

    def listed(
        self, wanted: Wanted, after: tuple[datetime, str] | None = None, limit: int = 100
    ) -> list[Task]:
        """Return tasks, the first due first, beginning after a due time and id."""
        with self.database.read() as connection:
            return repository.listed(connection, wanted, after, limit)

    def task(self, task_id: str, caller: Caller) -> Task:
        """Return a task.

        Raises:
            TaskUnknown: there is none with this id.
            NotYours: the caller has nothing to do with it.
        """
        with self.database.read() as connection:
            return self._theirs(repository.get(connection, task_id), task_id, caller)

    def claim(
        self, task_id: str, caller: Caller, person: str | None = None, match: str | None = None
    ) -> Task:
        """Take a task on, so that others see that somebody is at it; taking one's own again changes nothing.

        Raises:
            TaskUnknown, NotYours, TaskClosed, TaskChanged: see `_change`.
            PersonUnknown: nobody is named, or nobody of the staff.
            TaskTaken: somebody else was faster.
        """
        who = person or caller.person
        if who is None:
            raise PersonUnknown("say who takes the task: send `person`, or use that person's own key")
        self._known_person(who)

        def work(connection: Connection, task: Task, now: datetime) -> Task:
            if task.claimed_at is not None:
                if task.person == who:
                    return task
                raise TaskTaken(
                    f"{task.person} took the task {task.title!r} on {task.claimed_at:%Y-%m-%d %H:%M}Z; "
                    "reassign it to take it over"
                )
            self._still_here(connection, who)
            team = task.team or self.staff.team_of(who)
            changed = repository.change(
                connection, task, person=who, team=team, claimed_at=now, snoozed_until=None
            )
            self._record(connection, changed, "claimed", caller, now)
            return changed

        return self._change(task_id, caller, match, work)

    def reassign(
        self, task_id: str, to: str, caller: Caller, why: str = "", match: str | None = None
    ) -> Task:
        """Give a task to another person, or put it into a team's queue.

        Raises:
            TaskUnknown, NotYours, TaskClosed, TaskChanged: see `_change`.
            PersonUnknown: there is no such person or team, or the person left.
        """
        if to not in self.staff.names:
            raise PersonUnknown(f"people.yaml has no person or team {to!r}{closest(to, self.staff.names)}")

        def work(connection: Connection, task: Task, now: datetime) -> Task:
            self._still_here(connection, to)
            is_person = to in self.staff.people
            changed = repository.change(
                connection,
                task,
                person=to if is_person else None,
                team=self.staff.team_of(to) if is_person else to,
                claimed_at=None,
                snoozed_until=None,
            )
            self._record(connection, changed, "reassigned", caller, now, note=why)
            return changed

        return self._change(task_id, caller, match, work)

    def snooze(self, task_id: str, until: datetime, caller: Caller, match: str | None = None) -> Task:
        """Put a task off: until then lists can leave it out. It is due and escalated as before.

        Raises:
            TaskUnknown, NotYours, TaskClosed, TaskChanged: see `_change`.
            SnoozeRefused: the moment is past, or the task can't be done any more then.
        """

        def work(connection: Connection, task: Task, now: datetime) -> Task:
            if not now < until < task.closes_at:
                raise SnoozeRefused(
                    f"a task is put off until a moment between now and {task.closes_at.isoformat()}, until "
                    f"when it can be done; not until {until.isoformat()}"
                )
            changed = repository.change(connection, task, snoozed_until=until)
            self._record(connection, changed, "snoozed", caller, now, until=until)
            return changed

        return self._change(task_id, caller, match, work)

    def comment(self, task_id: str, note: str, caller: Caller) -> Task:
        """Write something to a task, also to one that is done or left.

        Raises:
            TaskUnknown, NotYours: see `_change`.
        """

        def work(connection: Connection, task: Task, now: datetime) -> Task:
            self._record(connection, task, "commented", caller, now, note=note)
            return task

        return self._change(task_id, caller, None, work, closed=True)

    def finish(
        self,
        task_id: str,
        result: str,
        caller: Caller,
        note: str = "",
        match: str | None = None,
        answer_id: str | None = None,
    ) -> Task:
        """Record what a task came to, and let its run go on at once.

        Args:
            match: the version of the task that the caller has seen.
            answer_id: of the callback that brought the result.

        Raises:
            TaskUnknown, NotYours, TaskChanged: see `_change`.
            TaskClosed: it was done, or its run went on without it.
            NoResult: it can't come to that.
        """
        task = self.task(task_id, caller)
        if result not in task.results:
            raise NoResult(
                f"{result!r} is no result of the task {task.title!r}{closest(result, task.results)}"
            )
        now = self._clock.now()

        def record(connection: Connection, before: Enrolment, after: Enrolment) -> None:
            if before.status is Status.ACTIVE and before.due_at is None:
                raise TaskClosed(f"the run of the task {task.title!r} is paused; resume it first")
            current = self._theirs(repository.get(connection, task_id, locked=True), task_id, caller)
            if before.revision != task.revision or after.revision == before.revision:
                raise TaskClosed(_why_closed(current))
            _unchanged(current, match)
            done = repository.change(
                connection,
                current,
                person=caller.person or current.person,
                done_at=now,
                done_by=caller.person or caller.name,
                result=result,
                note=note or None,
                answer_id=answer_id,
                escalate_at=None,
            )
            said: dict[str, Any] = {
                "by": done.done_by,
                "result": result,
                "note": note,
                "late": now > done.due_at,
            }
            told = fact(done, "done", f"{done.id}:done", now, **said)
            ledger.append(connection, [told, done_event(done, before.decision_id, result, now)], now)

        if task.closes_at <= now or task.standing in (TaskState.DONE, TaskState.LEFT):
            raise TaskClosed(_why_closed(task))
        self._executor.apply(task.enrolment_id, TaskDone(result, now), record)
        return self.task(task_id, caller)

    def _change(
        self,
        task_id: str,
        caller: Caller,
        match: str | None,
        work: Callable[[Connection, Task, datetime], Task],
        *,
        closed: bool = False,
    ) -> Task:
        """Change a task in a transaction of its own.

        Raises:
            TaskUnknown: there is none with this id.
            NotYours: the caller has nothing to do with it.
            TaskClosed: it was done, or its run went on without it; `closed` ones may be changed too.
            TaskChanged: it is not the version any more that `match` says.
        """

        def change(connection: Connection) -> Task:
            now = self._clock.now()
            repository.lock_staff(connection)
            task = self._theirs(repository.get(connection, task_id, locked=True), task_id, caller)
            _unchanged(task, match)
            done = task.standing in (TaskState.DONE, TaskState.LEFT)
            if not closed and (done or task.closes_at <= now):
                raise TaskClosed(_why_closed(task))
            return work(connection, task, now)

        return self.database.write(change, rows=_ROWS, lane=Lane.REQUEST)

    def _theirs(self, task: Task | None, task_id: str, caller: Caller) -> Task:
        if task is None:
            raise TaskUnknown(f"there is no task {task_id!r}; check the id")
        if not may_see(self.staff, task, caller):
            raise NotYours(
                f"the task {task_id!r} is neither {caller.person}'s, nor their team's, nor of anybody they "
                "supervise"
            )
        return task

    def _known_person(self, person: str) -> None:
        if person not in self.staff.people:
            raise PersonUnknown(f"people.yaml has no person {person!r}{closest(person, self.staff.people)}")

    def _still_here(self, connection: Connection, person: str) -> None:
        successor = repository.gone(connection).get(person)
        if successor is not None:
            raise PersonUnknown(f"{person} left, and everything went to {successor}: name somebody else")

    def _record(
        self, connection: Connection, task: Task, label: str, caller: Caller, now: datetime, **said: Any
    ) -> None:
        fact_id = f"{task.id}:{label}:{new_id(now)}"
        by = caller.person or caller.name
        ledger.append(connection, [fact(task, label, fact_id, now, by=by, **said)], now)


def _unchanged(task: Task, match: str | None) -> None:
    if match is not None and match != task.etag:
        raise TaskChanged(
            f"the task {task.title!r} was changed meanwhile: it is version {task.etag} by now; read it again"
        )


def _why_closed(task: Task) -> str:
    if task.standing is TaskState.DONE:
        return f"the task {task.title!r} was done by {task.done_by} at {task.done_at}: {task.result}"
    return f"the task {task.title!r} was due at {task.due_at}; its run went on without it"
