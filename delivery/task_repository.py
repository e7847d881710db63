"""SQL of tasks. Every function works in its caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, and_, insert, select, update

from delivery.models import Status, Task, TaskState
from delivery.tables import enrolments, tasks


def add(connection: Connection, opened: Sequence[Task]) -> None:
    """Record new tasks."""
    if opened:
        fields = [one.name for one in tasks.c]
        rows = [{name: getattr(one, name) for name in fields} for one in opened]
        for row, one in zip(rows, opened, strict=True):
            row["results"] = msgspec.json.encode(one.results).decode()
        connection.execute(insert(tasks), rows)


def get(connection: Connection, task_id: str) -> Task | None:
    """Return a task, or None."""
    row = connection.execute(_tasks().where(tasks.c.id == task_id)).first()
    return None if row is None else _task(row)


def listed(
    connection: Connection,
    *,
    standing: str | None,
    assignee: str | None,
    user_id: str | None,
    after: tuple[datetime, str] | None,
    limit: int,
) -> list[Task]:
    """Return tasks, the first due first, from one on (by due time and id)."""
    query = _tasks().order_by(tasks.c.due_at, tasks.c.id).limit(limit)
    if standing == "open":
        query = query.where(tasks.c.done_at.is_(None), _IS_OPEN)
    elif standing == "done":
        query = query.where(tasks.c.done_at.is_not(None))
    elif standing == "left":
        query = query.where(tasks.c.done_at.is_(None), ~_IS_OPEN)
    if assignee is not None:
        query = query.where(tasks.c.assignee == assignee)
    if user_id is not None:
        query = query.where(tasks.c.user_id == user_id)
    if after is not None:
        at, last = after
        query = query.where((tasks.c.due_at > at) | ((tasks.c.due_at == at) & (tasks.c.id > last)))
    return [_task(row) for row in connection.execute(query)]


def finish(connection: Connection, task_id: str, result: str, by: str, now: datetime) -> None:
    """Record that a task was done."""
    connection.execute(
        update(tasks).where(tasks.c.id == task_id).values(result=result, done_by=by, done_at=now)
    )


# The run rests where it was when it opened the task.
_IS_OPEN = and_(enrolments.c.revision == tasks.c.revision, enrolments.c.status == Status.ACTIVE.value)


def _tasks() -> Any:
    # Whose enrolment is gone, is gone itself: both go when a user is erased.
    return select(*tasks.c, _IS_OPEN.label("is_open")).join(
        enrolments, enrolments.c.id == tasks.c.enrolment_id
    )


def _task(row: Row[Any]) -> Task:
    values = dict(row._mapping)
    is_open = values.pop("is_open")
    values["results"] = tuple(msgspec.json.decode(values["results"]))
    standing = TaskState.DONE if row.done_at else TaskState.OPEN if is_open else TaskState.LEFT
    return Task(**values, standing=standing)
