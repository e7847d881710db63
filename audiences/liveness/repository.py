"""SQL of liveness: volumes by hour, and alerts that are open."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from audiences.liveness.tables import open_alerts
from audiences.quality.tables import arrivals

Feed = tuple[str, str]

SILENCE, JUMP = "silence", "jump"


class Alert(msgspec.Struct, frozen=True):
    """An open alert (see `audiences.liveness.tables`)."""

    source: str
    name: str
    what: str
    alert_id: str
    since: datetime
    opened_at: datetime
    expected: float
    seen: int
    resumed_at: datetime | None
    names: tuple[str, ...]


def volumes(
    connection: Connection, since: datetime
) -> Iterable[tuple[str, str, datetime, int, int, datetime | None]]:
    """Return source, name, hour, events, minutes with a sign of life, and the last one, for each hour.

    Everything that arrived counts, also what was set aside: it shows that the source lives. Imports do not.
    """
    table = arrivals.c
    events = table.accepted - table.released - table.imported + table.duplicate + table.conflict
    events = events + table.quarantined + table.machine
    query = (
        select(
            table.source,
            table.name,
            table.hour,
            func.sum(events),
            # Of those that count at the same time, each sees about the same minutes.
            func.max(table.minutes),
            func.max(table.last_at),
        )
        .where(table.hour >= since, table.last_at.is_not(None))
        .group_by(table.source, table.name, table.hour)
    )
    for source, name, hour, number, minutes, last in connection.execute(query):
        yield source, name, hour, int(number), int(minutes), last


def alerts(connection: Connection) -> list[Alert]:
    """Return all open alerts."""
    return [
        Alert(**{**row._mapping, "names": tuple(msgspec.json.decode(row.names))})
        for row in connection.execute(select(open_alerts))
    ]


def open_alert(connection: Connection, alert: Alert) -> None:
    """Keep an alert that is open from now on."""
    row: dict[str, Any] = {
        **msgspec.structs.asdict(alert),
        "names": msgspec.json.encode(alert.names).decode(),
    }
    connection.execute(insert(open_alerts).values(row))


def close_alert(connection: Connection, alert: Alert) -> bool:
    """Let go of an open alert; say whether it was there."""
    return connection.execute(delete(open_alerts).where(_is(alert))).rowcount == 1


def resume_alert(connection: Connection, alert: Alert, moment: datetime) -> None:
    """Note that something came again."""
    connection.execute(update(open_alerts).where(_is(alert)).values(resumed_at=moment))


def silent_since(connection: Connection) -> dict[str, datetime]:
    """Return the events of which a feed is silent, and since when, until it has caught up."""
    found: dict[str, datetime] = {}
    for alert in alerts(connection):
        if alert.what == SILENCE:
            for name in alert.names:
                found[name] = min(alert.since, found.get(name, alert.since))
    return found


def _is(alert: Alert) -> Any:
    return open_alerts.c.alert_id == alert.alert_id
