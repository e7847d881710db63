"""The short form of `python -m tests.faults.enrolments`: what killed workers began is there once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.enrolments import Run
from tests.faults.harness import Launcher
from tests.faults.stores import PostgresServer, Store


@pytest.mark.parametrize("on_postgres", [False, True])
def test_what_workers_do_is_done_once_however_often_they_are_killed(
    on_postgres: bool, launcher: Launcher, postgres: PostgresServer, tmp_path: Path
) -> None:
    store = postgres.create() if on_postgres else Store(f"sqlite:///{tmp_path / 'nextplay.db'}")
    result = Run(launcher, store, tmp_path / "run", 150, "short").go(4)
    assert result.kills >= 2, result.told()
    assert result.effects == 300, result.told()
    assert not result.findings, result.told()
