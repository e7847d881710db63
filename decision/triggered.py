"""What fired triggers begin: a decision among the playbooks that name them, and the run of what is drawn."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import structlog
from sqlalchemy import Connection

from decision.again import DeciderAgain
from decision.deadline import Deadline
from decision.recording import Made, Recorder
from decision.reserving import reserve
from delivery.repository import hold_reader
from playbooks.counters import Counters, Reservation
from playbooks.library import Library
from playbooks.library.loading import Loader
from playbooks.library.serving import PublishedPlaybook
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.errors import NextplayError
from storage.ledger import Fact, Kind
from storage.pace import Pace

_log = structlog.get_logger(__name__)

READER = "decision.triggered"
# Each may write a decision, a reservation, an enrolment and its facts.
_TURN = 50
_ROWS = 5
# A firing that became known longer ago begins nothing: nobody waited for it, or nobody followed yet.
_FRESH = timedelta(hours=1)


class Triggered:
    """Follows the firings of triggers, each once; one of them works at a time."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        loader: Loader,
        decider: DeciderAgain,
        counters: Counters,
        recorder: Recorder,
    ) -> None:
        """`loader` loads the library that is live, `recorder` writes decisions and starts their runs."""
        self._database, self._clock, self._loader = database, clock, loader
        self._decider, self._counters, self._recorder = decider, counters, recorder
        self._library = Library(())
        self._pace = Pace(_TURN)

    def run(self) -> int:
        """Decide for what fired since the last time; return how many decisions were made."""
        total, more = 0, True
        while more:
            more, made = self._database.write(self._turn, rows=_ROWS * _TURN)
            total += made
        return total

    def _turn(self, connection: Connection) -> tuple[bool, int]:
        return self._pace.turn(connection, partial(self._some, connection))

    def _some(self, connection: Connection, limit: int) -> tuple[int, int]:
        position = hold_reader(connection, READER)
        if position is None:
            return 0, 0
        facts = ledger.read_after(connection, position, kind=Kind.TRIGGER, limit=limit)
        if not facts:
            return 0, 0
        ledger.advance(connection, READER, facts[-1].seq, [Kind.TRIGGER])
        self._library = self._loader.newer(connection) or self._library
        return len(facts), sum(self._begin(connection, fact) for fact in facts)

    def _begin(self, connection: Connection, fact: Fact) -> int:
        if fact.user_id is None or fact.recorded_at < self._clock.now() - _FRESH:
            return 0
        by_placement: dict[str, list[PublishedPlaybook]] = {}
        for one in self._library.playbooks:
            if one.document.trigger == fact.label:
                by_placement.setdefault(one.document.placement, []).append(one)
        return sum(
            self._decide(
                connection, fact, fact.user_id, placement, Library(tuple(some), rules=self._library.rules)
            )
            for placement, some in by_placement.items()
        )

    def _decide(
        self, connection: Connection, fact: Fact, user_id: str, placement: str, library: Library
    ) -> bool:
        now = self._clock.now()
        reservation: Reservation | None = None
        try:
            # A savepoint: what fails for one user must not spoil the transaction for the others.
            with connection.begin_nested():
                decision, circumstances = self._decider.draw(
                    connection, library, placement, user_id, f"trigger:{fact.id}:{placement}", now
                )
                reservation = reserve(self._counters, library, decision, circumstances, connection)
                made = Made(decision, library, Deadline.after(None), None, reservation)
                self._recorder.record(connection, made)
        except NextplayError as error:
            if reservation is not None:
                reservation.drop()
            _log.error("a trigger began nothing", trigger=fact.label, firing=fact.id, error=str(error))
            return False
        return True
