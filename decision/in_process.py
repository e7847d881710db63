"""A service without HTTP, for programs that decide in their own process, and for commands that decide."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from decision.processes import API, Process
from decision.settings import load_settings
from decision.wiring import Service


@contextmanager
def opened_service(data: Path | None) -> Iterator[Service]:
    """Give the service of a data folder; it follows what is published and runs no jobs.

    Raises:
        DatabaseInUse: a service runs on that SQLite file; on Postgres any number may.
        NextplayError: something is missing or wrong.
    """
    service = Service(load_settings(data=data, schedule=False), Process(roles=frozenset({API})))
    try:
        service.start()
        yield service
    finally:
        service.close()
