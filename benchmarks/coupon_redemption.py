"""Whether a coupon with a limit is redeemed exactly that often when very many orders redeem it at once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Barrier

from audiences.intake.intake import Intake
from benchmarks.benchmark import Benchmark, Bound, Pair, Say
from benchmarks.budget_exact import postgres
from benchmarks.errors import BenchmarkError
from delivery.coupons.asking import Asked
from delivery.coupons.checkout import Checkout
from delivery.coupons.discount import Basket
from delivery.coupons.errors import CouponRefused
from delivery.coupons.sharing import Shared, Sharing
from delivery.coupons.wallet import Wallet
from playbooks.counters import SqlCounters
from playbooks.money import Money
from playbooks.offers import Offer
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CALLS, LIMIT, RUNS = 1_000, 100, 50
_OFFER = Offer(id="bench", name="Five off", kind="fixed_amount", value=Money(500, "EUR"))
_BASKET = Basket(5_000, "EUR")


def measure(kind: str, folder: Path, say: Say) -> Sequence[Pair]:
    """Return for each run the redemptions that there were, beside those that there should have been.

    Raises:
        BenchmarkError: the ledger or the counters say something else than the orders were told.
    """
    with _opened(kind, folder) as database:
        clock, counters = SimulatedClock(NOW), SqlCounters(database)
        checkout = Checkout(database, clock, Wallet(database, clock), counters, Intake(database))
        sharing = Sharing(database, clock, lambda _: {_OFFER.id: _OFFER})
        pairs, started = [], time.perf_counter()
        with ThreadPoolExecutor(CALLS) as pool:
            for run in range(RUNS):
                code = sharing.share(Shared(f"RUN-{run}", _OFFER.id, LIMIT), by="bench")
                redeemed = _run(checkout, code, pool)
                if redeemed != LIMIT:
                    raise BenchmarkError(f"run {run}: {redeemed} orders redeemed a code limited to {LIMIT}")
                pairs.append(Pair(redeemed, LIMIT))
        took = time.perf_counter() - started
        with database.read() as connection:
            told = ledger.counts(connection)[Kind.COUPON]["redeemed"]
        if told != RUNS * LIMIT or counters.recount(NOW):
            raise BenchmarkError(f"the ledger has {told} redemptions, or the counters do not agree with it")
        say(f"{RUNS} runs, {RUNS * CALLS / took:,.0f} calls a second")
    return pairs


def _run(checkout: Checkout, code: str, pool: ThreadPoolExecutor) -> int:
    """Let all orders redeem a code at once; return how many were told that they did."""
    together = Barrier(CALLS)

    def redeem(number: int) -> bool:
        together.wait()
        try:
            checkout.redeem(Asked(code, f"{code}:{number}", basket=_BASKET))
        except CouponRefused:
            return False
        return True

    return sum(pool.map(redeem, range(CALLS)))


@contextmanager
def _opened(kind: str, folder: Path) -> Iterator[Database]:
    if kind == "sqlite":
        with closing(Database(f"sqlite:///{folder / 'coupons.db'}")) as database:
            yield database
        return
    with postgres(folder) as url, closing(Database(url)) as database:
        yield database


def _benchmark(kind: str, where: str) -> Benchmark:
    return Benchmark(
        name=f"coupon_redemption_{kind}",
        measures=f"Redemptions by {CALLS:,} orders at once of a code limited to {LIMIT}, {where}.",
        against=f"{LIMIT}: in every run just as many, never one over.",
        unit="redemptions",
        bound=Bound("value", "<=", LIMIT),
        run=partial(measure, kind),
    )


COUPON_REDEMPTION_SQLITE = _benchmark("sqlite", "in SQLite")
COUPON_REDEMPTION_POSTGRES = _benchmark("postgres", "in Postgres")
