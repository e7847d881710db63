"""Reads controls for those who look often: a look at the database at most every quarter of a second."""

from __future__ import annotations

import threading
import time

from sqlalchemy import Connection

from playbooks.controls import repository
from playbooks.controls.models import NONE, Controls
from storage.engine import Database

# Seconds for which what was read is taken to hold.
FRESH = 0.25


class Watched:
    """The controls of a database, no older than `FRESH`. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._controls = NONE

    def read(self, connection: Connection) -> Controls:
        """Read the controls that hold in a transaction, for those as well who ask soon after."""
        controls = repository.in_force(connection)
        with self._lock:
            self._controls, self._read_at = controls, time.monotonic()
        return controls

    def now(self) -> Controls:
        """Return the controls that hold."""
        with self._lock:
            if time.monotonic() - self._read_at >= FRESH:
                with self._database.read() as connection:
                    self._controls = repository.in_force(connection)
                self._read_at = time.monotonic()
            return self._controls
