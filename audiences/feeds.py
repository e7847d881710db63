"""Feeds the feature repository from the ledger: events into its history, and into the states of users.

The history's cursor is moved after the work is done, so a crash repeats work and never skips any; the history
knows the sequence numbers it has. The states keep their own position, together with what they make of events;
their cursor in the ledger only tells others how far they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial

import structlog

from audiences.events import EventBody
from audiences.identity.people import EveryoneAlone, Following
from feature_repo.history import HistoryEvent
from feature_repo.live import Batch
from feature_repo.replay import replay
from feature_repo.store import FeatureRepository
from storage import ledger, readers
from storage.engine import Database
from storage.erasure import is_pseudonym
from storage.faultpoints import reached
from storage.ledger import Kind

_log = structlog.get_logger(__name__)

# What happened, live or imported, in one order.
KINDS = (Kind.EVENT, Kind.PAST_EVENT)
# Events of one part file of the history; small enough to hold in memory with all their lines.
_PART_EVENTS = 50_000
_APPLIED_EVENTS = 2_000
HISTORY_READER = "feature_history"
PUSH_READER = "feature_push"


class FeatureFeed:
    """Moves what is new in the ledger into a feature repository."""

    def __init__(
        self, database: Database, repository: FeatureRepository, people: Following | None = None
    ) -> None:
        """`people` says who is one person; the history keeps events under the profile they came by."""
        self._people: Following = people or EveryoneAlone()
        self._database = database
        self._repository = repository

    def fill_history(self) -> int:
        """Append new events to the history; returns how many were written."""
        # From reading to writing: an erasure in between would not find what is written then.
        with self._repository.alone():
            return sum(
                self._repository.history.append(batch).written
                for batch in self._new(HISTORY_READER, _PART_EVENTS)
            )

    def history_position(self) -> int:
        """Number of the last event that the history was asked to take."""
        with self._database.read() as connection:
            return readers.position_of(connection, HISTORY_READER)

    def apply(self) -> int:
        """Let new events into the states of users; returns how many events were looked at."""
        if self._repository.live.position() is None:
            self.rebuild()
        seen = 0
        while (batch := self._repository.live.take(partial(self._after, size=_APPLIED_EVENTS))).last:
            reached("feed.before_cursor")
            self._advance(PUSH_READER, batch.last)
            seen += len(batch.events)
        return seen

    def push(self, now: datetime) -> int:
        """Let new events into the states and what they change online; returns events looked at."""
        seen = self.apply()
        self._repository.live.follow(self._people)
        self._repository.push(now, self._members)
        return seen

    def rebuild(self) -> None:
        """Compute all states again from the history.

        Needed at the first start and when features, events or vocabularies have changed.
        """
        position = self.history_position()
        with self._repository.alone():
            users = self._repository.live.rebuild(replay(self._repository.history, position), position)
        _log.info("states of features computed from the history", number=users, position=position)

    def _new(self, reader: str, size: int) -> Iterator[list[HistoryEvent]]:
        """Yield new events in batches; the cursor moves on when the consumer comes back for the next one."""
        while True:
            with self._database.read() as connection:
                position = readers.position_of(connection, reader)
            batch = self._after(position, size)
            if not batch.last:
                return
            yield list(batch.events)
            reached("feed.before_cursor")
            self._advance(reader, batch.last)

    def _advance(self, reader: str, position: int) -> None:
        self._database.write(partial(readers.advance, reader=reader, position=position, kinds=KINDS))

    def _members(self, user_id: str) -> tuple[str, ...]:
        person = self._people.person(user_id)
        return (person.canonical, *(one for one in person.members if one != person.canonical))

    def _after(self, position: int, size: int) -> Batch:
        """Read the next events. Tombstones of erased users are passed over: they tell of nobody."""
        with self._database.read() as connection:
            facts = ledger.read_after(connection, position, kind=KINDS, limit=size)
        events = [
            HistoryEvent(
                fact.seq, fact.user_id or "", fact.label, fact.occurred_at, fact.decode(EventBody).properties
            )
            for fact in facts
            if not is_pseudonym(fact.user_id or "")
        ]
        return Batch(events, facts[-1].seq if facts else 0)
