"""What several integration tests start from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from decision.demo.run import LIBRARY
from storage.engine import Database


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a service that does not run and serves nothing yet."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copytree(LIBRARY, folder / "library")
    Database(f"sqlite:///{folder / 'nextplay.db'}").close()
    monkeypatch.setenv("NEXTPLAY_CLOCK", "2026-03-02T09:00:00Z")
    return folder
