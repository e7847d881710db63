"""Users, and machines, that follow tracked links: each visit becomes an event, which the intake judges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audiences.forms.definitions import Rate
from audiences.forms.guards import Buckets
from audiences.identity.people import People
from audiences.intake.intake import Intake
from delivery import repository as runs
from delivery.links.signing import Tracked
from delivery.receipts import repository
from delivery.receipts.happening import event_of, of_message
from delivery.receipts.models import What
from delivery.receipts.states import event_name
from delivery.receipts.way import Ways
from storage.clock import Clock
from storage.engine import Database
from storage.ids import new_id

SOURCE = "link"
# Whoever has a message has its links: so many visits of one are told apart, what is more is a flood.
_VISITS = Rate(burst=20, per_minute=20)
_MAX_HEADER = 1_000
# Headers by which browsers and mail clients say that nobody asked for what they fetch.
_AHEAD = ("sec-purpose", "purpose", "x-purpose", "x-moz")


class Visits:
    """Takes in who followed which link. Thread-safe."""

    def __init__(self, database: Database, clock: Clock, intake: Intake, people: People, ways: Ways) -> None:
        self._database, self._clock, self._intake = database, clock, intake
        self._people, self._ways = people, ways
        self._buckets = Buckets()

    def record(self, link: Tracked, context: Mapping[str, Any]) -> bool:
        """Queue a visit for the ledger; returns False if it is part of a flood, or its message is gone.

        Raises:
            WriterBusy: too much waits to be written.
        """
        if not self._buckets.take(SOURCE, link.key, _VISITS):
            return False
        now = self._clock.now()
        with self._database.read() as connection:
            held = repository.held(connection, link.key)
            way = None if held is None else self._ways(held.queued.channel)
            if held is None or way is None:
                return False
            run = runs.enrolments_of(connection, [held.queued.enrolment_id]).get(held.queued.enrolment_id)
            if run is None:
                return False
            properties = of_message(held.queued, run)
            if link.url:
                properties |= {"link": link.url, "links": link.links}
            event = event_of(
                connection,
                self._people,
                run.user_id,
                event_name(way.consent, What.CLICKED if link.url else What.OPENED),
                event_id=f"{SOURCE}:{new_id(now)}",
                properties=properties,
                context=context,
                source=SOURCE,
                at=now,
                now=now,
            )
        self._intake.submit([event])
        return True


def context_of(headers: Mapping[str, str], address: str) -> dict[str, Any]:
    """Return what a request says of who sent it."""
    ahead = {name: headers[name][:_MAX_HEADER] for name in _AHEAD if name in headers}
    agent = headers.get("user-agent", "")[:_MAX_HEADER]
    said = {"ip": address, "userAgent": agent, "headers": ahead}
    return {name: value for name, value in said.items() if value}
