"""The portfolio on scikit-learn's tables, whose classes are arms of which the right one earns 1."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.benchmark import Benchmark, Bound, Pair, Say
from benchmarks.errors import BenchmarkError
from learning.simulation import POLICIES, Race, Table, run
from learning.simulation.race import play
from learning.simulation.table import of_arrays
from learning.simulation.vw_explorers import VwExplorer
from learning.spreading import spread

SEEDS = (1, 2, 3)
SHUFFLES = 8
FLOOR = 0.01
SMALL = ("wine", "breast_cancer", "iris")
# The grid is chosen on shuffles of its own.
_CHOSEN_ON = Race(shuffles=2, floor=FLOOR, seed=1_000)
_COSTS = ("--cb_min_cost", "-1", "--cb_max_cost", "0")
_RATES = [("--learning_rate", rate) for rate in ("0.5", "2")]


def grid() -> list[tuple[str, ...]]:
    """Return 60 settings of VW's explorers."""

    def settings(*parts: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
        return [sum(one, ()) for one in product(*parts)]

    def each(name: str, *values: str) -> list[tuple[str, ...]]:
        return [(name, value) for value in values]

    return [
        *settings(each("--epsilon", "0.01", "0.05", "0.1"), each("--cb_type", "mtr", "dr"), _RATES),
        *settings(each("--bag", "3", "5", "10"), [(), ("--greedify",)], _RATES),
        *settings(each("--cover", "3", "5", "10"), each("--psi", "0.1", "1"), _RATES),
        *settings(
            [("--squarecb", *_COSTS)],
            each("--gamma_scale", "10", "100", "1000"),
            each("--gamma_exponent", "0.25", "0.5"),
            _RATES,
        ),
        *settings([("--softmax",)], each("--lambda", "5", "10", "20"), _RATES),
        *settings(
            [("--regcb", *_COSTS), ("--regcbopt", *_COSTS)], each("--mellowness", "0.1", "0.01", "0.001")
        ),
    ]


@lru_cache(maxsize=1)
def _digits() -> list[Pair]:
    """Return for each seed what the portfolio earned on digits, and what the best of VW's grid did."""
    digits = table("digits")
    settings = grid()
    tasks = [(one, shuffle) for one in settings for shuffle in range(_CHOSEN_ON.shuffles)]
    means = np.reshape(_vw(digits, _CHOSEN_ON, tasks), (len(settings), -1)).mean(axis=1)
    best = settings[int(means.argmax())]
    pairs = []
    for seed in SEEDS:
        race = Race(["portfolio"], SHUFFLES, FLOOR, seed)
        vw = _vw(digits, race, [(best, shuffle) for shuffle in range(SHUFFLES)])
        pairs.append(Pair(run(digits, race)["portfolio"].mean, float(np.mean(vw))))
    return pairs


def earns(_folder: Path, say: Say) -> Sequence[Pair]:
    """Return what the portfolio earned on digits, beside VW's best."""
    say(f"seeds {', '.join(map(str, SEEDS))}, {SHUFFLES} shuffles each; VW's grid on seed {_CHOSEN_ON.seed}")
    return _digits()


def ahead(_folder: Path, say: Say) -> Sequence[Pair]:
    """Return how much more the portfolio earned on digits than VW's best, beside that."""
    say(f"seeds {', '.join(map(str, SEEDS))}, {SHUFFLES} shuffles each; VW's grid on seed {_CHOSEN_ON.seed}")
    return [Pair(pair.subject - pair.floor, pair.floor) for pair in _digits()]


def small(_folder: Path, say: Say) -> Sequence[Pair]:
    """Return for each seed the portfolio and the best single policy, on the table where it does worst."""
    pairs = []
    for seed in SEEDS:
        worst = Pair(np.inf, 1.0)
        for name in SMALL:
            found = run(table(name), Race(list(POLICIES), SHUFFLES, FLOOR, seed))
            mean = found.pop("portfolio").mean
            best = max(found, key=lambda one: found[one].mean)
            say(f"seed {seed}, {name}: portfolio {mean:.4f}, {best} {found[best].mean:.4f}")
            worst = min(worst, Pair(mean, found[best].mean), key=lambda pair: pair.ratio)
        pairs.append(worst)
    return pairs


def table(name: str) -> Table:
    """Return one of scikit-learn's tables as full feedback.

    Raises:
        BenchmarkError: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets  # noqa: PLC0415 - for development only
    except ImportError as error:
        raise BenchmarkError(
            "this needs scikit-learn, which is installed for development only: run `make test` once, or "
            "`pip install scikit-learn`"
        ) from error
    contexts, classes = getattr(datasets, f"load_{name}")(return_X_y=True)
    arms = int(classes.max()) + 1
    return of_arrays(name, tuple(map(str, range(arms))), contexts.astype(np.float64), np.eye(arms)[classes])


def _vw(data: Table, race: Race, tasks: Sequence[tuple[tuple[str, ...], int]]) -> list[float]:
    return list(spread(_mean, (data, race), tasks, os.cpu_count() or 1))


def _mean(given: tuple[Table, Race], task: tuple[tuple[str, ...], int]) -> float:
    data, race = given
    options, shuffle = task
    make = partial(VwExplorer, options=options)
    return float(play(data, "vw", make, race, shuffle).rewards.mean())


SIMULATE_DIGITS = Benchmark(
    name="simulate_digits",
    measures="What `portfolio` earns a round on digits as ten arms (1,797 rounds, exploration counted).",
    against="The best of 60 settings of VW's explorers, chosen on other shuffles.",
    unit="reward",
    bound=Bound("value", ">=", 0.82),
    run=earns,
)
SIMULATE_DIGITS_MARGIN = Benchmark(
    name="simulate_digits_margin",
    measures="How much more a round that is than what VW's best setting earns.",
    against="What VW's best setting earns.",
    unit="reward",
    bound=Bound("value", ">=", 0.08),
    run=ahead,
)
SIMULATE_SMALL_SETS = Benchmark(
    name="simulate_small_sets",
    measures="What `portfolio` earns a round on wine, breast cancer or iris, where it does worst.",
    against="The best single policy in hindsight there, VW's explorers included.",
    unit="reward",
    bound=Bound("ratio", ">=", 0.98),
    run=small,
)
