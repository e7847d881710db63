"""What fault tests share: one launcher and one Postgres that may be crashed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import launching
from tests.faults.harness import Launcher
from tests.faults.stores import PostgresServer


@pytest.fixture(scope="session")
def launcher() -> Launcher:
    """The process that forks services."""
    return launching.launcher()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A Postgres of these tests' own, never one that was given: it is crashed."""
    server = PostgresServer(tmp_path_factory.mktemp("faults") / "postgres")
    yield server
    server.close()
