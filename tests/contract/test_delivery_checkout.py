"""The checkout on both databases: each order uses a coupon at most once, and no limit is ever exceeded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from audiences.intake.intake import Intake
from delivery import repository as enrolments
from delivery.coupons import repository
from delivery.coupons.asking import Asked
from delivery.coupons.checkout import Checkout
from delivery.coupons.desk import Desk
from delivery.coupons.discount import Basket, Discount, Item, Reason
from delivery.coupons.errors import (
    CallReused,
    CodeTaken,
    CouponRefused,
    NotVoidable,
    OrderConflict,
    ShareRefused,
    TooManyGuesses,
    UnknownCoupon,
    UnknownUse,
)
from delivery.coupons.guess_limits import GuessLimits, Window
from delivery.coupons.guessing import GUESSED, Guesses, Trying
from delivery.coupons.models import Coupon
from delivery.coupons.sharing import Shared, Sharing
from delivery.coupons.wallet import Wallet, coupon
from delivery.models import Enrolment
from delivery.testing import arms_of, version_body
from playbooks.counters import SqlCounters, ValkeyCounters
from playbooks.offers import Offer
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
TERMS = {"kind": "percentage", "percent": 10, "ceiling": "15.00 EUR", "minimum_spend": "40.00 EUR"}
BODY = version_body(terms=TERMS)
ARM = arms_of(BODY)["milk"]
MILK = BODY.offers_by_id["milk"]
BASKET = Basket(5_000, "EUR")


class Shop:
    """A checkout over one database, and the wallet behind it."""

    def __init__(self, database: Database, clock: SimulatedClock) -> None:
        self.database, self.clock = database, clock
        self.owed = Owed()
        self.wallet = Wallet(database, clock, limits=self.owed)
        self.counters = SqlCounters(database)
        self.checkout = Checkout(database, clock, self.wallet, self.counters, Intake(database))
        self.desk = Desk(database, clock, self.wallet)

    def issue(self, *users: str, offer: Offer = MILK, **changes: Any) -> list[Coupon]:
        at = self.clock.now()
        new = [replace(coupon(f"{user}:1:0", run(user, at), offer, at, UTC), **changes) for user in users]
        self.database.write(lambda c: self.wallet.issue(c, new, at), rows=len(new))
        return new

    def shared(self, code: str, uses: int, **limits: int) -> Coupon:
        offer = Offer.model_validate(
            {"id": "all", "name": "All", "kind": "fixed_amount", "value": "5.00 EUR"}
        )
        offer = offer.model_copy(update={"redemptions": offer.redemptions.model_copy(update=limits)})
        Sharing(self.database, self.clock, lambda _: {"all": offer}).share(
            Shared(code, "all", uses), by="ops"
        )
        with self.database.read() as connection:
            found = repository.find(connection, code)
        assert found is not None
        return found[0]

    def facts(self) -> dict[str, int]:
        with self.database.read() as connection:
            return ledger.counts(connection).get(Kind.COUPON, {})

    def events(self, user: str) -> list[tuple[str, dict[str, Any]]]:
        with self.database.read() as connection:
            facts = ledger.of_user(connection, user, kinds=[Kind.EVENT])
        return [(one.label, one.decode(dict)["properties"]) for one in reversed(facts)]


class Owed:
    """Limits that tell what is owed; the counters of uses are the checkout's."""

    def __init__(self) -> None:
        self.runs: list[str] = []

    def line_up(self, connection: Any, runs: Any, ending: Any, now: datetime) -> None:
        return None

    def issue(self, connection: Any, enrolment: Enrolment, now: datetime) -> None:
        return None

    def counts(self, connection: Any, enrolment: Enrolment) -> bool:
        return True

    def ended(self, connection: Any, decision_ids: Any) -> None:
        self.runs += [f"-{one}" for one in decision_ids]

    def reopened(self, connection: Any, enrolment: Enrolment, now: datetime) -> None:
        self.runs.append(f"+{enrolment.decision_id}")

    def released(self, connection: Any, use_ids: Any) -> None:
        return None


def run(user: str, at: datetime) -> Enrolment:
    return Enrolment(user, user, "coupons", 1, user, ARM, "issue", at, at)


def asked(one: Coupon, order: str, basket: Basket | None = BASKET, **more: Any) -> Asked:
    return Asked(one.code, order, basket=basket, **more)


def reasons(shop: Shop, call: Asked) -> list[Reason]:
    """Return why an order is refused, which checking and redeeming agree on."""
    checked = [one.reason for one in shop.checkout.validate(call).reasons]
    with pytest.raises(CouponRefused) as refused:
        shop.checkout.redeem(call)
    assert [one.reason for one in refused.value.reasons] == checked
    return checked


@pytest.fixture
def shop(database: Database, clock: SimulatedClock) -> Shop:
    return Shop(database, clock)


def test_reserve_redeem_and_roll_back(shop: Shop) -> None:
    (one,) = shop.issue("ann")
    assert shop.checkout.validate(asked(one, "")).discount == Discount(500, "EUR")
    held = shop.checkout.reserve(asked(one, "o1"))
    assert (held.standing, held.until) == ("reserved", shop.clock.now() + 30 * MINUTE)
    assert shop.checkout.reserve(asked(one, "o1")) == held
    assert shop.desk.show(one.code).state == "reserved"
    # It is held for this order, so it is good for it still and for no other.
    assert shop.checkout.validate(asked(one, "o1")).valid
    assert reasons(shop, asked(one, "o2")) == [Reason.USED_UP]
    done = shop.checkout.redeem(asked(one, "o1", None))
    assert (done.standing, done.discount, done.user_id, done.id) == (
        "redeemed",
        Discount(500, "EUR"),
        "ann",
        held.id,
    )
    assert [shop.checkout.redeem(asked(one, "o1")) for _ in range(3)] == [done] * 3
    assert shop.desk.show(one.code).state == "used"
    assert reasons(shop, asked(one, "o2")) == [Reason.USED_UP]
    back = shop.checkout.roll_back(asked(one, "o1"))
    assert back.standing == "rolled_back"
    assert shop.checkout.roll_back(asked(one, "o1")) == back
    assert shop.desk.show(one.code).state == "issued"
    with pytest.raises(OrderConflict, match="needs an id of its own"):
        shop.checkout.redeem(asked(one, "o1"))
    assert shop.checkout.redeem(asked(one, "o3")).standing == "redeemed"
    assert shop.facts() == {"issued": 1, "reserved": 1, "redeemed": 2, "used": 2, "rolled_back": 1}
    names = [name for name, _ in shop.events("ann")]
    assert names == ["coupon_redeemed", "coupon_rolled_back", "coupon_redeemed"]
    assert shop.events("ann")[0][1] == {
        "order_id": "o1",
        "offer": "milk",
        "value": 50.0,
        "discount": 5.0,
        "currency": "EUR",
        "decision_id": "ann",
    }
    assert shop.counters.recount(shop.clock.now()) == []


def test_what_is_owed_follows(shop: Shop, database: Database) -> None:
    ann, bob, eve = shop.issue("ann", "bob", "eve")
    at = shop.clock.now()
    database.write(lambda c: enrolments.add_enrolments(c, [run(one, at) for one in ("ann", "bob")]))
    shop.checkout.redeem(asked(ann, "o1"))
    shop.checkout.roll_back(asked(ann, "o1"))
    shop.checkout.redeem(asked(bob, "o2"))
    shop.clock.move_to(at + 14 * DAY)
    shop.checkout.roll_back(asked(bob, "o2"))
    assert shop.owed.runs == ["-ann", "+ann", "-bob"]
    assert shop.desk.show(bob.code).state == "expired"
    shop.wallet.expire_due()
    assert sorted(shop.owed.runs[3:]) == ["-ann", "-bob", "-eve"]
    assert shop.facts()["expired"] == 3
    assert eve.code


def test_every_reason_is_told(shop: Shop) -> None:
    now = shop.clock.now()
    scoped = MILK.model_copy(update={"scope": MILK.scope.model_copy(update={"categories": ["MILK"]})})
    one, later, late = shop.issue("a", "b", "c", offer=scoped)[0], None, None
    (later,) = shop.issue("later", issued_at=now + DAY)
    (late,) = shop.issue("late", expires_at=now)
    (gone,) = shop.issue("gone")
    shop.desk.void(gone.code, by="ops")
    assert reasons(shop, asked(later, "o")) == [Reason.NOT_YET_VALID]
    assert reasons(shop, asked(late, "o")) == [Reason.EXPIRED]
    assert reasons(shop, asked(gone, "o")) == [Reason.VOID]
    assert reasons(shop, asked(one, "o", Basket(100, "USD"))) == [Reason.WRONG_CURRENCY]
    poor = Basket(3_999, "EUR", items=(Item(100, "", "BREAD"),))
    assert reasons(shop, asked(one, "o", poor, user_id="bob")) == [
        Reason.OTHER_USER,
        Reason.BELOW_MINIMUM_SPEND,
        Reason.OUT_OF_SCOPE,
    ]
    checked = shop.checkout.validate(Asked("NOTHING", basket=BASKET))
    assert [one.reason for one in checked.reasons] == [Reason.UNKNOWN]
    with pytest.raises(UnknownCoupon):
        shop.checkout.redeem(Asked("NOTHING", "o", basket=BASKET))
    with pytest.raises(UnknownUse):
        shop.checkout.roll_back(Asked(one.code, "o"))
    assert shop.facts() == {"issued": 6, "voided": 1}


def test_coupons_of_an_order_stack_only_if_each_names_the_others_group(shop: Shop) -> None:
    def grouped(group: str, other: str) -> Offer:
        return Offer.model_validate(
            MILK.model_dump(mode="json", exclude_none=True) | {"stacking": {"group": group, "with": [other]}}
        )

    (alone,) = shop.issue("alone", user_id="ann")
    (basket,) = shop.issue("basket", offer=grouped("basket", "shipping"), user_id="ann")
    (shipping,) = shop.issue("shipping", offer=grouped("shipping", "basket"), user_id="ann")
    assert (
        shop.checkout.validate(asked(alone, "", coupons=(basket.code,))).reasons[0].reason == "not_stackable"
    )
    assert shop.checkout.validate(asked(basket, "", coupons=(shipping.code, basket.code))).valid
    shop.checkout.reserve(asked(basket, "o1"))
    # What the order holds already counts, whether it is named or not.
    assert reasons(shop, asked(alone, "o1")) == [Reason.NOT_STACKABLE]
    assert shop.checkout.redeem(asked(shipping, "o1")).standing == "redeemed"
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda one: _redeemed(shop, asked(one, "o2")), shop.issue("x", "y")))
    assert sorted(both) == [False, True]


def test_a_repeat_that_says_something_else_is_refused(shop: Shop) -> None:
    (one,) = shop.issue("ann")
    shop.checkout.redeem(asked(one, "o1"), "key-1")
    with pytest.raises(OrderConflict, match=r"total of 60\.00 EUR, not 50\.00 EUR"):
        shop.checkout.redeem(asked(one, "o1", Basket(6_000, "EUR")))
    with pytest.raises(CallReused, match="'key-1' was used for another call"):
        shop.checkout.redeem(asked(one, "o2"), "key-1")
    shop.checkout.roll_back(asked(one, "o1"), "key-2")
    # Under its key the call is answered as it was, whatever became of it since.
    assert shop.checkout.redeem(asked(one, "o1"), "key-1").standing == "redeemed"
    assert shop.desk.show(one.code).state == "issued"
    with pytest.raises(OrderConflict, match="no reservation"):
        shop.checkout.redeem(asked(one, "o9", None))
    shop.clock.move_to(shop.clock.now() + 8 * DAY)
    shop.wallet.expire_due()
    with pytest.raises(OrderConflict, match="needs an id of its own"):
        shop.checkout.redeem(asked(one, "o1"), "key-1")


@pytest.mark.parametrize("swept", [True, False])
def test_a_reservation_that_ran_out_gives_its_use_back(shop: Shop, *, swept: bool) -> None:
    one = shop.shared("WELCOME", 2)
    for order in ("o1", "o2"):
        shop.checkout.reserve(asked(one, order, lasting=10 * MINUTE))
    assert reasons(shop, asked(one, "o3")) == [Reason.USED_UP]
    shop.clock.move_to(shop.clock.now() + 10 * MINUTE)
    if swept:
        assert shop.wallet.lapse_due() == 2
        assert shop.wallet.lapse_due() == 0
    assert shop.checkout.redeem(asked(one, "o3")).standing == "redeemed"
    # The first order comes late and finds a use left, the second none.
    assert shop.checkout.redeem(asked(one, "o1")).standing == "redeemed"
    assert reasons(shop, asked(one, "o2")) == [Reason.USED_UP]
    shop.wallet.lapse_due()
    assert shop.counters.recount(shop.clock.now()) == []


def test_what_was_reserved_in_time_is_honoured_when_the_coupon_ends(shop: Shop) -> None:
    (one,) = shop.issue("ann")
    shop.clock.move_to(one.expires_at - MINUTE)
    shop.checkout.reserve(asked(one, "o1"))
    shop.clock.move_to(one.expires_at + MINUTE)
    assert not shop.wallet.expire_due()
    assert shop.checkout.redeem(asked(one, "o1", None)).standing == "redeemed"
    assert shop.wallet.expire_due().expired == 0


def test_void_takes_reservations_along(shop: Shop) -> None:
    one, other = shop.issue("ann", "bob")
    shop.checkout.reserve(asked(one, "o1"))
    assert shop.desk.void(one.code, by="ops").state == shop.desk.void(one.code, by="ops").state == "void"
    with pytest.raises(OrderConflict):
        shop.checkout.redeem(asked(one, "o1", None))
    shop.checkout.redeem(asked(other, "o2"))
    with pytest.raises(NotVoidable):
        shop.desk.void(other.code, by="ops")
    assert shop.facts() == {"issued": 2, "reserved": 1, "voided": 1, "released": 1, "redeemed": 1, "used": 1}


def test_an_order_event_and_the_shop_count_a_use_once(shop: Shop) -> None:
    """The run's goal marks a coupon as used; the shop, which knows, may still redeem it, once."""
    one, other = shop.issue("ann", "bob")
    now = shop.clock.now()
    mark = shop.wallet.mark_used
    assert shop.database.write(lambda c: mark(c, {"ann": now}, now)) == 1
    assert shop.checkout.redeem(asked(one, "o1")).standing == "redeemed"
    shop.checkout.redeem(asked(other, "o2"))
    assert shop.database.write(lambda c: mark(c, {"bob": now}, now)) == 0
    assert reasons(shop, asked(one, "o3")) == [Reason.USED_UP]
    assert shop.facts() == {"issued": 2, "used": 2, "redeemed": 2}
    shop.checkout.roll_back(asked(other, "o2"))
    assert shop.database.write(lambda c: mark(c, {"bob": now}, now)) == 1


def _redeemed(shop: Shop, call: Asked) -> bool:
    try:
        return shop.checkout.redeem(call).standing == "redeemed"
    except CouponRefused:
        return False


def test_no_limit_is_exceeded_by_many_at_once(shop: Shop) -> None:
    one = shop.shared("WELCOME10", 20, per_user=2, in_all=30)
    calls = [asked(one, f"o{number}", user_id=f"u{number % 15}") for number in range(60)]
    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(lambda call: _redeemed(shop, call), calls * 2))
    # Each order was asked about twice, and a repeat of what was done is answered as it was.
    assert len({call.order_id for call, ok in zip(calls * 2, done, strict=True) if ok}) == 20
    assert shop.facts()["redeemed"] == 20
    assert reasons(shop, asked(one, "more", user_id="new")) == [Reason.USED_UP]
    first = next(call for call, ok in zip(calls, done, strict=False) if ok)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: shop.checkout.roll_back(first), range(16)))
        again = list(
            pool.map(
                lambda call: _redeemed(shop, call), [asked(one, f"n{n}", user_id=f"n{n}") for n in range(16)]
            )
        )
    assert sum(again) == 1
    assert shop.facts()["redeemed"] == 21
    assert shop.counters.recount(shop.clock.now()) == []


def test_limits_hold_where_uses_are_counted_in_valkey(
    shop: Shop, database: Database, clock: SimulatedClock, valkey_url: str
) -> None:
    one = shop.shared("RUSH", 5, per_user=2)
    with closing(ValkeyCounters(database, valkey_url, patience=10.0)) as counters:
        shop.checkout = Checkout(database, clock, shop.wallet, counters, Intake(database))
        calls = [asked(one, f"o{number}", user_id=f"u{number % 8}") for number in range(24)]
        with ThreadPoolExecutor(6) as pool:
            done = list(pool.map(lambda call: _redeemed(shop, call), calls))
        assert sum(done) == 5
        shop.checkout.roll_back(next(call for call, ok in zip(calls, done, strict=True) if ok))
        again = [_redeemed(shop, asked(one, f"n{number}", user_id="new")) for number in range(3)]
        assert again == [True, False, False]
        assert shop.facts()["redeemed"] == 6
        assert counters.recount(clock.now()) == []


def test_limits_per_user_and_per_offer(shop: Shop) -> None:
    one = shop.shared("FEW", 10, per_user=1, in_all=2)
    assert reasons(shop, asked(one, "o0")) == [Reason.USER_NEEDED]
    shop.checkout.redeem(asked(one, "o1", user_id="ann"))
    assert reasons(shop, asked(one, "o2", user_id="ann")) == [Reason.USED_UP]
    shop.checkout.roll_back(asked(one, "o1"))
    shop.checkout.redeem(asked(one, "o2", user_id="ann"))
    # Whose order it is was said when it was reserved.
    shop.checkout.reserve(asked(one, "o3", user_id="bob"))
    assert shop.checkout.redeem(asked(one, "o3", None)).user_id == "bob"
    told = shop.checkout.validate(asked(one, "o4", user_id="eve")).reasons
    assert [one.detail for one in told] == ["all 2 redemptions of the offer 'all' are taken"]


def test_codes_are_shared_once(shop: Shop) -> None:
    offer = Offer.model_validate(
        {
            "id": "five",
            "name": "Five off",
            "kind": "fixed_amount",
            "value": "5.00 EUR",
            "maximum_liability": "500.00 EUR",
        }
    )
    sharing = Sharing(shop.database, shop.clock, lambda _: {"five": offer})
    assert sharing.share(Shared("spring5", "five", 100), by="ops") == "SPRING5"
    assert sharing.share(Shared("Spring5", "five", 100), by="ops") == "SPRING5"
    assert shop.checkout.redeem(Asked("spring5", "o1", basket=BASKET)).discount.amount == 500
    with pytest.raises(CodeTaken):
        sharing.share(Shared("spring5", "five", 99), by="ops")
    with pytest.raises(ShareRefused, match="at most 100 uses"):
        sharing.share(Shared("MORE", "five", 101), by="ops")
    with pytest.raises(ShareRefused, match="say how many"):
        sharing.share(Shared("ANY", "five"), by="ops")
    with pytest.raises(ShareRefused, match="did you mean 'five'"):
        sharing.share(Shared("TYPO", "fife", 1), by="ops")
    with pytest.raises(ShareRefused, match="over before it began"):
        sharing.share(Shared("PAST", "five", 1, until=shop.clock.now()), by="ops")


def test_who_tries_too_many_wrong_codes_waits_whatever_the_code(shop: Shop, database: Database) -> None:
    shop.shared("WELCOME10", 20)
    limits = GuessLimits(user=Window(tries=3, within=10 * MINUTE), visitor=Window(tries=5), key=None)
    guesses = Guesses(database, shop.clock, limits)

    def validate(code: str, user: str = "", visitor: str = "", others: tuple[str, ...] = ()) -> bool:
        call = Asked(code, "", user, BASKET, others)
        return guesses.guarded(
            Trying("shop", user, visitor),
            lambda: shop.checkout.validate(call),
            lambda: shop.checkout.unknown(call.coupons),
        ).valid

    def redeem(code: str, user: str) -> None:
        guesses.guarded(
            Trying("shop", user), lambda: shop.checkout.redeem(Asked(code, f"o-{user}", user, BASKET))
        )

    assert [validate(code, "ann") for code in ("A", "WELCOME10", "B")] == [False, True, False]
    shop.clock.move_to(shop.clock.now() + MINUTE)
    with pytest.raises(UnknownCoupon):
        redeem("C", "ann")
    with pytest.raises(TooManyGuesses, match="too many wrong codes were tried") as refused:
        validate("WELCOME10", "ann")
    # Until the first of the three is ten minutes old.
    assert (refused.value.status, refused.value.retry_after) == (429, 9 * 60)
    with pytest.raises(TooManyGuesses):
        redeem("WELCOME10", "ann")
    redeem("WELCOME10", "bob")
    # One network of IPv6 is one visitor; codes that are named beside another are tries too.
    assert validate("WELCOME10", visitor="2001:db8::1", others=("X", "Y", "WELCOME10"))
    assert not validate("Z", visitor="2001:db8::2", others=("X", "Y"))
    with pytest.raises(TooManyGuesses):
        validate("WELCOME10", visitor="2001:db8::3")
    assert validate("WELCOME10", visitor="2001:db8:0:1::3")
    with database.read() as connection:
        told = [one for one in ledger.latest(connection, Kind.ALERT, 10) if one.label == GUESSED]
    assert [(one.user_id, one.decode(dict)["per"]) for one in told] == [(None, "visitor"), ("ann", "user")]
    shop.clock.move_to(shop.clock.now() + 9 * MINUTE)
    assert validate("WELCOME10", "ann")
