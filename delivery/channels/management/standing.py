"""How a channel stands: its bucket of tokens, its breaker, until when its provider asked to wait. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from delivery.channels.management.documents import Breaker, Management, Rate

_SECOND = timedelta(seconds=1)


class Phase(StrEnum):
    """Whether messages go out. `half_open`: a few, to see whether the provider is back."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class ChannelState(msgspec.Struct, frozen=True, gc=False):
    """What is remembered of a channel; None where nothing was yet.

    `tokens` are as of `refilled_at`. `tried` and `failed` are the attempts since `window_from`. While the
    breaker is open, since `opened_at`, the next probes may go at `probe_at`. `held_until` is what the
    provider asked for; `why` is the last failure.
    """

    tokens: float = 0.0
    refilled_at: datetime | None = None
    window_from: datetime | None = None
    tried: int = 0
    failed: int = 0
    opened_at: datetime | None = None
    probe_at: datetime | None = None
    held_until: datetime | None = None
    why: str | None = None

    def phase(self, now: datetime) -> Phase:
        """Return where the breaker stands."""
        if self.opened_at is None:
            return Phase.CLOSED
        return Phase.HALF_OPEN if self.probe_at is None or now >= self.probe_at else Phase.OPEN

    def held(self, now: datetime) -> bool:
        """Whether the provider asked to wait for longer."""
        return self.held_until is not None and now < self.held_until

    def open_for(self, now: datetime) -> timedelta:
        """Return for how long the breaker has been open."""
        return timedelta(0) if self.opened_at is None else now - self.opened_at


def tokens_of(state: ChannelState, rate: Rate, now: datetime) -> float:
    """Return how many tokens the bucket holds now; a new one is full."""
    if state.refilled_at is None:
        return rate.burst
    passed = max(0.0, (now - state.refilled_at) / _SECOND)
    return min(rate.burst, state.tokens + passed * rate.per_second)


def room(state: ChannelState, managed: Management, now: datetime, limit: int) -> int:
    """Return how many messages may be taken now, quotas aside, in [0, limit]."""
    if state.held(now):
        return 0
    if managed.breaker is not None:
        phase = state.phase(now)
        if phase is Phase.OPEN:
            return 0
        if phase is Phase.HALF_OPEN:
            limit = min(limit, managed.breaker.probes)
    if managed.rate is not None:
        # A hair of tolerance: sums of fractions fall short of whole numbers.
        limit = min(limit, int(tokens_of(state, managed.rate, now) + 1e-9))
    return limit


def taken(state: ChannelState, managed: Management, now: datetime, number: int) -> ChannelState:
    """Return the state after `number` messages were taken; probes are not followed by others at once."""
    if managed.rate is not None:
        tokens = max(0.0, tokens_of(state, managed.rate, now) - number)
        state = msgspec.structs.replace(state, tokens=tokens, refilled_at=now)
    if managed.breaker is not None and number and state.opened_at is not None:
        state = msgspec.structs.replace(state, probe_at=now + managed.breaker.rest)
    return state


class Came(msgspec.Struct, frozen=True, gc=False):
    """What came of attempts: taken, refused for what they were, failed by the provider's fault, sent back
    because it was busy, and not tried at all. `hold` is for how long it asked to be left alone.
    """

    taken: int = 0
    refused: int = 0
    failed: int = 0
    busy: int = 0
    let_go: int = 0
    hold: timedelta | None = None
    why: str | None = None


def after(state: ChannelState, managed: Management, came: Came, now: datetime) -> ChannelState:
    """Return the state after attempts came to something."""
    if managed.rate is not None and came.let_go:
        tokens = min(managed.rate.burst, tokens_of(state, managed.rate, now) + came.let_go)
        state = msgspec.structs.replace(state, tokens=tokens, refilled_at=now)
    if came.hold is not None:
        until = now + came.hold
        if state.held_until is None or until > state.held_until:
            state = msgspec.structs.replace(state, held_until=until)
    state = msgspec.structs.replace(state, why=came.why or state.why)
    return state if managed.breaker is None else _judged(state, managed.breaker, came, now)


def _judged(state: ChannelState, breaker: Breaker, came: Came, now: datetime) -> ChannelState:
    answered = came.taken + came.refused
    if state.opened_at is not None:
        if answered:
            return msgspec.structs.replace(
                state, opened_at=None, probe_at=None, window_from=None, tried=0, failed=0
            )
        return msgspec.structs.replace(state, probe_at=now + breaker.rest) if came.failed else state
    if not answered and not came.failed:
        return state
    fresh = state.window_from is None or now - state.window_from >= breaker.window
    tried = (0 if fresh else state.tried) + answered + came.failed
    failed = (0 if fresh else state.failed) + came.failed
    state = msgspec.structs.replace(
        state, window_from=now if fresh else state.window_from, tried=tried, failed=failed
    )
    if failed < breaker.failures or failed < breaker.share * tried:
        return state
    return msgspec.structs.replace(state, opened_at=now, probe_at=now + breaker.rest)
