"""The utilisation rate: how much of what is received anything uses. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

import msgspec

Property = tuple[str, str]
K = TypeVar("K")


class OfEvent(msgspec.Struct, frozen=True):
    """Of events of one name: which of the properties they have are used, and which are not.

    `rate` is the share of the different properties that are used, `weighted` the same with each property as
    often as it came; both are None where nothing was received. `never_received` are used by something and
    never came.
    """

    event: str
    rate: float | None
    weighted: float | None
    used: list[str]
    unused: list[str]
    never_received: list[str]


class Utilisation(msgspec.Struct, frozen=True):
    """Over all events (see `OfEvent`), and event by event."""

    rate: float | None
    weighted: float | None
    received: int
    used: int
    events: list[OfEvent]


def utilisation(received: Iterable[tuple[str, str, int]], used: Collection[Property]) -> Utilisation:
    """Return how much of what is received is used.

    Args:
        received: event, property, and in how many events it came.
        used: event and property of everything that a feature, rule or goal reads.
    """
    wanted = set(used)
    numbers = {(event, name): number for event, name, number in received}
    events = sorted({event for event, _ in (*numbers, *wanted)})
    found = []
    for event in events:
        mine = {name: number for (of, name), number in numbers.items() if of == event}
        use = {name for of, name in wanted if of == event}
        found.append(
            OfEvent(
                event,
                _rate(mine, use),
                _weighted(mine, use),
                sorted(mine.keys() & use),
                sorted(mine.keys() - use),
                sorted(use - mine.keys()),
            )
        )
    used_here = len(numbers.keys() & wanted)
    return Utilisation(_rate(numbers, wanted), _weighted(numbers, wanted), len(numbers), used_here, found)


def _rate(numbers: Mapping[K, int], used: Collection[K]) -> float | None:
    return sum(name in used for name in numbers) / len(numbers) if numbers else None


def _weighted(numbers: Mapping[K, int], used: Collection[K]) -> float | None:
    total = sum(numbers.values())
    return sum(number for name, number in numbers.items() if name in used) / total if total else None
