"""SQL of channels' states, counts by minute and quotas. Every function works in its caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select

from delivery.channels.management.standing import ChannelState
from delivery.tables import channel_minutes, channel_quotas, channel_states
from storage.upserts import insert_into

_FIELDS = ChannelState.__struct_fields__


def state_of(connection: Connection, channel: str, *, lock: bool = False) -> ChannelState:
    """Return what is remembered of a channel; with `lock` nobody else changes it in the meantime."""
    query = select(*(channel_states.c[name] for name in _FIELDS)).where(channel_states.c.channel == channel)
    if lock:
        query = query.with_for_update()
    row = connection.execute(query).first()
    if row is None and lock:
        # A row that is not there can't be locked.
        first: Any = insert_into(connection, channel_states).values(
            channel=channel, **_values(ChannelState())
        )
        connection.execute(first.on_conflict_do_nothing())
        row = connection.execute(query).first()
    return ChannelState() if row is None else ChannelState(*row)


def keep_state(connection: Connection, channel: str, state: ChannelState) -> None:
    """Remember how a channel stands."""
    values = _values(state)
    statement: Any = insert_into(connection, channel_states).values(channel=channel, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["channel"], set_=values))


def count(connection: Connection, channel: str, minute: datetime, counted: Mapping[str, int]) -> None:
    """Add to the counts of a minute."""
    rows = [
        {"channel": channel, "minute": minute, "outcome": outcome, "number": number}
        for outcome, number in sorted(counted.items())
        if number
    ]
    if not rows:
        return
    statement: Any = insert_into(connection, channel_minutes)
    more = {"number": channel_minutes.c.number + statement.excluded.number}
    keys = ["channel", "minute", "outcome"]
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=more), rows)


def forget(connection: Connection, channel: str, before: datetime) -> None:
    """Take away counts of minutes before a moment."""
    old = (channel_minutes.c.channel == channel) & (channel_minutes.c.minute < before)
    connection.execute(delete(channel_minutes).where(old))


def counts(connection: Connection, since: datetime, channel: str | None = None) -> dict[str, dict[str, int]]:
    """Return what came of attempts in the minutes from a moment on, by channel and outcome; None: of all."""
    query = (
        select(channel_minutes.c.channel, channel_minutes.c.outcome, func.sum(channel_minutes.c.number))
        .where(channel_minutes.c.minute >= since)
        .group_by(channel_minutes.c.channel, channel_minutes.c.outcome)
    )
    if channel is not None:
        query = query.where(channel_minutes.c.channel == channel)
    found: dict[str, dict[str, int]] = {}
    for name, outcome, number in connection.execute(query):
        found.setdefault(name, {})[outcome] = int(number)
    return found


def used(connection: Connection, channel: str, periods: Sequence[str]) -> dict[str, int]:
    """Return how much of a channel's quota is used in each of some periods, where anything is."""
    query = select(channel_quotas.c.period, channel_quotas.c.used).where(
        channel_quotas.c.channel == channel, channel_quotas.c.period.in_(periods)
    )
    return {row.period: row.used for row in connection.execute(query)}


def use(connection: Connection, channel: str, uses: Mapping[str, int]) -> None:
    """Add to what is used of a channel's quota, by period; negative numbers give back."""
    rows = [
        {"channel": channel, "period": period, "used": number}
        for period, number in sorted(uses.items())
        if number
    ]
    if rows:
        statement: Any = insert_into(connection, channel_quotas)
        more = {"used": channel_quotas.c.used + statement.excluded.used}
        connection.execute(
            statement.on_conflict_do_update(index_elements=["channel", "period"], set_=more), rows
        )


def _values(state: ChannelState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in _FIELDS}
