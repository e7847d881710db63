"""SQL of enrolments. Every function works in its caller's transaction.

A claim locks what it returns: on Postgres rows that another claim holds are skipped, on SQLite there is one
writer. All writes are of many rows at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec
from sqlalchemy import Connection, SelectBase, bindparam, func, select, union_all

from delivery.models import Enrolment, Status
from delivery.parking_repository import RUN
from delivery.reentry import Former
from delivery.tables import IS_ACTIVE, enrolments, parked
from playbooks.models import Arm
from storage import readers
from storage.bulk import Inserts, Updates, Values
from storage.engine import Database
from storage.statements import Statement, defer
from storage.times import from_micros, to_micros


def add_enrolments(connection: Connection, new: Sequence[Enrolment]) -> None:
    """Record enrolments whose ids are fresh, at the end of the writer's turn."""
    rows = [
        (one.user_id, one.playbook, to_micros(one.began), *_decided(one)[:-1], *_standing(one)) for one in new
    ]
    defer(connection, _ADD_ENROLMENT, rows)


def anything_due(database: Database, now: datetime) -> bool:
    """Whether the time of an active enrolment is up, in what is committed."""
    return bool(database.look(_ANY_DUE, {"now": to_micros(now)}))


def claim_due(
    connection: Connection, now: datetime, limit: int, since: datetime | None = None
) -> list[Enrolment]:
    """Return and lock the active enrolments whose time is up, longest overdue first.

    Args:
        since: only those that were due no earlier. (On Postgres what was advanced a moment ago is still in
            the index: from one batch to the next there are ever more to step over.)
    """
    since_micros = _EVER if since is None else to_micros(since)
    found = _CLAIM_DUE.rows(connection, {"since": since_micros, "now": to_micros(now), "most": limit})
    return [_stored(row) for row in found]


def claim_of_users(connection: Connection, user_ids: Sequence[str]) -> list[Enrolment]:
    """Return and lock all active enrolments of at most a turn's users, in the order of their ids."""
    query = (
        select(enrolments)
        .where(enrolments.c.user_id.in_(user_ids), IS_ACTIVE, enrolments.c.due_at.is_not(None))
        .order_by(enrolments.c.id)
        .with_for_update()
    )
    return [_enrolment(row) for row in connection.execute(query)]


def active_runs(connection: Connection, user_ids: Collection[str]) -> dict[str, int]:
    """Return in how many active enrolments users are, of those who are in any."""
    number = func.count().label("number")
    query = select(enrolments.c.user_id, number).where(enrolments.c.user_id.in_(user_ids), IS_ACTIVE)
    return {row.user_id: row.number for row in connection.execute(query.group_by(enrolments.c.user_id))}


def save_enrolments(connection: Connection, changed: Sequence[Enrolment]) -> None:
    """Write the present state of enrolments that were active when they were claimed in this transaction."""
    # Nothing brings a run back that is over or stuck: one that is active now keeps its status and has no
    # result, and the indexes of what is active need not be written.
    _SAVE_ACTIVE.run_many(connection, [_moved(one) for one in changed if one.status is Status.ACTIVE])
    _SAVE_OVER.run_many(connection, [_standing(one) for one in changed if one.status is not Status.ACTIVE])


def save_decisions(connection: Connection, redrawn: Sequence[Enrolment]) -> None:
    """Write what was decided anew, and which version they are in, of enrolments that were claimed here."""
    _SAVE_DECISION.run_many(connection, [_decided(one) for one in redrawn])


def get_enrolment(connection: Connection, enrolment_id: str) -> Enrolment | None:
    """Return an enrolment by its id, or None."""
    row = connection.execute(select(enrolments).where(enrolments.c.id == enrolment_id)).first()
    return None if row is None else _enrolment(row)


def enrolments_of(connection: Connection, ids: Sequence[str]) -> dict[str, Enrolment]:
    """Return enrolments by id."""
    query = select(enrolments).where(enrolments.c.id.in_(ids))
    return {row.id: _enrolment(row) for row in connection.execute(query)}


def lock_of_user(connection: Connection, user_id: str, limit: int) -> list[str]:
    """Return and lock enrolments of a user, whatever became of them."""
    query = select(enrolments.c.id).where(enrolments.c.user_id == user_id)
    return list(connection.execute(query.order_by(enrolments.c.id).limit(limit).with_for_update()).scalars())


def claim_one(connection: Connection, enrolment_id: str) -> Enrolment | None:
    """Return and lock an enrolment, or None."""
    query = select(enrolments).where(enrolments.c.id == enrolment_id).with_for_update()
    row = connection.execute(query).first()
    return None if row is None else _enrolment(row)


def inside(connection: Connection, playbook: str) -> dict[int, dict[str, int]]:
    """Return how many runs are under way in each state of each version of a playbook."""
    runs = under_way(connection, playbook).subquery()
    query = (
        select(runs.c.playbook_version, runs.c.state, func.count())
        .group_by(runs.c.playbook_version, runs.c.state)
        .order_by(runs.c.playbook_version, runs.c.state)
    )
    found: dict[int, dict[str, int]] = {}
    for version, state, number in connection.execute(query):
        found.setdefault(version, {})[state] = number
    return found


def under_way(connection: Connection, playbook: str) -> SelectBase:
    """Return the query of version and state of a playbook's runs that are under way."""
    runs = select(enrolments.c.playbook_version, enrolments.c.state)
    runs = runs.where(enrolments.c.playbook == playbook, IS_ACTIVE)
    if connection.dialect.name != "postgresql":
        return runs
    # There no index has the playbook. What is under way is due or put aside, of which there are some, while
    # those that have ended grow more and more.
    aside = select(parked.c.id).where(parked.c.kind == RUN)
    return union_all(
        runs.where(enrolments.c.due_at.is_not(None)),
        runs.where(enrolments.c.due_at.is_(None), enrolments.c.id.in_(aside)),
    )


def arms_inside(connection: Connection, playbook: str, version: int) -> list[Arm]:
    """Return the arms with which runs of a version are under way."""
    query = select(enrolments.c.arm).where(*_inside(playbook, version)).distinct()
    return [_arm(text) for text in connection.execute(query).scalars()]


def paused(connection: Connection, playbook: str, version: int) -> int:
    """Return how many runs of a version a control has put aside."""
    query = select(func.count()).where(*_inside(playbook, version), enrolments.c.due_at.is_(None))
    return connection.execute(query).scalar_one()


def claim_inside(
    connection: Connection, *, playbook: str, version: int, after: str, limit: int
) -> list[Enrolment]:
    """Return and lock runs under way in a version, in the order of their ids from one on."""
    query = (
        select(enrolments)
        .where(*_inside(playbook, version), enrolments.c.id > after)
        .order_by(enrolments.c.id)
        .limit(limit)
        .with_for_update()
    )
    return [_enrolment(row) for row in connection.execute(query)]


def _inside(playbook: str, version: int) -> list[Any]:
    return [
        enrolments.c.playbook == playbook,
        enrolments.c.playbook_version == version,
        IS_ACTIVE,
    ]


def hold_entry(connection: Connection, user_id: str, playbook: str) -> None:
    """Let nobody else begin a run of a user through a playbook until this transaction ends."""
    if connection.dialect.name == "postgresql":
        key = int.from_bytes(
            blake2b(f"{playbook}:{user_id}".encode(), digest_size=8, person=b"entry").digest(), signed=True
        )
        connection.execute(select(func.pg_advisory_xact_lock(key)))


def former_runs(connection: Connection, user_ids: Sequence[str], playbook: str) -> list[Former]:
    """Return the runs of a person's profiles through a playbook."""
    query = select(enrolments.c.status, enrolments.c.entered_at, enrolments.c.arm).where(
        enrolments.c.user_id.in_(user_ids), enrolments.c.playbook == playbook
    )
    return [Former(Status(status), at, _arm(arm)) for status, at, arm in connection.execute(query)]


def hold_reader(connection: Connection, reader: str) -> int | None:
    """Return a ledger reader's position and keep it until the transaction ends; None if another holds it."""
    if connection.dialect.name == "postgresql":
        key = int.from_bytes(blake2b(reader.encode(), digest_size=8).digest(), signed=True)
        if not connection.execute(select(func.pg_try_advisory_xact_lock(key))).scalar():
            return None
    return readers.position_of(connection, reader)


_encode = msgspec.json.Encoder().encode
# Before all moments there are.
_EVER = -(2**62)
_STATUS = {one.value: one for one in Status}
_STATUSES = {one: one.value for one in Status}
_MOVED = ("state", "entered_at", "due_at", "waiting_for", "revision")
_DECISION = ("decision_id", "arm", "playbook_version")
_ADD_ENROLMENT = Inserts(
    enrolments,
    ("user_id", "playbook", "started_at", *_DECISION, "status", "result", *_MOVED, "id"),
)
_CLAIM_DUE = Statement(
    select(enrolments)
    .where(enrolments.c.due_at >= bindparam("since"), enrolments.c.due_at <= bindparam("now"))
    .order_by(enrolments.c.due_at, enrolments.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_ANY_DUE = Statement(
    select(enrolments.c.id)
    .where(enrolments.c.due_at <= bindparam("now"))
    .order_by(enrolments.c.due_at, enrolments.c.id)
    .limit(1)
)
_SAVE_ACTIVE = Updates(enrolments, _MOVED, "id")
_SAVE_OVER = Updates(enrolments, ("status", "result", *_MOVED), "id")
_SAVE_DECISION = Updates(enrolments, _DECISION, "id")


def _decided(one: Enrolment) -> Values:
    return (one.decision_id, _encode(one.arm).decode(), one.playbook_version, one.id)


def _standing(one: Enrolment) -> Values:
    return (_STATUSES[one.status], one.result, *_moved(one))


def _moved(one: Enrolment) -> Values:
    due_at = None if one.due_at is None else to_micros(one.due_at)
    return (one.state, to_micros(one.entered_at), due_at, one.waiting_for, one.revision, one.id)


@lru_cache(maxsize=4_096)
def _arm(body: str) -> Arm:
    return msgspec.json.decode(body, type=Arm)


def _enrolment(row: Sequence[Any]) -> Enrolment:
    """Return an enrolment from a row that SQLAlchemy made, with moments as they are."""
    return _made(row, _as_it_is)


def _stored(row: Sequence[Any]) -> Enrolment:
    """Return an enrolment from a row as it is stored, with moments as microseconds."""
    return _made(row, from_micros)


def _as_it_is(moment: datetime) -> datetime:
    return moment


def _made(row: Sequence[Any], moment: Callable[[Any], datetime]) -> Enrolment:
    (
        enrolment_id,
        user_id,
        playbook,
        version,
        decision_id,
        arm,
        state,
        entered_at,
        due_at,
        waiting_for,
        revision,
        status,
        result,
        started_at,
    ) = row
    return Enrolment(
        enrolment_id,
        user_id,
        playbook,
        version,
        decision_id,
        _arm(arm),
        state,
        moment(entered_at),
        None if due_at is None else moment(due_at),
        waiting_for,
        revision,
        _STATUS[status],
        result,
        None if started_at is None else moment(started_at),
    )
