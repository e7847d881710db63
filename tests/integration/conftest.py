"""What several integration tests start from."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from decision.demo.run import LIBRARY
from tests.integration.business import DAY, T1, Business
from tests.migrated import copy_migrated


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a service that does not run and serves nothing yet."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copytree(LIBRARY, folder / "library")
    copy_migrated(folder / "nextplay.db")
    monkeypatch.setenv("NEXTPLAY_CLOCK", "2026-03-02T09:00:00Z")
    return folder


@pytest.fixture
def business(tmp_path: Path) -> Iterator[Business]:
    """Ann and bob of acme with three orders between them, eve of bolt, zoe of none."""
    opened = Business(tmp_path)
    for user, account in (("ann", "acme"), ("bob", "acme"), ("eve", "bolt")):
        opened.group(user, account, T1 - 20 * DAY)
    for user, days in (("ann", 3), ("ann", 30), ("bob", 60), ("eve", 5), ("zoe", 5), ("zoe", 6), ("zoe", 7)):
        opened.order(user, T1 - days * DAY)
    yield opened
    opened.features.close()
    opened.database.close()
