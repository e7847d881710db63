"""The state of one user: kept rows and sums, by source; what an event changes of it; and its bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from feature_repo.history import HistoryEvent
from feature_repo.incremental.fold import fold, join
from feature_repo.incremental.plan import By, Plan, SourcePlan
from feature_repo.incremental.rows import Rows, decoded, encoded, make_rows, merged, microseconds

NEVER = (1 << 63) - 1


@dataclass(slots=True)
class SourceState:
    """Kept rows of a source, and a sum for each of its plan's folded measures (see `fold`)."""

    rows: Rows
    folded: list[Any]


@dataclass(slots=True)
class UserState:
    """`first` is the time (µs) of the earliest event, `sequence` the highest number of one."""

    first: int = NEVER
    sequence: int = 0
    sources: dict[int, SourceState] = field(default_factory=dict)


def take(plan: Plan, state: UserState, events: Iterable[HistoryEvent]) -> dict[tuple[int, By | None], int]:
    """Let events of one user, each for the first time and in any order, into the state.

    Returns the earliest time of rows in sources with rates, which depend on the first row of all users.
    """
    made: dict[int, list[tuple[int, int, tuple[Any, ...]]]] = {}
    for event in events:
        numbers = plan.of_event.get(event.name)
        if numbers is None:
            continue
        moment = microseconds(event.occurred_at)
        state.first = min(state.first, moment)
        state.sequence = max(state.sequence, event.sequence)
        for number in numbers:
            for row in plan.sources[number].take(event):
                made.setdefault(number, []).append((moment, event.sequence, row))
    firsts: dict[tuple[int, By | None], int] = {}
    for number, some in made.items():
        source = plan.sources[number]
        rows = make_rows(source, some)
        for by in source.rated:
            of = rows.times if by is None else rows.times[rows.positions[source.bys.index(by)] >= 0]
            if len(of):
                firsts[number, by] = int(of[0])
        kept = state.sources.get(number)
        state.sources[number] = _pruned(
            source,
            SourceState(rows, [None] * len(source.folded))
            if kept is None
            else SourceState(merged(kept.rows, rows), kept.folded),
        )
    return firsts


def together(plan: Plan, states: Sequence[UserState]) -> UserState:
    """The state of a person of several profiles, from the profiles' states."""
    if len(states) == 1:
        return states[0]
    sources: dict[int, SourceState] = {}
    for state in states:
        for number, kept in state.sources.items():
            before = sources.get(number)
            if before is not None:
                sums = zip(plan.sources[number].folded, before.folded, kept.folded, strict=True)
                folded = [join(asked, one, other) for asked, one, other in sums]
                kept = SourceState(merged(before.rows, kept.rows), folded)  # noqa: PLW2901
            sources[number] = kept
    return UserState(min(one.first for one in states), max(one.sequence for one in states), sources)


def _pruned(plan: SourcePlan, state: SourceState) -> SourceState:
    """Rows that have left every window become part of the sums."""
    if plan.keep_us is None or not len(state.rows.times):
        return state
    end = int(np.searchsorted(state.rows.times, int(state.rows.times[-1]) - plan.keep_us))
    if not end:
        return state
    gone = state.rows.part(slice(0, end))
    folded = [
        join(one, before, fold(one, gone)) for one, before in zip(plan.folded, state.folded, strict=True)
    ]
    return SourceState(state.rows.part(slice(end, None)), folded)


def encode_state(state: UserState) -> bytes:
    """A state as bytes, which `decode_state` of the same plan takes."""
    sources = {
        number: [encoded(kept.rows), [_plain(one) for one in kept.folded]]
        for number, kept in state.sources.items()
    }
    return msgspec.msgpack.encode([state.first, state.sequence, sources])


def decode_state(plan: Plan, data: bytes) -> UserState:
    """The inverse of `encode_state`."""
    first, sequence, sources = _decode(data)
    return UserState(
        first,
        sequence,
        {
            number: SourceState(
                decoded(plan.sources[number], rows),
                [
                    _restored(one.measure.function == "distinct", one.by, value)
                    for one, value in zip(plan.sources[number].folded, folded, strict=True)
                ],
            )
            for number, (rows, folded) in sources.items()
        },
    )


def _plain(value: Any) -> Any:
    if isinstance(value, set):
        return list(value)
    if isinstance(value, dict):
        return {position: _plain(one) for position, one in value.items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    # Integers of any size are added up; MessagePack has 64 bits.
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        return msgspec.msgpack.Ext(_INTEGER, str(value).encode())
    return value


def _restored(is_set: bool, by: By | None, value: Any) -> Any:
    if value is None:
        return None
    if is_set:
        return {tuple(one) for one in value} if by is not None else set(value)
    return tuple(value) if isinstance(value, list) else value


def _integer(code: int, data: memoryview) -> int:
    assert code == _INTEGER, code  # noqa: S101 - there is no other
    return int(bytes(data))


_INTEGER = 1
_decode = msgspec.msgpack.Decoder(ext_hook=_integer).decode
