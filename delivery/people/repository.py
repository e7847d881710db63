"""SQL of tasks and of those who do them. Every function works in its caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, and_, bindparam, func, insert, or_, select, update

from delivery.people.models import Task, TaskState
from delivery.people.tables import exported_rows, leavers, tasks, team_turns
from delivery.tables import enrolments
from storage.engine import Database
from storage.statements import Statement
from storage.times import to_micros
from storage.upserts import insert_into

# Names the lock under which tasks come to people, so that no two see the same turn, load or staff.
_STAFF = 0x6E707065

_IS_UNDONE = and_(tasks.c.done_at.is_(None), tasks.c.left_at.is_(None))
_ESCALATES = Statement(
    select(tasks.c.id)
    .where(tasks.c.escalate_at <= bindparam("now"), _IS_UNDONE)
    .order_by(tasks.c.escalate_at)
    .limit(1)
)
_STANDING = {
    TaskState.OPEN: and_(_IS_UNDONE, tasks.c.claimed_at.is_(None), tasks.c.level == 0),
    TaskState.CLAIMED: and_(_IS_UNDONE, tasks.c.claimed_at.is_not(None)),
    TaskState.ESCALATED: and_(_IS_UNDONE, tasks.c.claimed_at.is_(None), tasks.c.level > 0),
    TaskState.DONE: tasks.c.done_at.is_not(None),
    TaskState.LEFT: and_(tasks.c.done_at.is_(None), tasks.c.left_at.is_not(None)),
}


class Wanted(msgspec.Struct, frozen=True):
    """Which tasks are asked for; what is None does not choose.

    `people` and `teams` together: of any of these people, or of any of these teams. `nobodys`: those that
    nobody has. `overdue` and `snoozed` are as of `now`.
    """

    now: datetime
    standing: Collection[TaskState] = ()
    assignee: str | None = None
    person: str | None = None
    team: str | None = None
    people: Collection[str] | None = None
    teams: Collection[str] = ()
    user_id: str | None = None
    overdue: bool | None = None
    snoozed: bool | None = None
    nobodys: bool = False


def lock_staff(connection: Connection) -> None:
    """Let one transaction at a time give tasks to people, or take people away.

    To be taken before any task's row is locked.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_STAFF)))


def add(connection: Connection, opened: Sequence[Task]) -> None:
    """Record new tasks."""
    if opened:
        fields = [one.name for one in tasks.c]
        rows = [{name: getattr(one, name) for name in fields} for one in opened]
        for row, one in zip(rows, opened, strict=True):
            row["results"] = msgspec.json.encode(one.results).decode()
        connection.execute(insert(tasks), rows)


def get(connection: Connection, task_id: str, *, locked: bool = False) -> Task | None:
    """Return a task, or None; `locked`, so that nobody else changes it before the transaction ends."""
    query = select(tasks).where(tasks.c.id == task_id)
    row = connection.execute(query.with_for_update() if locked else query).first()
    return None if row is None else _task(row)


def answered_by(connection: Connection, answer_id: str) -> Task | None:
    """Return the task whose result a callback of this id brought, or None."""
    row = connection.execute(select(tasks).where(tasks.c.answer_id == answer_id)).first()
    return None if row is None else _task(row)


def listed(
    connection: Connection, wanted: Wanted, after: tuple[datetime, str] | None, limit: int
) -> list[Task]:
    """Return tasks, the first due first, from one on (by due time and id)."""
    query = _chosen(select(tasks), wanted).order_by(tasks.c.due_at, tasks.c.id).limit(limit)
    if after is not None:
        at, last = after
        query = query.where((tasks.c.due_at > at) | ((tasks.c.due_at == at) & (tasks.c.id > last)))
    return [_task(row) for row in connection.execute(query)]


def undone_of(connection: Connection, enrolment_ids: Collection[str]) -> list[Task]:
    """Return the tasks of runs that are neither done nor left, locked, in the order of their ids."""
    query = select(tasks).where(tasks.c.enrolment_id.in_(enrolment_ids), _IS_UNDONE)
    return [_task(row) for row in connection.execute(query.order_by(tasks.c.id).with_for_update())]


def undone_by(connection: Connection, person: str) -> list[Task]:
    """Return the tasks that a person has and that are neither done nor left, locked, in their ids' order."""
    query = select(tasks).where(tasks.c.person == person, _IS_UNDONE)
    return [_task(row) for row in connection.execute(query.order_by(tasks.c.id).with_for_update())]


def anything_escalates(database: Database, now: datetime) -> bool:
    """Whether the time of an escalation has come, in what is committed."""
    return bool(database.look(_ESCALATES, {"now": to_micros(now)}))


def due_for_escalation(connection: Connection, now: datetime, limit: int) -> list[tuple[Task, int]]:
    """Return tasks whose next escalation is due, locked, with the version of the playbook that says which.

    Those of runs that a control has put aside wait for them.
    """
    query = (
        select(*tasks.c, enrolments.c.playbook_version)
        .join(enrolments, enrolments.c.id == tasks.c.enrolment_id)
        .where(tasks.c.escalate_at <= now, _IS_UNDONE, enrolments.c.due_at.is_not(None))
        .order_by(tasks.c.id)
        .limit(limit)
    )
    rows: Sequence[Any] = connection.execute(query.with_for_update(of=tasks, skip_locked=True)).all()
    return [(_task(row), row.playbook_version) for row in rows]


def change(connection: Connection, task: Task, **values: Any) -> Task:
    """Change a task that is locked; return it as it is then."""
    changed = msgspec.structs.replace(task, version=task.version + 1, **values)
    connection.execute(update(tasks).where(tasks.c.id == task.id).values(version=changed.version, **values))
    return changed


def loads(connection: Connection, people: Collection[str]) -> dict[str, int]:
    """Return how many undone tasks people have, by person."""
    query = select(tasks.c.person, func.count()).where(tasks.c.person.in_(people), _IS_UNDONE)
    rows: Any = connection.execute(query.group_by(tasks.c.person))
    found = dict(rows.all())
    return {person: found.get(person, 0) for person in people}


def turns(connection: Connection) -> dict[str, str]:
    """Return who got the last task that was dealt in turn, by team."""
    rows: Any = connection.execute(select(team_turns.c.team, team_turns.c.person))
    return dict(rows.all())


def keep_turn(connection: Connection, team: str, person: str) -> None:
    """Remember who of a team got the last task that was dealt in turn."""
    statement = insert_into(connection, team_turns).values(team=team, person=person)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["team"], set_={"person": statement.excluded.person})
    )


def gone(connection: Connection) -> dict[str, str]:
    """Return to whom everything of those who left went, by who left."""
    rows: Any = connection.execute(select(leavers.c.person, leavers.c.successor))
    return dict(rows.all())


def left(connection: Connection, person: str) -> tuple[str, datetime] | None:
    """Return to whom everything of a person went who left, and when; None: the person is there."""
    query = select(leavers.c.successor, leavers.c.left_at).where(leavers.c.person == person)
    row = connection.execute(query).first()
    return None if row is None else (row.successor, row.left_at)


def leave(connection: Connection, person: str, successor: str, now: datetime) -> None:
    """Record that a person left, and to whom everything went."""
    connection.execute(insert(leavers).values(person=person, successor=successor, left_at=now))


def exported(connection: Connection, by: str, day: date) -> int:
    """Return how many rows somebody took away on a day."""
    query = select(exported_rows.c.number).where(exported_rows.c.by == by, exported_rows.c.day == day)
    return connection.execute(query).scalar() or 0


def count_export(connection: Connection, by: str, day: date, rows: int) -> None:
    """Count rows that somebody took away on a day."""
    statement = insert_into(connection, exported_rows).values(by=by, day=day, number=rows)
    number = exported_rows.c.number + statement.excluded.number
    connection.execute(statement.on_conflict_do_update(index_elements=["by", "day"], set_={"number": number}))


def _chosen(query: Select[Any], wanted: Wanted) -> Select[Any]:
    if wanted.standing:
        query = query.where(or_(*(_STANDING[one] for one in sorted(wanted.standing))))
    for column, value in (
        (tasks.c.assignee, wanted.assignee),
        (tasks.c.person, wanted.person),
        (tasks.c.team, wanted.team),
        (tasks.c.user_id, wanted.user_id),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.people is not None:
        theirs = or_(tasks.c.person.in_(sorted(wanted.people)), tasks.c.team.in_(sorted(wanted.teams)))
        query = query.where(theirs)
    if wanted.nobodys:
        query = query.where(tasks.c.person.is_(None))
    if wanted.overdue is not None:
        late = and_(_IS_UNDONE, tasks.c.due_at <= wanted.now)
        query = query.where(late if wanted.overdue else ~late)
    if wanted.snoozed is not None:
        asleep = and_(tasks.c.snoozed_until.is_not(None), tasks.c.snoozed_until > wanted.now)
        query = query.where(asleep if wanted.snoozed else ~asleep)
    return query


def _task(row: Row[Any]) -> Task:
    values = {name: row._mapping[name] for name in Task.__struct_fields__}
    values["results"] = tuple(msgspec.json.decode(values["results"]))
    return Task(**values)
