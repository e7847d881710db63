"""Coverage is counted against the truth, and proof puts the better policy in charge and out again."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.coverage import covered
from benchmarks.errors import BenchmarkError
from benchmarks.promotion import HARD, PLAIN, planted
from benchmarks.proving.charge import tell
from benchmarks.proving.market import MarketTask


def test_intervals_are_counted_against_what_is_true() -> None:
    runs = MarketTask("logistic", customers=40).runs(8, seed=1)
    assert len({one.value for one in runs}) == 1
    assert runs[0].value > runs[0].logged > 0
    found = covered(runs)
    assert found.least >= 0.7
    # What is not true is not covered.
    wrong = covered([one._replace(value=one.value + 40.0) for one in runs])
    assert (wrong.value, wrong.lift) == (0.0, 0.0)


def test_the_better_policy_takes_charge_and_loses_it(tmp_path: Path) -> None:
    story = tell(Plain(), tmp_path, seed=1, turns=10)
    assert 0 < story.promoted <= 10 * 150
    assert 0 < story.rolled_back <= 10 * 150


def test_what_is_never_proven_is_told(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"after 150 decisions rival was not promoted.*the gain is not"):
        tell(Plain(alike=True), tmp_path, seed=1, turns=1)


class Plain(MarketTask):
    """Customers of whom a coupon of five euros always brings an order, others seldom."""

    def __init__(self, *, alike: bool = False) -> None:
        super().__init__("logistic", customers=150)
        self._alike = alike

    def earned(self, user: int, turn: int, arm: object) -> float:
        likes = 100 if self.turned else 500
        return 50.0 if self._alike or getattr(arm, "value", None) == likes else 0.0


def test_worlds_in_which_it_is_easy_to_err_have_nothing_to_gain() -> None:
    for world in (PLAIN, *HARD):
        best = world.means.mean(axis=0).max()
        assert world.means.max(axis=1).mean() == pytest.approx(best)
    means = planted(0.1).means
    assert means.max(axis=1).mean() == pytest.approx(1.1 * means.mean(axis=0).max())
