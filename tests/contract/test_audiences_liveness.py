"""Alerts of liveness: opened and closed once per cause, kept as facts."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from audiences.events import Event
from audiences.intake.intake import EVENTS_PER_WRITE, Intake
from audiences.liveness.service import AlertBody, Liveness
from audiences.quality.arrivals import CountedArrivals
from storage import ledger
from storage.engine import Database
from storage.ledger import Kind
from tests.conftest import START

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
DAYS = 5


@pytest.fixture
def intake(database: Database) -> Intake:
    return Intake(database, arrivals=CountedArrivals(HOUR))


@pytest.fixture
def liveness(database: Database) -> Liveness:
    return Liveness(database)


def _send(intake: Intake, moments: list[datetime], name: str, source: str = "shop") -> None:
    events = [
        Event(f"{source}-{name}-{index}-{moment.isoformat()}", "ann", name, {}, moment, moment, source=source)
        for index, moment in enumerate(moments)
    ]
    for at in range(0, len(events), EVENTS_PER_WRITE):
        intake.take(events[at : at + EVENTS_PER_WRITE])


def _steadily(start: datetime, end: datetime, every: timedelta = 6 * MINUTE) -> list[datetime]:
    return [start + index * every for index in range(int((end - start) / every))]


def _alerts(database: Database) -> list[tuple[str, str, str]]:
    with database.read() as connection:
        facts = ledger.read_after(connection, 0, kind=Kind.ALERT)
    bodies = [(fact.label, fact.decode(AlertBody)) for fact in facts]
    return [(label, body.source, body.name) for label, body in bodies]


def test_a_silent_event_of_a_source_that_lives(
    database: Database, intake: Intake, liveness: Liveness
) -> None:
    begin = START - timedelta(days=DAYS)
    _send(intake, _steadily(begin, START), "order_completed")
    _send(intake, _steadily(begin, START + 6 * HOUR), "page_viewed")
    assert liveness.run(START + HOUR) == {"opened": 0, "closed": 0}
    assert liveness.run(START + 2 * HOUR) == {"opened": 1, "closed": 0}
    assert liveness.run(START + 3 * HOUR) == {"opened": 0, "closed": 0}
    assert _alerts(database) == [("silence_opened", "shop", "order_completed")]
    last = START - 6 * MINUTE
    assert liveness.silent("order_completed") == last
    assert liveness.silent("page_viewed") is None
    told = {one["name"]: one for one in liveness.describe(START + 3 * HOUR)}
    assert (told["order_completed"]["state"], told["order_completed"]["since"]) == ("silence", last)
    assert told["page_viewed"]["state"] == "live"
    assert told["page_viewed"]["usual_this_hour"] == 10
    # A first sign of life is not the backlog yet.
    _send(intake, [START + 6 * HOUR], "order_completed")
    assert liveness.run(START + 6 * HOUR) == {"opened": 0, "closed": 0}
    assert liveness.silent("order_completed") == last
    _send(intake, [START + 6 * HOUR + MINUTE] * 50, "order_completed")
    assert liveness.run(START + 6 * HOUR + 2 * MINUTE) == {"opened": 0, "closed": 1}
    assert liveness.silent("order_completed") is None
    assert [label for label, _, _ in _alerts(database)] == ["silence_opened", "silence_closed"]


def test_a_dead_source_is_one_cause(database: Database, intake: Intake, liveness: Liveness) -> None:
    begin = START - timedelta(days=DAYS)
    for name in ("order_completed", "page_viewed"):
        _send(intake, _steadily(begin, START), name)
    _send(intake, _steadily(begin, START + 8 * HOUR), "page_viewed", source="app")
    assert liveness.run(START + 5 * HOUR) == {"opened": 1, "closed": 0}
    assert _alerts(database) == [("silence_opened", "shop", "")]
    assert liveness.silent("order_completed") == START - 6 * MINUTE
    # Another process, or this one after a restart, does not say it again.
    assert Liveness(database).run(START + 6 * HOUR) == {"opened": 0, "closed": 0}
    # What was lost never comes: after an hour of life it is over.
    _send(intake, _steadily(START + 6 * HOUR, START + 8 * HOUR), "page_viewed")
    _send(intake, _steadily(START + 6 * HOUR, START + 8 * HOUR), "order_completed")
    assert liveness.run(START + 7 * HOUR) == {"opened": 0, "closed": 0}
    assert liveness.run(START + 8 * HOUR) == {"opened": 0, "closed": 1}


def test_a_jump_opens_and_closes(database: Database, intake: Intake, liveness: Liveness) -> None:
    _send(intake, _steadily(START - timedelta(days=DAYS), START + 4 * HOUR), "order_completed")
    _send(intake, [START + 10 * MINUTE] * 200, "order_completed")
    assert liveness.run(START + 12 * MINUTE) == {"opened": 1, "closed": 0}
    assert liveness.run(START + 30 * MINUTE) == {"opened": 0, "closed": 0}
    assert liveness.run(START + 3 * HOUR) == {"opened": 0, "closed": 1}
    assert _alerts(database) == [
        ("jump_opened", "shop", "order_completed"),
        ("jump_closed", "shop", "order_completed"),
    ]


def test_imports_are_no_sign_of_life(database: Database, intake: Intake, liveness: Liveness) -> None:
    _send(intake, _steadily(START - timedelta(days=DAYS), START), "order_completed")
    moment = START + 5 * HOUR
    history = [
        Event(f"old-{index}", "ann", "order_completed", {}, START - timedelta(days=90), moment, source="shop")
        for index in range(100)
    ]
    intake.take(history, past=True)
    assert liveness.run(moment) == {"opened": 1, "closed": 0}
    assert liveness.describe(moment)[-1]["last_at"] == START - 6 * MINUTE


def test_before_there_is_a_history_nothing_is_said(intake: Intake, liveness: Liveness) -> None:
    _send(intake, _steadily(START - 20 * HOUR, START), "order_completed")
    assert liveness.run(START + timedelta(days=1)) == {"opened": 0, "closed": 0}
    assert {one["state"] for one in liveness.describe(START + HOUR)} == {"learning"}
