"""How long the scores of 40 arms take, features given, against asking VW itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.benchmark import Benchmark, Bound, Pair, Say, alternate
from benchmarks.errors import BenchmarkError
from learning.learner import Task
from learning.rows import FloatArray, Rows
from learning.vw_format import escaped, lines
from learning.vw_learner import VwLearner

ARMS = 40
COLUMNS = 60
ROWS = 2_000
CALLS = 300
REPEATS = 7


def measure(_folder: Path, say: Say) -> Sequence[Pair]:
    """Return pairs of microseconds for the scores of one decision."""
    import vowpal_wabbit_next as vw  # noqa: PLC0415 - nothing but this measurement has it in its process

    rng = np.random.default_rng(7)
    names = tuple(f"column{place}" for place in range(COLUMNS))
    learner = VwLearner(Task(names, 0.0, 1.0, np.zeros(COLUMNS), 0.0))
    say(f"lets VW learn {ROWS} rows of {COLUMNS} columns")
    try:
        learnt = learner.fold(None, _rows(rng))
    finally:
        learner.close()
    arms = _features(rng, ARMS)
    workspace = vw.Workspace(["--quiet"], model_data=learnt.state)
    parser = vw.TextFormatParser(workspace)
    escaped_names = [escaped(name) for name in names]
    # VW's fastest way: examples that are parsed already.
    texts = lines(escaped_names, arms, np.zeros(len(arms)), np.ones(len(arms)))
    examples = [parser.parse_line(text) for text in texts]

    def ours() -> FloatArray:
        return learnt.model.predict(arms)

    def theirs() -> FloatArray:
        return np.array([workspace.predict_one(example) for example in examples])

    if not np.allclose(ours(), theirs(), atol=1e-6):
        raise BenchmarkError("our scores are not VW's; the measurement is void")
    return alternate(lambda: _micros(ours), lambda: _micros(theirs), REPEATS)


def _rows(rng: np.random.Generator) -> Rows:
    matrix = _features(rng, ROWS)
    chance = np.clip(matrix @ np.linspace(0, 0.1, COLUMNS), 0, 1)
    targets = (rng.random(ROWS) < chance).astype(np.float64)
    return Rows(matrix, targets, np.ones(ROWS), np.ones(ROWS))


def _features(rng: np.random.Generator, rows: int) -> FloatArray:
    """Return features of which half are not 0, as those of users and arms."""
    return rng.random((rows, COLUMNS)) * (rng.random((rows, COLUMNS)) < 0.5)


def _micros(scores: Callable[[], FloatArray]) -> float:
    started = time.perf_counter()
    for _ in range(CALLS):
        scores()
    return (time.perf_counter() - started) / CALLS * 1e6


DECIDE_SCORES = Benchmark(
    name="decide_scores",
    measures=f"The scores of {ARMS} arms of {COLUMNS} columns, features given, from the weights VW learnt.",
    against="VW's own predictions of the same, from examples that are parsed already.",
    unit="µs",
    bound=Bound("ratio", "<=", 0.1),
    run=measure,
)
