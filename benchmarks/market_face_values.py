"""How far from the best single face value to each customer's best a policy comes, exploring included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.benchmark import Benchmark, Bound, Pair, Say
from benchmarks.errors import BenchmarkError
from benchmarks.market.customers import FORMS, Market
from benchmarks.market.in_process import Playing
from benchmarks.market.parameters import read_parameters

DECISIONS = 200_000
SEEDS = (1, 2, 3)
WAY = 0.8


def play(decisions: int, _folder: Path, say: Say) -> Sequence[Pair]:
    """Return for each seed the least way over both forms of response, beside the whole way.

    Raises:
        BenchmarkError: a budget of money was exceeded.
    """
    pairs = []
    for seed in SEEDS:
        ways = []
        for form in FORMS:
            playing = Playing(Market(read_parameters(), form, seed))
            tally = playing.play(decisions)
            money = {key: one for key, one in playing.taken.items() if key.startswith("budget.")}
            if over := [key for key, taken in money.items() if taken > playing.limits[key]]:
                raise BenchmarkError(f"seed {seed}, {form}: {over[0]} was exceeded")
            say(
                f"seed {seed}, {form}: single {tally.best_single / tally.decisions:.3f}, policy "
                f"{tally.policy / tally.decisions:.3f}, oracle {tally.oracle / tally.decisions:.3f} EUR a "
                f"decision; way {tally.way:.3f}; most of a week's budget spent {max(money.values())} cents"
            )
            ways.append(tally.way)
        pairs.append(Pair(min(ways), 1.0))
    return pairs


def _sized(decisions: int) -> Callable[[Path, Say], Sequence[Pair]]:
    return partial(play, decisions)


MARKET_FACE_VALUES = Benchmark(
    name="market_face_values",
    measures=f"Five face values, {DECISIONS:,} decisions in the market: net value, exploring included, from "
    "the best single value (0) to the best for each customer (1); the worse of both forms of response.",
    against="The best face value for each customer, 1.",
    unit="of the way",
    bound=Bound("value", ">=", WAY),
    run=_sized(DECISIONS),
    sized=_sized,
)
