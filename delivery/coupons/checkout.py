"""What a shop asks at the checkout: is a coupon good for an order, reserve it, redeem it, give it back.

Each call is one transaction under a lock of its order and of its coupon. An order uses a coupon at most once,
whatever is repeated; a repeat that says something else is refused and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec.structs import replace
from sqlalchemy import Connection

from audiences.identity.people import EveryoneAlone, People
from audiences.intake.intake import Intake
from delivery import repository as enrolments
from delivery.coupons import repository, use_repository
from delivery.coupons.answers import Checked, Used, checked, refused, used
from delivery.coupons.asking import LONGEST, Asked
from delivery.coupons.calls import Calls
from delivery.coupons.discount import Reason, Refusal, misfits, not_stackable
from delivery.coupons.errors import NO_COUPON, CouponRefused, OrderConflict, UnknownCoupon, UnknownUse
from delivery.coupons.events import redeemed_event, rolled_back_event
from delivery.coupons.models import Coupon, Standing, State, Use
from delivery.coupons.ruling import by_whom, over, repeat, taken, through
from delivery.coupons.use_limits import UseLimits
from delivery.coupons.wallet import Wallet, use_fact
from playbooks.counters import Counters
from playbooks.offers import Terms
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.faultpoints import reached


class Checkout:
    """The checkout of one service. Thread-safe."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        wallet: Wallet,
        counters: Counters,
        intake: Intake,
        people: People | None = None,
    ) -> None:
        """Redeem coupons of a wallet.

        Args:
            counters: count uses; those that the wallet's limits count by.
            intake: takes in the events of redemptions.
            people: who is one person.
        """
        self._database, self._clock, self._wallet, self._intake = database, clock, wallet, intake
        self._people = people or EveryoneAlone()
        self._limits = UseLimits(counters)
        self._calls = Calls(database, clock)

    def validate(self, asked: Asked) -> Checked:
        """Say what a coupon is worth to an order, or everything that keeps it from being good for it.

        Takes nothing: by the time it is redeemed another may have used it.
        """
        now = self._clock.now()
        with self._database.read() as connection:
            found = repository.find(connection, asked.code)
            if found is None:
                return refused(asked.code, [Refusal(Reason.UNKNOWN, "there is no coupon of this code")])
            coupon, state = found
            use = use_repository.find(connection, coupon.id, asked.order_id) if asked.order_id else None
            mine = use is not None and use.holds(now)
            asked = by_whom(asked, use)
            reasons = [] if mine else over(coupon, state, now)
            reasons += self._against(connection, asked, coupon, now)
        if not mine and not any(one.reason is Reason.USED_UP for one in reasons):
            full = self._limits.full(coupon, self._whose(coupon, asked), now)
            reasons += [] if full is None else [full]
        assert asked.basket is not None  # noqa: S101 - the route asks for it
        return checked(coupon, asked.basket, reasons)

    def unknown(self, codes: Sequence[str]) -> int:
        """Return of how many codes there is no coupon."""
        if not codes:
            return 0
        with self._database.read() as connection:
            return sum(repository.find(connection, one) is None for one in codes)

    def reserve(self, asked: Asked, key: str | None = None) -> Used:
        """Hold one of a coupon's uses for an order, until the order is redeemed, rolled back or too late.

        Raises:
            UnknownCoupon: there is none of this code.
            CouponRefused: it is not good for the order.
            OrderConflict: the order said something else before, or is through with this coupon.
            CallReused: the key was used for another call.
            CountersUnreachable: nobody can say now whether a use is left.
        """
        return self._call("reserve", asked, key, self._reserve)

    def redeem(self, asked: Asked, key: str | None = None) -> Used:
        """Use a coupon for an order, once; without a basket, as the order reserved it.

        Raises: as `reserve`.
        """
        return self._call("redeem", asked, key, self._redeem)

    def roll_back(self, asked: Asked, key: str | None = None) -> Used:
        """Give back what an order reserved or redeemed, once.

        Raises:
            UnknownCoupon, UnknownUse: there is nothing to give back.
            CallReused: the key was used for another call.
        """
        return self._call("rollback", asked, key, self._roll_back)

    def _call(
        self, what: str, asked: Asked, key: str | None, work: Callable[[Connection, Asked], Used | Exception]
    ) -> Used:
        done = self._calls.once(key, (what, asked), lambda connection: work(connection, asked))
        # What was joined by a redemption's event is known from now on.
        self._intake.committed()
        return done

    def _reserve(self, connection: Connection, asked: Asked) -> Used | Exception:
        now = self._clock.now()
        found = self._found(connection, asked)
        if isinstance(found, Exception):
            return found
        coupon, state, use = found
        if use is not None and (use.holds(now) or use.standing is Standing.ROLLED_BACK):
            return repeat(coupon, use, asked) if use.holds(now) else through(use)
        until = now + min(asked.lasting, LONGEST)
        return self._take(connection, asked, (coupon, state, use), now, until)

    def _redeem(self, connection: Connection, asked: Asked) -> Used | Exception:
        now = self._clock.now()
        found = self._found(connection, asked)
        if isinstance(found, Exception):
            return found
        coupon, state, use = found
        if use is not None and use.standing is Standing.REDEEMED:
            return repeat(coupon, use, asked)
        if use is not None and use.standing is Standing.ROLLED_BACK:
            return through(use)
        if asked.basket is None and (use is None or not use.holds(now)):
            return OrderConflict(
                f"the order {asked.order_id!r} has no reservation of this coupon that still holds: send its "
                "`basket`, or reserve first"
            )
        return self._take(connection, asked, (coupon, state, use), now, None)

    def _take(
        self,
        connection: Connection,
        asked: Asked,
        found: tuple[Coupon, State, Use | None],
        now: datetime,
        until: datetime | None,
    ) -> Used | Exception:
        """Reserve a use until a moment, or redeem it."""
        coupon, state, use = found
        asked = by_whom(asked, use)
        held = use is not None and use.holds(now)
        reasons = [] if held else over(coupon, state, now)
        reasons += self._against(connection, asked, coupon, now)
        if reasons:
            return CouponRefused(reasons)
        user_id = self._whose(coupon, asked)
        new = taken(asked, coupon, use, user_id, now, until)
        full = self._limits.take(connection, coupon, new, now)
        if full is not None:
            return CouponRefused([full])
        self._keep(connection, coupon, new, now)
        reached("checkout.taken")
        if until is not None:
            repository.keep_open(connection, coupon.id, until)
            return used(coupon, new)
        if coupon.uses == 1 and state is State.ISSUED:
            self._wallet.close(connection, [(coupon, now)], State.USED, now)
        if user_id:
            self._intake.record(connection, self._intake.judge([redeemed_event(coupon, new, now)]))
        return used(coupon, new)

    def _roll_back(self, connection: Connection, asked: Asked) -> Used | Exception:
        now = self._clock.now()
        found = self._found(connection, asked)
        if isinstance(found, Exception):
            return found
        coupon, state, use = found
        if use is None:
            return UnknownUse(f"the order {asked.order_id!r} never reserved or redeemed this coupon")
        if use.standing in (Standing.RELEASED, Standing.ROLLED_BACK):
            return used(coupon, use)
        self._limits.give_back(connection, use.id)
        redeemed = use.standing is Standing.REDEEMED
        standing = Standing.ROLLED_BACK if redeemed else Standing.RELEASED
        new = replace(use, standing=standing, at=now, until=None, revision=use.revision + 1)
        self._keep(connection, coupon, new, now)
        if not redeemed:
            return used(coupon, new)
        if coupon.uses == 1 and state is State.USED:
            self._reopen(connection, coupon, now)
        if new.user_id:
            self._intake.record(connection, self._intake.judge([rolled_back_event(coupon, new, now)]))
        return used(coupon, new)

    def _reopen(self, connection: Connection, coupon: Coupon, now: datetime) -> None:
        """Make a coupon good again. One whose time is over expires at the next sweep, and nothing is owed."""
        repository.reopen(connection, coupon.id)
        if now >= coupon.expires_at or not coupon.enrolment_id:
            return
        run = enrolments.enrolments_of(connection, [coupon.enrolment_id]).get(coupon.enrolment_id)
        if run is not None:
            self._wallet.limits.reopened(connection, replace(run, decision_id=coupon.decision_id), now)

    def _found(self, connection: Connection, asked: Asked) -> tuple[Coupon, State, Use | None] | Exception:
        """Return a coupon, locked, and what the order did with it. The order is locked first, everywhere."""
        use_repository.lock_order(connection, asked.order_id)
        found = repository.find(connection, asked.code, lock=True)
        if found is None:
            return UnknownCoupon(NO_COUPON)
        return *found, use_repository.find(connection, found[0].id, asked.order_id)

    def _keep(self, connection: Connection, coupon: Coupon, use: Use, now: datetime) -> None:
        use_repository.keep(connection, use)
        ledger.append(connection, [use_fact(coupon, use)], now)

    def _against(self, connection: Connection, asked: Asked, coupon: Coupon, now: datetime) -> list[Refusal]:
        """Return what of the order speaks against a coupon."""
        reasons = self._not_theirs(coupon, asked.user_id)
        if asked.basket is not None:
            reasons += misfits(coupon.terms, asked.basket)
            reasons += not_stackable(coupon.terms, _others(connection, asked, coupon, now))
        return reasons

    def _not_theirs(self, coupon: Coupon, user_id: str) -> list[Refusal]:
        if coupon.user_id:
            mine = not user_id or self._people.canonical(user_id) == self._people.canonical(coupon.user_id)
            return [] if mine else [Refusal(Reason.OTHER_USER, "the coupon was issued to another user")]
        if coupon.terms.per_user and not user_id:
            return [Refusal(Reason.USER_NEEDED, "the code is limited per user: say whose order it is")]
        return []

    def _whose(self, coupon: Coupon, asked: Asked) -> str:
        return coupon.user_id or (self._people.canonical(asked.user_id) if asked.user_id else "")


def _others(connection: Connection, asked: Asked, coupon: Coupon, now: datetime) -> list[Terms]:
    """Return the terms of the other coupons of an order: those it names, and those it holds."""
    found = {}
    for code in asked.coupons:
        other = repository.find(connection, code)
        if other is not None:
            found[other[0].id] = other[0].terms
    if asked.order_id:
        ids = [one.coupon_id for one in use_repository.of_order(connection, asked.order_id) if one.holds(now)]
        if ids:
            found |= {one.id: one.terms for one in repository.coupons_of_ids(connection, ids)}
    found.pop(coupon.id, None)
    return list(found.values())
