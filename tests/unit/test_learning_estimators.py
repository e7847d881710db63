"""Estimators against frozen outputs of Open Bandit Pipeline 0.5.7, and against what must hold for any log."""

from __future__ import annotations

import doctest
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.errors import InvalidRounds, UnknownEstimator
from learning.evaluation import estimators
from learning.evaluation.estimators import ESTIMATORS, chosen
from learning.evaluation.rounds import FloatArray, Weighed

GOLDEN = Path(__file__).parents[1] / "golden"
# What Open Bandit Pipeline calls our estimators, with the parameters of the frozen runs.
THEIRS = {
    "dm": "dm",
    "ipw": "ips",
    "ipw_clip_20": "clipped_ips=20",
    "snipw": "snips",
    "sgipw_lambda_01": "sub_gaussian_ips=0.1",
    "dr": "dr",
    "sndr": "sndr",
    "switch_dr_lambda_5": "switch_dr=5",
    "dros_lambda_10": "dros=10",
    "sgdr_lambda_01": "sub_gaussian_dr=0.1",
}


def value(name: str, rounds: Weighed) -> float:
    (one,) = chosen([name])
    return one.terms(rounds).value


def golden(name: str) -> tuple[Weighed, dict[str, float]]:
    arrays = np.load(GOLDEN / f"{name}.npz")
    expected: dict[str, float] = json.loads((GOLDEN / f"{name}.json").read_text())["estimates"]
    drawn = np.arange(len(arrays["action"])), arrays["action"]
    weights = arrays["action_dist"][drawn] / arrays["pscore"]
    model = arrays["estimated_rewards"]
    q_candidate = (model * arrays["action_dist"]).sum(axis=1)
    return Weighed(arrays["reward"], weights, q_chosen=model[drawn], q_candidate=q_candidate), expected


def test_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(estimators).attempted >= 6
    assert doctest.testmod(estimators).failed == 0


@pytest.mark.parametrize("name", ["dev_a", "dev_b"])
def test_every_estimator_agrees_with_open_bandit_pipeline(name: str) -> None:
    rounds, expected = golden(name)
    assert set(expected) == set(THEIRS)
    for theirs, ours in THEIRS.items():
        assert value(ours, rounds) == pytest.approx(expected[theirs], abs=1e-9), ours


def test_a_weight_beyond_the_limit_is_clipped_or_left_to_the_model() -> None:
    q = np.array([0.5, 0.5])
    rounds = Weighed(np.array([1.0, 1.0]), np.array([1.0, 50.0]), q_chosen=q, q_candidate=q)
    assert value("clipped_ips=20", rounds) == pytest.approx(10.5)
    assert value("switch_dr=5", rounds) == pytest.approx(0.75)


def test_replay_counts_rounds_where_the_candidate_is_certain_of_what_was_logged() -> None:
    rewards, weights = np.array([1.0, 0.0, 1.0, 1.0]), np.array([2.0, 2.0, 0.0, 1.0])
    rounds = Weighed(rewards, weights, certain=np.array([True, True, False, False]))
    assert value("replay", rounds) == 0.5
    with pytest.raises(InvalidRounds, match="certain"):
        value("replay", Weighed(rewards, weights, certain=np.zeros(4, dtype=bool)))


@st.composite
def logs(draw: st.DrawFn) -> Weighed:
    n = draw(st.integers(1, 30))
    reals = st.lists(st.floats(-5, 5), min_size=n, max_size=n).map(np.array)
    weights = st.lists(st.floats(1e-3, 50), min_size=n, max_size=n).map(np.array)
    return weighed(draw(reals), draw(weights), draw(reals), draw(reals))


def weighed(rewards: FloatArray, weights: FloatArray, q_chosen: FloatArray, q: FloatArray) -> Weighed:
    return Weighed(rewards, weights, low=-10, high=10, q_chosen=q_chosen, q_candidate=q)


@given(logs())
def test_limits_that_never_bind_change_nothing(log: Weighed) -> None:
    ips, dr = value("ips", log), value("dr", log)
    assert value("clipped_ips=1e9", log) == pytest.approx(ips)
    assert value("switch_dr=1e9", log) == pytest.approx(dr)
    assert value("sub_gaussian_ips=0", log) == pytest.approx(ips)
    assert value("sub_gaussian_dr=0", log) == pytest.approx(dr)
    assert value("dros=1e12", log) == pytest.approx(dr, abs=1e-6)


@given(logs())
def test_a_model_of_nothing_turns_dr_into_ips_and_a_perfect_one_into_the_direct_method(log: Weighed) -> None:
    nothing = np.zeros_like(log.rewards)
    blind = weighed(log.rewards, log.weights, nothing, nothing)
    assert value("dr", blind) == pytest.approx(value("ips", log))
    assert value("sndr", blind) == pytest.approx(value("snips", log))
    _, q_candidate = log.model()
    perfect = weighed(log.rewards, log.weights, log.rewards, q_candidate)
    assert value("dr", perfect) == pytest.approx(value("dm", log))


@given(logs())
def test_weights_of_one_give_the_logged_mean(log: Weighed) -> None:
    q, _ = log.model()
    ones = weighed(log.rewards, np.ones_like(log.rewards), q, q)
    for name in set(ESTIMATORS) - {"dm", "dros", "replay"}:
        assert value(name, ones) == pytest.approx(log.rewards.mean()), name


@given(logs())
def test_influences_have_mean_nothing(log: Weighed) -> None:
    for name in set(ESTIMATORS) - {"replay"}:
        influence = ESTIMATORS[name].terms(log).influence
        assert influence.mean() == pytest.approx(0.0, abs=1e-6), name


def test_logs_that_say_nothing_are_refused() -> None:
    one, nothing = np.array([1.0]), np.array([])
    for rewards, weights in [
        (nothing, nothing),
        (one, np.array([1.0, 2.0])),
        (one, np.array([np.inf])),
        (one, np.array([-1.0])),
        (np.array([2.0]), one),
    ]:
        with pytest.raises(InvalidRounds):
            Weighed(rewards, weights)
    with pytest.raises(InvalidRounds, match="never does"):
        value("snips", Weighed(one, np.array([0.0])))
    with pytest.raises(InvalidRounds, match="estimated_rewards"):
        value("dr", Weighed(one, one))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("snip", 'did you mean "snips"'),
        ("snips=3", "no parameter"),
        ("switch_dr=0", "must be a number in (0"),
        ("sub_gaussian_ips=1.5", "in [0, 1]"),
        ("dros=many", "lambda must be a number"),
        ("clipped_ips=inf", "must be a number"),
    ],
)
def test_what_is_no_estimator_is_said(name: str, said: str) -> None:
    with pytest.raises(UnknownEstimator) as raised:
        chosen([name])
    assert said in str(raised.value)


def test_all_of_them_and_one_with_its_parameter() -> None:
    found = chosen(["switch_dr=8", "all"])
    assert [one.name for one in found] == list(ESTIMATORS)
    assert {one.name: one.parameter for one in found}["switch_dr"] == 8
