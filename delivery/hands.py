"""What people do with runs: list and do their tasks, take a user out."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from delivery import repository, task_repository, watchdog
from delivery.causes import TakenOut, TaskDone
from delivery.errors import NoResult, TaskClosed, TaskUnknown, UnknownEnrolment
from delivery.executor import Executor
from delivery.models import Enrolment, Status, Task, TaskState
from delivery.tasks import done_fact
from delivery.watchdog import Late
from playbooks.suggesting import closest
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ledger import Kind, NewFact

BY_HAND = "by_hand"


class Hands:
    """Tasks and runs, for people."""

    def __init__(self, database: Database, clock: Clock, executor: Executor) -> None:
        self._database, self._clock, self._executor = database, clock, executor

    def tasks(
        self,
        *,
        standing: TaskState | None = None,
        assignee: str | None = None,
        user_id: str | None = None,
        after: tuple[datetime, str] | None = None,
        limit: int = 100,
    ) -> list[Task]:
        """Return tasks, the first due first, beginning after a due time and id."""
        with self._database.read() as connection:
            return task_repository.listed(
                connection, standing=standing, assignee=assignee, user_id=user_id, after=after, limit=limit
            )

    def task(self, task_id: str) -> Task:
        """Return a task. Raises TaskUnknown."""
        with self._database.read() as connection:
            return _known(task_repository.get(connection, task_id), task_id)

    def finish(self, task_id: str, result: str, by: str) -> Task:
        """Record that a task was done, and let its run go on at once.

        Raises:
            TaskUnknown: there is none with this id.
            TaskClosed: it was done, or its run went on without it.
            NoResult: it can't come to that.
        """
        task = self.task(task_id)
        if result not in task.results:
            raise NoResult(
                f"{result!r} is no result of the task {task.title!r}{closest(result, task.results)}"
            )
        now = self._clock.now()

        def record(connection: Connection, before: Enrolment, after: Enrolment) -> None:
            if before.status is Status.ACTIVE and before.due_at is None:
                raise TaskClosed(f"the run of the task {task.title!r} is paused; resume it first")
            if before.revision != task.revision or after.revision == before.revision:
                raise TaskClosed(_why_closed(_known(task_repository.get(connection, task_id), task_id)))
            task_repository.finish(connection, task_id, result, by, now)
            ledger.append(connection, [done_fact(task, before.decision_id, result, by, now)], now)

        if task.due_at <= now or task.standing is not TaskState.OPEN:
            raise TaskClosed(_why_closed(task))
        self._executor.apply(task.enrolment_id, TaskDone(result, now), record)
        return self.task(task_id)

    def enrolment(self, enrolment_id: str) -> Enrolment:
        """Return a run. Raises UnknownEnrolment."""
        with self._database.read() as connection:
            found = repository.get_enrolment(connection, enrolment_id)
        if found is None:
            raise UnknownEnrolment(f"there is no enrolment {enrolment_id!r}; check the id")
        return found

    def late(self, limit: int) -> list[Late]:
        """Return runs that do not go on although their time is over, and why (see `delivery.watchdog`)."""
        with self._database.read() as connection:
            return watchdog.late(connection, self._clock.now(), limit)

    def take_out(self, enrolment_id: str, why: str, by: str) -> Enrolment:
        """End a run wherever it is; one that has ended stays as it is.

        Raises:
            UnknownEnrolment: there is none with this id.
        """
        now = self._clock.now()

        def record(connection: Connection, before: Enrolment, after: Enrolment) -> None:
            if before.status is Status.ACTIVE:
                body = {"enrolment": before.id, "by": by, "why": why}
                fact = NewFact(Kind.CHANGE, f"{before.id}:{BY_HAND}", BY_HAND, before.user_id, now, body)
                ledger.append(connection, [fact], now)

        return self._executor.apply(enrolment_id, TakenOut(BY_HAND, now), record)


def _known(task: Task | None, task_id: str) -> Task:
    if task is None:
        raise TaskUnknown(f"there is no task {task_id!r}; check the id")
    return task


def _why_closed(task: Task) -> str:
    if task.standing is TaskState.DONE:
        return f"the task {task.title!r} was done by {task.done_by} at {task.done_at}: {task.result}"
    return f"the task {task.title!r} was due at {task.due_at}; its run went on without it"
