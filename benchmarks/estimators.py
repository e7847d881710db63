"""How long the off-policy estimators take, against the bare formulas."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.errors import BenchmarkError
from learning.evaluation import estimators
from learning.evaluation.rounds import FloatArray, Weighed

ROUNDS = 100_000
CALLS = 20
REPEATS = 7
Log = tuple[FloatArray, FloatArray, FloatArray, FloatArray]


def measure(_folder: Path, _say: Say) -> Sequence[Pair]:
    """Return pairs of milliseconds for all six estimators on one log."""
    log = _log()
    if not np.allclose(ours(*log), bare(*log), rtol=1e-9):
        raise BenchmarkError("the estimators and their formulas disagree; the measurement is void")
    return alternate(lambda: _millis(ours, log), lambda: _millis(bare, log), REPEATS)


def ours(rewards: FloatArray, weights: FloatArray, chosen: FloatArray, candidate: FloatArray) -> list[float]:
    """Return DM, IPS, SNIPS, DR, SNDR and switch-DR as the project computes them, inputs checked."""
    rounds = Weighed(rewards, weights, q_chosen=chosen, q_candidate=candidate)
    names = ("dm", "ips", "snips", "dr", "sndr", "switch_dr")
    return [estimators.ESTIMATORS[name].terms(rounds).value for name in names]


def bare(rewards: FloatArray, weights: FloatArray, chosen: FloatArray, candidate: FloatArray) -> list[float]:
    """Return the same by their formulas in NumPy, nothing checked."""
    residuals = rewards - chosen
    switched = np.where(weights <= 5.0, weights, 0.0)
    return [
        float(candidate.mean()),
        float((rewards * weights).mean()),
        float(rewards @ weights / weights.sum()),
        float((candidate + weights * residuals).mean()),
        float(candidate.mean() + weights @ residuals / weights.sum()),
        float((candidate + switched * residuals).mean()),
    ]


def _millis(estimate: Callable[..., list[float]], log: Log) -> float:
    started = time.perf_counter()
    for _ in range(CALLS):
        estimate(*log)
    return (time.perf_counter() - started) / CALLS * 1e3


def _log() -> Log:
    rng = np.random.default_rng(7)
    rewards = (rng.random(ROUNDS) < 0.1).astype(np.float64)
    weights = rng.gamma(2.0, 0.5, ROUNDS)
    return rewards, weights, rng.random(ROUNDS) * 0.2, rng.random(ROUNDS) * 0.2


ESTIMATORS = Benchmark(
    name="estimators",
    measures=f"Six off-policy estimators (DM, IPS, SNIPS, DR, SNDR, switch-DR) on {ROUNDS:,} rounds.",
    against="Their formulas in NumPy with nothing checked.",
    unit="ms",
    bound=Bound("ratio", "<=", 4),
    run=measure,
)
