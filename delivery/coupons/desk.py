"""What people do with coupons at a desk: look at them, take them back."""

from __future__ import annotations

from sqlalchemy import Connection

from audiences.identity.people import EveryoneAlone, People
from delivery.coupons import repository, use_repository
from delivery.coupons.answers import CouponShown, shown
from delivery.coupons.errors import NO_COUPON, NotVoidable, UnknownCoupon
from delivery.coupons.models import State
from delivery.coupons.wallet import Wallet, change_fact
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.writer import Lane

_LISTED = 100


class Desk:
    """The coupons of one service. Thread-safe."""

    def __init__(
        self, database: Database, clock: Clock, wallet: Wallet, people: People | None = None
    ) -> None:
        """`people`: who is one person."""
        self._database, self._clock, self._wallet = database, clock, wallet
        self._people = people or EveryoneAlone()

    def void(self, code: str, *, by: str) -> CouponShown:
        """Let an open coupon be good for nothing any more; what was reserved of it is given back.

        Raises:
            UnknownCoupon: there is none of this code.
            NotVoidable: it is used or over.
        """

        def work(connection: Connection) -> str | None:
            found = repository.find(connection, code, lock=True)
            if found is None or found[1] is State.VOID:
                return None
            coupon, state = found
            if state is not State.ISSUED:
                return f"the coupon is {state.value} already; only an open one can be made void"
            now = self._clock.now()
            self._wallet.void(connection, [coupon], now)
            ledger.append(connection, [change_fact(coupon, "voided", by, now)], now)
            return None

        if (why := self._database.write(work, lane=Lane.REQUEST)) is not None:
            raise NotVoidable(why)
        return self.show(code)

    def show(self, code: str) -> CouponShown:
        """Return a coupon, where it stands, and what orders did with it lately.

        Raises:
            UnknownCoupon: there is none of this code.
        """
        now = self._clock.now()
        with self._database.read() as connection:
            found = repository.find(connection, code)
            if found is None:
                raise UnknownCoupon(NO_COUPON)
            uses = use_repository.of_coupons(connection, [found[0].id], _LISTED)
        return shown(*found, uses.get(found[0].id, ()), now)

    def of_user(self, user_id: str) -> list[CouponShown]:
        """Return the coupons of a person, oldest first."""
        now = self._clock.now()
        with self._database.read() as connection:
            mine = [
                one
                for profile in self._people.members(user_id)
                for one in repository.coupons_of_user(connection, profile)
            ]
            uses = use_repository.of_coupons(connection, [one.id for one, _ in mine], _LISTED)
        mine.sort(key=lambda pair: (pair[0].issued_at, pair[0].id))
        return [shown(one, State(state), uses.get(one.id, ()), now) for one, state in mine]
