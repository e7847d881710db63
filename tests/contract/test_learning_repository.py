"""What the tables of learning promise, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec
import pytest

from delivery.testing import arms_of, decision_for, version_body
from learning import outcome_repository, repository
from learning.repository import Window
from learning.rewards import Reward
from storage import ledger
from storage.engine import Database
from storage.ledger import Kind, NewFact
from storage.schema import metadata

NOW = datetime(2026, 3, 2, 9, 0, 0, 123456, tzinfo=UTC)
WINDOW = Window(
    decision_id="d1",
    user_id="u1",
    placement="outbound",
    decided_at=NOW,
    closes_at=NOW + timedelta(days=14),
    policy="p@1",
    playbook="everyone",
    playbook_version=3,
    arm="everyone/milk",
    acts=True,
    matured=False,
)


@pytest.fixture
def tables(database: Database) -> Database:
    database.write(lambda c: metadata.create_all(c, checkfirst=True))
    return database


def keep(database: Database, *windows: Window, after: int = 0, position: int = 1) -> bool:
    work = partial(repository.open_windows, after=after, windows=windows, position=position)
    return database.write(work, rows=max(1, len(windows)))


def test_a_window_comes_back_as_it_was_kept(tables: Database) -> None:
    idle = msgspec.structs.replace(
        WINDOW, decision_id="d2", playbook=None, playbook_version=None, arm="do_nothing", closes_at=NOW
    )
    assert keep(tables, WINDOW, idle)
    with tables.read() as connection:
        assert repository.due_windows(connection, WINDOW.closes_at, limit=10) == [idle, WINDOW]
        assert repository.due_windows(connection, NOW, limit=10) == [idle]
        assert repository.due_windows(connection, NOW - timedelta(microseconds=1), limit=10) == []
        assert idle.does_nothing
        assert not WINDOW.does_nothing


def test_windows_are_opened_once_though_two_tried(tables: Database) -> None:
    assert keep(tables, WINDOW, after=0, position=7)
    assert not keep(tables, WINDOW, after=0, position=7)
    with tables.read() as connection:
        assert repository.windows_position(connection) == 7
        assert len(repository.due_windows(connection, WINDOW.closes_at, limit=10)) == 1


def test_due_windows_come_by_closing_time_and_user_and_not_by_id(tables: Database) -> None:
    names = [("d3", "a", 2), ("d1", "c", 1), ("d2", "b", 1)]
    keep(
        tables,
        *(
            msgspec.structs.replace(
                WINDOW, decision_id=decision, user_id=user, closes_at=NOW + timedelta(days=day)
            )
            for decision, user, day in names
        ),
    )
    with tables.read() as connection:
        due = repository.due_windows(connection, NOW + timedelta(days=2), limit=10)
    assert [window.user_id for window in due] == ["b", "c", "a"]


def test_a_reward_is_recorded_once_and_its_window_is_done(tables: Database) -> None:
    keep(tables, WINDOW)
    body = Reward("d1", "outbound", "p@1", "everyone", "everyone/milk", True, NOW, 1.0, "e1")
    fact = NewFact(Kind.REWARD, "d1", repository.REWARD_LABEL, "u1", WINDOW.closes_at, body)
    record = partial(repository.record_rewards, rewards=[fact], now=WINDOW.closes_at)
    assert tables.write(record, rows=2) == {"d1"}
    assert tables.write(record, rows=2) == set()
    with tables.read() as connection:
        assert repository.due_windows(connection, WINDOW.closes_at, limit=10) == []
        ((seq, user, reward),) = repository.rewards_after(connection, 0, limit=10)
        assert (user, reward) == ("u1", body)
        assert repository.rewards_after(connection, seq, limit=10) == []


def test_rivals_are_found_matured_or_not(tables: Database) -> None:
    later = msgspec.structs.replace(
        WINDOW, decision_id="d2", decided_at=NOW + timedelta(days=1), matured=True
    )
    stranger = msgspec.structs.replace(WINDOW, decision_id="d3", user_id="u2")
    keep(tables, WINDOW, later, stranger)
    with tables.read() as connection:
        found = repository.windows_of_users(connection, {"u1"}, NOW, NOW + timedelta(days=1))
        assert found == [WINDOW]
        found = repository.windows_of_users(connection, {"u1"}, NOW, NOW + timedelta(days=2))
        assert {window.decision_id for window in found} == {"d1", "d2"}


def test_outcomes_of_many_users_come_in_order(tables: Database) -> None:
    facts = [
        NewFact(Kind.EVENT, f"e{i}", "order", f"u{i % 700:04}", NOW + timedelta(hours=9 - i % 7), {})
        for i in range(1400)
    ]
    for start in range(0, len(facts), 500):
        piece = facts[start : start + 500]
        tables.write(partial(ledger.append, new=piece, now=NOW), rows=len(piece))
    users = [f"u{i:04}" for i in range(0, 700, 1)]
    with tables.read() as connection:
        end = NOW + timedelta(hours=9)
        found = list(outcome_repository.outcomes_of_users(connection, users, {"order"}, NOW, end))
        assert len(found) == sum(fact.occurred_at < end for fact in facts)
        mine = [outcome.occurred_at for outcome in found if outcome.user_id == "u0001"]
        assert mine == sorted(mine)
        assert not list(outcome_repository.outcomes_of_users(connection, users, {"visit"}, NOW, end))
        assert not list(outcome_repository.outcomes_of_users(connection, [], {"order"}, NOW, end))


def test_unknown_and_erased_decisions_are_left_out(tables: Database) -> None:
    tombstone = NewFact(Kind.DECISION, "d1", "outbound", None, NOW, {"erased": True})
    tables.write(partial(ledger.append, new=[tombstone], now=NOW))
    with tables.read() as connection:
        assert repository.decisions(connection, ["d1", "d2"]) == {}


def test_nothing_is_learnt_of_a_decision_whose_message_was_recalled(tables: Database) -> None:
    arm = arms_of(version_body())["milk"]
    decided = [decision_for(user, arm, NOW) for user in ("ann", "bob")]
    new = [NewFact(Kind.DECISION, one.decision_id, "outbound", one.user_id, NOW, one) for one in decided]
    new.append(NewFact(Kind.RECALL, "ann", "coupons", "ann", NOW, {}))
    tables.write(partial(ledger.append, new=new, now=NOW))
    with tables.read() as connection:
        assert set(repository.decisions(connection, ["ann", "bob"])) == {"bob"}
        assert repository.recalled(connection, ["ann", "bob"]) == {"ann"}
