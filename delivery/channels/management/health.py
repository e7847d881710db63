"""How channels are doing, for people and for who watches over them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from delivery import outbox_repository as outbox
from delivery.channels.management import repository
from delivery.channels.management.documents import Management
from delivery.channels.management.managed import periods_of
from delivery.channels.management.standing import ChannelState, Phase, tokens_of
from playbooks.controls import Mode, Scope
from playbooks.controls import repository as controls

# Queues are counted no further than this: whoever looks wants to know that it is many.
COUNT_LIMIT: Final = 20_000
# What came of attempts is told of the last minutes, the present one among them.
MINUTES: Final = 15


class Health(msgspec.Struct, frozen=True):
    """How one channel is doing.

    `state` is `open`, or why nothing goes out: `paused`, `draining`, `broken`, `probing`, `busy` (the
    provider asked to wait), `exhausted` (the quota). `waiting` is counted up to `COUNT_LIMIT`; `oldest_at`
    is when the first due message was queued. `quota` is by `day` and `month`.
    """

    name: str
    kind: str
    state: str
    waiting: int
    oldest_at: datetime | None
    concurrency: int
    rate: Mapping[str, Any] | None
    breaker: Mapping[str, Any] | None
    held_until: datetime | None
    quota: Mapping[str, Mapping[str, Any]]
    then: list[str]
    cost: str | None
    minutes: Mapping[str, Any]


def health(connection: Connection, name: str, kind: str, managed: Management, now: datetime) -> Health:
    """Return how a channel is doing."""
    state = repository.state_of(connection, name)
    waiting, oldest_at = outbox.queue_of(connection, name, now, COUNT_LIMIT)
    quota = _quota(connection, name, managed, now)
    rate = managed.rate
    return Health(
        name,
        kind,
        _stopped(connection, name) or _state(state, managed, quota, now),
        waiting,
        oldest_at,
        managed.concurrency,
        None
        if rate is None
        else {"messages": rate.messages, "per": rate.per, "tokens": int(tokens_of(state, rate, now))},
        None if managed.breaker is None else _breaker(state, now),
        state.held_until if state.held(now) else None,
        quota,
        list(managed.then),
        None if managed.cost is None else str(managed.cost),
        _minutes(connection, name, now),
    )


def _stopped(connection: Connection, name: str) -> str | None:
    for one in controls.standing(connection, [Mode.PAUSE, Mode.DRAIN]):
        if one.scope is Scope.EVERYTHING or (one.scope is Scope.CHANNEL and one.target == name):
            return "paused" if one.mode is Mode.PAUSE else "draining"
    return None


def _state(
    state: ChannelState, managed: Management, quota: Mapping[str, Mapping[str, Any]], now: datetime
) -> str:
    phase = Phase.CLOSED if managed.breaker is None else state.phase(now)
    if phase is not Phase.CLOSED:
        return "broken" if phase is Phase.OPEN else "probing"
    if state.held(now):
        return "busy"
    return "exhausted" if any(one["left"] == 0 for one in quota.values()) else "open"


def _breaker(state: ChannelState, now: datetime) -> Mapping[str, Any]:
    opened = state.opened_at is not None
    return {
        "phase": state.phase(now).value,
        "opened_at": state.opened_at,
        "probe_at": state.probe_at if opened else None,
        "why": state.why,
    }


def _quota(
    connection: Connection, name: str, managed: Management, now: datetime
) -> Mapping[str, Mapping[str, Any]]:
    if managed.quota is None:
        return {}
    periods = periods_of(managed.quota, now)
    used = repository.used(connection, name, [period for period, _ in periods.values()])
    return {
        span: {
            "period": period,
            "zone": managed.quota.zone,
            "limit": limit,
            "used": used.get(period, 0),
            "left": max(0, limit - used.get(period, 0)),
        }
        for span, (period, limit) in periods.items()
    }


def _minutes(connection: Connection, name: str, now: datetime) -> Mapping[str, Any]:
    since = now.replace(second=0, microsecond=0) - timedelta(minutes=MINUTES - 1)
    counted = repository.counts(connection, since, name).get(name, {})
    told = {outcome: counted.get(outcome, 0) for outcome in ("taken", "refused", "failed", "busy")}
    tried = told["taken"] + told["refused"] + told["failed"]
    return {"of": MINUTES, **told, "success": round(told["taken"] / tried, 4) if tried else None}
