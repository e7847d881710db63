"""The quarantine: what does not fit is kept whole, and taken in once after a fix."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from audiences.errors import NotAside
from audiences.events import Event, EventBody
from audiences.intake.intake import Intake, Outcome
from audiences.quarantine.service import Quarantine, Replayed
from storage import erasure, ledger
from storage.engine import Database
from storage.ledger import Kind
from storage.tombstones import FACTS
from tests.conftest import START


class Swapped:
    """A plan that wants `value` to be a number, as long as it is `strict`."""

    strict = True

    def check(self, event: Event) -> tuple[Event, str]:
        value = event.properties.get("value")
        if self.strict and not isinstance(value, int | float):
            return event, f"properties.value: {value!r} is not a number"
        return event, ""


class Scanner:
    def why(self, event: Event) -> str:
        return "a scanner" if event.context else ""


def _event(event_id: str, user: str = "ann", **changes: Any) -> Event:
    given = {"properties": {"value": "abc"}, "occurred_at": START, "received_at": START, **changes}
    return Event(event_id, user, "order_completed", **given)


@pytest.fixture
def plan() -> Swapped:
    return Swapped()


@pytest.fixture
def intake(database: Database, plan: Swapped) -> Intake:
    return Intake(database, plan=plan, machines=Scanner())


@pytest.fixture
def quarantine(database: Database, intake: Intake, plan: Swapped) -> Quarantine:
    return Quarantine(database, intake, plan)


def test_after_a_fix_each_enters_once_with_its_own_times(
    database: Database, intake: Intake, quarantine: Quarantine, plan: Swapped
) -> None:
    earlier = START - timedelta(days=3)
    intake.take([_event("m1", occurred_at=earlier), _event("m2", source="shop")])
    held = quarantine.page()
    assert [(one.event_id, one.reason, one.source) for one in held] == [
        ("m1", "properties.value: 'abc' is not a number", ""),
        ("m2", "properties.value: 'abc' is not a number", "shop"),
    ]
    assert quarantine.counts() == {"order_completed": 2}
    assert quarantine.replay(START) == Replayed(0, 0, 2, {"properties.value: 'abc' is not a number": 2})
    plan.strict = False
    assert [one.now for one in quarantine.page()] == ["", ""]
    later = START + timedelta(hours=1)
    assert quarantine.replay(later) == Replayed(2, 0, 0, {})
    assert quarantine.replay(later) == Replayed(0, 0, 0, {})
    assert (quarantine.counts(), quarantine.page()) == ({}, [])
    with database.read() as connection:
        fact = ledger.get(connection, Kind.EVENT, "m1")
        counts = ledger.counts(connection)
    assert fact is not None
    assert (fact.occurred_at, fact.recorded_at, fact.user_id) == (earlier, later, "ann")
    assert fact.decode(EventBody).properties == {"value": "abc"}
    # Facts are never changed: what was quarantined is still told.
    assert counts == {
        Kind.QUARANTINED: {"order_completed": 2},
        Kind.EVENT: {"order_completed": 2},
    }
    # The sender's repeat is a duplicate now.
    assert [one.outcome for one in intake.take([_event("m1")])] == [Outcome.DUPLICATE]


def test_only_what_is_named_is_replayed_and_history_stays_history(
    database: Database, intake: Intake, quarantine: Quarantine, plan: Swapped
) -> None:
    intake.take([_event("m1")], past=True)
    plan.strict = False
    assert quarantine.replay(START, names=["order_returned"]).taken == 0
    assert quarantine.replay(START, names=["order_completed"]).taken == 1
    with database.read() as connection:
        assert set(ledger.counts(connection)) == {Kind.QUARANTINED, Kind.PAST_EVENT}


def test_what_a_machine_sent_stays_a_machines(
    database: Database, intake: Intake, quarantine: Quarantine, plan: Swapped
) -> None:
    intake.take([_event("m1", context={"ip": "192.0.2.1"})])
    plan.strict = False
    assert quarantine.replay(START) == Replayed(0, 1, 0, {})
    assert quarantine.page() == []
    with database.read() as connection:
        assert set(ledger.counts(connection)) == {Kind.QUARANTINED, Kind.MACHINE_EVENT}


def test_pages_follow_each_other(intake: Intake, quarantine: Quarantine) -> None:
    intake.take([_event(f"m{index}") for index in range(5)])
    first = quarantine.page(limit=2)
    rest = quarantine.page(after=int(first[-1].cursor), limit=10)
    assert [one.event_id for one in (*first, *rest)] == [f"m{index}" for index in range(5)]
    assert quarantine.show("m3").event.properties == {"value": "abc"}
    with pytest.raises(NotAside, match="no event 'm9' is in quarantine"):
        quarantine.show("m9")


def test_more_than_a_turn_is_replayed(intake: Intake, quarantine: Quarantine, plan: Swapped) -> None:
    intake.take([_event(f"m{index}", user=f"u{index % 9}") for index in range(601)])
    plan.strict = False
    assert quarantine.replay(START).taken == 601


def test_an_erased_users_event_can_neither_be_seen_nor_replayed(
    database: Database, intake: Intake, quarantine: Quarantine, plan: Swapped
) -> None:
    intake.take([_event("m1"), _event("m2", user="bob")])
    erasure.erase(database, [FACTS], ["ann"], START)
    assert [one.event_id for one in quarantine.page()] == ["m2"]
    plan.strict = False
    assert quarantine.replay(START).taken == 1
