"""SQL of controls. Every function works in its caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, Row, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from playbooks.controls.models import STOPPING, Control, Controls, Mode, Scope
from playbooks.controls.tables import controls
from storage.statements import Statement
from storage.times import from_micros


def in_force(connection: Connection) -> Controls:
    """Return the controls that hold now."""
    return Controls(
        Control(Scope(scope), target, Mode(mode), by, why, from_micros(at))
        for scope, target, mode, by, why, at in _IN_FORCE.rows(connection, {})
    )


def standing(connection: Connection, modes: Collection[Mode]) -> list[Control]:
    """Return the controls in some modes, the latest changed first."""
    query = select(controls).where(controls.c.mode.in_([mode.value for mode in modes]))
    query = query.order_by(controls.c.changed_at.desc(), controls.c.scope, controls.c.target)
    return [_control(row) for row in connection.execute(query)]


def get(connection: Connection, scope: Scope, target: str) -> Control | None:
    """Return and lock a control as it stands, None where nothing was ever stopped."""
    query = select(controls).where(controls.c.scope == scope.value, controls.c.target == target)
    row = connection.execute(query.with_for_update()).first()
    return None if row is None else _control(row)


def held(connection: Connection, some: Iterable[Control]) -> set[str]:
    """Return the keys of those that still hold, and keep it so until the transaction ends."""
    keys = [(one.scope.value, one.target) for one in some]
    query = (
        select(controls)
        .where(tuple_(controls.c.scope, controls.c.target).in_(keys))
        .where(controls.c.mode.in_([mode.value for mode in STOPPING]))
        .with_for_update(read=True)
    )
    return {_control(row).key for row in connection.execute(query)}


def keep(connection: Connection, one: Control) -> None:
    """Keep a control in the place of what stood before, also of what somebody keeps at the same moment."""
    insert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    now = {"mode": one.mode.value, "changed_at": one.at, "changed_by": one.by, "why": one.why}
    statement: Any = insert(controls).values(scope=one.scope.value, target=one.target, **now)
    connection.execute(statement.on_conflict_do_update(index_elements=["scope", "target"], set_=now))


def settle(connection: Connection, one: Control) -> None:
    """Say that nothing waits any more because of a control that was resumed, unless it holds again."""
    connection.execute(
        update(controls)
        .where(
            controls.c.scope == one.scope.value,
            controls.c.target == one.target,
            controls.c.mode == Mode.RESUMING.value,
        )
        .values(mode=Mode.OFF.value)
    )


_IN_FORCE = Statement(
    select(
        controls.c.scope,
        controls.c.target,
        controls.c.mode,
        controls.c.changed_by,
        controls.c.why,
        controls.c.changed_at,
    ).where(or_(*(controls.c.mode == mode.value for mode in STOPPING)))
)


def _control(row: Row[Any]) -> Control:
    return Control(Scope(row.scope), row.target, Mode(row.mode), row.changed_by, row.why, row.changed_at)
