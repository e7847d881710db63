"""Confidence sequences: how wide beside those of vw-estimators, and how often they are ever wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri

from benchmarks.benchmark import Benchmark, Bound, Pair, Say
from benchmarks.errors import BenchmarkError
from benchmarks.ope_logs import CELLS, MEAN, Cell, made
from learning.evaluation.difference import ever_proven
from learning.evaluation.estimators import ESTIMATORS
from learning.evaluation.evaluate import weighed
from learning.evaluation.intervals import CLOSED
from learning.evaluation.intervals.sequence import LOG_SHARES, STAKES, threshold
from learning.evaluation.rounds import FloatArray, Weighed
from learning.evaluation.wealth import equation

TRIALS = 100
RUNS = 1_000
SEEDS = (1, 2, 3)
_ALPHA = 0.05
_PEEKED = Cell(1_000, 0.5)


def widths(trials: int, _folder: Path, say: Say) -> Sequence[Pair]:
    """Return for each cell the median widths at the last round: ours, and that of vw-estimators' `cs`."""
    theirs = _vw()
    pairs = []
    for cell in CELLS:
        rng = np.random.default_rng([SEEDS[0], cell.rounds, cell.largest])
        ours, vw = [], []
        for _ in range(trials):
            log, candidate, _ = made(rng, cell)
            rounds = weighed(log, candidate)
            low, high = CLOSED["confidence_sequence"](
                ESTIMATORS["snips"].terms(rounds), rounds, 1 - _ALPHA
            ) or (0.0, 1.0)
            ours.append(high - low)
            other = theirs()
            for weight, reward in zip(rounds.weights.tolist(), log.rewards.tolist(), strict=True):
                other.add_example(1.0, reward, weight)
            low, high = other.get(_ALPHA)
            vw.append(high - low)
        pair = Pair(float(np.median(ours)), float(np.median(vw)))
        say(f"seed {SEEDS[0]}, {cell}: {pair.subject:.3f} against {pair.floor:.3f}, {pair.ratio:.2f} of it")
        pairs.append(pair)
    return pairs


def false_alarms(runs: int, _folder: Path, say: Say) -> Sequence[Pair]:
    """Return for each seed the share of runs in which one look after every round ever missed the truth.

    That of a value's sequence, or of the test of a difference, whichever missed more often. The floor is a
    95 % normal interval that is looked at as often.
    """
    pairs = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        ours, tested, normal = 0, 0, 0
        for _ in range(runs):
            log, candidate, truth = made(rng, _PEEKED)
            rounds = weighed(log, candidate)
            eq = equation(ESTIMATORS["snips"].terms(rounds), rounds)
            if eq is None:
                raise BenchmarkError("SNIPS has no estimating function any more")
            ours += any(
                _owned(eq.stakes(truth, up=up)).max() >= threshold(1 - _ALPHA, up=up) for up in (True, False)
            )
            normal += _ever_off(eq.a - truth * eq.s)
            tested += ever_proven(*_alike(rng), 1 - _ALPHA)
        pairs.append(Pair(max(ours, tested) / runs, normal / runs))
        say(
            f"seed {seed}, {runs} runs of {_PEEKED}: {ours} ever missed, of normal intervals {normal}; of "
            f"tests of two arms that are alike {tested} ever found a difference"
        )
    return pairs


def _alike(rng: np.random.Generator) -> tuple[Weighed, Weighed]:
    """Return the two arms of a fixed split that are worth the same, on the same rounds."""
    arm = rng.integers(0, 2, _PEEKED.rounds)
    rewards = (rng.random(_PEEKED.rounds) < MEAN).astype(np.float64)
    one, other = (Weighed(rewards, 2.0 * (arm == side), largest=2.0) for side in (0, 1))
    return one, other


def _owned(stakes: FloatArray) -> FloatArray:
    """Return the log wealth after each round."""
    alone = np.log1p(np.multiply.outer(STAKES, stakes)).cumsum(axis=1) + LOG_SHARES[:, None]
    together: FloatArray = np.logaddexp.reduce(alone)
    return together


def _ever_off(z: FloatArray) -> bool:
    """Whether the mean of the rounds so far was ever further from 0 than a normal interval reaches."""
    sizes = np.arange(1, len(z) + 1)
    means = np.cumsum(z) / sizes
    spread = np.sqrt(np.maximum(np.cumsum(z**2) / sizes - means**2, 0.0) / sizes)
    # With fewer rounds nobody looks.
    return bool(np.any(np.abs(means[30:]) > float(ndtri(1 - _ALPHA / 2)) * spread[30:]))


def _vw() -> Callable[[], Any]:
    try:
        from estimators.bandits import cs  # noqa: PLC0415 - for development only
    except ImportError as error:
        raise BenchmarkError(
            "vw-estimators is not installed; it comes with the development set-up"
        ) from error
    made_anew: Callable[[], Any] = cs.Interval
    return made_anew


OPE_SEQUENCE = Benchmark(
    name="ope_sequence",
    measures=f"Median width of confidence sequences at the last round, six cells; {TRIALS} trials each.",
    against="The sequence `cs` of vw-estimators on the same rounds.",
    unit="of the reward",
    bound=Bound("ratio", "<=", 0.75),
    run=partial(widths, TRIALS),
    sized=lambda trials: partial(widths, trials),
)
OPE_FALSE_ALARMS = Benchmark(
    name="ope_false_alarms",
    measures=(
        f"Share of {RUNS:,} A/A runs in which a confidence sequence, or the test of a difference, looked at "
        "after every round was ever wrong; whichever is more."
    ),
    against="A normal interval that is looked at as often.",
    unit="share",
    bound=Bound("value", "<=", _ALPHA),
    run=partial(false_alarms, RUNS),
    sized=lambda trials: partial(false_alarms, trials),
)
