"""Runs that do not go on although their time is over, and why: nobody advances them, paused, set aside."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from delivery.models import Status
from delivery.parking_repository import RUN
from delivery.tables import enrolments, parked

# Longer than a busy executor leaves anything that is due.
GRACE = timedelta(minutes=5)


class Late(msgspec.Struct, frozen=True):
    """A run that does not go on; `due_at` is when it should have."""

    enrolment_id: str
    user_id: str
    playbook: str
    version: int
    state: str
    due_at: datetime
    reason: str


def late(connection: Connection, now: datetime, limit: int) -> list[Late]:
    """Return runs that were due more than `GRACE` ago, are paused or set aside; the oldest of each first."""
    return [
        *_overdue(connection, now, limit),
        *_paused(connection, now, limit),
        *_aside(connection, limit),
    ][:limit]


def _overdue(connection: Connection, now: datetime, limit: int) -> list[Late]:
    query = (
        select(enrolments)
        .where(enrolments.c.due_at <= now - GRACE)
        .order_by(enrolments.c.due_at, enrolments.c.id)
        .limit(limit)
    )
    why = "nobody advances it: see whether the job `deliver` runs, and in the log why not"
    return [_late(row, row.due_at, why) for row in connection.execute(query)]


def _paused(connection: Connection, now: datetime, limit: int) -> list[Late]:
    query = (
        select(*enrolments.c, parked.c.control, parked.c.ready_at)
        .join(parked, (parked.c.id == enrolments.c.id) & (parked.c.kind == RUN))
        .where(parked.c.ready_at <= now - GRACE)
        .order_by(parked.c.ready_at, parked.c.id)
        .limit(limit)
    )
    return [
        _late(row, row.ready_at, f"paused by the control {row.control}: resume it")
        for row in connection.execute(query)
    ]


def _aside(connection: Connection, limit: int) -> list[Late]:
    query = (
        select(enrolments)
        .where(enrolments.c.status == Status.STUCK.value)
        .order_by(enrolments.c.entered_at, enrolments.c.id)
        .limit(limit)
    )
    return [_late(row, row.entered_at, f"set aside: {row.result}") for row in connection.execute(query)]


def _late(row: Any, due_at: datetime, reason: str) -> Late:
    return Late(row.id, row.user_id, row.playbook, row.playbook_version, row.state, due_at, reason)
