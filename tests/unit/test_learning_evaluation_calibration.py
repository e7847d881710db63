"""Right logs are not called wrong, however small propensities are and whenever they stop; wrong ones are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from learning.evaluation import Candidate, Log, evaluate
from learning.evaluation.calibration import counts_fit, inverses_fit
from learning.evaluation.diagnostics import ERRORS

LOGS, ROUNDS, ARMS = 1000, 200, 30
Rng = np.random.Generator


def drawn(rng: Rng, rounds: int, share: float = 0.1) -> Log:
    """Rounds of an arm that is liked, another one each time, and of others that get `share` between them."""
    dist = np.full((rounds, ARMS), share / ARMS)
    dist[np.arange(rounds), rng.integers(0, ARMS, rounds)] += 1 - share
    action = (dist.cumsum(axis=1) < rng.random((rounds, 1))).sum(axis=1).clip(max=ARMS - 1)
    rewards = (rng.random(rounds) < 0.2).astype(np.float64)
    log = Log(tuple(f"arm {i}" for i in range(ARMS)), action, rewards, np.ones(rounds), logged_dist=dist)
    return replace(log, propensities=log.at_actions(dist))


def stopped(log: Log) -> Log:
    """Return the log up to the first round that was next to impossible: somebody asked until it came up."""
    rare = np.flatnonzero(log.propensities < 0.01)
    return log.only(np.arange(len(log)) <= (rare[0] if len(rare) else len(log)))


def found(log: Log) -> list[bool]:
    dist = log.logged_dist
    assert dist is not None
    told = evaluate(log, Candidate("itself", log.propensities, dist)).diagnostics.propensity_calibration
    return [one.ok for one in told]


def fits(log: Log) -> tuple[bool, bool]:
    """Return whether counts fit the vectors, and inverse propensities the number of rounds."""
    dist, n = log.logged_dist, len(log)
    assert dist is not None
    logged = [log.action == arm for arm in range(ARMS)]
    return (
        all(counts_fit(one.astype(float), dist[:, arm], ARMS) for arm, one in enumerate(logged)),
        all(inverses_fit(log.propensities[one], n, ARMS) for one in logged),
    )


def test_right_logs_are_not_called_wrong() -> None:
    rng = np.random.default_rng(23)
    alarms = normal = 0
    for _ in range(LOGS):
        log = stopped(drawn(rng, ROUNDS))
        alarms += fits(log) != (True, True)
        dist = log.logged_dist
        assert dist is not None
        off = log.logged - dist.sum(axis=0)
        normal += bool(np.any(np.abs(off) > ERRORS * np.sqrt((dist * (1 - dist)).sum(axis=0))))
    # One in 10,000 is promised; normal errors would have called most of them wrong.
    assert alarms == 0
    assert normal > LOGS / 2


def test_long_right_logs_are_not_called_wrong() -> None:
    rng = np.random.default_rng(24)
    assert all(fits(drawn(rng, 4000)) == (True, True) for _ in range(25))


def test_users_whose_rounds_depend_on_each_other_are_no_alarm() -> None:
    rng = np.random.default_rng(25)
    for _ in range(200):
        before, logged, vector = 0, [], []
        for _ in range(100):
            # What was drawn is liked from then on: counts vary far more than those of independent rounds.
            vector.append(0.9 if before else 0.1)
            before = int(rng.random() < vector[-1])
            logged.append(before)
        assert counts_fit(np.array(logged, dtype=float), np.array(vector), ARMS)


def test_wrong_logs_are_caught() -> None:
    log = drawn(np.random.default_rng(26), 2000)
    assert all(found(log))
    dist = log.logged_dist
    assert dist is not None
    # Arm 3 gets less than is written down, arm 5 more.
    wrong = dist.copy()
    wrong[:, 3] += wrong[:, 5] / 2 + 0.05
    wrong[:, 5] /= 10
    wrong /= wrong.sum(axis=1, keepdims=True)
    told = replace(log, logged_dist=wrong, propensities=log.at_actions(wrong))
    assert not found(told)[3]
    assert not found(told)[5]
    assert evaluate(told, Candidate("it", log.at_actions(dist), dist)).verdict.startswith("not evaluable")
    # Without vectors, propensities that are too small show.
    flat = drawn(np.random.default_rng(27), 2000, share=1.0)
    assert fits(flat) == (True, True)
    assert fits(replace(flat, propensities=flat.propensities / 3)) == (True, False)


@pytest.mark.parametrize(
    ("rounds", "promised", "fit"), [(1, 0.005, True), (4, 0.005, False), (1, 0.0, False)]
)
def test_rare_rounds_are_no_matter_of_normal_errors(rounds: int, promised: float, fit: bool) -> None:
    chosen = np.zeros(50)
    chosen[:rounds] = 1
    assert counts_fit(chosen, np.full(50, promised / 50), 200) is fit
