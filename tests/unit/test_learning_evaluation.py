from __future__ import annotations

import doctest
from typing import Literal

import numpy as np
import pytest

from learning import evaluation
from learning.errors import InvalidRounds
from learning.estimators import FloatArray
from learning.evaluation import Estimate, Rounds, estimate


def log(
    rng: np.random.Generator, *, users: int, each: int, spread: float = 0.0
) -> tuple[Rounds, FloatArray, float]:
    """A log of two arms drawn with propensity 1/2, rewarded with .2 or .4, moved by the user's own taste."""
    n = users * each
    owner = np.repeat(np.arange(users), each)
    taste = rng.normal(0, spread, users)[owner]
    action = rng.integers(0, 2, n)
    rewards = 0.2 + 0.2 * action + taste + rng.normal(0, 0.1, n)
    # The candidate takes the better arm in nine of ten cases.
    candidate = np.where(action == 1, 0.9, 0.1)
    return Rounds([f"u{i}" for i in owner], rewards, np.full(n, 0.5)), candidate, 0.9 * 0.4 + 0.1 * 0.2


def judge(
    rounds: Rounds, candidate: FloatArray, interval: Literal["normal", "bootstrap"] = "normal"
) -> Estimate:
    q = np.full(len(rounds), 0.3)
    return estimate(rounds, candidate, q, q, interval=interval)


def test_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(evaluation).attempted >= 4
    assert doctest.testmod(evaluation).failed == 0


def test_intervals_cover_though_a_user_decides_many_times() -> None:
    rng = np.random.default_rng(5)
    covered, naive, trials = 0, 0, 300
    for _ in range(trials):
        rounds, candidate, truth = log(rng, users=80, each=19, spread=0.1)
        result = judge(rounds, candidate)
        covered += result.low <= truth <= result.high
        alone = Rounds([str(i) for i in range(len(rounds))], rounds.rewards, rounds.propensities)
        as_if = judge(alone, candidate)
        naive += as_if.low <= truth <= as_if.high
    assert 0.92 <= covered / trials <= 0.98
    # Taking rounds as independent promises far too much: that is why users are the clusters.
    assert naive / trials < 0.85


def test_bootstrap_and_normal_interval_agree_on_a_quiet_log() -> None:
    rounds, candidate, _ = log(np.random.default_rng(6), users=400, each=5, spread=0.05)
    normal, bootstrap = judge(rounds, candidate), judge(rounds, candidate, "bootstrap")
    assert normal.value == bootstrap.value
    assert bootstrap.low == pytest.approx(normal.low, abs=0.1 * (normal.high - normal.low))
    assert bootstrap.high == pytest.approx(normal.high, abs=0.1 * (normal.high - normal.low))


def test_diagnostics_of_a_sound_log() -> None:
    rounds, candidate, _ = log(np.random.default_rng(7), users=500, each=4)
    result = judge(rounds, candidate)
    assert result.rounds == 2000
    assert result.users == 500
    assert result.largest_weight == pytest.approx(1.8)
    assert result.mean_weight == pytest.approx(1.0, abs=0.05)
    assert result.effective == pytest.approx(2000 / (0.5 * (1.8**2 + 0.2**2)), rel=0.05)
    assert result.doubts == ()


def test_a_candidate_the_log_hardly_tried_is_doubted() -> None:
    n = 2000
    rounds = Rounds([f"u{i}" for i in range(n)], np.zeros(n), np.full(n, 0.001))
    candidate = np.zeros(n)
    candidate[0] = 1.0
    doubts = " / ".join(judge(rounds, candidate).doubts)
    assert "worth only 1 rounds" in doubts
    assert "carries 100% of all weight" in doubts


def test_wrong_propensities_show_in_the_mean_weight() -> None:
    rounds, candidate, _ = log(np.random.default_rng(8), users=1000, each=2)
    wrong = Rounds(rounds.users, rounds.rewards, np.full(len(rounds), 0.9))
    assert any("weights average" in doubt for doubt in judge(wrong, candidate).doubts)


def test_few_users_are_doubted_and_one_has_no_interval() -> None:
    rounds, candidate, _ = log(np.random.default_rng(9), users=1, each=500)
    result = judge(rounds, candidate)
    assert result.low == -np.inf
    assert result.high == np.inf
    assert any("only 1 users" in doubt for doubt in result.doubts)


@pytest.mark.parametrize(
    ("rewards", "propensities", "candidate"),
    [([], [], []), ([1.0], [0.0], [0.5]), ([1.0], [1.1], [0.5]), ([1.0], [0.5], [1.5]), ([1.0], [0.5], [])],
)
def test_rounds_that_can_not_be_are_refused(
    rewards: list[float], propensities: list[float], candidate: list[float]
) -> None:
    rounds = Rounds(["u"] * len(rewards), np.array(rewards), np.array(propensities))
    q = np.zeros(len(rewards))
    with pytest.raises(InvalidRounds):
        estimate(rounds, np.array(candidate), q, q)
