"""What a benchmark is: a subject beside its floor, the pairs of one run, and the result made of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec


@dataclass(frozen=True, slots=True)
class Bound:
    """What is promised: the value, or its ratio to the floor, lies on one side of a limit."""

    of: Literal["value", "ratio"]
    side: Literal["<=", ">="]
    limit: float

    def holds(self, value: float, ratio: float) -> bool:
        """Say whether a measurement keeps the promise; exactly at the limit it does."""
        measured = value if self.of == "value" else ratio
        return measured <= self.limit if self.side == "<=" else measured >= self.limit

    def __str__(self) -> str:
        return f"{self.of} {self.side} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Pair:
    """One measurement of the subject and the one of the floor right after or before it, in one unit."""

    subject: float
    floor: float

    @property
    def ratio(self) -> float:
        return self.subject / self.floor


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One entry of the registry.

    `measures` and `against` say in a sentence each what the subject and the floor are. `run` gets an empty
    folder, on the disk where data would lie, and a function to tell of progress; it returns the pairs of
    its repeats, or the one that is the worst of many trials. `sized` returns a `run` of another number of
    trials, where it is made of trials; `at_rate` the benchmark at another rate, where it follows a schedule.
    """

    name: str
    measures: str
    against: str
    unit: str
    bound: Bound
    run: Callable[[Path, Say], Sequence[Pair]]
    sized: Callable[[int], Callable[[Path, Say], Sequence[Pair]]] | None = None
    at_rate: Callable[[float], Benchmark] | None = None


Say = Callable[[str], None]


class Result(msgspec.Struct, frozen=True):
    """One line of a report.

    `value` and `floor` are medians, `ratio` is the median of the ratios of the pairs, `spread` their
    first and third quartile.
    """

    name: str
    value: float
    unit: str
    floor: float
    ratio: float
    bound: str
    holds: bool
    spread: tuple[float, float]


def conclude(benchmark: Benchmark, pairs: Sequence[Pair]) -> Result:
    """Return the result of a benchmark's pairs; of one alone the spread is its ratio."""
    ratios = [pair.ratio for pair in pairs]
    value = statistics.median(pair.subject for pair in pairs)
    ratio = statistics.median(ratios)
    first, _, third = statistics.quantiles(ratios, n=4, method="inclusive") if ratios[1:] else ratios * 3
    return Result(
        name=benchmark.name,
        value=_rounded(value),
        unit=benchmark.unit,
        floor=_rounded(statistics.median(pair.floor for pair in pairs)),
        ratio=_rounded(ratio),
        bound=str(benchmark.bound),
        holds=benchmark.bound.holds(value, ratio),
        spread=(_rounded(first), _rounded(third)),
    )


def alternate(subject: Callable[[], float], floor: Callable[[], float], repeats: int) -> list[Pair]:
    """Measure both `repeats` times in turn; who goes first changes, so that drift favours neither.

    One more pair is measured beforehand and thrown away: it pays for imports, caches and first pages.
    """
    pairs = []
    for repeat in range(repeats + 1):
        if repeat % 2:
            measured = subject()
            pairs.append(Pair(measured, floor()))
        else:
            bare = floor()
            pairs.append(Pair(subject(), bare))
    return pairs[1:]


def _rounded(value: float) -> float:
    """Keep four significant digits: more would claim what no run on a shared machine can know."""
    return float(f"{value:.4g}")
