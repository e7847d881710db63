"""The test of a pilot: right at any time, on whatever rewards, and quick where the difference is large."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from playbooks.library.verdict import Earned, Outcome, confidence_sequence, fixed_interval, judge
from playbooks.models import Pilot, PilotTest

LOOKS = np.unique(np.geomspace(10, 2000, 40).astype(int))


def pilot(**given: object) -> Pilot:
    return Pilot.model_validate({"share": 0.1, "floor": 0.1, "ceiling": 0.5, **given})


def earned(n: int, total: float, highest: float = 1.0, *, binary: bool = True) -> Earned:
    return Earned(n, total, highest, binary)


@pytest.mark.parametrize("mean", [0.02, 0.1, 0.5])
def test_looking_as_often_as_one_likes_misses_the_mean_as_rarely_as_was_said(mean: float) -> None:
    rng = np.random.default_rng(7)
    sums = np.cumsum(rng.random((400, LOOKS[-1])) < mean, axis=1)[:, LOOKS - 1]
    missed = 0
    for run in sums:
        intervals = (
            confidence_sequence(earned(int(n), float(s)), 0.1) for n, s in zip(LOOKS, run, strict=True)
        )
        missed += any(not low <= mean <= high for low, high in intervals)
    # 0.1 at most, plus three standard errors of 400 runs.
    assert missed / 400 <= 0.1 + 3 * 0.015


def test_rewards_between_all_and_nothing_are_held_too() -> None:
    rng = np.random.default_rng(11)
    values = rng.beta(0.4, 1.6, (300, LOOKS[-1])) * 5
    sums = np.cumsum(values, axis=1)[:, LOOKS - 1]
    missed = 0
    for run in sums:
        intervals = [
            confidence_sequence(earned(int(n), float(s), 5.0, binary=False), 0.1)
            for n, s in zip(LOOKS, run, strict=True)
        ]
        missed += any(not low <= 1.0 <= high for low, high in intervals)
    assert missed / 300 <= 0.1 + 3 * 0.017


def test_a_plain_interval_looked_at_all_the_time_would_be_wrong() -> None:
    """What the confidence sequence is for: the same looks with Clopper-Pearson miss far more often."""
    rng = np.random.default_rng(7)
    sums = np.cumsum(rng.random((200, LOOKS[-1])) < 0.1, axis=1)[:, LOOKS - 1]
    missed = sum(
        any(
            not low <= 0.1 <= high
            for n, s in zip(LOOKS, run, strict=True)
            for low, high in [fixed_interval(earned(int(n), float(s)), 0.1)]
        )
        for run in sums
    )
    assert missed / 200 > 0.2


@pytest.mark.parametrize(
    ("n", "total", "outcome"),
    [
        (0, 0, Outcome.RUNNING),
        (100, 12, Outcome.RUNNING),
        (200, 60, Outcome.GRADUATES),
        (200, 2, Outcome.ENDS),
        (200, 180, Outcome.TOO_GOOD),
        (10_000, 1_000, Outcome.ENDS),
    ],
)
def test_what_a_pilot_comes_to(n: int, total: float, outcome: Outcome) -> None:
    assert judge(pilot(), earned(n, total)).outcome is outcome


def test_a_fixed_test_is_looked_at_once() -> None:
    fixed = pilot(test={"kind": "fixed", "decisions": 400})
    assert judge(fixed, earned(399, 300)).outcome is Outcome.RUNNING
    assert judge(fixed, earned(400, 80)).outcome is Outcome.GRADUATES
    verdict = judge(fixed, earned(400, 41))
    assert verdict.outcome is Outcome.ENDS
    assert "after 400 decisions: not proven to be above the floor 0.1" in verdict.why


def test_money_is_judged_in_its_own_unit() -> None:
    verdict = judge(pilot(floor=50, ceiling=400), earned(300, 300 * 100.0, 500.0, binary=False))
    assert verdict.outcome is Outcome.GRADUATES
    assert verdict.low < 100 < verdict.high


@pytest.mark.parametrize("total", [0.0, 100.0])
def test_all_or_nothing_all_the_time(total: float) -> None:
    for low, high in (
        confidence_sequence(earned(100, total), 0.05),
        fixed_interval(earned(100, total), 0.05),
    ):
        assert 0 <= low <= total / 100 <= high <= 1
        assert high - low < 0.1


def test_what_a_pilot_must_say() -> None:
    with pytest.raises(ValidationError, match="needs users, an audience or a share"):
        pilot(share=0)
    with pytest.raises(ValidationError, match=r"the floor 0.5 must be below the ceiling 0.5"):
        pilot(floor=0.5)
    assert pilot().test == PilotTest(kind="always_valid", decisions=10_000, alpha=0.05)
