"""A process that runs enrolments through a long flow, over and over killed by `tests.faults.enrolments`.

It is forked by the launcher (`Request.entry`), opens the database like any service does, and works through
one moment of a clock that stands: the parent moves it on once nothing is left to do.
"""

from __future__ import annotations

import json
import os
import sys
import time as clock_time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from hashlib import blake2b
from pathlib import Path

from sqlalchemy import Connection, func, select

from audiences.consent.models import Channel as Consent
from audiences.events import EventBody
from delivery.causes import Drawn
from delivery.channels.channel import Address, AfterCrash, Receipt
from delivery.channels.webhook import WEBHOOK
from delivery.errors import TaskClosed
from delivery.models import Enrolment, Message
from delivery.people.models import Caller, TaskState
from delivery.people.repository import Wanted
from delivery.retry import Retry
from delivery.service import Delivery
from delivery.tables import enrolments
from delivery.testing import MemoryPlans, arms_of, decision_for, version_body
from delivery.view import View
from playbooks.decision import certain
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind, NewFact
from storage.schema import facts

FLOW = {
    "start": "habit",
    "states": {
        "habit": {"kind": "wait", "best_hour": {"otherwise": "18:00"}, "next": "again"},
        "again": {"kind": "decide", "next": "give", "on_nothing": "over"},
        "give": {"kind": "issue", "next": "tell"},
        "tell": {"kind": "send", "next": "mark"},
        "mark": {"kind": "tag", "tag": "told", "next": "crm"},
        "crm": {"kind": "webhook", "url": "https://crm.example/hooks", "next": "call"},
        "call": {
            "kind": "task",
            "title": "Ask",
            "assignee": "sales",
            "due_in": "P1D",
            "results": {"bought": "reached"},
            "on_overdue": "ordered",
        },
        "ordered": {
            "kind": "wait_for_event",
            "event": "order_completed",
            "where": "list_contains(event.categories, arm.category)",
            "timeout": "P14D",
            "on_event": "reached",
            "on_timeout": "over",
        },
        "reached": {"kind": "goal", "next": "used"},
        "used": {"kind": "end", "result": "used"},
        "over": {"kind": "end", "result": "expired"},
    },
}
BODY = version_body(FLOW)
ARMS = arms_of(BODY)
BEGUN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
# All begin; each has its hour, is decided anew, told and called; some orders come in; the rest runs out.
MOMENTS = (BEGUN, BEGUN.replace(hour=20), BEGUN + timedelta(hours=34), BEGUN + timedelta(days=20))
BEGINNING, TOLD, ORDERED, _ = range(len(MOMENTS))
# Of so many one is called, and of so many one orders.
CALLED, BUYS = 20, 3
HANDED_OVER = "handed-over.tsv"
_PIECE = 100
_BATCH = 50


class Provider:
    """Notes what it is handed, outside of the process; `accepted` makes of that what it accepts."""

    address = Address.NONE
    consent = Consent.ANY
    after_crash = AfterCrash.REPEAT
    retry = Retry()

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / HANDED_OVER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)

    def send(self, message: Message) -> Receipt:
        said = "\0".join((message.user_id, message.subject, message.body, message.address))
        line = f"{message.key}\t{blake2b(said.encode(), digest_size=8).hexdigest()}\n"
        os.write(self._file, line.encode())
        return Receipt(message.key, delivered=True)


class Habits:
    """Everybody is active at an hour of the afternoon."""

    def read(self, users: Sequence[str], now: datetime) -> Mapping[str, View]:
        return {user: View(best_hour=time(12 + place_of(user) % 6)) for user in users}


def user(place: int) -> str:
    """Return the user at a place."""
    return f"u{place:07}"


def place_of(user_id: str) -> int:
    """Return the place of a user."""
    return int(user_id[1:])


def decide_again(connection: Connection, enrolment: Enrolment, key: str, at: datetime) -> Drawn:
    """Draw one of both arms, and record the decision."""
    arm = ARMS["bread" if place_of(enrolment.user_id) % 2 else "milk"]
    decision_id = f"again-{enrolment.id}"
    decision = certain(decision_id, enrolment.user_id, arm, 1, at, placement="outbound")
    fact = NewFact(Kind.DECISION, decision_id, "outbound", enrolment.user_id, at, decision)
    ledger.append(connection, [fact], at)
    return Drawn(decision_id, arm)


def main() -> None:
    """Work through a moment; the first of the workers also begins runs, does tasks and brings orders in."""
    url, folder, holder, moment, number, mode = sys.argv[1:]
    database = Database(url)
    clock = SimulatedClock(MOMENTS[int(moment)])
    provider = Provider(Path(folder))
    delivery = Delivery(
        database,
        clock,
        MemoryPlans({1: BODY}),
        {"memory": provider, WEBHOOK: provider},
        lambda *_: None,
        views=Habits(),
        decide_again=decide_again,
        holder=holder,
        batch=_BATCH,
    )
    delivery.recover()
    (Path(folder) / f"ready-{os.getpid()}").touch()
    if mode == "beside":
        while True:
            if not delivery.run_until_idle():
                clock_time.sleep(0.005)
    if mode == "first":
        {BEGINNING: _begin, TOLD: _call, ORDERED: _order}.get(int(moment), _nothing)(
            database, delivery, int(number)
        )
    delivery.run_until_idle()
    database.close()


def _begin(database: Database, delivery: Delivery, number: int) -> None:
    """Begin the runs that were not begun, while those that were go on."""
    with database.read() as connection:
        begun = connection.execute(select(func.count()).select_from(enrolments)).scalar_one()
    for first in range(begun, number, _PIECE):

        def start(connection: Connection, first: int = first) -> None:
            for place in range(first, min(first + _PIECE, number)):
                decision = decision_for(user(place), ARMS["milk"], BEGUN)
                delivery.start(connection, [(decision, ARMS["milk"])])

        database.write(start, rows=2 * _PIECE)
        delivery.run_until_idle()


def _call(_database: Database, delivery: Delivery, _number: int) -> None:
    """Say of some that they bought; done twice a task says so."""
    delivery.run_until_idle()
    after: tuple[datetime, str] | None = None
    joe, now = Caller("joe", everything=True), delivery.desk.now()
    while page := delivery.desk.listed(Wanted(now, standing=[TaskState.OPEN]), after=after, limit=500):
        for one in page:
            if place_of(one.user_id) % CALLED == 0:
                try:
                    delivery.desk.finish(one.id, "bought", joe)
                except TaskClosed as closed:
                    sys.stdout.write(json.dumps({"closed": str(closed)}) + "\n")
        after = (page[-1].due_at, page[-1].id)


def _order(database: Database, delivery: Delivery, number: int) -> None:
    """Record orders that are not there yet, and go on between them."""
    body, at = EventBody({"categories": ["milk", "bread"]}), BEGUN + timedelta(hours=33)
    with database.read() as connection:
        query = select(facts.c.user_id).where(facts.c.kind == Kind.EVENT, facts.c.label == "order_completed")
        there = set(connection.execute(query).scalars())
    missing = [one for place in range(0, number, BUYS) if (one := user(place)) not in there]
    for first in range(0, len(missing), _PIECE):
        orders = [
            NewFact(Kind.EVENT, f"order-{one}", "order_completed", one, at, body)
            for one in missing[first : first + _PIECE]
        ]

        def record(connection: Connection, orders: Sequence[NewFact] = orders) -> None:
            ledger.append(connection, orders, MOMENTS[ORDERED])

        database.write(record, rows=_PIECE)
        delivery.run_until_idle()


def _nothing(_database: Database, _delivery: Delivery, _number: int) -> None:
    """All happens by itself."""
