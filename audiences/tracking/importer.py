"""Events from files: the messages of the spec, but with the time they happened, recorded once each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection

from audiences.errors import RowRefused
from audiences.events import Event
from audiences.intake.intake import Intake, Outcome, Taken
from audiences.tracking.messages import parse_message

# Who sent an event that came from a file.
SOURCE = "import"
# What a file says of its own way here has nothing to do with when the event happened.
_NOT_READ = ("sentAt", "receivedAt")
# The event, and its user.
_ROWS_PER_EVENT = 2


class EventImporter:
    """Imports events: past ones, which start nothing, or such as happen now."""

    columns: Sequence[str] | None = None

    def __init__(self, intake: Intake, *, past: bool) -> None:
        self._intake = intake
        self._past = past

    def read(self, values: Mapping[str, Any], now: datetime) -> Event:
        """Return a message as an event.

        Raises:
            EventRefused: a field is missing or wrong.
            RowRefused: it has no time or no id of its own.
        """
        if not (values.get("timestamp") or values.get("originalTimestamp")):
            raise RowRefused("`timestamp` is missing: say when it happened")
        if not values.get("messageId"):
            raise RowRefused("`messageId` is missing: without it the same row again would count twice")
        message = {name: value for name, value in values.items() if name not in _NOT_READ}
        event = parse_message(msgspec.json.encode(message), now, SOURCE)
        self._intake.check(event)
        return event

    def size(self, row: Event) -> int:
        return _ROWS_PER_EVENT

    def record(self, connection: Connection, rows: Sequence[Event], now: datetime) -> list[bool | str]:
        judged = self._intake.judge(rows, past=self._past)
        return [_told(taken) for taken in self._intake.record(connection, judged, past=self._past)]

    def recorded(self, rows: Sequence[Event]) -> None:
        self._intake.committed()


def _told(taken: Taken) -> bool | str:
    if taken.outcome is Outcome.QUARANTINED:
        return f"set aside until the tracking plan knows it: {taken.reason}"
    if taken.outcome is Outcome.CONFLICT:
        return taken.reason
    return taken.outcome is not Outcome.DUPLICATE
