"""Whether a database takes writes now, for whoever looks before it sends somebody there.

What the writer was refused last is remembered. Where nobody wrote, only a write can tell: a disk fills and a
primary becomes a standby without a word to those who read. So a small one is tried, seldom while all is well.
It is not forced to disk: on SQLite one page goes to the log, on Postgres a hundred bytes or so.
"""

from __future__ import annotations

import time
from concurrent.futures import Future

from sqlalchemy import Connection

from storage.errors import DatabaseUnavailable, NextplayError
from storage.writer import Lane, Writer

# A write that went well says so for so many seconds; while there is trouble it is tried again so soon.
_TRUSTED, _AGAIN = 10.0, 1.0
# What was refused so lately counts although a small write went well: a disk that is nearly full takes some.
_LATELY = 3.0


class Writability:
    """Asks the writer of one database whether writes succeed; one may ask at a time."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._tried_at = float("-inf")
        self._trying: Future[None] | None = None
        self._trouble: NextplayError | None = None

    def trouble(self, patience: float) -> NextplayError | None:
        """Return why no write succeeds now, None if writes do; may wait `patience` seconds for one."""
        refusal = self._writer.refusal
        if refusal is not None and refusal.at > self._tried_at:
            self._trouble = refusal.error
        pause = _AGAIN if self._trouble else _TRUSTED
        if self._trying is not None or time.monotonic() - self._tried_at >= pause:
            self._trouble = self._try(patience)
        refusal = self._writer.refusal
        if refusal is not None and time.monotonic() - refusal.at < _LATELY:
            return refusal.error
        return self._trouble

    def _try(self, patience: float) -> NextplayError | None:
        try:
            if self._trying is None:
                self._tried_at = time.monotonic()
                self._trying = self._writer.submit(change_nothing, lane=Lane.REQUEST, forced=False)
            # One that hangs is waited for by the next who ask, instead of another beside it.
            self._trying.exception(patience)
        except TimeoutError:
            return DatabaseUnavailable(
                f"a small write has not ended within {patience:g} s: look at the database's disk and load"
            )
        except NextplayError as error:
            return error
        tried, self._trying = self._trying, None
        failed = tried.exception()
        if failed is None or isinstance(failed, NextplayError):
            return failed
        return DatabaseUnavailable(f"a small write failed ({type(failed).__name__}: {failed})")


def change_nothing(connection: Connection) -> None:
    """Write what is there already."""
    connection.exec_driver_sql("UPDATE alembic_version SET version_num = version_num")
