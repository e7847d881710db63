"""Data quality: the figures add up with the ledger, and say what nothing uses."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from audiences.events import Event
from audiences.intake.intake import Intake
from audiences.machines.definitions import MachinesSpec
from audiences.machines.machines import KnownMachines
from audiences.quality.arrivals import CountedArrivals, Refusals
from audiences.quality.service import BEYOND, Quality
from audiences.quarantine.service import Quarantine
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind
from tests.conftest import START

BOT = {"userAgent": "Googlebot/2.1 (+http://www.google.com/bot.html)"}


class Orders:
    """A plan that wants orders to have a number as value, unless it is `lax`."""

    lax = False

    def check(self, event: Event) -> tuple[Event, str]:
        fits = event.name != "order_completed" or isinstance(event.properties.get("value"), int)
        return event, "" if fits or self.lax else "properties.value is not a number"


def _event(event_id: str, name: str = "order_completed", source: str = "shop", **changes: Any) -> Event:
    given: dict[str, Any] = {"properties": {"value": 1}, "occurred_at": START, "received_at": START}
    return Event(event_id, "ann", name, source=source, **{**given, **changes})


@pytest.fixture
def plan() -> Orders:
    return Orders()


@pytest.fixture
def late() -> list[int]:
    return []


@pytest.fixture
def intake(database: Database, plan: Orders, late: list[int]) -> Intake:
    arrivals = CountedArrivals(timedelta(hours=1), late.append)
    return Intake(database, plan=plan, machines=KnownMachines(MachinesSpec()), arrivals=arrivals)


@pytest.fixture
def quality(database: Database) -> Quality:
    return Quality(database, {("order_completed", "value"), ("order_returned", "value")})


def _total(quality: Quality) -> dict[str, int]:
    total: dict[str, int] = quality.report(START)["total"]
    return {name: number for name, number in total.items() if number}


def test_each_outcome_has_its_figure(
    database: Database, intake: Intake, quality: Quality, late: list[int], clock: SimulatedClock
) -> None:
    intake.take([_event("m1"), _event("m2", occurred_at=START - timedelta(hours=2)), _event("m1")])
    intake.take([_event("m1", properties={"value": 2}), _event("m3", properties={"value": "x"})])
    intake.take([_event("m4", context=BOT)])
    intake.take([_event("m5", source="import", occurred_at=START - timedelta(days=9))], past=True)
    Refusals(database, clock).add("shop", 3)
    database.write(lambda _connection: None)
    rows = {(row["source"], row["name"]): row for row in quality.report(START)["sources"]}
    shop = rows["shop", "order_completed"]
    assert {name: shop[name] for name in shop if name not in ("source", "name") and shop[name]} == {
        "accepted": 2,
        "duplicate": 1,
        "conflict": 1,
        "quarantined": 1,
        "machine": 1,
        "late": 1,
    }
    assert rows["shop", ""]["refused"] == 3
    assert (rows["import", "order_completed"]["accepted"], rows["import", "order_completed"]["imported"]) == (
        1,
        1,
    )
    assert late == [1]


def test_figures_are_by_the_hour_of_arrival(intake: Intake, quality: Quality) -> None:
    intake.take([_event("m1"), _event("m2", received_at=START + timedelta(hours=1, minutes=5))])
    by_hour = quality.by_hour(START + timedelta(hours=1, minutes=30), hours=2)
    assert [(row["hour"], row["accepted"]) for row in by_hour] == [
        (START, 1),
        (START + timedelta(hours=1), 1),
    ]
    assert quality.report(START + timedelta(hours=1), hours=1)["total"]["accepted"] == 1


def test_what_is_released_is_counted_as_accepted_beside_where_it_was(
    database: Database, intake: Intake, quality: Quality, plan: Orders
) -> None:
    intake.take([_event("m1", properties={"value": "x"}), _event("m2", properties={"value": "y"})])
    plan.lax = True
    quarantine = Quarantine(database, intake, plan)
    quarantine.replay(START + timedelta(days=2))
    quarantine.replay(START + timedelta(days=2))
    assert _total(quality) == {"accepted": 2, "quarantined": 2, "released": 2}


def test_the_figures_add_up_with_the_ledger(
    database: Database, intake: Intake, quality: Quality, plan: Orders
) -> None:
    draw = random.Random(1)
    sent = 0
    for _ in range(30):
        events = [
            _event(
                f"m{draw.randrange(300)}",
                name=draw.choice(["order_completed", "page_viewed", "seen"]),
                source=draw.choice(["shop", "app"]),
                properties={"value": draw.choice([1, 2, "x"])},
                context=draw.choice([{}, {}, {}, BOT]),
                received_at=START + timedelta(minutes=draw.randrange(300)),
            )
            for _ in range(draw.randint(1, 40))
        ]
        intake.take(events, past=draw.random() < 0.2)
        sent += len(events)
    plan.lax = True
    Quarantine(database, intake, plan).replay(START)
    total = quality.report(START + timedelta(hours=6), hours=12)["total"]
    with database.read() as connection:
        counts = {kind: sum(labels.values()) for kind, labels in ledger.counts(connection).items()}
    assert total["accepted"] == counts[Kind.EVENT] + counts[Kind.PAST_EVENT]
    assert total["imported"] == counts[Kind.PAST_EVENT]
    assert total["quarantined"] == counts[Kind.QUARANTINED]
    assert total["machine"] == counts[Kind.MACHINE_EVENT]
    assert total["released"] > 0
    outcomes = ("accepted", "duplicate", "conflict", "quarantined", "machine")
    assert sum(total[name] for name in outcomes) - total["released"] == sent
    # And so do the properties.
    quality.run()
    received = {
        (one["event"], name): None
        for one in quality.report(START)["utilisation"]["events"]
        for name in (*one["used"], *one["unused"])
    }
    with database.read() as connection:
        facts = ledger.read_after(connection, 0, kind=(Kind.EVENT, Kind.PAST_EVENT))
    assert set(received) == {(fact.label, "value") for fact in facts}


def test_the_utilisation_rate(intake: Intake, quality: Quality) -> None:
    assert quality.report(START)["utilisation"]["rate"] is None
    intake.take([_event("m1", properties={"value": 1, "colour": "red"}), _event("m2")])
    intake.take([_event("m3", name="seen", properties={"what": 1})])
    assert (quality.run(), quality.run()) == (3, 0)
    told = quality.report(START)["utilisation"]
    assert (told["received"], told["used"], told["rate"]) == (3, 1, 1 / 3)
    assert told["weighted"] == 2 / 4
    by_event = {one["event"]: one for one in told["events"]}
    assert by_event["order_completed"]["rate"] == 1 / 2
    assert by_event["order_completed"]["unused"] == ["colour"]
    assert by_event["order_returned"]["never_received"] == ["value"]
    assert by_event["order_returned"]["rate"] is None


def test_made_up_properties_are_bounded(database: Database, intake: Intake, quality: Quality) -> None:
    for start in range(0, 1_500, 500):
        properties: dict[str, Any] = {f"k{index}": 1 for index in range(start, start + 500)}
        intake.take([_event(f"m{start}", name="odd", properties=properties)])
    quality.run()
    (told,) = [one for one in quality.report(START)["utilisation"]["events"] if one["event"] == "odd"]
    assert len(told["unused"]) == 1_001
    assert BEYOND in told["unused"]
    # The reader goes on: nothing waits for what does not fit.
    intake.take([_event("last")])
    assert quality.run() == 1


def test_writers_at_once_lose_no_count(database: Database, intake: Intake, quality: Quality) -> None:
    futures = [
        future for index in range(200) for future in intake.submit([_event(f"m{index}"), _event("same")])
    ]
    for future in futures:
        future.result()
    assert _total(quality)["accepted"] == 201
    assert _total(quality)["duplicate"] == 199
