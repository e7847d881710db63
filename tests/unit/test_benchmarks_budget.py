"""The benchmark of budgets gives out exactly what there is, at a size that takes no time."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import budget_exact, coupon_redemption


@pytest.mark.parametrize("kind", ["sqlite", "valkey"])
def test_a_budget_is_given_out_exactly(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(budget_exact, "RUNS", 2)
    monkeypatch.setattr(budget_exact, "CLIENTS", 8)
    monkeypatch.setattr(budget_exact, "LIMIT", 40)
    said: list[str] = []
    assert [pair.ratio for pair in budget_exact.measure(kind, tmp_path, said.append)] == [1.0, 1.0]
    assert "grants a second" in said[-1]


def test_a_limit_of_a_code_is_met_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coupon_redemption, "RUNS", 2)
    monkeypatch.setattr(coupon_redemption, "CALLS", 16)
    monkeypatch.setattr(coupon_redemption, "LIMIT", 5)
    said: list[str] = []
    pairs = coupon_redemption.measure("sqlite", tmp_path, said.append)
    assert [pair.ratio for pair in pairs] == [1.0, 1.0]
    assert "2 runs" in said[0]
