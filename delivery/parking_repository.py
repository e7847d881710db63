"""SQL of what was put aside because of a control. Every function works in its caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, func, insert, null, select, update

from delivery.routing import ROUTED
from delivery.tables import enrolments, outbox, parked
from storage import ledger
from storage.ledger import Fact
from storage.schema import facts
from storage.statements import Statement
from storage.times import to_micros

MESSAGE, RUN = "message", "run"
# Queues are counted no further than this: whoever looks wants to know that it is many.
COUNT_LIMIT = 20_000

_PARK_RUN = Statement(
    insert(parked).from_select(
        ["kind", "id", "control", "ready_at", "position"],
        select(
            bindparam("kind"),
            enrolments.c.id,
            bindparam("control"),
            enrolments.c.due_at,
            bindparam("position"),
        ).where(enrolments.c.id == bindparam("this")),
    )
)
_NOT_DUE = Statement(update(enrolments).where(enrolments.c.id == bindparam("this")).values(due_at=null()))
_DUE_AGAIN = Statement(
    update(enrolments).where(enrolments.c.id == bindparam("this")).values(due_at=bindparam("ready"))
)
_PARK_MESSAGE = Statement(
    insert(parked).from_select(
        ["kind", "id", "control", "ready_at", "position"],
        select(
            bindparam("kind"),
            outbox.c.key,
            bindparam("control"),
            outbox.c.available_at,
            bindparam("position"),
        ).where(outbox.c.key == bindparam("this")),
    )
)
_OUT_OF_QUEUE = Statement(update(outbox).where(outbox.c.key == bindparam("this")).values(available_at=null()))
_INTO_QUEUE = Statement(
    update(outbox).where(outbox.c.key == bindparam("this")).values(available_at=bindparam("ready"))
)


def park_messages(connection: Connection, aside: Sequence[tuple[str, str]]) -> None:
    """Take messages, given by key and control, out of their queue."""
    rows = [{"this": key, "control": control, "kind": MESSAGE, "position": 0} for key, control in aside]
    _PARK_MESSAGE.run_many(connection, rows)
    _OUT_OF_QUEUE.run_many(connection, [{"this": key} for key, _ in aside])


def unpark_messages(connection: Connection, control: str, limit: int) -> int:
    """Put messages of a control back into their queue, those that were queued first; return how many."""
    rows = connection.execute(_some(MESSAGE, control, limit))
    found = {row.id: row.ready_at for row in rows}
    _INTO_QUEUE.run_many(
        connection, [{"this": key, "ready": to_micros(ready)} for key, ready in found.items()]
    )
    forget(connection, MESSAGE, found)
    return len(found)


def park_runs(connection: Connection, aside: Sequence[tuple[str, str]], position: int) -> None:
    """Take runs, given by id and control, out of their queue."""
    rows = [{"this": run, "control": control, "kind": RUN, "position": position} for run, control in aside]
    _PARK_RUN.run_many(connection, rows)
    _NOT_DUE.run_many(connection, [{"this": run} for run, _ in aside])


def runs_of(connection: Connection, control: str, limit: int) -> dict[str, tuple[datetime, int]]:
    """Return and lock runs of a control: when each was due, and up to where the ledger was routed to it."""
    return {row.id: (row.ready_at, row.position) for row in connection.execute(_some(RUN, control, limit))}


def unpark_runs(connection: Connection, runs: Sequence[tuple[str, datetime | None]]) -> None:
    """Put runs back into their queue, due as they were."""
    rows = [{"this": run, "ready": to_micros(due_at)} for run, due_at in runs if due_at is not None]
    _DUE_AGAIN.run_many(connection, rows)
    forget(connection, RUN, [run for run, _ in runs])


def facts_between(connection: Connection, user_ids: Sequence[str], after: int, through: int) -> list[Fact]:
    """Return what flows wait for of some users, with after < number <= through, in the order it happened."""
    if after >= through:
        return []
    query = (
        ledger.columns()
        .where(facts.c.user_id.in_(user_ids), facts.c.kind.in_([kind.value for kind in ROUTED]))
        .where(facts.c.seq > after, facts.c.seq <= through)
        .order_by(facts.c.occurred_at, facts.c.seq)
    )
    return [ledger.fact_of(row) for row in connection.execute(query)]


def forget(connection: Connection, kind: str, ids: Collection[str]) -> None:
    """Say that some of what was put aside waits no more."""
    if ids:
        connection.execute(delete(parked).where(parked.c.kind == kind, parked.c.id.in_(ids)))


def anything(connection: Connection, control: str) -> bool:
    """Whether anything waits because of a control."""
    return (
        connection.execute(select(parked.c.id).where(parked.c.control == control).limit(1)).first()
        is not None
    )


def waiting(connection: Connection) -> dict[str, dict[str, int]]:
    """Return how much of each kind waits, by control."""
    query = select(parked.c.control, parked.c.kind, func.count()).group_by(parked.c.control, parked.c.kind)
    found: dict[str, dict[str, int]] = {}
    for control, kind, number in connection.execute(query):
        found.setdefault(control, {})[kind] = number
    return found


def due(connection: Connection, now: datetime) -> dict[str, int]:
    """Return how much of each kind is in its queue and could go on now, counted up to `COUNT_LIMIT`."""
    found: dict[str, int] = {}
    for kind, column in ((MESSAGE, outbox.c.available_at), (RUN, enrolments.c.due_at)):
        some = select(column).where(column <= now).limit(COUNT_LIMIT).subquery()
        found[kind] = connection.execute(select(func.count()).select_from(some)).scalar_one()
    return found


def _some(kind: str, control: str, limit: int) -> Select[Any]:
    return (
        select(parked)
        .where(parked.c.control == control, parked.c.kind == kind)
        .order_by(parked.c.control, parked.c.kind, parked.c.ready_at, parked.c.id)
        .limit(limit)
        .with_for_update()
    )
