"""The wallet on both databases: each coupon issued, used and expired at most once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import DBAPIError

from delivery.coupons.models import Coupon, CouponFact
from delivery.coupons.wallet import Wallet, coupon, new_code
from delivery.models import Enrolment
from delivery.testing import arms_of, version_body
from playbooks.offers import Validity
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind

DAY = timedelta(days=1)
TERMS = {
    "kind": "percentage",
    "percent": 10,
    "ceiling": "15.00 EUR",
    "minimum_spend": "40.00 EUR",
    "scope": {"categories": ["MILK"]},
    "stacking": {"group": "basket", "with": ["shipping"]},
}
BODY = version_body(terms=TERMS)
ARM = arms_of(BODY)["milk"]
OFFER = BODY.offers_by_id["milk"]


def issue(database: Database, wallet: Wallet, at: datetime, *users: str) -> list[Coupon]:
    new = [
        coupon(f"{user}:1:0", Enrolment(user, user, "coupons", 1, user, ARM, "issue", at, at), OFFER, at, UTC)
        for user in users
    ]
    assert database.write(lambda c: wallet.issue(c, new, at), rows=len(new)) == len(new)
    return new


def use(database: Database, wallet: Wallet, user: str, at: datetime) -> int:
    return database.write(lambda c: wallet.mark_used(c, {user: at}, at))


def counted(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return ledger.counts(connection).get(Kind.COUPON, {})


def test_issue_use_expire(database: Database, clock: SimulatedClock) -> None:
    wallet, begun = Wallet(database, clock), clock.now()
    ann, bob = issue(database, wallet, begun, "ann", "bob")
    assert ann.expires_at == begun + 14 * DAY
    assert wallet.of_user("ann") == [(ann, "issued")]
    assert (ann.terms.percent, ann.terms.ceiling, ann.terms.currency) == (10, 1500, "EUR")
    assert (ann.terms.minimum_spend, ann.terms.categories) == (4000, ("MILK",))
    assert (ann.terms.stacking_group, ann.terms.stacks_with) == ("basket", ("shipping",))
    assert use(database, wallet, "ann", begun + DAY) == 1
    clock.move_to(begun + 14 * DAY - timedelta(microseconds=1))
    assert not wallet.expire_due()
    clock.move_to(begun + 20 * DAY)
    assert wallet.expire_due().expired == 1
    assert wallet.of_user("ann") == [(ann, "used")]
    assert wallet.of_user("bob") == [(bob, "expired")]
    assert wallet.of_user("eve") == []
    assert counted(database) == {"issued": 2, "used": 1, "expired": 1}
    with database.read() as connection:
        facts = ledger.of_user(connection, "bob")
    assert [(fact.label, fact.occurred_at) for fact in facts] == [
        ("expired", begun + 14 * DAY),
        ("issued", begun),
    ]
    assert facts[0].decode(CouponFact) == CouponFact("bob", "bob", "milk", 1500, "EUR")


def test_using_twice_counts_once(database: Database, clock: SimulatedClock) -> None:
    wallet = Wallet(database, clock)
    issue(database, wallet, clock.now(), "ann")
    with ThreadPoolExecutor(8) as pool:
        marked = list(pool.map(lambda _: use(database, wallet, "ann", clock.now()), range(16)))
    assert sum(marked) == 1
    assert counted(database) == {"issued": 1, "used": 1}


@pytest.mark.parametrize("swept", [True, False])
def test_an_expired_coupon_can_not_be_used(database: Database, clock: SimulatedClock, *, swept: bool) -> None:
    wallet, begun = Wallet(database, clock), clock.now()
    issue(database, wallet, begun, "ann")
    clock.move_to(begun + 14 * DAY)
    if swept:
        wallet.expire_due()
    assert use(database, wallet, "ann", clock.now()) == 0
    wallet.expire_due()
    assert counted(database) == {"issued": 1, "expired": 1}


def test_one_effect_issues_one_coupon(database: Database, clock: SimulatedClock) -> None:
    wallet = Wallet(database, clock)
    issue(database, wallet, clock.now(), "ann")
    with pytest.raises(DBAPIError):
        issue(database, wallet, clock.now(), "ann")
    assert counted(database) == {"issued": 1}


def test_wallets_side_by_side_expire_each_coupon_once(database: Database, clock: SimulatedClock) -> None:
    wallets = [Wallet(database, clock, batch=6) for _ in range(4)]
    issue(database, wallets[0], clock.now(), *(f"u{number:03}" for number in range(100)))
    clock.move_to(clock.now() + 14 * DAY)
    with ThreadPoolExecutor(4) as pool:
        expired = [report.expired for report in pool.map(lambda wallet: wallet.expire_due(), wallets)]
    assert sum(expired) + wallets[0].expire_due().expired == 100
    assert counted(database)["expired"] == 100


def test_codes_can_not_be_guessed() -> None:
    codes = {new_code() for _ in range(1_000)}
    assert len(codes) == 1_000
    assert all(len(code) == 16 for code in codes)
    assert len(set("".join(codes))) == 32


def test_a_coupon_good_for_ever_stays_within_the_calendar(clock: SimulatedClock) -> None:
    at = clock.now()
    offer = OFFER.model_copy(update={"validity": Validity(for_=timedelta(days=999_999_999))})
    one = coupon("k", Enrolment("e", "u", "p", 1, "e", ARM, "s", at, at), offer, at, UTC)
    assert one.expires_at.year == 9999
