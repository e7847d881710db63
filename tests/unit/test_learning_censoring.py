"""What open windows teach: zeros that may still become successes count for what is known of them."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.censoring import FEWEST, Came, Course, Seen, weighed
from learning.models import LinearGaussian
from learning.rows import FloatArray

WINDOW = 14.0


def days(number: float) -> timedelta:
    return timedelta(days=number)


def uniform(chance: float, arm: str = "a", decisions: int = 1000) -> list[Came]:
    """Return decisions of which successes came evenly over the window."""
    successes = round(chance * decisions)
    came = [Came(arm, days(WINDOW * (place + 0.5) / successes)) for place in range(successes)]
    return came + [Came(arm, None)] * (decisions - successes)


def test_zeros_would_bias_and_the_correction_does_not() -> None:
    """Two arms, one of them drawn mostly of late: by zeros the newer one looks worse than it is."""
    rng = np.random.default_rng(5)
    chances = np.array([0.3, 0.4])
    n = 40_000
    age = rng.uniform(0.0, WINDOW, n)
    arm = (rng.random(n) < 1 - age / WINDOW).astype(int)
    delay = rng.exponential(5.0, n)
    delay = np.where(delay < WINDOW, delay, rng.uniform(0.0, WINDOW, n))
    success = rng.random(n) < chances[arm]
    seen = success & (delay <= age)
    history = rng.exponential(5.0, 20_000)
    history = np.where(history < WINDOW, history, rng.uniform(0.0, WINDOW, len(history)))
    # Of the arms only their common share of successes is known: it need not be the arm's.
    course = Course(
        Came("old", days(float(one)) if success else None)
        for one, success in zip(history, rng.random(len(history)) < 0.35, strict=True)
    )
    importance = np.array(
        [course.importance("new", days(a), success=bool(s)) for a, s in zip(age, seen, strict=True)]
    )
    matrix = np.eye(2)[arm]
    naive, corrected = (learnt(matrix, seen.astype(float), counts) for counts in (np.ones(n), importance))
    assert naive[1] < naive[0] < 0.3
    np.testing.assert_allclose(corrected, chances, atol=0.015)


def test_in_the_first_weeks_open_windows_tell_how_successes_come() -> None:
    """No window has closed, and what is seen of delays is the quick ones."""
    rng = np.random.default_rng(7)
    n, oldest = 20_000, 10.0
    age, delay = rng.uniform(0.0, oldest, n), rng.exponential(3.0, n)
    arm = (rng.random(n) < 1 - age / oldest).astype(int)
    success = rng.random(n) < np.array([0.3, 0.4])[arm]
    came = success & (delay <= age)
    seen = [
        Seen("ab"[of], days(a), days(d) if hit else None)
        for of, a, d, hit in zip(arm, age.tolist(), delay.tolist(), came.tolist(), strict=True)
    ]
    course, whole = Course([], seen), 1 - np.exp(-oldest / 3.0)
    assert course.known
    for day in (1.0, 2.0, 4.0, 7.0):
        assert course.come(days(day)) == pytest.approx((1 - np.exp(-day / 3.0)) / whole, abs=0.02)
    # As though all had been quick: what was seen, taken as it is.
    assert np.mean(delay[came] <= 2.0) > (1 - np.exp(-2.0 / 3.0)) / whole + 0.1
    counts = np.array(weighed([], seen))
    matrix = np.eye(2)[arm]
    naive, corrected = (learnt(matrix, came.astype(float), one) for one in (np.ones(n), counts))
    np.testing.assert_allclose(corrected, whole * np.array([0.3, 0.4]), atol=0.02)
    assert naive[1] < naive[0]


def test_goals_that_are_often_spoken_against_wait() -> None:
    closed = uniform(0.4)
    seen = [Seen("a", days(7), days(3)), Seen("a", days(7), None)]
    assert weighed(closed, seen)[0] == 1.0
    few, many = (
        [one._replace(against=place < number) for place, one in enumerate(closed)] for number in (9, 11)
    )
    assert weighed(few, seen) == weighed(closed, seen)
    assert weighed(many, seen) == [0.0, 0.0]


def learnt(matrix: FloatArray, targets: FloatArray, importance: FloatArray) -> FloatArray:
    model = LinearGaussian.prior(("first", "second"), low=0.0, high=1.0, ridge=1e-3)
    return model.learn(matrix, targets, importance).predict(np.eye(2))


COURSES = [Course(uniform(chance)) for chance in (0.05, 0.4, 1.0)]


@given(st.sampled_from(COURSES), st.floats(min_value=0.0, max_value=20.0), st.booleans())
def test_a_decision_counts_for_what_is_known_of_it_and_never_more_than_a_closed_one(
    course: Course, age: float, success: bool
) -> None:
    come = course.come(days(age))
    counts = course.importance("a", days(age), success=success)
    assert 0.0 <= counts <= 1.0
    if come >= 1.0:
        assert counts == 1.0
    elif not success:
        assert counts <= come


def test_successes_and_zeros_come_to_their_shares() -> None:
    course = Course(uniform(0.4))
    for age in (1.0, 3.0, 7.0, 13.0):
        come = course.come(days(age))
        success, zero = (course.importance("a", days(age), success=one) for one in (True, False))
        seen = 0.4 * come
        ratio = seen * success / (seen * success + (1 - seen) * zero)
        assert abs(ratio - 0.4) < 1e-12
        # Together they are as much as has come.
        assert abs(seen * success + (1 - seen) * zero - come) < 1e-12


def test_of_too_few_successes_nothing_is_told() -> None:
    few = uniform((FEWEST - 1) / 1000)
    assert Course(few).importance("a", days(10), success=True) == 0.0
    assert Course([*few, Came("b", days(1))]).importance("a", days(10), success=True) == 1.0
    assert Course([]).come(days(1)) == 0.0
    # Before one success in twenty has come a zero says nothing.
    assert Course(uniform(0.5)).importance("a", days(0.5), success=False) == 0.0
