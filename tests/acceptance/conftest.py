"""A real service, in a process of its own, driven over HTTP; the clock is moved, not waited for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from decision.demo.client import running_service
from decision.demo.run import LIBRARY
from tests.acceptance.driver import Running

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all stories; each story has users of its own."""
    data = tmp_path_factory.mktemp("service")
    shutil.copytree(LIBRARY, data / "library")
    with running_service(data, clock=START, seed="test", log=data / "service.log") as client:
        yield Running(client.http, data, START)


@pytest.fixture
def user() -> str:
    """The id of a user nobody else has."""
    return f"user-{uuid4().hex[:12]}"
