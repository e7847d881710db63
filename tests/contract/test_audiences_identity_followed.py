"""What follows a person of several profiles: caps on every kind of counters, enrolments, rewards, tags."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Connection

from audiences.events import EventBody
from audiences.identity.models import Person
from delivery.coupons.wallet import Wallet
from delivery.effects import Effects
from delivery.executor import Executor
from delivery.repository import enrolments_of
from delivery.testing import MemoryPlans, arms_of, decision_for, version_body
from playbooks.constraints.counting import UseLimit
from playbooks.counters import Counters, SqlCounters, ValkeyCounters, Wanted
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind, NewFact
from storage.writer import Lane

WEEK = timedelta(days=7)
RULE = "cap.weekly.two"


class Joined:
    """A map of people that tests change."""

    def __init__(self) -> None:
        self.persons: dict[str, Person] = {}
        self.revision = 0

    def join(self, canonical: str, *others: str) -> None:
        self.revision += 1
        members = tuple(sorted((canonical, *others)))
        self.persons.update(dict.fromkeys(members, Person(canonical, members, self.revision)))

    def part(self, *users: str) -> None:
        for user in users:
            self.join(user)

    def person(self, user_id: str) -> Person:
        return self.persons.get(user_id) or Person(user_id, (user_id,))

    def canonical(self, user_id: str) -> str:
        return self.person(user_id).canonical

    def members(self, user_id: str) -> tuple[str, ...]:
        return self.person(user_id).members


@pytest.fixture(params=["sqlite", "postgres", "valkey on sqlite", "valkey on postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which counters, over which database."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def opened(kind: str, request: pytest.FixtureRequest) -> Iterator[Database]:
    """The database under the counters."""
    database = Database(request.getfixturevalue(f"{kind.rpartition(' ')[2]}_url"))
    yield database
    database.close()


@pytest.fixture
def people() -> Joined:
    """Nobody is joined yet."""
    return Joined()


@pytest.fixture
def counters(
    kind: str, opened: Database, people: Joined, request: pytest.FixtureRequest
) -> Iterator[Counters]:
    """The counters under test."""
    made: Counters = SqlCounters(opened, people)
    if kind.startswith("valkey"):
        made = ValkeyCounters(opened, request.getfixturevalue("valkey_url"), people, patience=10.0)
    yield made
    made.close()


def test_caps_count_what_any_profile_used_and_part_with_it(
    counters: Counters, opened: Database, people: Joined, clock: SimulatedClock
) -> None:
    def reserve(decision: str, user: str) -> str | None:
        wanted = Wanted(decision, user, [UseLimit(RULE, 2, WEEK)])
        return opened.write(counters.reserve(wanted, clock.now()).keep, lane=Lane.DECISION)

    def counted(user: str) -> int:
        return len(counters.read(user, clock.now(), since=clock.now() - WEEK).get(RULE, ()))

    assert reserve("a1", "ann") is None
    assert reserve("b1", "bob") is None
    people.join("ann", "bob")
    assert counted("ann") == counted("bob") == 2
    assert reserve("ab", "bob") == RULE
    assert counters.recount(clock.now()) == []

    people.part("ann", "bob")
    assert counted("ann") == counted("bob") == 1
    assert reserve("b2", "bob") is None
    assert reserve("b3", "bob") == RULE

    people.join("bob", "ann")
    assert counted("ann") == 3
    opened.write(lambda connection: counters.release(connection, ["a1", "b2"]))
    assert reserve("ab2", "ann") is None
    assert reserve("ab3", "bob") == RULE
    # It was reserved under the id of the person.
    people.part("ann", "bob")
    assert (counted("ann"), counted("bob")) == (0, 2)
    assert counters.recount(clock.now()) == []


def test_an_event_of_any_profile_reaches_the_persons_enrolment(
    database: Database, people: Joined, clock: SimulatedClock
) -> None:
    body = version_body()
    arm = arms_of(body)["milk"]
    runner = Executor(
        database,
        clock,
        MemoryPlans({1: body}),
        Effects(Wallet(database, clock), lambda *_: None),
        people,
    )

    def start(connection: Connection) -> None:
        for user in ("ann", "cid"):
            runner.start(connection, [(decision_for(user, arm, clock.now()), arm)])

    database.write(start, rows=2)
    runner.advance_due()
    clock.move_to(clock.now() + timedelta(hours=1))
    people.join("ann", "anonymous:x")
    bought = EventBody({"categories": ["milk"]})

    def buy(connection: Connection) -> None:
        fact = NewFact(Kind.EVENT, "e1", "order_completed", "anonymous:x", clock.now(), bought)
        ledger.append(connection, [fact], clock.now())

    database.write(buy)
    assert runner.route_events().events == 1
    with database.read() as connection:
        found = enrolments_of(connection, ["ann", "cid"])
    assert found["ann"].waiting_for is None
    assert found["cid"].waiting_for == "order_completed"
