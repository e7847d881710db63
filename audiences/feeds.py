"""Feeds the feature repository from the ledger: events into its history, fresh values into its pushed views.

Two cursors, moved after the work is done, so a crash repeats work and never skips any; the history knows
the sequence numbers it has, and an older pushed value never replaces a newer one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from audiences.events import EventBody
from audiences.identity.people import EveryoneAlone, People
from feature_repo.aggregates import ANY_EVENT, FeatureSpec, ViewSpec
from feature_repo.history import HistoryEvent
from feature_repo.snapshots import EVENT_TIMESTAMP
from feature_repo.store import FeatureRepository
from storage import ledger
from storage.engine import Database
from storage.erasure import is_pseudonym
from storage.faultpoints import reached
from storage.ledger import Kind

# Events of one part file of the history; small enough to hold in memory with all their lines.
_PART_EVENTS = 50_000
_PUSH_EVENTS = 2_000
# What happened, live or imported, in one order.
KINDS = (Kind.EVENT, Kind.PAST_EVENT)
HISTORY_READER = "feature_history"
PUSH_READER = "feature_push"


class FeatureFeed:
    """Moves what is new in the ledger into a feature repository."""

    def __init__(
        self, database: Database, repository: FeatureRepository, people: People | None = None
    ) -> None:
        """`people` says who is one person; the history keeps events under the profile they came by."""
        self._people = people or EveryoneAlone()
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

    def push(self) -> int:
        """Push what new events changed; returns how many events were looked at."""
        pushed = [view for view in self._repository.specs.views.values() if view.pushed]
        seen = 0
        for batch in self._new(PUSH_READER, _PUSH_EVENTS):
            for view in pushed:
                of_persons = (
                    event._replace(user_id=self._people.canonical(event.user_id)) for event in batch
                )
                rows = [row for event in of_persons if (row := pushed_row(view, event))]
                self._repository.push(view.name, rows)
            seen += len(batch)
        return seen

    def _new(self, reader: str, size: int) -> Iterator[list[HistoryEvent]]:
        """Yield new events in batches; the cursor moves on when the consumer comes back for the next one.

        Tombstones of erased users are passed over: they tell of nobody.
        """
        while True:
            batch = self._read(reader, size)
            if not batch:
                return
            yield [event for event in batch if not is_pseudonym(event.user_id)]
            reached("feed.before_cursor")
            last = batch[-1].sequence
            self._database.write(partial(ledger.advance, reader=reader, position=last, kinds=KINDS))

    def _read(self, reader: str, size: int) -> list[HistoryEvent]:
        with self._database.read() as connection:
            position = ledger.position_of(connection, reader)
            facts = ledger.read_after(connection, position, kind=KINDS, limit=size)
        return [
            HistoryEvent(
                fact.seq, fact.user_id or "", fact.label, fact.occurred_at, fact.decode(EventBody).properties
            )
            for fact in facts
        ]


def pushed_row(view: ViewSpec, event: HistoryEvent) -> dict[str, Any] | None:
    """Return the row of a pushed view that an event changes, or None when it changes nothing of it."""
    values = {
        feature.name: _value(feature, event)
        for feature in view.features
        if feature.source.event in (ANY_EVENT, event.name)
    }
    if not values:
        return None
    return {view.key: event.user_id, EVENT_TIMESTAMP: event.occurred_at, **values}


def _value(feature: FeatureSpec, event: HistoryEvent) -> Any:
    measure = feature.measures[0]
    return _LATEST[measure.function](event, measure.column)


def _property(event: HistoryEvent, column: str | None) -> Any:
    return event.properties.get(column) if column else None


def _size(event: HistoryEvent, column: str | None) -> int | None:
    value = _property(event, column)
    return len(value) if isinstance(value, Sequence) else None


def _moment(event: HistoryEvent, _column: str | None) -> datetime:
    return event.occurred_at


# What one event alone says of a feature; anything that needs more than the latest event is not pushed.
_LATEST: dict[str, Callable[[HistoryEvent, str | None], Any]] = {
    "last_time": _moment,
    "last": _property,
    "last_size": _size,
}
