"""Enrolments that wait, fall due, send a message and wait again: through the executor, and as bare SQL.

The bare way claims as many rows a transaction, writes their new states and puts a message of each into the
outbox, with the same tables and durability: what an executor can't do without, and nothing else. It knows
no flow, records no fact, and asks nobody whether somebody is stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from audiences.service import set_tag
from benchmarks.errors import BenchmarkError
from delivery import repository
from delivery.coupons.wallet import Wallet
from delivery.effects import Effects
from delivery.executor import Executor
from delivery.models import Enrolment
from delivery.plans import Plan, PublishedPlans
from delivery.tables import enrolments, outbox
from playbooks.content.documents import Content
from playbooks.library import VersionBody
from playbooks.models import Playbook
from playbooks.offers import Offer
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ids import new_id
from storage.statements import Statement
from storage.times import to_micros
from storage.writer import TURN_ROWS

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
# After each round all of them wait so long.
ROUND = timedelta(minutes=10)
_FLOW: Mapping[str, Any] = {
    "start": "say",
    "states": {
        "say": {"kind": "send", "next": "rest"},
        "rest": {
            "kind": "wait_for_event",
            "event": "goodbye",
            "timeout": "PT10M",
            "on_event": "over",
            "on_timeout": "say",
        },
        "over": {"kind": "end", "result": "over"},
    },
}


def body() -> VersionBody:
    """Return the playbook version that all of them run through."""
    document = Playbook.model_validate(
        {
            "id": "greetings",
            "name": "Greets every ten minutes",
            "placement": "outbound",
            "goal": {"event": "goodbye", "window": "P1D"},
            "variants": [{"offers": ["greeting"], "channel": "mailbox", "content": "hello"}],
            "flow": _FLOW,
        }
    )
    offer = Offer.model_validate({"id": "greeting", "name": "A greeting"})
    content = Content(id="hello", subject="Hello", body="Hello {{ user_id }}")
    return VersionBody(playbook=document, offers=[offer], contents=[content])


def waiting(number: int) -> Iterator[Enrolment]:
    """Yield enrolments that are due at `NOW`."""
    (arm,) = body().arms
    for index in range(number):
        name = new_id(NOW)
        yield Enrolment(
            name,
            f"user-{index}",
            "greetings",
            1,
            name,
            arm,
            "rest",
            NOW - ROUND,
            NOW,
            waiting_for="goodbye",
            revision=1,
            started_at=NOW - ROUND,
        )


def fill(database: Database, number: int) -> None:
    """Record so many enrolments that wait."""
    some: list[Enrolment] = []
    for one in waiting(number):
        some.append(one)
        if len(some) == TURN_ROWS:
            database.write(partial(_add, some=some), rows=len(some))
            some = []
    if some:
        database.write(partial(_add, some=some), rows=len(some))


def _add(connection: Connection, some: list[Enrolment]) -> None:
    repository.add_enrolments(connection, some)


class _OnePlan(PublishedPlans):
    """The plan of the one version there is, which no library has to publish."""

    def __init__(self) -> None:
        self._plan = Plan.of(body(), 1)

    def find(self, connection: Connection, playbook: str, version: int) -> Plan:
        return self._plan


def by_executor(database: Database, at: datetime) -> int:
    """Advance all that are due at a moment; return how many."""
    clock = SimulatedClock(at)
    executor = Executor(database, clock, _OnePlan(), Effects(Wallet(database, clock), set_tag))
    return executor.advance_due().advanced


def bare(database: Database, at: datetime) -> int:
    """Do the same by SQL alone; return how many."""
    total = 0
    while done := database.write(partial(_bare_turn, at=at), rows=TURN_ROWS, forced=False):
        total += done
    return total


def rate(do: Callable[[Database, datetime], int], database: Database, at: datetime, number: int) -> float:
    """Return transitions a second of one round.

    Raises:
        BenchmarkError: not all were advanced, each once.
    """
    started = time.perf_counter()
    done = do(database, at)
    seconds = time.perf_counter() - started
    if done != number:
        raise BenchmarkError(f"{done} of {number} enrolments were advanced; the measurement is void")
    return done / seconds


_CLAIM = Statement(
    select(enrolments.c.id, enrolments.c.revision)
    .where(enrolments.c.due_at <= bindparam("now"))
    .order_by(enrolments.c.due_at, enrolments.c.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_SAVE = Statement(
    update(enrolments)
    .where(enrolments.c.id == bindparam("this"))
    .values({name: bindparam(name) for name in ("state", "entered_at", "due_at", "revision")})
)
_MESSAGE = ("key", "enrolment_id", "queued_at", "available_at", "attempts", "state", "channel", "content")
_QUEUE = Statement(insert(outbox).values({name: bindparam(name) for name in _MESSAGE}))


def _bare_turn(connection: Connection, at: datetime) -> int:
    now, then = to_micros(at), to_micros(at + ROUND)
    found = _CLAIM.run(connection, {"now": now, "most": TURN_ROWS}).all()
    _SAVE.run_many(
        connection,
        [
            {"this": one.id, "state": "rest", "entered_at": now, "due_at": then, "revision": one.revision + 1}
            for one in found
        ],
    )
    _QUEUE.run_many(
        connection,
        [
            {
                "key": f"{one.id}:{one.revision + 1}:0",
                "enrolment_id": one.id,
                "queued_at": now,
                "available_at": now,
                "attempts": 0,
                "state": "queued",
                "channel": "mailbox",
                "content": "hello",
            }
            for one in found
        ],
    )
    return len(found)
