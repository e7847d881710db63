"""Group commit on SQLite: many callers, one durable transaction a turn.

One thread owns the process's only writing connection. A turn takes what somebody waits for, decisions first,
or else background work, which is owed every other turn; it runs them in one transaction, commits once
(`synchronous=FULL`) and only then answers. A turn of the background takes at most `TURN_ROWS` rows, and says
in `storage.pace` how long it may take: less while people ask.

A second process may write to the file in turns that the first one's writer lends it (`storage.turns`).
"""

from __future__ import annotations

import gc
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from storage import collecting, pace
from storage.errors import DatabaseUnavailable
from storage.faultpoints import reached
from storage.standing_aside import turn_under_way
from storage.statements import forget_deferred, run_deferred, run_plain
from storage.turns import Borrower, Loan
from storage.writer import (
    QUEUE_ROWS,
    TURN_DECISIONS,
    TURN_ROWS,
    Lane,
    Meter,
    Refusal,
    Work,
    explained,
    refusal,
    refusal_of,
)

T = TypeVar("T")

# Turns of the background stay short for this many seconds after somebody asked for something.
_ASKED_LATELY = 0.25


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    rows: int
    future: Future[Any]
    forced: bool


class SqliteWriter:
    """The one thread that writes to a SQLite database."""

    at_once = 1

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lanes: dict[Lane, deque[_Job | Loan]] = {lane: deque() for lane in Lane}
        self._waiting_rows = dict.fromkeys(Lane, 0)
        self.meter: Meter | None = None
        self.refusal: Refusal | None = None
        self._ready = threading.Condition()
        self._closing = False
        self._background_owed = False
        self._asked_at = float("-inf")
        self._owed_seconds = 0.0
        self._forcing = True
        self._thread = threading.Thread(target=self._run, name="storage-writer", daemon=True)
        self._thread.start()

    @property
    def waiting_rows(self) -> dict[Lane, int]:
        """Rows that wait to be written, by lane."""
        return dict(self._waiting_rows)

    def submit(
        self, work: Work[T], *, rows: int = 1, lane: Lane = Lane.BACKGROUND, forced: bool = True
    ) -> Future[T]:
        if lane is not Lane.DECISION and rows > TURN_ROWS:
            raise ValueError(f"a piece of work may write {TURN_ROWS} rows at a turn, not {rows}: split it")
        future: Future[T] = Future()
        with self._ready:
            if self._closing:
                raise DatabaseUnavailable(
                    "the service is shutting down and takes no more writes; try again later"
                )
            if self._waiting_rows[lane] + rows > QUEUE_ROWS:
                raise refusal(self._waiting_rows[lane], lane, self.meter)
            if lane is not Lane.BACKGROUND:
                self._asked_at = time.monotonic()
            self._lanes[lane].append(_Job(work, rows, future, forced))
            self._waiting_rows[lane] += rows
            self._ready.notify()
        return future

    def lend(self, loan: Loan) -> bool:
        """Let somebody else write in one turn of the background; False once the writer is closing."""
        with self._ready:
            if self._closing:
                return False
            self._lanes[Lane.BACKGROUND].append(loan)
            self._ready.notify()
        return True

    def close(self) -> None:
        with self._ready:
            self._closing = True
            self._ready.notify()
        self._thread.join()

    def _run(self) -> None:
        with self._engine.connect() as connection:
            while self._wait():
                self._turn(connection, self._seconds())

    def _wait(self) -> bool:
        """Wait for something to do; False when there will be nothing any more."""
        with self._ready:
            while not (self._closing or any(self._lanes.values())):
                self._ready.wait()
            return any(self._lanes.values())

    def _seconds(self) -> float:
        """How long a turn of the background may take now: short while people ask, not shorter than theirs.

        Theirs is what it took of the processor: one that stood still would make the next one longer, in which
        more people wait, whose turn is longer.
        """
        if time.monotonic() - self._asked_at > _ASKED_LATELY:
            return pace.LONG_TURN
        return min(max(pace.SHORT_TURN, self._owed_seconds), pace.LONG_TURN)

    def _turn(self, connection: Connection, seconds: float) -> int:
        """Take and do one turn; returns how many rows it wrote."""
        with self._ready:
            jobs, loan = self._take_turn(seconds)
        pace.allow(connection, seconds)
        if loan is None:
            worked = self._commit_together(connection, jobs)
            if self._background_owed:
                self._owed_seconds = worked
            return sum(job.rows for job in jobs)
        started = time.perf_counter()
        rows = loan.run(seconds)
        if rows and self.meter is not None:
            self.meter.committed(rows, time.perf_counter() - started)
        return rows

    def _take_turn(self, seconds: float) -> tuple[list[_Job], Loan | None]:
        """Take what somebody waits for, or else background work, which is owed every other turn."""
        background = self._lanes[Lane.BACKGROUND]
        if (self._lanes[Lane.DECISION] or self._lanes[Lane.REQUEST]) and not (
            self._background_owed and background
        ):
            self._background_owed = True
            return self._take(Lane.DECISION, TURN_DECISIONS) + self._take(Lane.REQUEST, TURN_ROWS), None
        self._background_owed = False
        if not isinstance(background[0], _Job):
            loan = background.popleft()
            assert not isinstance(loan, _Job)  # noqa: S101 - looked at above
            return [], loan
        # In a short turn one piece of work: what several of them cost nobody has measured.
        return self._take(Lane.BACKGROUND, TURN_ROWS if seconds >= pace.LONG_TURN else 1), None

    def _take(self, lane: Lane, limit: int) -> list[_Job]:
        queue, taken, jobs = self._lanes[lane], 0, list[_Job]()
        while queue and isinstance(job := queue[0], _Job) and (not jobs or taken + job.rows <= limit):
            queue.popleft()
            taken += job.rows
            # Who gave up waiting before it began wants it no more; from here on nobody can give up.
            if job.future.set_running_or_notify_cancel():
                jobs.append(job)
        self._waiting_rows[lane] -= taken
        return jobs

    def _commit_together(self, connection: Connection, turn: list[_Job]) -> float:
        """Do and commit a turn; returns what processor time its work took, without the commit."""
        started, spent = time.perf_counter(), time.thread_time()
        self._force(connection, any(job.forced for job in turn))
        try:
            with connection.begin():
                results = [job.work(connection) for job in turn]
                run_deferred(connection)
                worked = time.thread_time() - spent
                reached("writer.before_commit")
        except Exception as error:  # noqa: BLE001 - whatever it was, it belongs to one caller, not to the thread
            forget_deferred(connection)
            if len(turn) == 1:
                said = explained(error)
                self.refusal = refusal_of(said) or self.refusal
                turn[0].future.set_exception(said)
                return time.thread_time() - spent
            # One of them failed and took the others with it: each gets a transaction of its own.
            return sum(self._commit_together(connection, [job]) for job in turn)
        reached("writer.committed")
        if self.meter is not None:
            self.meter.committed(sum(job.rows for job in turn), time.perf_counter() - started)
        for job, result in zip(turn, results, strict=True):
            job.future.set_result(result)
        return worked

    def _force(self, connection: Connection, forced: bool) -> None:
        """Say whether the next commit is forced to disk: in a log, one that is takes all before it along."""
        if forced is not self._forcing:
            # Between transactions, where SQLAlchemy would begin one.
            run_plain(connection, f"PRAGMA synchronous={'FULL' if forced else 'NORMAL'}")
            self._forcing = forced


class GuestWriter(SqliteWriter):
    """The thread of a second process that writes to a SQLite database, in turns lent by the first."""

    def __init__(self, engine: Engine, turns: Borrower) -> None:
        self._turns = turns
        super().__init__(engine)

    def _run(self) -> None:
        with self._engine.connect() as connection:
            while self._wait():
                try:
                    seconds = self._turns.begin()
                except DatabaseUnavailable as gone:
                    self._give_up(gone)
                    break
                with turn_under_way():
                    rows = self._turn(connection, seconds)
                collect = collecting.due()
                self._turns.end(rows, more=not collect and any(self._lanes.values()))
                if collect:
                    # Nobody lends a turn before the next is asked for.
                    gc.collect()
        self._turns.close()

    def _give_up(self, gone: DatabaseUnavailable) -> None:
        with self._ready:
            self._closing = True
            left = [job for queue in self._lanes.values() for job in queue if isinstance(job, _Job)]
            for queue in self._lanes.values():
                queue.clear()
        for job in left:
            job.future.set_exception(gone)
