"""Counters, the same on SQLite, Postgres and Valkey: never one over, and what is not used comes back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection

from audiences.identity.people import EveryoneAlone
from playbooks.constraints.counting import UseLimit, of_account
from playbooks.counters import (
    RESERVATION,
    Budget,
    Counters,
    Difference,
    PastUse,
    Spend,
    SqlCounters,
    ValkeyCounters,
    Wanted,
    together_repository,
    uses_repository,
)
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.times import to_micros
from storage.writer import Lane

WEEK = timedelta(days=7)
RULE = "cap.weekly.few"
SPRING = Budget("budget.spring", "2026-03", 1_000)
CLIENTS = 64

KINDS = ["sqlite", "postgres", "valkey on sqlite", "valkey on postgres"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which implementation, over which database."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def opened(kind: str, request: pytest.FixtureRequest) -> Iterator[Database]:
    """The database under the counters."""
    database = Database(request.getfixturevalue(f"{kind.rpartition(' ')[2]}_url"))
    yield database
    database.close()


@pytest.fixture
def counters(kind: str, opened: Database, request: pytest.FixtureRequest) -> Iterator[Counters]:
    """The counters under test."""
    made: Counters
    if kind.startswith("valkey"):
        # Patient, because 64 threads of one test share a core; what impatience does is tested by itself.
        made = ValkeyCounters(opened, request.getfixturevalue("valkey_url"), patience=10.0)
    else:
        made = SqlCounters(opened)
    yield made
    made.close()


def capped(
    decision: str, limit: int = 1, *, user: str = "ann", window: timedelta = WEEK, again: bool = False
) -> Wanted:
    return Wanted(decision, user, [UseLimit(RULE, limit, window)], again=again)


def spending(decision: str, amount: int, budget: Budget = SPRING, *, again: bool = False) -> Wanted:
    return Wanted(decision, "ann", spends=[Spend(budget, amount)], again=again)


def reserve(counters: Counters, database: Database, wanted: Wanted, now: datetime) -> str | None:
    """Reserve as a decision does: outside its transaction, then inside."""
    reservation = counters.reserve(wanted, now)
    return database.write(reservation.keep, lane=Lane.DECISION)


def reserve_inside(counters: Counters, wanted: Wanted, now: datetime, connection: Connection) -> str | None:
    """Reserve as the check before a send does: in the transaction it is in already."""
    return counters.reserve(wanted, now, connection).keep(connection)


def counted(counters: Counters, now: datetime, user: str = "ann") -> int:
    return len(counters.read(user, now, since=now - WEEK).get(RULE, ()))


def commit(counters: Counters, database: Database, decision: str) -> None:
    database.write(lambda connection: counters.commit(connection, [decision]))


def release(counters: Counters, database: Database, decision: str) -> None:
    database.write(lambda connection: counters.release(connection, [decision]))


def test_a_cap_is_never_exceeded(counters: Counters, opened: Database, clock: SimulatedClock) -> None:
    now = clock.now()
    with ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(lambda number: reserve(counters, opened, capped(f"d{number}", 10), now), range(100))
        )
    assert answers.count(None) == 10
    assert answers.count(RULE) == 90
    assert counted(counters, now) == 10
    assert counters.recount(now) == []


def test_an_account_shares_its_uses_and_some_only_look(
    counters: Counters, opened: Database, clock: SimulatedClock
) -> None:
    now, acme = clock.now(), of_account("acme")

    def shared(decision: str, user: str) -> Wanted:
        limits = [UseLimit("cap.all", 2, WEEK, key="cap.all@sms", subject=acme), UseLimit(RULE, 1, WEEK)]
        return Wanted(decision, user, limits)

    with ThreadPoolExecutor(16) as pool:
        asked = [f"user-{number}" for number in range(24)]
        answers = list(pool.map(lambda user: reserve(counters, opened, shared(user, user), now), asked))
    assert (answers.count(None), answers.count("cap.all")) == (2, 22)
    moments = counters.read(acme, now, since=now - WEEK)
    assert {name: len(of) for name, of in moments.items()} == {"cap.all@sms": 2}
    assert sum(counted(counters, now, user) for user in asked) == 2
    # One that only looks is refused like the others, and takes no room where there is some.
    looking = Wanted("look", "bob", [UseLimit(RULE, 1, WEEK, counts=False)])
    assert [reserve(counters, opened, looking, now) for _ in range(2)] == [None, None]
    assert counted(counters, now, "bob") == 0
    assert reserve(counters, opened, capped("used", user="bob"), now) is None
    assert reserve(counters, opened, looking, now) == RULE
    assert counters.recount(now) == []


@pytest.mark.parametrize("repeat", range(2))
def test_a_budget_is_never_exceeded(
    counters: Counters, opened: Database, clock: SimulatedClock, repeat: int
) -> None:
    now = clock.now()

    def client(number: int) -> int:
        granted = 0
        while reserve(counters, opened, spending(f"d{repeat}-{number}-{granted}", 1), now) is None:
            granted += 1
        return granted

    with ThreadPoolExecutor(CLIENTS) as pool:
        granted = sum(pool.map(client, range(CLIENTS)))
    assert granted == SPRING.limit
    assert counters.taken(SPRING, now) == SPRING.limit
    assert counters.recount(now) == []


def test_users_do_not_share_a_cap(counters: Counters, opened: Database, clock: SimulatedClock) -> None:
    now = clock.now()
    assert reserve(counters, opened, capped("d1"), now) is None
    assert reserve(counters, opened, capped("d2", user="bob"), now) is None
    assert reserve(counters, opened, capped("d3"), now) == RULE
    assert counters.read("carol", now, since=now - WEEK) == {}


def test_the_moments_are_read_oldest_first(
    counters: Counters, opened: Database, clock: SimulatedClock
) -> None:
    moments = [clock.now() + timedelta(hours=1, microseconds=number) for number in range(3)]
    for number in (2, 0, 1):
        assert reserve(counters, opened, capped(f"d{number}", 9), moments[number]) is None
    micros = list(map(to_micros, moments))
    assert counters.read("ann", moments[2], since=clock.now()) == {RULE: micros}
    assert counters.read("ann", moments[2], since=moments[0]) == {RULE: micros[1:]}
    assert counters.read_many(["ann", "bob"], moments[2], since=moments[0]) == {"ann": {RULE: micros[1:]}}


class Joined(EveryoneAlone):
    """The profiles ann and zoe are one person's."""

    def canonical(self, user_id: str) -> str:
        return "ann" if user_id == "zoe" else user_id

    def members(self, user_id: str) -> tuple[str, ...]:
        return ("ann", "zoe") if self.canonical(user_id) == "ann" else (user_id,)


def test_the_profiles_of_a_person_are_read_together_oldest_first(
    database: Database, clock: SimulatedClock
) -> None:
    counters, now = SqlCounters(database, Joined()), clock.now()
    moments = [now - timedelta(hours=hours) for hours in (5, 4, 3, 2)]
    past = [
        PastUse(f"p{number}", user, RULE, at)
        for number, (user, at) in enumerate(zip(("zoe", "ann", "bob", "zoe"), moments, strict=True))
    ]
    database.write(lambda connection: counters.add_past(connection, past))
    micros = list(map(to_micros, moments))
    uses = {"ann": {RULE: [micros[0], micros[1], micros[3]]}, "bob": {RULE: [micros[2]]}}
    assert counters.read_many(["ann", "bob"], now, since=now - WEEK) == uses
    assert {user: counters.read(user, now, since=now - WEEK) for user in uses} == uses
    # What each of them used counts for the other.
    full = capped("d1", 3, user="zoe")
    assert reserve_together(counters, database, [full, capped("d2", 2, user="bob")], now) == {"d1": RULE}


def test_a_reservation_that_is_not_committed_comes_back(
    counters: Counters, opened: Database, clock: SimulatedClock
) -> None:
    reserve(counters, opened, capped("d1"), clock.now())
    assert reserve(counters, opened, spending("d1", 1_000), clock.now()) is None
    just_before = clock.now() + RESERVATION - timedelta(microseconds=1)
    assert reserve(counters, opened, capped("d2"), just_before) == RULE
    assert reserve(counters, opened, spending("d2", 1), just_before) == SPRING.rule
    clock.move_to(clock.now() + RESERVATION)
    assert counted(counters, clock.now()) == 0
    assert reserve(counters, opened, capped("d2"), clock.now()) is None
    assert reserve(counters, opened, spending("d2", 400), clock.now()) is None
    assert counters.taken(SPRING, clock.now()) == 400
    assert counters.recount(clock.now()) == []


def test_a_committed_use_counts_for_the_whole_window(
    counters: Counters, opened: Database, clock: SimulatedClock
) -> None:
    start = clock.now()
    reserve(counters, opened, capped("d1"), start)
    commit(counters, opened, "d1")
    clock.move_to(start + WEEK - timedelta(microseconds=1))
    assert counted(counters, clock.now()) == 1
    assert reserve(counters, opened, capped("d2"), clock.now()) == RULE
    clock.move_to(start + WEEK)
    assert reserve(counters, opened, capped("d2"), clock.now()) is None


def test_a_committed_amount_stays(counters: Counters, opened: Database, clock: SimulatedClock) -> None:
    reserve(counters, opened, spending("d1", 700), clock.now())
    commit(counters, opened, "d1")
    reserve(counters, opened, spending("d2", 300), clock.now())
    clock.move_to(clock.now() + RESERVATION)
    assert reserve(counters, opened, spending("d3", 301), clock.now()) == SPRING.rule
    assert reserve(counters, opened, spending("d3", 300), clock.now()) is None
    release(counters, opened, "d1")
    assert counters.taken(SPRING, clock.now()) == 1_000


def test_what_is_released_is_free_again(counters: Counters, opened: Database, clock: SimulatedClock) -> None:
    now = clock.now()
    for wanted in (capped("d1"), spending("d1", 1_000)):
        assert reserve(counters, opened, wanted, now) is None
    with opened.read() as connection:
        assert counters.holds(connection, "d1", now)
    release(counters, opened, "d1")
    with opened.read() as connection:
        assert not counters.holds(connection, "d1", now)
    for wanted in (capped("d2"), spending("d2", 1_000)):
        assert reserve(counters, opened, wanted, now) is None
    assert counters.recount(now) == []


def test_a_committed_use_is_not_released(counters: Counters, opened: Database, clock: SimulatedClock) -> None:
    now = clock.now()
    reserve(counters, opened, capped("d1"), now)
    commit(counters, opened, "d1")
    release(counters, opened, "d1")
    assert counted(counters, now) == 1
    assert reserve(counters, opened, capped("d2"), now) == RULE


def test_what_a_decision_holds_is_said_for_a_moment_to_come(
    counters: Counters, opened: Database, clock: SimulatedClock
) -> None:
    reserve(counters, opened, spending("d1", 1), clock.now())
    with opened.read() as connection:
        assert counters.holds(connection, "d1", clock.now() + RESERVATION - timedelta(microseconds=1))
        assert not counters.holds(connection, "d1", clock.now() + RESERVATION)
    commit(counters, opened, "d1")
    with opened.read() as connection:
        assert counters.holds(connection, "d1", clock.now() + 2 * RESERVATION)


def test_reserving_again_replaces_what_was_held(
    counters: Counters, opened: Database, clock: SimulatedClock
) -> None:
    wanted = Wanted("d1", "ann", [UseLimit(RULE, 1, WEEK)], [Spend(SPRING, 800)], again=True)
    for hours in (0, 20, 50):
        now = clock.now() + timedelta(hours=hours)
        assert opened.write(partial(reserve_inside, counters, wanted, now)) is None
        assert counted(counters, now) == 1
        assert counters.taken(SPRING, now) == 800
    commit(counters, opened, "d1")
    assert counted(counters, now) == 1
    assert counters.taken(SPRING, now + WEEK) == 800
    assert counters.recount(now) == []


def test_all_limits_have_room_or_nothing_is_reserved(
    counters: Counters, opened: Database, clock: SimulatedClock
) -> None:
    now = clock.now()
    autumn = Budget("budget.autumn", "2026-03", 10)

    def both(decision: str, spring: int, autumn_: int) -> Wanted:
        spends = [Spend(SPRING, spring), Spend(autumn, autumn_)]
        return Wanted(decision, "ann", [UseLimit(RULE, 2, WEEK)], spends)

    assert reserve(counters, opened, both("d1", 1_001, 10), now) == SPRING.rule
    assert counters.taken(autumn, now) == 0
    assert counted(counters, now) == 0
    assert reserve(counters, opened, both("d2", 1_000, 10), now) is None
    assert reserve(counters, opened, both("d3", 1, 1), now) == autumn.rule
    assert counted(counters, now) == 1
    assert counters.recount(now) == []


def test_each_period_has_its_own_budget(counters: Counters, opened: Database, clock: SimulatedClock) -> None:
    april = Budget(SPRING.rule, "2026-04", SPRING.limit)
    assert reserve(counters, opened, spending("d1", 1_000), clock.now()) is None
    assert reserve(counters, opened, spending("d2", 1_000, april), clock.now()) is None
    assert reserve(counters, opened, spending("d3", 1_001, april), clock.now()) == SPRING.rule


def test_a_dropped_reservation_is_free_again(
    counters: Counters, opened: Database, clock: SimulatedClock
) -> None:
    now = clock.now()
    for number in range(2):
        for wanted in (capped(f"d{number}"), spending(f"d{number}", 1_000)):
            counters.reserve(wanted, now).drop()
    assert reserve(counters, opened, capped("d2"), now) is None
    assert reserve(counters, opened, spending("d2", 1_000), now) is None


def test_a_longer_window_sees_older_uses(counters: Counters, opened: Database, clock: SimulatedClock) -> None:
    reserve(counters, opened, capped("d1"), clock.now())
    commit(counters, opened, "d1")
    later = clock.now() + 2 * WEEK
    assert reserve(counters, opened, capped("d2", 2), later) is None
    assert reserve(counters, opened, capped("d3", 2, window=4 * WEEK), later) == RULE


def test_rebuilt_counters_are_those_of_the_journal(
    counters: Counters, opened: Database, clock: SimulatedClock
) -> None:
    now = clock.now()
    reserve(counters, opened, capped("d1", 2), now)
    reserve(counters, opened, spending("d1", 400), now)
    commit(counters, opened, "d1")
    reserve(counters, opened, spending("d2", 500), now)
    counters.rebuild()
    assert counted(counters, now) == 1
    assert reserve(counters, opened, spending("d3", 101), now) == SPRING.rule
    assert reserve(counters, opened, spending("d3", 100), now) is None
    assert counters.recount(now) == []
    later = now + RESERVATION
    assert reserve(counters, opened, spending("d4", 600), later) is None


def test_a_wrong_total_is_found(
    counters: Counters, opened: Database, clock: SimulatedClock, kind: str
) -> None:
    now = clock.now()
    reserve(counters, opened, spending("d1", 400), now)
    table = "budget_totals SET taken = taken + 7" if "valkey" not in kind else "grants SET amount = 393"
    opened.write(lambda connection: connection.exec_driver_sql(f"UPDATE {table}"))
    found = counters.recount(now)
    assert [(one.counter, one.kept - one.recounted) for one in found] == [(SPRING.key, 7)]
    assert isinstance(found[0], Difference)
    counters.rebuild()
    assert counters.recount(now) == []


def test_levels_leave_out_what_expired_and_settled_debts_make_room(
    counters: Counters, opened: Database, clock: SimulatedClock
) -> None:
    now = clock.now()
    owed, other = (Budget(rule, "all", 10) for rule in ("liability.coupons", "budget.other"))

    def both(decision: str, amount: int) -> Wanted:
        return Wanted(decision, "ann", spends=[Spend(owed, amount), Spend(other, 1)])

    assert counters.levels([owed, other], now) == {owed.key: 0, other.key: 0}
    for decision, amount in (("kept", 4), ("left", 5)):
        assert reserve(counters, opened, both(decision, amount), now) is None
    commit(counters, opened, "kept")
    assert counters.levels([owed, other], now) == {owed.key: 9, other.key: 2}
    assert reserve(counters, opened, both("more", 2), now) == owed.rule
    later = now + RESERVATION
    assert counters.levels([owed, other], later) == {owed.key: 4, other.key: 1}
    opened.write(lambda connection: counters.settle(connection, ["kept"], ["liability."]))
    assert counters.levels([owed, other], later) == {owed.key: 0, other.key: 1}
    assert reserve(counters, opened, both("again", 10), later) is None
    assert counters.recount(later) == []


def test_what_is_shown_at_once_counts_for_good(
    counters: Counters, opened: Database, clock: SimulatedClock
) -> None:
    now, later = clock.now(), clock.now() + RESERVATION + timedelta(seconds=1)
    limits = [UseLimit(RULE, 1, WEEK)]
    shown = Wanted("shown", "ann", limits, [Spend(SPRING, 999)], for_good=True)
    assert reserve(counters, opened, shown, now) is None
    assert counted(counters, later) == 1
    assert counters.levels([SPRING], later) == {SPRING.key: 999}
    assert reserve(counters, opened, capped("more"), later) == RULE
    assert reserve(counters, opened, spending("much", 2), later) == SPRING.rule
    assert counters.recount(later) == []


def test_room_is_made_in_a_budget(counters: Counters, opened: Database, clock: SimulatedClock) -> None:
    """A budget of none is one that has as much as was added."""
    now, stock = clock.now(), Budget("stock.ticket", "all", 0)

    def take(decision: str) -> str | None:
        return reserve(counters, opened, spending(decision, 1, stock), now)

    assert take("early") == "stock.ticket"
    for by, amount in (("first", 2), ("second", 1)):
        opened.write(partial(counters.make_room, budget=stock, by=by, amount=amount, now=now))
    assert [take(f"d{number}") for number in range(5)] == [None] * 3 + ["stock.ticket"] * 2
    commit(counters, opened, "d0")
    release(counters, opened, "d1")
    assert [take(name) for name in ("e0", "e1")] == [None, "stock.ticket"]
    assert counters.recount(now) == []


def test_what_is_settled_is_given_back_also_to_users(
    counters: Counters, opened: Database, clock: SimulatedClock
) -> None:
    now, until = clock.now(), clock.now() + timedelta(minutes=5)
    budget = Budget("budget.spring", "2026-03", 1)

    def want(decision: str, *, until: datetime | None = None) -> Wanted:
        limits = [UseLimit(RULE, 1, WEEK)]
        return Wanted(decision, "ann", limits, [Spend(budget, 1)], for_good=until is None, until=until)

    assert reserve(counters, opened, want("a", until=until), now) is None
    assert reserve(counters, opened, want("b"), now) == RULE
    # It is held for as long as was asked for, and no longer.
    assert reserve(counters, opened, want("b"), until) is None
    assert reserve(counters, opened, want("c"), until) == RULE
    opened.write(lambda connection: counters.settle(connection, ["b"], ("cap.", "budget.")))
    assert reserve(counters, opened, want("c"), until) is None


def reserve_together(
    counters: Counters, database: Database, wanted: Sequence[Wanted], now: datetime
) -> dict[str, str]:
    """Reserve for many as a batch does; returns the rule that refused, by decision."""
    reserved = counters.reserve_many(wanted, now)
    ids = [one.decision_id for one in wanted]
    refused = database.write(lambda connection: reserved.keep(connection, ids), lane=Lane.DECISION)
    return dict(refused)


def test_a_block_gets_what_its_decisions_would_get_one_after_the_other(
    counters: Counters, opened: Database, clock: SimulatedClock
) -> None:
    now = clock.now()
    account = UseLimit("cap.few", 4, WEEK, subject=of_account("acme"))
    wanted = [
        Wanted(f"d{number}", f"u{number % 5}", [UseLimit(RULE, 2, WEEK), account], [Spend(SPRING, 300)])
        for number in range(6)
    ]
    wanted += [capped(f"e{number}", 2, user="u0") for number in range(2)]
    # u0 has none left for the seventh; the account has four, of which the budget pays three.
    assert reserve_together(counters, opened, wanted, now) == {
        "d3": SPRING.rule,
        "d4": SPRING.rule,
        "d5": SPRING.rule,
        "e1": RULE,
    }
    users = [f"u{number}" for number in range(6)]
    uses = counters.read_many(users, now, since=now - WEEK)
    assert {user: len(one[RULE]) for user, one in uses.items()} == {"u0": 2, "u1": 1, "u2": 1}
    assert counters.levels([SPRING], now)[SPRING.key] == 900
    # Nothing is held for those that were refused.
    assert reserve_together(counters, opened, [spending("f0", 100), spending("f1", 1)], now) == {
        "f1": SPRING.rule
    }
    assert counters.recount(now) == []


def test_who_was_refused_for_room_that_comes_back_at_once_is_not(
    counters: Counters, opened: Database, clock: SimulatedClock
) -> None:
    now = clock.now()
    autumn = Budget("budget.autumn", "2026-09", 10)
    # The budgets are taken in this order, and the first decision is refused by the second of them.
    both = [Spend(SPRING, 50), Spend(autumn, 900)]
    assert autumn.key < SPRING.key
    wanted = [
        Wanted("d0", "ann", spends=[Spend(autumn, 10), Spend(SPRING, 1_001)]),
        Wanted("d1", "bob", spends=[Spend(autumn, 10)]),
    ]
    assert reserve_together(counters, opened, wanted, now) == {"d0": SPRING.rule}
    assert counters.levels([SPRING, autumn], now) == {SPRING.key: 0, autumn.key: 10}
    assert reserve_together(counters, opened, [Wanted("d2", "cy", spends=both)], now) == {"d2": autumn.rule}


def test_blocks_at_once_never_exceed_a_limit(
    counters: Counters, opened: Database, clock: SimulatedClock
) -> None:
    now = clock.now()

    def block(number: int) -> int:
        wanted = [
            Wanted(f"{number}-{one}", f"u{one}", [UseLimit(RULE, 3, WEEK)], [Spend(SPRING, 10)])
            for one in range(30)
        ]
        return len(wanted) - len(reserve_together(counters, opened, wanted, now))

    with ThreadPoolExecutor(4) as pool:
        kept = sum(pool.map(block, range(8)))
    # Ninety by the caps of thirty users, a hundred by the budget: each is its own.
    assert kept == 90
    assert counters.levels([SPRING], now)[SPRING.key] == 900
    assert counters.recount(now) == []


def test_what_a_block_drops_is_free_again(
    counters: Counters, opened: Database, clock: SimulatedClock
) -> None:
    now = clock.now()
    wanted = [Wanted(f"d{one}", "ann", [UseLimit(RULE, 2, WEEK)], [Spend(SPRING, 500)]) for one in range(2)]
    reserved = counters.reserve_many(wanted, now)
    reserved.drop(["d1"])
    assert opened.write(lambda connection: reserved.keep(connection, ["d0"]), lane=Lane.DECISION) == {}
    assert reserve(counters, opened, spending("d2", 500), now) is None
    assert reserve(counters, opened, capped("d3", 2), now) is None
    assert counters.recount(now) == []


def test_uses_are_read_together_as_one_by_one(
    counters: Counters, opened: Database, clock: SimulatedClock
) -> None:
    now = clock.now()
    users = [f"u{number}" for number in range(60)]
    wanted = [capped(f"d{number}", 2, user=user) for number, user in enumerate(users[:40:2])]
    assert reserve_together(counters, opened, wanted, now) == {}
    counters.rebuild()
    together = counters.read_many(users, now, since=now - WEEK)
    assert set(together) == set(users[:40:2])
    counters.rebuild()
    assert {user: counters.read(user, now, since=now - WEEK) for user in users} == {
        user: together.get(user, {}) for user in users
    }


def test_on_sqlite_uses_are_read_from_the_index_alone(sqlite_url: str, clock: SimulatedClock) -> None:
    database = Database(sqlite_url)
    now, since = clock.now(), clock.now() - WEEK
    asked: list[str] = []

    def read(connection: Connection) -> list[str]:
        driver: Any = connection.connection.driver_connection
        driver.set_trace_callback(asked.append)
        uses_repository.read(connection, ["ann"], now, since=since)
        together_repository.read_many(connection, {"ann": "ann", "bob": "bob"}, now, since=since)
        driver.set_trace_callback(None)
        return [str(driver.execute(f"EXPLAIN QUERY PLAN {one}").fetchall()) for one in asked]

    plans = database.write(read)
    database.close()
    assert len(plans) == 2
    for plan in plans:
        assert "COVERING INDEX ix_uses_user_id_used_at_rule_expires_at" in plan
        assert "TEMP B-TREE" not in plan


def test_what_counts_for_good_is_not_written_again(sqlite_url: str, clock: SimulatedClock) -> None:
    database = Database(sqlite_url)
    counters = SqlCounters(database)
    assert reserve(counters, database, capped("d1"), clock.now()) is None

    def commit(connection: Connection) -> int:
        driver: Any = connection.connection.driver_connection
        before: int = driver.total_changes
        counters.commit(connection, ["d1"])
        return int(driver.total_changes) - before

    assert [database.write(commit) for _ in range(2)] == [1, 0]
    database.close()
