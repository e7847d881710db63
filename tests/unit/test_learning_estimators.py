"""Estimators against frozen outputs of Open Bandit Pipeline 0.5.7, and against what must hold for any log."""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning import estimators as e
from learning.errors import InvalidRounds
from learning.estimators import FloatArray

GOLDEN = Path(__file__).parents[1] / "golden"
Log = tuple[FloatArray, FloatArray, FloatArray, FloatArray]

ESTIMATORS: dict[str, Callable[[FloatArray, FloatArray, FloatArray, FloatArray], float]] = {
    "dm": lambda r, w, qa, qc: e.direct_method(qc),
    "ipw": lambda r, w, qa, qc: e.ips(r, w),
    "ipw_clip_20": lambda r, w, qa, qc: e.clipped_ips(r, w, 20.0),
    "snipw": lambda r, w, qa, qc: e.snips(r, w),
    "sgipw_lambda_01": lambda r, w, qa, qc: e.sub_gaussian_ips(r, w, 0.1),
    "dr": e.doubly_robust,
    "sndr": e.self_normalised_doubly_robust,
    "switch_dr_lambda_5": lambda r, w, qa, qc: e.switch_doubly_robust(r, w, qa, qc, 5.0),
    "dros_lambda_10": lambda r, w, qa, qc: e.optimistic_shrinkage(r, w, qa, qc, 10.0),
    "sgdr_lambda_01": lambda r, w, qa, qc: e.sub_gaussian_doubly_robust(r, w, qa, qc, 0.1),
}


def golden(name: str) -> tuple[Log, dict[str, float]]:
    arrays = np.load(GOLDEN / f"{name}.npz")
    expected: dict[str, float] = json.loads((GOLDEN / f"{name}.json").read_text())["estimates"]
    chosen = np.arange(len(arrays["action"])), arrays["action"]
    weights = arrays["action_dist"][chosen] / arrays["pscore"]
    model = arrays["estimated_rewards"]
    return (arrays["reward"], weights, model[chosen], (model * arrays["action_dist"]).sum(axis=1)), expected


def test_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(e).attempted >= 5
    assert doctest.testmod(e).failed == 0


@pytest.mark.parametrize("name", ["dev_a", "dev_b"])
def test_every_estimator_agrees_with_open_bandit_pipeline(name: str) -> None:
    log, expected = golden(name)
    assert set(expected) == set(ESTIMATORS)
    for estimator, value in expected.items():
        assert ESTIMATORS[estimator](*log) == pytest.approx(value, abs=1e-9), estimator


def test_a_weight_beyond_the_limit_is_clipped_or_left_to_the_model() -> None:
    rewards, weights = np.array([1.0, 1.0]), np.array([1.0, 50.0])
    q = np.array([0.5, 0.5])
    assert e.clipped_ips(rewards, weights, 20.0) == pytest.approx(10.5)
    assert e.switch_doubly_robust(rewards, weights, q, q, 5.0) == pytest.approx(0.75)


@st.composite
def logs(draw: st.DrawFn) -> Log:
    n = draw(st.integers(1, 30))
    reals = st.lists(st.floats(-5, 5), min_size=n, max_size=n).map(np.array)
    weights = st.lists(st.floats(1e-3, 50), min_size=n, max_size=n).map(np.array)
    return draw(reals), draw(weights), draw(reals), draw(reals)


@given(logs())
def test_limits_that_never_bind_change_nothing(log: Log) -> None:
    rewards, weights, _, _ = log
    assert e.clipped_ips(rewards, weights, 1e9) == pytest.approx(e.ips(rewards, weights))
    assert e.switch_doubly_robust(*log, 1e9) == pytest.approx(e.doubly_robust(*log))
    assert e.sub_gaussian_ips(rewards, weights, 0.0) == pytest.approx(e.ips(rewards, weights))
    assert e.sub_gaussian_doubly_robust(*log, 0.0) == pytest.approx(e.doubly_robust(*log))
    assert e.optimistic_shrinkage(*log, 1e12) == pytest.approx(e.doubly_robust(*log), abs=1e-6)


@given(logs())
def test_a_model_of_nothing_turns_dr_into_ips_and_a_perfect_one_into_the_direct_method(log: Log) -> None:
    rewards, weights, _, q_candidate = log
    nothing = np.zeros_like(rewards)
    assert e.doubly_robust(rewards, weights, nothing, nothing) == pytest.approx(e.ips(rewards, weights))
    assert e.self_normalised_doubly_robust(rewards, weights, nothing, nothing) == pytest.approx(
        e.snips(rewards, weights)
    )
    assert e.doubly_robust(rewards, weights, rewards, q_candidate) == pytest.approx(
        e.direct_method(q_candidate)
    )


@given(logs())
def test_weights_of_one_give_the_logged_mean(log: Log) -> None:
    rewards, _, q, _ = log
    ones = np.ones_like(rewards)
    for name, estimator in ESTIMATORS.items():
        if name not in {"dm", "dros_lambda_10"}:
            assert estimator(rewards, ones, q, q) == pytest.approx(rewards.mean()), name


@given(logs(), st.floats(-3, 3))
def test_snips_follows_a_shift_of_all_rewards(log: Log, shift: float) -> None:
    rewards, weights, _, _ = log
    assert e.snips(rewards + shift, weights) == pytest.approx(e.snips(rewards, weights) + shift)


def test_logs_that_say_nothing_are_refused() -> None:
    one, nothing = np.array([1.0]), np.array([])
    with pytest.raises(InvalidRounds):
        e.ips(nothing, nothing)
    with pytest.raises(InvalidRounds):
        e.ips(one, np.array([1.0, 2.0]))
    with pytest.raises(InvalidRounds):
        e.ips(one, np.array([np.inf]))
    with pytest.raises(InvalidRounds):
        e.ips(one, np.array([-1.0]))
    with pytest.raises(InvalidRounds):
        e.snips(one, np.array([0.0]))
    with pytest.raises(InvalidRounds):
        e.sub_gaussian_ips(one, one, 1.5)
    with pytest.raises(InvalidRounds):
        e.clipped_ips(one, one, 0.0)
