from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning import exploration
from learning.errors import InvalidScores
from learning.exploration import FloatArray, epsilon_greedy, inverse_gap_weighting, softmax

SCORES = st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=256).map(np.array)
FLOORS = st.floats(0, 1)
SETTINGS = st.floats(1e-6, 1e6)


def vectors(scores: FloatArray, setting: float, floor: float) -> dict[str, FloatArray]:
    return {
        "epsilon_greedy": epsilon_greedy(scores, floor),
        "softmax": softmax(scores, setting, floor),
        "inverse_gap": inverse_gap_weighting(scores, setting, floor),
    }


def test_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(exploration).attempted >= 5
    assert doctest.testmod(exploration).failed == 0


@given(SCORES, SETTINGS, FLOORS)
def test_every_vector_is_exact_and_keeps_its_floor(scores: FloatArray, setting: float, floor: float) -> None:
    for name, vector in vectors(scores, setting, floor).items():
        assert vector.shape == scores.shape, name
        assert abs(math.fsum(vector) - 1) <= 1e-12, name
        assert vector.min() >= floor / len(scores) * (1 - 1e-12), name
        assert vector.max() <= 1, name


@given(SCORES, SETTINGS, FLOORS)
def test_the_order_of_arms_does_not_matter_and_better_never_gets_less(
    scores: FloatArray, setting: float, floor: float
) -> None:
    order = np.random.default_rng(len(scores)).permutation(len(scores))
    shuffled = vectors(scores[order], setting, floor)
    for name, vector in vectors(scores, setting, floor).items():
        np.testing.assert_allclose(shuffled[name], vector[order], rtol=1e-9, atol=1e-15, err_msg=name)
        ranked = vector[np.argsort(scores, kind="stable")]
        assert (np.diff(ranked) >= -1e-12).all(), name


@given(SCORES, SETTINGS, FLOORS)
def test_equal_scores_get_equal_shares(scores: FloatArray, setting: float, floor: float) -> None:
    doubled = np.concatenate([scores, scores])
    for name, vector in vectors(doubled, setting, floor).items():
        np.testing.assert_allclose(vector[: len(scores)], vector[len(scores) :], rtol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    "scores",
    [np.array([]), np.array([np.nan, 1.0]), np.array([np.inf]), np.array(0.5), np.zeros((2, 2, 2))],
)
def test_scores_that_make_no_vector_are_refused(scores: FloatArray) -> None:
    for vector in (epsilon_greedy, softmax, inverse_gap_weighting):
        with pytest.raises(InvalidScores):
            vector(scores, 0.5)


@pytest.mark.parametrize("floor", [-0.1, 1.1, np.nan, np.inf])
def test_a_floor_outside_0_to_1_is_refused(floor: float) -> None:
    scores = np.array([0.1, 0.2])
    with pytest.raises(InvalidScores):
        epsilon_greedy(scores, floor)
    with pytest.raises(InvalidScores):
        softmax(scores, 1.0, floor)
    with pytest.raises(InvalidScores):
        inverse_gap_weighting(scores, 1.0, floor)


@pytest.mark.parametrize("setting", [0.0, -1.0, np.nan, np.inf])
def test_a_setting_that_is_not_above_0_is_refused(setting: float) -> None:
    with pytest.raises(InvalidScores):
        softmax(np.array([0.1]), setting)
    with pytest.raises(InvalidScores):
        inverse_gap_weighting(np.array([0.1]), setting)


@pytest.mark.parametrize("arms", [1, 7, 41])
def test_rows_of_scores_get_the_vectors_that_each_gets_alone(arms: int) -> None:
    # Rounded, so that several arms are best.
    scores = np.random.default_rng(arms).random((50, arms)).round(1)
    for name, rows in vectors(scores, 3.0, 0.05).items():
        alone = [vectors(row, 3.0, 0.05)[name].tolist() for row in scores]
        assert rows.tolist() == alone, name
