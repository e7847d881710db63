"""Requests that come together: one block, each answered as though it were alone; on both databases."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from decision.answers import AskedIdentity, DecideAnswer, DecideRequest
from decision.deadline import NEVER, Deadline
from decision.decider import Decider
from decision.decision_log import DecisionLog
from decision.errors import KeyReused, WrongContext
from decision.gathering import MOST, Gathering
from decision.observe.ids import begin_request, request_id
from decision.submitting_together import Submitting
from delivery.repository import hold_entry
from playbooks.constraints.documents import Cap
from playbooks.counters import SqlCounters
from playbooks.decision import Decision
from playbooks.errors import UnknownPlacement
from playbooks.models import Arm
from storage import ledger, writer
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind
from storage.writer import Lane
from tests.contract import test_decision_together as tests_together
from tests.contract.test_decision_together import (
    CONSTRAINTS,
    EXPLORATIONS,
    NOW,
    USERS,
    Inside,
    Made,
    assert_same,
    decider_of,
    happen,
    library_of,
    made_up,
    open_to_all,
)
from tests.deciding import WEEK, Started, playbook

Asked = tuple[DecideRequest, str | None]


def answers_of(decider: Decider, asked: Sequence[Asked]) -> list[DecideAnswer | BaseException]:
    """Ask all at once, as requests that were read in one turn of the loop."""

    async def ask() -> list[DecideAnswer | BaseException]:
        gathering = Gathering(decider)
        waiting = [gathering.answer(request, key) for request, key in asked]
        return await asyncio.gather(*waiting, return_exceptions=True)

    return asyncio.run(ask())


def answered(decider: Decider, asked: Sequence[Asked]) -> list[DecideAnswer]:
    found = answers_of(decider, asked)
    assert not [one for one in found if isinstance(one, BaseException)]
    return [one for one in found if isinstance(one, DecideAnswer)]


def of(user: str, **given: Any) -> DecideRequest:
    return DecideRequest(placement="home", user_id=user, **given)


@pytest.fixture
def opened(postgres_url: str) -> Iterator[Database]:
    with closing(Database(postgres_url)) as database:
        yield database


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many requests each block had that was decided together."""
    sizes: list[int] = []
    plain = Submitting.submit_each

    def counted(self: Submitting, snapshot: Any, asks: Any, keys: Any, placement: str) -> Any:
        sizes.append(len(asks))
        return plain(self, snapshot, asks, keys, placement)

    monkeypatch.setattr(Submitting, "submit_each", counted)
    return sizes


def recorded(database: Database) -> int:
    with database.read() as connection:
        return len(ledger.latest(connection, Kind.DECISION, 1_000))


def test_requests_of_all_kinds_are_answered_as_each_alone(database: Database, blocks: list[int]) -> None:
    chance = random.Random(5)
    features, inside = made_up(chance)
    playbooks = [playbook("one"), playbook("two"), playbook("three").model_copy(update={"holdout": 0.3})]
    counters = SqlCounters(database)
    happen(database, counters, chance)
    library = library_of(*playbooks, constraints=CONSTRAINTS)
    decider = decider_of(database, library, EXPLORATIONS[0], Made(features), Inside(inside), counters)
    asked: list[Asked] = [
        (of(user, deadline_ms=60_000 if place % 3 else None), f"key-{user}")
        for place, user in enumerate(USERS)
    ]
    nobody = DecideRequest(placement="home", identity=AskedIdentity("email", "nobody@example.org"))
    asked += [(nobody, "nobody-1"), (nobody, "nobody-2"), (of("user-3", deadline_ms=0), "late")]
    alone = [
        decider.make(decider.snapshot, request, Deadline.after(request.deadline_ms), key).decision
        for request, key in asked
    ]
    answers = answered(decider, asked)
    log = DecisionLog(database, SimulatedClock(NOW))
    for one, answer in zip(alone, answers, strict=True):
        assert_same(one, log.recorded(answer.decision_id))
        assert (answer.variant, answer.fallback) == (one.arm, one.fallback)
    assert all(log.replay(answer.decision_id).identical for answer in answers[::9])
    assert {one.fallback for one in answers} == {None, "unknown_user", "deadline"}
    assert sum(bool(one.holdout) for one in answers) > 3
    # `user-3` was there already, so the second decision of them came in a later block.
    assert max(blocks) == MOST
    assert sum(blocks) >= len(USERS)
    # Whoever asks again is answered the same, and nothing more is recorded.
    before = recorded(database)
    assert msgspec.json.encode(answered(decider, asked)) == msgspec.json.encode(answers)
    assert recorded(database) == before


def test_a_cap_sees_what_the_same_user_was_given_before_in_the_same_moment(database: Database) -> None:
    decider = open_to_all(database, Cap(id="weekly", limit=1, window=WEEK))
    users = [user for user in USERS[:20] for _ in range(3)]
    answers = answered(decider, [(of(user), None) for user in users])
    given = Counter(user for user, one in zip(users, answers, strict=True) if one.offer is not None)
    assert set(given.values()) == {1}
    assert len(given) > 14


def test_one_key_is_one_decision_and_whoever_took_it_for_another_alone_is_told(
    database: Database, blocks: list[int]
) -> None:
    decider = open_to_all(database)
    known, other = answered(decider, [(of("user-1"), "known"), (of("user-5"), "other")])
    asked: list[Asked] = [(of(user), f"key-{user}") for user in USERS[10:20]]
    found = answers_of(
        decider,
        [
            *asked,
            *asked,
            (of("user-2"), "key-user-10"),
            (of("user-3"), "known"),
            (of("user-5"), "other"),
        ],
    )
    assert found[:10] == found[10:20]
    assert isinstance(found[20], KeyReused)
    assert isinstance(found[21], KeyReused)
    assert msgspec.json.encode(found[22]) == msgspec.json.encode(other)
    assert known.decision_id != other.decision_id
    assert blocks == [2, 12]
    assert recorded(database) == 12


def test_what_is_wrong_with_one_request_is_nobody_elses(database: Database) -> None:
    decider = open_to_all(database)
    found = answers_of(
        decider,
        [
            *((of(user), None) for user in USERS[:6]),
            (DecideRequest(placement="nowhere", user_id="user-1"), None),
            (of("user-1", context={"weather": 1.0}), None),
            (of("user-8", dry_run=True), None),
            (of("user-9", explain=True), None),
            *((of(user), None) for user in USERS[10:12]),
        ],
    )
    assert isinstance(found[6], UnknownPlacement)
    assert isinstance(found[7], WrongContext)
    assert isinstance(found[8], DecideAnswer)
    assert found[8].dry_run
    assert isinstance(found[9], DecideAnswer)
    assert found[9].explanation is not None
    others = [one for place, one in enumerate(found) if place not in (6, 7)]
    assert all(isinstance(one, DecideAnswer) for one in others)
    # All but the two that were refused and the dry run.
    assert recorded(database) == 9


def test_a_decision_that_cannot_be_recorded_fails_alone(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Started, connection: Connection, decided: Sequence[tuple[Decision, Arm]]) -> None:
        if any(decision.user_id == "user-4" for decision, _ in decided):
            raise ValueError("no such flow")

    monkeypatch.setattr(Started, "start", broken)
    decider = open_to_all(database)
    found = answers_of(decider, [(of(user), f"key-{user}") for user in USERS[:8]])
    assert [type(one) for one in found] == [ValueError if n == 4 else DecideAnswer for n in range(8)]
    assert recorded(database) == 7


def test_whose_deadline_passes_before_the_commit_is_answered_the_fallback(database: Database) -> None:
    decider = open_to_all(database, Cap(id="weekly", limit=1, window=WEEK))
    for _ in range(database.writer.at_once):
        database.writer.submit(lambda _: time.sleep(0.3), lane=Lane.DECISION)
    answers = answered(
        decider,
        [(of(user, deadline_ms=150 if place % 2 else None), None) for place, user in enumerate(USERS[:8])],
    )
    assert [one.fallback for one in answers] == ["deadline" if place % 2 else None for place in range(8)]
    # What they would have been given counts for nothing.
    uses = SqlCounters(database).read_many(USERS[:8], NOW, since=NOW - WEEK)
    assert uses.keys() == {
        user for user, one in zip(USERS[:8], answers, strict=True) if one.offer is not None
    }


def test_a_request_that_comes_alone_is_decided_alone_and_at_once(
    database: Database, blocks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    decider, begun = open_to_all(database), list[tuple[str, str | None]]()
    plain = Decider.submit_alone

    def noted(self: Decider, request: DecideRequest, *given: Any) -> Any:
        begun.append((request.user_id, request_id()))
        return plain(self, request, *given)

    monkeypatch.setattr(Decider, "submit_alone", noted)

    async def ask() -> list[tuple[str, str | None]]:
        begin_request()
        task = asyncio.create_task(Gathering(decider).answer(of("user-1"), "key"))
        # One turn for the request to be read, one to be decided.
        for _ in range(2):
            await asyncio.sleep(0)
        by_now = list(begun)
        await task
        return by_now

    ((user, number),) = asyncio.run(ask())
    assert user == "user-1"
    # The log tells whose decision it was.
    assert number is not None
    assert blocks == []


def test_what_cannot_be_committed_yet_is_decided_together_later(
    database: Database, blocks: list[int]
) -> None:
    decider = open_to_all(database)
    free = threading.Event()
    for _ in range(database.writer.at_once):
        database.writer.submit(lambda _: free.wait(60), lane=Lane.DECISION)

    async def ask() -> list[DecideAnswer]:
        gathering = Gathering(decider, database.writer.at_once)
        tasks = []
        for place, user in enumerate(USERS[:60]):
            if place == MOST:
                # Alone are as many as are committed at a time; the others wait for them.
                assert blocks == []
            tasks.append(asyncio.create_task(gathering.answer(of(user), None)))
            for _ in range(3):
                await asyncio.sleep(0)
        # A block that can't grow is decided all the same.
        assert blocks == [MOST]
        free.set()
        return await asyncio.gather(*tasks)

    answers = asyncio.run(ask())
    assert len({one.decision_id for one in answers}) == recorded(database) == 60
    assert blocks == [MOST, 60 - MOST - database.writer.at_once]


class _Entering(Started):
    """Holds who begins a run, as a playbook with a rule for coming again does; where two blocks meet."""

    patience = 10.0

    def __init__(self) -> None:
        # The first that each of two blocks holds, before either goes on; in one order they never meet.
        self._met = threading.Barrier(2, timeout=self.patience)
        self._seen = threading.local()

    def enter(self, connection: Connection, decision: Decision, arm: Arm) -> None:
        hold_entry(connection, decision.user_id, arm.playbook)
        if decision.user_id in USERS[:6] and not getattr(self._seen, "one", False):
            self._seen.one = True
            with suppress(threading.BrokenBarrierError):
                self._met.wait()


class _Refusing(_Entering):
    patience = 0.3

    def refuses(self, connection: Connection, decision: Decision, arm: Arm) -> str | None:
        self.enter(connection, decision, arm)
        return None


class _Starting(_Entering):
    def start(self, connection: Connection, decided: Sequence[tuple[Decision, Arm]]) -> None:
        for decision, arm in decided:
            self.enter(connection, decision, arm)


@pytest.mark.parametrize(("enroller", "ended"), [(_Refusing, False), (_Starting, True)])
def test_two_blocks_with_the_same_people_in_another_order_are_both_recorded(
    opened: Database, monkeypatch: pytest.MonkeyPatch, enroller: type[_Entering], ended: bool
) -> None:
    """Before they begin runs both hold people in one order; whoever else waits in a circle tries again."""
    monkeypatch.setattr(tests_together, "Started", enroller)
    decider = open_to_all(opened)
    # The first decision of a policy says that it decides, and whoever says so too waits for it.
    answered(decider, [(of(USERS[6]), None)])
    victims, under_way = list[bool](), []
    plain = writer.is_victim

    def noted(error: DBAPIError) -> bool:
        victims.append(plain(error))
        return victims[-1]

    monkeypatch.setattr(writer, "is_victim", noted)
    for name, some in (("one", USERS[:6]), ("two", USERS[5::-1])):
        asks = [decider.ask(of(user), f"{name}-{user}", NEVER) for user in some]
        under_way.append(decider.submit_each(asks, [None] * len(asks), "home"))
    answers = [answer for block in under_way for answer in block.result(20)]
    assert len({one.decision_id for one in answers if isinstance(one, DecideAnswer)}) == 12
    with opened.read() as connection:
        users = [one.user_id for one in ledger.latest(connection, Kind.DECISION, 12)]
    assert Counter(users) == dict.fromkeys(USERS[:6], 2)
    # Each of the two may be the one that is ended, and once more when it tries again.
    assert set(victims) == ({True} if ended else set())
