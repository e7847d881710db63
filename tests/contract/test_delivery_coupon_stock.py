"""Stocks of codes on both databases: a file is added whole or not at all, and each code is given once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta

import pytest
from sqlalchemy import Connection

from delivery.coupons import stock_repository
from delivery.coupons.errors import CodeTaken, StockRefused
from delivery.coupons.sharing import Shared, Sharing
from delivery.coupons.stock import Line, Stock, StockLevel
from delivery.coupons.wallet import Wallet, coupon
from delivery.effects import Effects
from delivery.models import Enrolment, EnrolmentFact, IssueCoupon, SendMessage, SuppressionFact
from delivery.plans import Plan
from delivery.step import Step
from delivery.testing import arms_of, version_body
from playbooks.constraints.spending import stock_of
from playbooks.counters import Spend, SqlCounters, Wanted
from playbooks.offers import Offer
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind

ARM = arms_of(version_body())["milk"]
OFFERS = {
    "ticket": Offer(id="ticket", name="A ticket", codes="stock"),
    "other": Offer(id="other", name="Another"),
}


def lines(*codes: str, first: int = 2) -> list[Line]:
    return [Line(first + number, code) for number, code in enumerate(codes)]


class Shelf:
    """A stock over one database, and a wallet that is filled from it."""

    def __init__(self, database: Database, clock: SimulatedClock) -> None:
        self.database, self.clock = database, clock
        self.counters = SqlCounters(database)
        self.stock = Stock(database, clock, self.counters, lambda _: OFFERS)
        self.wallet = Wallet(database, clock)

    def give(self, user: str) -> str | None:
        """Issue a coupon of the stock, as a run does; return its code."""
        at = self.clock.now()
        run = Enrolment(user, user, "p", 1, user, ARM, "issue", at, at)

        def work(connection: Connection) -> str | None:
            code = self.wallet.code(connection, OFFERS["ticket"], run, f"{user}:1:0", at)
            if code is not None:
                new = coupon(f"{user}:1:0", run, OFFERS["ticket"], at, UTC, code)
                self.wallet.issue(connection, [new], at)
            return code

        return self.database.write(work)

    def reserves(self, names: Sequence[str]) -> list[bool]:
        """Ask for a ticket for each of some decisions; say who gets one."""
        now, spend = self.clock.now(), Spend(stock_of("ticket"), 1)
        kept = []
        for name in names:
            wanted = Wanted(name, name, spends=[spend])
            kept.append(self.database.write(self.counters.reserve(wanted, now).keep) is None)
        return kept


@pytest.fixture
def shelf(database: Database, clock: SimulatedClock) -> Shelf:
    return Shelf(database, clock)


def test_a_file_is_added_and_given_code_by_code(shelf: Shelf) -> None:
    assert shelf.reserves(["early"]) == [False]
    codes = [f"TICKET-{number:04}" for number in range(900)]
    assert shelf.stock.add("ticket", lines(*codes), by="ops").added == 900
    assert shelf.stock.levels() == [StockLevel("ticket", 900, 900, 0, low=False)]
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(shelf.give, [f"u{number}" for number in range(20)]))
    assert len(set(given)) == 20
    assert set(given) <= set(codes)
    assert shelf.stock.levels() == [StockLevel("ticket", 900, 880, 20, low=False)]
    shelf.clock.move_to(shelf.clock.now() + timedelta(days=8))
    assert shelf.stock.levels()[0].given_7d == 0
    assert shelf.counters.recount(shelf.clock.now()) == []


def test_an_empty_stock_has_room_for_nobody(shelf: Shelf) -> None:
    shelf.stock.add("ticket", lines("A1", "A2"), by="ops")
    assert shelf.reserves(["a", "b", "c"]) == [True, True, False]
    shelf.clock.move_to(shelf.clock.now() + timedelta(minutes=1))
    shelf.stock.add("ticket", lines("A3"), by="ops")
    assert shelf.reserves(["c", "d"]) == [True, False]
    assert shelf.counters.taken(stock_of("ticket"), shelf.clock.now()) == 0
    assert [shelf.give(user) for user in "abcd"] == ["A1", "A2", "A3", None]
    assert shelf.stock.levels() == [StockLevel("ticket", 3, 0, 3, low=True)]


def test_a_run_whose_code_is_gone_ends_and_says_why(shelf: Shelf) -> None:
    at = shelf.clock.now()
    plan = Plan.of(version_body(terms={"codes": "stock"}), 1)
    run = Enrolment("e", "ann", "coupons", 1, "d", ARM, "issue", at, at)
    send = SendMessage("e:1:1", at, "memory", "hello", "send")
    step = Step(run, plan, [IssueCoupon("e:1:0", at, "issue"), send])
    effects = Effects(shelf.wallet, lambda *_: None)
    report = shelf.database.write(lambda c: effects.keep(c, [step], at))
    assert (report.issued, report.queued, report.ended) == (0, 0, 1)
    with shelf.database.read() as connection:
        (stopped,) = ledger.of_user(connection, "ann", kinds=[Kind.SUPPRESSION])
        (ended,) = ledger.of_user(connection, "ann", kinds=[Kind.ENROLMENT])
    assert stopped.label == "stock.milk"
    assert stopped.decode(SuppressionFact) == SuppressionFact(
        "d", "e", "coupons", "coupons/milk", "memory", "e:1:0"
    )
    assert ended.decode(EnrolmentFact).result == "suppressed: stock.milk"


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        ((), "line 1: there is no code"),
        (("N1", "N2", "N1"), "line 4: the code is that of line 2"),
        (
            ("N1", "", "x" * 33),
            r"line 3: the code must have 1 to 32 .* 0; line 4: .* it has 33",
        ),
        (("N1", " N2"), "line 3: the code begins or ends with a space"),
        (("N1", "OLD2", "OLD1"), "line 3: the code is there already; line 4: the code is there already"),
        ((*(f"M{number}" for number in range(500)), "GIVEN"), "line 502: the code is there already"),
    ],
)
def test_a_wrong_row_leaves_all_of_a_file_out(shelf: Shelf, codes: tuple[str, ...], told: str) -> None:
    shelf.stock.add("ticket", lines("OLD1", "OLD2"), by="ops")
    Sharing(shelf.database, shelf.clock, lambda _: OFFERS).share(Shared("GIVEN", "other", 5), by="ops")
    with pytest.raises(StockRefused, match=f"nothing was added: {told}"):
        shelf.stock.add("ticket", lines(*codes), by="ops")
    assert shelf.stock.levels() == [StockLevel("ticket", 2, 2, 0, low=False)]
    assert shelf.stock.add("ticket", lines("N1", "N2", "M1"), by="ops").added == 3


def test_an_import_that_died_leaves_nothing(shelf: Shelf) -> None:
    now = shelf.clock.now()
    shelf.database.write(lambda c: stock_repository.begin(c, "dead", "ticket", now))
    shelf.database.write(lambda c: stock_repository.add(c, "dead", ["D1", "D2"]))
    assert shelf.stock.levels() == []
    assert shelf.give("ann") is None
    shelf.stock.add("ticket", lines("D2", "D3"), by="ops")
    assert shelf.stock.levels() == [StockLevel("ticket", 2, 2, 0, low=False)]


def test_stocks_are_those_of_offers_that_say_so(shelf: Shelf) -> None:
    with pytest.raises(StockRefused, match="did you mean 'ticket'"):
        shelf.stock.add("tickets", lines("A"), by="ops")
    with pytest.raises(StockRefused, match="makes its own codes"):
        shelf.stock.add("other", lines("A"), by="ops")
    shelf.stock.add("ticket", lines("SHARED"), by="ops")
    with pytest.raises(CodeTaken, match="in a stock"):
        Sharing(shelf.database, shelf.clock, lambda _: OFFERS).share(Shared("shared", "other", 5), by="ops")
    with pytest.raises(ValueError, match="leave `stock` out"):
        Offer(id="x", name="X", codes="stock", stock=5)
