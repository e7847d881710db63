"""How channels are used, in the transactions that claim messages and record what came of them.

What is remembered of a channel is one row, locked while it is looked at: any number of processes keep to the
same rate, quota and breaker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from delivery.attempts import Outcome
from delivery.channels.management import repository
from delivery.channels.management.documents import LOCAL, Management, Quota
from delivery.channels.management.standing import Came, ChannelState, Phase, after, room, taken
from delivery.outbox_repository import Queued

# A provider that is busy and does not say for how long is left alone for so long.
BUSY = timedelta(seconds=1)
# What is longer is no answer of a provider that wants to go on.
_LONGEST_HOLD = timedelta(hours=1)
# Counts by minute are kept for so long.
KEPT = timedelta(days=1)


class Allowance:
    """What a channel may take now: up to `number` messages; `moving`: what waits is to go its next way."""

    __slots__ = ("moving", "number", "state")

    def __init__(self, number: int, state: ChannelState, *, moving: bool = False) -> None:
        self.number, self.state, self.moving = number, state, moving


class Managed:
    """The channels of one relay. Thread-safe: one lane asks of a channel."""

    def __init__(self, management: Mapping[str, Management]) -> None:
        self._management = management
        self._shut: set[str] = set()
        self._minutes: dict[str, datetime] = {}

    def of(self, channel: str) -> Management:
        """Return how a channel is used."""
        return self._management.get(channel, LOCAL)

    @property
    def leads_on(self) -> bool:
        """Whether any channel has a next one."""
        return any(one.then for one in self._management.values())

    def shut(self, channel: str) -> bool:
        """Whether what is in hand is not to be handed over now: the channel is broken or busy."""
        return channel in self._shut

    def shuts(self, channel: str) -> None:
        """Hand nothing more over until messages are claimed again."""
        self._shut.add(channel)

    def may_take(self, connection: Connection, channel: str, now: datetime, limit: int) -> Allowance:
        """Say how many messages may be claimed, and lock what is remembered of the channel."""
        managed = self.of(channel)
        if not managed.remembers:
            self._shut.discard(channel)
            return Allowance(limit, ChannelState())
        state = repository.state_of(connection, channel, lock=True)
        breaker = managed.breaker
        if (
            breaker is not None
            and breaker.then_after is not None
            and state.phase(now) is Phase.OPEN
            and state.open_for(now) >= breaker.then_after
        ):
            return Allowance(limit, state, moving=True)
        number = room(state, managed, now, limit)
        if managed.quota is not None and number:
            number = min(number, _left(connection, channel, managed.quota, now))
        if number:
            self._shut.discard(channel)
        return Allowance(number, state)

    def took(
        self,
        connection: Connection,
        channel: str,
        allowed: Allowance,
        held: Sequence[Queued],
        before: Sequence[Queued],
        now: datetime,
    ) -> None:
        """Count what was claimed; a message whose last attempt was lost was counted with that."""
        managed = self.of(channel)
        if not managed.remembers or not held:
            return
        state = taken(allowed.state, managed, now, len(held))
        if state is not allowed.state:
            repository.keep_state(connection, channel, state)
        if managed.quota is not None:
            fresh = sum(one.holder is None for one in before)
            repository.use(connection, channel, dict.fromkeys(_periods(managed.quota, now), fresh))

    def came(self, connection: Connection, channel: str, outcomes: Sequence[Outcome], now: datetime) -> None:
        """Count what came of attempts, and give back what was not used."""
        managed, came = self.of(channel), _came(outcomes)
        self._count(connection, channel, came, now)
        if not managed.remembers:
            return
        state = repository.state_of(connection, channel, lock=True)
        changed = after(state, managed, came, now)
        if changed != state:
            repository.keep_state(connection, channel, changed)
        if changed.held(now) or changed.phase(now) is Phase.OPEN:
            self._shut.add(channel)
        if managed.quota is not None:
            repository.use(connection, channel, _unused(managed.quota, outcomes))

    def _count(self, connection: Connection, channel: str, came: Came, now: datetime) -> None:
        minute = now.replace(second=0, microsecond=0)
        counted = {"taken": came.taken, "refused": came.refused, "failed": came.failed, "busy": came.busy}
        repository.count(connection, channel, minute, counted)
        if self._minutes.get(channel) != minute:
            self._minutes[channel] = minute
            repository.forget(connection, channel, now - KEPT)


def periods_of(quota: Quota, now: datetime) -> dict[str, tuple[str, int]]:
    """Return the periods of a quota at a moment: `day` and `month`, each with its name and its limit."""
    local = now.astimezone(ZoneInfo(quota.zone))
    limits = {"day": quota.day, "month": quota.month}
    names = {"day": local.date().isoformat(), "month": f"{local:%Y-%m}"}
    return {span: (names[span], limit) for span, limit in limits.items() if limit is not None}


def _periods(quota: Quota, now: datetime) -> list[str]:
    return [name for name, _ in periods_of(quota, now).values()]


def _left(connection: Connection, channel: str, quota: Quota, now: datetime) -> int:
    periods = periods_of(quota, now)
    used = repository.used(connection, channel, [name for name, _ in periods.values()])
    return max(0, min(limit - used.get(name, 0) for name, limit in periods.values()))


def _unused(quota: Quota, outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Return what to give back, by the periods in which it was counted."""
    unused: Counter[str] = Counter()
    for one in outcomes:
        # What was lost once may have been taken: it stays counted.
        if one.receipt is None and not one.may_have_arrived:
            unused.update(dict.fromkeys(_periods(quota, one.attempt.claimed_at), -1))
    return dict(unused)


def _came(outcomes: Sequence[Outcome]) -> Came:
    busy = [one for one in outcomes if one.busy is not None]
    failed = [one for one in outcomes if one.fault]
    holds = [min(one.busy, _LONGEST_HOLD) for one in busy if one.busy is not None]
    let_go = sum(one.let_go for one in outcomes)
    took = sum(one.receipt is not None for one in outcomes)
    troubled = [*busy, *failed]
    return Came(
        taken=took,
        refused=sum(one.refused for one in outcomes),
        failed=len(failed),
        busy=len(busy),
        let_go=let_go + len(busy),
        hold=max(holds, default=None),
        why=troubled[-1].reason if troubled else None,
    )
