"""Sendings: a drawn arm becomes the messages of its flow, where windows let them go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from audiences.rules import Schema
from decision.foresight.sendings import Going, Sendings
from delivery.testing import version_body
from delivery.view import Strangers
from playbooks.library import Draft
from playbooks.library.service import LibraryService
from playbooks.rehearsal.simulation import Contact, Sending
from playbooks.windows import Place, Windows
from playbooks.windows.document import Countries
from storage.clock import SimulatedClock
from storage.engine import Database
from tests.publishing import NobodyKnows, publish

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
# At once, in the evening of the next day, and never to be seen within the days looked at.
FLOW = {
    "start": "now",
    "states": {
        "now": {"kind": "send", "next": "wait"},
        "wait": {"kind": "wait", "duration": "PT34H", "next": "later"},
        "later": {"kind": "send", "window": "day", "next": "rest"},
        "rest": {"kind": "wait", "duration": "P30D", "next": "last"},
        "last": {"kind": "send", "next": "end"},
        "end": {"kind": "end", "result": "done"},
    },
}
SHOWN = {
    "start": "give",
    "states": {"give": {"kind": "issue", "next": "end"}, "end": {"kind": "end", "result": "done"}},
}
BERLIN = Place(ZoneInfo("Europe/Berlin"))


def places(users: Sequence[str], _countries: Countries) -> Mapping[str, Place]:
    return dict.fromkeys(users, BERLIN)


def going(sqlite_url: str, outside: str) -> Going:
    """Return what comes of two playbooks, of which one only shows something, for a user each."""
    bodies = [version_body(FLOW, playbook="letters"), version_body(SHOWN, playbook="banner")]
    windows = Windows.model_validate(
        {"windows": [{"id": "day", "hours": ["09:00-18:00"], "outside": outside}], "rules": []}
    )
    database, clock = Database(sqlite_url), SimulatedClock(NOON)
    draft = Draft(
        tuple(one.playbook for one in bodies),
        bodies[0].offers_by_id,
        {one.id: one for one in bodies[0].contents},
        windows=windows,
    )
    library = LibraryService(database, clock, lambda _: (), NobodyKnows())
    database.write(lambda connection: publish(connection, draft, NOON))
    contacts = [Contact(NOON, user, body.arms[0], 1) for user, body in enumerate(bodies)]
    sendings = Sendings(database, library, Schema({}), Strangers(), places)
    try:
        return sendings.of(contacts, ["ann", "bob"], NOON, NOON + 7 * DAY)
    finally:
        database.close()


@pytest.mark.parametrize(
    ("outside", "late"), [("hold", [Sending(NOON + 44 * HOUR, 0, "memory")]), ("skip", [])]
)
def test_a_flow_is_played_and_windows_move_what_it_sends(
    outside: str, late: list[Sending], sqlite_url: str
) -> None:
    """34 hours after noon it is eleven at night in Berlin; the window opens at nine, which is eight UTC."""
    found = going(sqlite_url, outside)
    assert found.sent == [Sending(NOON, 0, "memory"), *late, Sending(NOON, 1, "memory")]
    assert found.skipped == ({} if late else {"window.day": [NOON + 34 * HOUR]})
