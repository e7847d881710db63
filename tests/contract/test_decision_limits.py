"""What runs issue and orders redeem at the same moment, on Postgres: nobody waits for another in a circle."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from audiences.intake.intake import Intake
from audiences.rules import Schema
from decision.gate_playbooks import Playbooks
from decision.limits import Limits
from delivery.coupons.asking import Asked
from delivery.coupons.checkout import Checkout
from delivery.coupons.discount import Basket
from delivery.coupons.models import Coupon
from delivery.coupons.wallet import Wallet, coupon
from delivery.models import Enrolment
from delivery.testing import arms_of, version_body
from playbooks.constraints.counting import UseLimit
from playbooks.counters import Budget, Spend, SqlCounters, Wanted
from playbooks.library import Draft
from storage import writer
from storage.clock import SimulatedClock
from storage.engine import Database
from tests.publishing import publish

TERMS = {"kind": "fixed_amount", "value": "5.00 EUR", "maximum_liability": "5000.00 EUR"}
BODY = version_body(terms=TERMS)
ARMS, OFFERS = arms_of(BODY), BODY.offers_by_id
ROUNDS = 3
# Long enough for the other to have begun, and to wait.
MEANWHILE = 0.1


@pytest.fixture
def opened(postgres_url: str) -> Iterator[Database]:
    with closing(Database(postgres_url)) as database:
        yield database


@pytest.fixture
def victims(monkeypatch: pytest.MonkeyPatch) -> list[DBAPIError]:
    """The transactions that the server ended because they waited for each other."""
    found: list[DBAPIError] = []
    plain = writer.is_victim

    def noted(error: DBAPIError) -> bool:
        if plain(error):
            found.append(error)
        return plain(error)

    monkeypatch.setattr(writer, "is_victim", noted)
    return found


def test_whoever_waits_in_a_circle_is_noted(opened: Database, victims: list[DBAPIError]) -> None:
    both = Barrier(2)
    keys, begun = {1: 2, 2: 1}, set[int]()

    def lock(first: int) -> None:
        def work(connection: Connection) -> None:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({first})"))
            # Whoever is begun again finds nobody to wait for.
            if first not in begun:
                begun.add(first)
                both.wait(60)
            connection.execute(text(f"SELECT pg_advisory_xact_lock({keys[first]})"))

        opened.write(work)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lock, keys))
    assert len(victims) == 1


def run(name: str, offer: str, now: datetime) -> Enrolment:
    return Enrolment(name, name, "coupons", 1, name, ARMS[offer], "issue", now, now)


class Shop:
    """A wallet and a checkout over limits of a library that was published."""

    def __init__(self, database: Database, clock: SimulatedClock) -> None:
        self.database, self.clock = database, clock
        draft = Draft((BODY.playbook,), OFFERS, {one.id: one for one in BODY.contents}, None)
        database.write(lambda connection: publish(connection, draft, clock.now()))
        counters = SqlCounters(database)
        self.limits = Limits(Playbooks(), counters, Schema({}))
        self.wallet = Wallet(database, clock, limits=self.limits)
        self.checkout = Checkout(database, clock, self.wallet, counters, Intake(database))
        self.begun = 0

    def issue(self, name: str, offer: str) -> Coupon:
        mine = run(name, offer, self.clock.now())
        return self.database.write(lambda connection: self._issue(connection, mine))

    def both(self, names: list[tuple[str, str]], used: list[Coupon]) -> None:
        """As the executor does: some runs issue, and coupons of others count as used, in one transaction."""
        now = self.clock.now()
        runs = [run(name, offer, now) for name, offer in names]
        uses = {one.enrolment_id: now for one in used}

        def work(connection: Connection) -> None:
            self.begun += 1
            self.wallet.line_up(connection, runs, uses, now)
            for one in runs:
                self._issue(connection, one)
                time.sleep(MEANWHILE)
            self.wallet.mark_used(connection, uses, now)

        self.database.write(work)

    def _issue(self, connection: Connection, mine: Enrolment) -> Coupon:
        now = self.clock.now()
        assert self.limits.issue(connection, mine, now) is None
        new = coupon(f"{mine.id}:1:0", mine, OFFERS[mine.arm.offer], now, UTC)
        self.wallet.issue(connection, [new], now)
        return new


def test_runs_that_issue_and_orders_that_redeem_never_wait_in_a_circle(
    opened: Database, clock: SimulatedClock, victims: list[DBAPIError]
) -> None:
    shop = Shop(opened, clock)
    for round_ in range(ROUNDS):
        mine = [shop.issue(f"{round_}-{name}", "milk") for name in ("ann", "bob")]
        together = Barrier(3)

        def one_way(number: int = round_, some: list[Coupon] = mine, gate: Barrier = together) -> None:
            gate.wait()
            shop.both([(f"{number}-cem", "milk"), (f"{number}-dan", "bread")], some)

        def other_way(number: int = round_, gate: Barrier = together) -> None:
            gate.wait()
            shop.both([(f"{number}-eve", "bread"), (f"{number}-fay", "milk")], [])

        def redeem(some: list[Coupon] = mine, gate: Barrier = together) -> None:
            gate.wait()
            for one in some:
                time.sleep(MEANWHILE / 2)
                shop.checkout.redeem(Asked(one.code, f"order-{one.id}", basket=Basket(5_000, "EUR")))

        with ThreadPoolExecutor(3) as pool:
            for done in [pool.submit(one_way), pool.submit(other_way), pool.submit(redeem)]:
                done.result()
    assert shop.begun == 2 * ROUNDS
    assert victims == []
    # Four of each round were issued and stand open; those that were redeemed are owed no more.
    owed = Budget("max_liability.milk", "all", 500_000)
    assert SqlCounters(opened).levels([owed], clock.now())[owed.key] == 2 * ROUNDS * 500


def test_a_reservation_that_is_made_again_holds_its_user_before_its_budget(
    opened: Database, clock: SimulatedClock, victims: list[DBAPIError]
) -> None:
    counters, now = SqlCounters(opened), clock.now()
    budget = Budget("spring", "all", 100)
    cap = UseLimit("weekly", 50, timedelta(days=7))

    def reserve(decision: str, *, again: bool) -> int:
        wanted = Wanted(decision, "ann", [cap], [Spend(budget, 1)], again=again)
        begun = 0

        def work(connection: Connection) -> str | None:
            nonlocal begun
            begun += 1
            refused = counters.reserve(wanted, now, connection).keep(connection)
            time.sleep(0.01)
            return refused

        assert opened.write(work) is None
        return begun

    with ThreadPoolExecutor(4) as pool:
        tries = list(pool.map(lambda one: reserve(f"d{one % 4}", again=one >= 4), range(24)))
    assert tries == [1] * 24
    assert victims == []
    assert counters.levels([budget], now)[budget.key] == 4
