"""Runs of an evaluation: who began one, whether it goes on, and the end of one that hangs.

A run says that it goes on by its heartbeat. One without a heartbeat for too long is overdue: it is named
wherever audiences are shown, and ended by whoever waits for it or begins the next. What an ended run still
writes is refused, so nothing comes of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection, insert, select, update

from audiences.errors import RunEnded, RunOverdue
from audiences.selection import repository
from audiences.selection.tables import runs
from storage.clock import Clock, SystemClock
from storage.engine import Database
from storage.ids import new_id

T = TypeVar("T")

# Longer than any share takes to be read, and short enough that somebody who waits notices.
OVERDUE_AFTER = timedelta(minutes=5)
RUNNING, DONE, FAILED, LOST = "running", "done", "failed", "lost"
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation. `seen`, `position` and `features` say what it had before it.

    That is how far the ledger and the features' history had come, and which features there were.
    """

    id: str
    kind: str
    status: str
    as_of: datetime
    started_at: datetime
    heartbeat_at: datetime
    ended_at: datetime | None
    users: int
    seen: int
    position: int
    features: str
    problem: str | None

    def overdue(self, now: datetime, after: timedelta = OVERDUE_AFTER) -> bool:
        """Whether it has not been heard of for too long."""
        return self.status == RUNNING and now - self.heartbeat_at > after


class Runs:
    """The runs of one database. Times are real ones, whatever the clock of the service says."""

    def __init__(
        self, database: Database, clock: Clock | None = None, overdue_after: timedelta = OVERDUE_AFTER
    ) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self.overdue_after = overdue_after

    def begin(self, kind: str, as_of: datetime, seen: int, position: int, features: str) -> Run:
        """Begin a run. One that was left unfinished is ended: only one may run, and this is it."""
        now = self._clock.now()
        run = Run(new_id(now), kind, RUNNING, as_of, now, now, None, 0, seen, position, features, None)

        def work(connection: Connection) -> None:
            for left in connection.execute(select(runs.c.id).where(runs.c.status == RUNNING)).scalars().all():
                end(connection, left, LOST, now, "another run began before it had ended")
            connection.execute(insert(runs).values({name: getattr(run, name) for name in _NAMES}))

        self._database.write(work, rows=4)
        return run

    def beat(self, run: Run, users: int | None = None) -> None:
        """Say that a run goes on. Raises RunEnded if it was ended meanwhile."""
        values: dict[str, Any] = {"heartbeat_at": self._clock.now()}
        if users is not None:
            values["users"] = users

        def work(connection: Connection) -> None:
            this = update(runs).where(runs.c.id == run.id, runs.c.status == RUNNING)
            if not connection.execute(this.values(values)).rowcount:
                raise _ended(run)

        self._database.write(work)

    def end(self, run: Run, status: str, problem: str | None = None) -> None:
        """End a run; one that was ended already stays as it is."""
        now = self._clock.now()
        self._database.write(lambda connection: end(connection, run.id, status, now, problem))

    def done(self, connection: Connection, limit: int = 100) -> list[Run]:
        """The runs that were done, latest first."""
        query = select(*(runs.c[name] for name in _NAMES)).where(runs.c.status == DONE)
        query = query.order_by(runs.c.started_at.desc(), runs.c.id.desc()).limit(limit)
        return [Run(*row) for row in connection.execute(query)]

    def now(self) -> datetime:
        """The time by which heartbeats are judged."""
        return self._clock.now()

    def watched(self, run: Run, work: Callable[[], T]) -> T:
        """Do the work of a run in a thread of its own, and give up on it when it is overdue.

        Raises:
            RunOverdue: it had no heartbeat for too long; it was ended, and what was live stays live.
        """
        outcome: dict[str, Any] = {}

        def do() -> None:
            try:
                outcome["result"] = work()
            except BaseException as error:  # noqa: BLE001 - raised again where somebody waits for it
                outcome["error"] = error

        thread = threading.Thread(target=do, name="audiences-run", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_LOOK_SECONDS)
            if thread.is_alive() and self._is_overdue(run):
                self.end(run, LOST, "no heartbeat for too long")
                raise RunOverdue(
                    f"the evaluation {run.id} was not heard of for {self.overdue_after} and was given up; "
                    "what was live stays live, and the next evaluation begins anew"
                )
        if "error" in outcome:
            raise outcome["error"]
        result: T = outcome["result"]
        return result

    def _is_overdue(self, run: Run) -> bool:
        # Cheap while the run is young: nothing can be overdue before that.
        if self._clock.now() - run.started_at <= self.overdue_after:
            return False
        with self._database.read() as connection:
            row = connection.execute(select(runs.c.heartbeat_at).where(runs.c.id == run.id)).scalar()
        return row is not None and self._clock.now() - row > self.overdue_after


def latest(connection: Connection) -> Run | None:
    """The run that began last."""
    query = select(*(runs.c[name] for name in _NAMES)).order_by(runs.c.started_at.desc(), runs.c.id.desc())
    row = connection.execute(query.limit(1)).first()
    return None if row is None else Run(*row)


def check(connection: Connection, run: Run) -> None:
    """Make sure, in the transaction that writes for a run, that it was not ended. Raises RunEnded."""
    query = select(runs.c.id).where(runs.c.id == run.id, runs.c.status == RUNNING).with_for_update()
    if connection.execute(query).first() is None:
        raise _ended(run)


def end(connection: Connection, run: str, status: str, now: datetime, problem: str | None) -> None:
    """End a run that still counts as running, and take away what it had prepared."""
    this = update(runs).where(runs.c.id == run, runs.c.status == RUNNING)
    if connection.execute(this.values(status=status, ended_at=now, problem=problem)).rowcount:
        repository.drop_staged(connection, run)


_NAMES = tuple(Run.__dataclass_fields__)


def _ended(run: Run) -> RunEnded:
    return RunEnded(f"the evaluation {run.id} was ended before it was done; nothing more comes of it")
