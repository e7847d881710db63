"""The benchmarks of rules and audiences at a size that takes no time; each checks its own answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import audience_changes, people, rules_columns, rules_memory


def _quiet(_said: str) -> None:
    """Nobody wants to know."""


def test_columns_agree_with_duckdb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rules_columns, "USERS", 3_001)
    monkeypatch.setattr(rules_columns, "CHANGED", 100)
    for measure in (rules_columns.measure_bits, rules_columns.measure_ids, rules_columns.measure_changed):
        assert all(pair.subject > 0 for pair in measure(tmp_path, _quiet))


def test_changes_and_bitmaps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(audience_changes, "USERS", 80_000)
    monkeypatch.setattr(audience_changes, "AUDIENCES", 12)
    assert audience_changes.measure_changes(tmp_path, _quiet)
    assert audience_changes.measure_bitmaps(tmp_path, _quiet)


def test_memory_is_measured_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rules_memory, "USERS", 5_000)
    monkeypatch.setattr(rules_memory, "REPEATS", 1)
    (pair,) = rules_memory.measure(tmp_path, _quiet)
    assert pair.floor < pair.subject < 1_000


def test_the_made_up_rules_use_all_features() -> None:
    used = {name for rule in people.rules(100) for name in rule.names}
    assert used == set(people.SCHEMA.names)
    assert len(used) == people.FEATURES
