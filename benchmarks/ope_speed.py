"""How long seven estimators with their bootstraps take on one core."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from learning.evaluation import Candidate, How, Log, evaluate

ROUNDS = 100_000
ACTIONS = 10
RESAMPLES = 100
REPEATS = 5
SEED = 7
_NAMES = ("dm", "ips", "snips", "dr", "sndr", "switch_dr", "dros")


def measure(_folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of milliseconds of processor time, all threads together."""
    say(f"seed {SEED}")
    log, candidate = _log()
    how = How(_NAMES, ["bootstrap"], resamples=RESAMPLES, seed=SEED)

    def ours() -> float:
        started = time.process_time()
        evaluate(log, candidate, how=how)
        return (time.process_time() - started) * 1e3

    def drawn() -> float:
        started = time.process_time()
        rng = np.random.default_rng(SEED)
        for _ in range(RESAMPLES):
            np.bincount(rng.integers(0, ROUNDS, ROUNDS), minlength=ROUNDS)
        return (time.process_time() - started) * 1e3

    return alternate(ours, drawn, REPEATS)


def _log() -> tuple[Log, Candidate]:
    rng = np.random.default_rng(SEED)
    logged = rng.dirichlet(np.full(ACTIONS, 2.0), ROUNDS) + 0.02
    logged /= logged.sum(axis=1, keepdims=True)
    action = (rng.random(ROUNDS)[:, None] > logged.cumsum(axis=1)).sum(axis=1).clip(0, ACTIONS - 1)
    rewards = (rng.random(ROUNDS) < 0.1).astype(np.float64)
    log = Log(
        tuple(map(str, range(ACTIONS))),
        action,
        rewards,
        logged[np.arange(ROUNDS), action],
        estimated=rng.random((ROUNDS, ACTIONS)) * 0.2,
    )
    dist = rng.dirichlet(np.ones(ACTIONS), ROUNDS)
    return log, Candidate("made up", log.at_actions(dist), dist)


OPE_SPEED = Benchmark(
    name="ope_speed",
    measures=f"Seven estimators with {RESAMPLES} bootstraps, {ROUNDS:,} rounds of {ACTIONS} actions.",
    against="Drawing the resamples alone.",
    unit="ms",
    bound=Bound("value", "<=", 300),
    run=measure,
)
