"""SQL of triggers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, delete, func, select

from audiences.triggers.tables import firings, followed, waits
from storage import ledger
from storage.ledger import Fact, Kind
from storage.schema import facts
from storage.times import to_micros
from storage.upserts import insert_into

_SOME = 400


class Used(NamedTuple):
    """The event that completed a count: it and what happened, and was known, before it are used up."""

    at: datetime
    seq: int

    def up(self, fact: Fact) -> bool:
        """Whether an event is used up."""
        return fact.occurred_at <= self.at and fact.seq <= self.seq


class Last(NamedTuple):
    """The last time a trigger fired for a user, and what a count has used up."""

    fired_at: datetime
    used: Used | None


class Wait(NamedTuple):
    """An event after which something must stay away until `due_at`."""

    user_id: str
    cause: str
    caused_at: datetime
    due_at: datetime


def last_firings(connection: Connection, trigger: str, users: Collection[str]) -> dict[str, Last]:
    """Return the last firing of a trigger for each of these users who had one."""
    found: dict[str, Last] = {}
    for some in _shares(sorted(users)):
        query = select(firings).where(firings.c.trigger == trigger, firings.c.user_id.in_(some))
        for row in connection.execute(query):
            used = Used(row.used_at, row.used_seq) if row.used_at is not None else None
            found[row.user_id] = Last(row.fired_at, used)
    return found


def keep_firings(connection: Connection, trigger: str, new: Mapping[str, Last]) -> None:
    """Replace the last firing of users."""
    rows = [
        {
            "trigger": trigger,
            "user_id": user,
            "fired_at": last.fired_at,
            "used_at": last.used.at if last.used else None,
            "used_seq": last.used.seq if last.used else None,
        }
        for user, last in new.items()
    ]
    _replace(connection, firings, rows, ["trigger", "user_id"])


def wait(connection: Connection, trigger: str, new: Sequence[Wait]) -> None:
    """Begin waits; a user's newer wait takes the place of an older one, an older one changes nothing."""
    newest = {one.user_id: one for one in sorted(new, key=lambda one: one.due_at)}
    rows = [{"trigger": trigger, **one._asdict()} for one in newest.values()]
    if not rows:
        return
    statement = insert_into(connection, waits)
    changed = {name: statement.excluded[name] for name in ("cause", "caused_at", "due_at")}
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["trigger", "user_id"],
            set_=changed,
            where=statement.excluded.due_at >= waits.c.due_at,
        ),
        rows,
    )


def due_waits(connection: Connection, trigger: str, now: datetime, limit: int) -> list[Wait]:
    """Return the waits that are over by now, the longest over first."""
    query = (
        select(waits.c.user_id, waits.c.cause, waits.c.caused_at, waits.c.due_at)
        .where(waits.c.trigger == trigger, waits.c.due_at <= now)
        .order_by(waits.c.due_at, waits.c.user_id)
        .limit(limit)
    )
    return [Wait(*row) for row in connection.execute(query)]


def end_waits(connection: Connection, trigger: str, ended: Sequence[Wait]) -> None:
    """Take waits away, unless they have begun again meanwhile."""
    for one in ended:
        connection.execute(
            delete(waits).where(
                waits.c.trigger == trigger, waits.c.user_id == one.user_id, waits.c.cause == one.cause
            )
        )


def events_of(
    connection: Connection, profiles: Sequence[str], name: str, after: datetime, before: datetime
) -> list[Fact]:
    """Return events of a name of some profiles with after < occurred_at <= before, in their order."""
    query = (
        ledger.columns()
        .where(
            facts.c.user_id.in_(profiles),
            facts.c.kind == Kind.EVENT.value,
            facts.c.label == name,
            facts.c.occurred_at > to_micros(after),
            facts.c.occurred_at <= to_micros(before),
        )
        .order_by(facts.c.occurred_at, facts.c.seq)
    )
    return [ledger.fact_of(row) for row in connection.execute(query)]


def through(connection: Connection, trigger: str) -> datetime | None:
    """Return up to when a trigger's dates or schedule were followed, None before the first time."""
    moment: datetime | None = connection.execute(
        select(followed.c.through).where(followed.c.trigger == trigger)
    ).scalar()
    return moment


def follow(connection: Connection, trigger: str, moment: datetime) -> None:
    """Note up to when a trigger's dates or schedule were followed."""
    _replace(connection, followed, [{"trigger": trigger, "through": moment}], ["trigger"])


def counts(connection: Connection) -> dict[str, tuple[int, datetime | None]]:
    """Return for each trigger for how many users it ever fired, and when it did last."""
    query = select(firings.c.trigger, func.count(), func.max(firings.c.fired_at)).group_by(firings.c.trigger)
    return {trigger: (number, last) for trigger, number, last in connection.execute(query)}


def _replace(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], keys: Sequence[str]
) -> None:
    if not rows:
        return
    statement = insert_into(connection, table)
    changed = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), rows)


def _shares(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[at : at + _SOME] for at in range(0, len(ids), _SOME)]
