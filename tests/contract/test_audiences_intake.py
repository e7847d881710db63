"""The way of an event into the ledger: once, under its user, or set aside with the reason."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from audiences.errors import EventRefused
from audiences.events import AsideBody, Event, EventBody
from audiences.intake.intake import EVENTS_PER_WRITE, Intake, Outcome
from audiences.repository import is_known
from storage import ledger
from storage.engine import Database
from storage.ledger import Kind
from tests.conftest import START

ORDER = Event("m1", "ann", "order_completed", {"value": 12.5}, START, START)


class OnlyOrders:
    """A plan that knows one event and wants its value to be a number."""

    def check(self, event: Event) -> tuple[Event, str]:
        if event.name != "order_completed":
            return event, f"no event {event.name!r} is planned"
        value = float(event.properties["value"])
        return msgspec.structs.replace(event, properties={**event.properties, "value": value}), ""


class Scanner:
    """Takes one address for a scanner's."""

    def why(self, event: Event) -> str:
        return "a mail scanner's address" if event.context.get("ip") == "192.0.2.1" else ""


def _kinds(database: Database) -> dict[Kind, dict[str, int]]:
    with database.read() as connection:
        return ledger.counts(connection)


def test_an_event_is_recorded_once(database: Database) -> None:
    intake = Intake(database)
    (taken,) = intake.take([ORDER])
    again = intake.take([ORDER, ORDER])
    assert taken.outcome is Outcome.RECORDED
    assert [one.outcome for one in again] == [Outcome.DUPLICATE] * 2
    with database.read() as connection:
        fact = ledger.get(connection, Kind.EVENT, "m1")
        assert is_known(connection, "ann")
    assert fact is not None
    assert (fact.user_id, fact.decode(EventBody).properties) == ("ann", {"value": 12.5})


def test_what_comes_twice_in_one_share_counts_once(database: Database) -> None:
    other = msgspec.structs.replace(ORDER, properties={"value": 1.0})
    outcomes = [one.outcome for one in Intake(database).take([ORDER, ORDER, other])]
    assert outcomes == [Outcome.RECORDED, Outcome.DUPLICATE, Outcome.CONFLICT]


@pytest.mark.parametrize(
    "change", [{"properties": {"value": 13}}, {"name": "order_returned"}, {"properties": {}}]
)
def test_an_id_used_for_something_else_is_said(database: Database, change: dict[str, object]) -> None:
    intake = Intake(database)
    intake.take([ORDER])
    (taken,) = intake.take([msgspec.structs.replace(ORDER, **change)])
    assert taken.outcome is Outcome.CONFLICT
    assert "'m1' was used before" in taken.reason
    assert _kinds(database)[Kind.EVENT] == {"order_completed": 1}


def test_a_time_corrected_otherwise_is_no_conflict(database: Database) -> None:
    intake = Intake(database)
    intake.take([ORDER])
    later = msgspec.structs.replace(ORDER, occurred_at=START - timedelta(seconds=1))
    assert [one.outcome for one in intake.take([later])] == [Outcome.DUPLICATE]


def test_what_does_not_fit_the_plan_is_kept_apart_and_taken_once_it_fits(database: Database) -> None:
    strange = msgspec.structs.replace(ORDER, name="order_complete")
    (taken,) = Intake(database, plan=OnlyOrders()).take([strange])
    assert (taken.outcome, taken.reason) == (Outcome.QUARANTINED, "no event 'order_complete' is planned")
    with database.read() as connection:
        fact = ledger.get(connection, Kind.QUARANTINED, "m1")
        assert not is_known(connection, "ann")
    assert fact is not None
    assert fact.decode(AsideBody).event == strange
    assert [one.outcome for one in Intake(database).take([strange])] == [Outcome.RECORDED]
    assert [one.outcome for one in Intake(database).take([strange])] == [Outcome.DUPLICATE]


def test_the_plan_may_coerce(database: Database) -> None:
    text = msgspec.structs.replace(ORDER, properties={"value": "12.5"})
    Intake(database, plan=OnlyOrders()).take([text])
    with database.read() as connection:
        fact = ledger.get(connection, Kind.EVENT, "m1")
    assert fact is not None
    assert fact.decode(EventBody).properties == {"value": 12.5}


def test_machines_are_kept_apart(database: Database) -> None:
    scanned = msgspec.structs.replace(ORDER, context={"ip": "192.0.2.1"})
    (taken,) = Intake(database, machines=Scanner()).take([scanned])
    assert (taken.outcome, taken.reason) == (Outcome.MACHINE, "a mail scanner's address")
    assert set(_kinds(database)) == {Kind.MACHINE_EVENT}
    with database.read() as connection:
        assert not is_known(connection, "ann")


def test_imported_history_is_a_kind_of_its_own_and_counts_once(database: Database) -> None:
    intake = Intake(database)
    intake.take([ORDER], past=True)
    assert [one.outcome for one in intake.take([ORDER])] == [Outcome.DUPLICATE]
    assert _kinds(database) == {Kind.PAST_EVENT: {"order_completed": 1}}


def test_more_than_a_turn_is_taken_in_shares(database: Database) -> None:
    events = [
        msgspec.structs.replace(ORDER, event_id=f"m{index}", user_id=f"user-{index % 7}")
        for index in range(2 * EVENTS_PER_WRITE + 1)
    ]
    futures = Intake(database).submit(events)
    assert [len(future.result()) for future in futures] == [EVENTS_PER_WRITE, EVENTS_PER_WRITE, 1]
    assert _kinds(database)[Kind.EVENT] == {"order_completed": len(events)}


def test_an_event_of_nobody_is_refused(database: Database) -> None:
    with pytest.raises(EventRefused, match="say who did it"):
        Intake(database).take([msgspec.structs.replace(ORDER, user_id="")])
    assert _kinds(database) == {}
