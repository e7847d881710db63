"""What users do with messages, as the ledger tells of it: people's opens, clicks and replies become states.

Wherever the event came from (a provider, a link of ours, a backend), and only once it counts: what machines
did is no event, and a click that is held becomes one when it is known to be a person's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy import Connection

from audiences.events import EventBody
from audiences.identity.people import People
from delivery import repository as runs
from delivery.gate import SendGate
from delivery.receipts import repository
from delivery.receipts.arriving import bring
from delivery.receipts.states import REACHED_BY
from storage import ledger, readers
from storage.engine import Database
from storage.ledger import Fact, Kind
from storage.order import settled_head
from storage.pace import Pace
from storage.writer import TURN_ROWS

READER: Final = "delivery.receipts"
_LABELS = sorted(REACHED_BY)
# Events that are looked for at a time.
_EVENTS = 500
# A state that is new takes two facts, the message and a counter.
_ROWS_EACH = 4


class Following:
    """Follows one database; one process at a time."""

    def __init__(self, database: Database, people: People, gate: SendGate) -> None:
        self._database, self._people, self._gate = database, people, gate
        self._pace = Pace(TURN_ROWS // _ROWS_EACH)

    def run(self, now: datetime) -> int:
        """Take in what is new; returns how many messages reached a further state.

        Most events are none of these: what there is, is looked for before the turn to write, and what was
        looked through is not looked through again.
        """
        reached = 0
        while True:
            with self._database.read() as connection:
                position = readers.position_of(connection, READER)
                end = settled_head(connection)
                found = ledger.read_after(
                    connection, position, kind=Kind.EVENT, labels=_LABELS, limit=_EVENTS
                )
            reached += self._pace.write(
                self._database, found, partial(self._some, now=now), rows_each=_ROWS_EACH
            )
            if len(found) < _EVENTS:
                break
        if end > (found[-1].seq if found else position):
            moved = partial(readers.advance, reader=READER, position=end, kinds=[Kind.EVENT])
            self._database.write(moved, forced=False)
        return reached

    def _some(self, connection: Connection, found: Sequence[Fact], now: datetime) -> int:
        readers.advance(connection, READER, found[-1].seq, [Kind.EVENT])
        return sum(self._take(connection, fact, now) for fact in found)

    def _take(self, connection: Connection, fact: Fact, now: datetime) -> bool:
        body: EventBody = fact.decode(EventBody)
        key = body.properties.get("message_id")
        found = repository.held(connection, key) if isinstance(key, str) else None
        if found is None or not found.queued.attempts:
            return False
        run = runs.enrolments_of(connection, [found.queued.enrolment_id]).get(found.queued.enrolment_id)
        if run is None or fact.user_id is None:
            return False
        if self._people.canonical(run.user_id) != self._people.canonical(fact.user_id):
            # Somebody else's message: passed on, or a mistake of who sent the event.
            return False
        state = REACHED_BY[fact.label]
        return bring(connection, self._gate, found.queued.key, run, state, fact.occurred_at, now)
