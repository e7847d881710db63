"""Held clicks: kept apart until it is known who clicked; people's count with their own ids and times."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from audiences.erasure import PLACES
from audiences.errors import NotAside
from audiences.events import Event
from audiences.intake.intake import Intake, Outcome
from audiences.machines.definitions import MachinesSpec
from audiences.machines.machines import KnownMachines, Reason
from audiences.machines.service import MachineEvents, Settled
from storage import erasure, ledger
from storage.engine import Database
from storage.ledger import Kind
from storage.tombstones import FACTS
from tests.conftest import START

SOON = START + timedelta(seconds=30)


def _click(message: str, link: str, after: float = 3.0, links: int | None = 4, **changes: Any) -> Event:
    moment = START + timedelta(seconds=after)
    properties: dict[str, Any] = {"message_id": message, "link": link, "delivered_at": START.isoformat()}
    if links is not None:
        properties |= {"links": links}
    event_id = changes.pop("event_id", f"{message}-{link}")
    return Event(event_id, "ann", "email_link_clicked", properties, moment, moment, **changes)


@pytest.fixture
def intake(database: Database) -> Intake:
    return Intake(database, machines=KnownMachines(MachinesSpec()))


@pytest.fixture
def machines(database: Database, intake: Intake) -> MachineEvents:
    return MachineEvents(database, intake, MachinesSpec)


def _counted(database: Database) -> dict[str, str]:
    with database.read() as connection:
        facts = ledger.read_after(connection, 0, kind=Kind.EVENT)
    return {fact.id: fact.occurred_at.isoformat() for fact in facts}


def test_a_persons_click_counts_after_the_wait_with_its_own_id_and_time(
    database: Database, intake: Intake, machines: MachineEvents
) -> None:
    click = _click("a", "1")
    (taken,) = intake.take([click])
    assert (taken.outcome, taken.reason) == (Outcome.MACHINE, Reason.HELD)
    assert machines.settle(START + timedelta(seconds=14)) == Settled(0, 0)
    assert (_counted(database), machines.waiting()) == ({}, 1)
    assert machines.settle(SOON) == Settled(1, 0)
    assert _counted(database) == {"a-1": click.occurred_at.isoformat()}
    assert machines.settle(SOON) == Settled(0, 0)
    assert machines.counts(START - timedelta(days=1)) == {}
    assert [one.outcome for one in intake.take([click])] == [Outcome.DUPLICATE]


def test_a_machine_that_clicks_every_link_never_counts(
    database: Database, intake: Intake, machines: MachineEvents
) -> None:
    intake.take([_click("a", str(link), after=link) for link in range(4)])
    intake.take([_click("b", "1")])
    assert machines.settle(SOON) == Settled(1, 4)
    assert set(_counted(database)) == {"b-1"}
    assert machines.counts(START) == {Reason.HELD: 4}
    # One more that comes in late is judged with the others.
    late = _click("a", "0", event_id="late", after=5)
    intake.take([late])
    assert machines.settle(SOON) == Settled(0, 1)
    with database.read() as connection:
        assert ledger.counts(connection)[Kind.MACHINE_EVENT] == {"email_link_clicked": 6}


def test_it_may_be_stopped_between_release_and_note(
    database: Database, intake: Intake, machines: MachineEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake.take([_click("a", "1")])
    with monkeypatch.context() as patched:
        patched.setattr("audiences.machines.repository.settle", _broken)
        with pytest.raises(RuntimeError, match="stopped"):
            machines.settle(SOON)
    assert set(_counted(database)) == {"a-1"}
    assert machines.settle(SOON) == Settled(1, 0)
    assert set(_counted(database)) == {"a-1"}


def test_an_operator_may_say_that_it_was_no_machine(
    database: Database, intake: Intake, machines: MachineEvents
) -> None:
    opened = Event(
        "o1", "ann", "email_opened", {"message_id": "a", "delivered_at": START.isoformat()}, START, START
    )
    intake.take([opened, _click("a", "1")])
    assert machines.counts(START) == {Reason.AT_ONCE: 1, Reason.HELD: 1}
    assert machines.not_a_machine("o1", SOON).outcome is Outcome.RECORDED
    assert machines.not_a_machine("a-1", SOON).outcome is Outcome.RECORDED
    with pytest.raises(NotAside, match="no event 'o1' is kept apart"):
        machines.not_a_machine("o1", SOON)
    assert set(_counted(database)) == {"o1", "a-1"}
    assert machines.settle(SOON).people <= 1
    assert set(_counted(database)) == {"o1", "a-1"}


def test_odd_links_do_no_harm(database: Database, intake: Intake, machines: MachineEvents) -> None:
    odd = [
        _click("a", "1", links=None),
        _click("b", "1", links=10**12),
        _click("c", "1", links=-3),
    ]
    bool_links = _click("d", "1")
    odd.append(
        Event(
            "d", "ann", bool_links.name, {**bool_links.properties, "links": True, "link": {"x": 1}},
            bool_links.occurred_at, bool_links.received_at,
        )
    )  # fmt: skip
    intake.take(odd)
    assert machines.settle(SOON) == Settled(4, 0)
    assert len(_counted(database)) == 4


def test_what_was_erased_meanwhile_is_left_alone(
    database: Database, intake: Intake, machines: MachineEvents
) -> None:
    intake.take([_click("a", "1")])
    machines.settle(START)
    erasure.erase(database, [*PLACES, FACTS], ["ann"], SOON)
    assert machines.settle(SOON) == Settled(0, 0)
    assert _counted(database) == {}
    assert machines.counts(START) == {"erased": 1}


def test_more_than_a_turn_is_settled(database: Database, intake: Intake, machines: MachineEvents) -> None:
    intake.take([_click(f"m{index}", "1") for index in range(420)])
    assert machines.settle(SOON) == Settled(420, 0)
    assert len(_counted(database)) == 420


def _broken(*_: object, **__: object) -> None:
    raise RuntimeError("stopped")
