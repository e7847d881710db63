"""Thompson's vector: shares of hash-seeded posterior draws."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from learning import posterior_draws
from learning.errors import InvalidScores
from learning.exploration import FloatArray
from learning.posterior_draws import thompson

SEED = bytes(range(16))
PAIRS = st.lists(st.tuples(st.floats(-1e100, 1e100), st.floats(0, 1e100)), min_size=1, max_size=256)


def test_examples_in_the_documentation_hold() -> None:
    assert doctest.testmod(posterior_draws).attempted >= 3
    assert doctest.testmod(posterior_draws).failed == 0


@given(PAIRS, st.integers(1, 300), st.binary(min_size=16, max_size=16), st.floats(0, 1))
def test_every_vector_is_exact_keeps_its_floor_and_is_pure(
    pairs: list[tuple[float, float]], draws: int, seed: bytes, floor: float
) -> None:
    values, deviations = np.array(pairs).T
    vector = thompson(values, deviations, draws, seed, floor)
    assert vector.shape == values.shape
    assert abs(math.fsum(vector) - 1) <= 1e-12
    assert vector.min() >= floor / len(values) * (1 - 1e-12)
    assert (thompson(values.copy(), deviations.copy(), draws, seed, floor) == vector).all()


def test_shares_are_the_chances_of_being_best() -> None:
    """Two arms have a closed form: P(a > b) = Φ((m_a − m_b) / √(s_a² + s_b²))."""
    values, deviations = np.array([0.30, 0.25]), np.array([0.05, 0.12])
    expected = float(stats.norm.cdf(0.05 / np.hypot(0.05, 0.12)))
    seeds = [number.to_bytes(16) for number in range(200)]
    shares = [thompson(values, deviations, 1000, seed)[0] for seed in seeds]
    assert np.mean(shares) == pytest.approx(expected, abs=0.004)
    # The spread of one vector is that of 1,000 tosses, so the draws are independent of each other.
    assert np.std(shares) == pytest.approx(np.sqrt(expected * (1 - expected) / 1000), rel=0.2)


def test_arms_are_drawn_independently_of_each_other() -> None:
    values, deviations = np.zeros(8), np.ones(8)
    seeds = [number.to_bytes(16) for number in range(100)]
    mean = np.mean([thompson(values, deviations, 500, seed) for seed in seeds], axis=0)
    np.testing.assert_allclose(mean, 1 / 8, atol=0.006)


def test_a_certain_best_arm_gets_all_and_certain_equals_share() -> None:
    assert thompson(np.array([1.0, 0.0]), np.array([0.0, 0.001]), 100, SEED).tolist() == [1.0, 0.0]
    assert thompson(np.zeros(4), np.zeros(4), 100, SEED).tolist() == [0.25] * 4


@pytest.mark.parametrize(
    ("values", "deviations", "draws", "seed"),
    [
        (np.array([np.nan, 1.0]), np.ones(2), 10, SEED),
        (np.array([]), np.array([]), 10, SEED),
        (np.ones(2), np.ones(3), 10, SEED),
        (np.ones(2), np.array([1.0, -0.1]), 10, SEED),
        (np.ones(2), np.array([1.0, np.nan]), 10, SEED),
        (np.ones(2), np.array([1.0, np.inf]), 10, SEED),
        (np.ones(2), np.ones(2), 0, SEED),
        (np.ones(2), np.ones(2), 10, b"short"),
    ],
)
def test_what_makes_no_vector_is_refused(
    values: FloatArray, deviations: FloatArray, draws: int, seed: bytes
) -> None:
    with pytest.raises(InvalidScores):
        thompson(values, deviations, draws, seed)
