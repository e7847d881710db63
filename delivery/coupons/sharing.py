"""Codes that many know: one coupon of an offer, which belongs to nobody and may be used by many orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec
from sqlalchemy import Connection

from delivery.coupons import repository, stock_repository
from delivery.coupons.errors import CodeTaken, ShareRefused
from delivery.coupons.models import Coupon
from delivery.coupons.wallet import change_fact, coupon_fact
from playbooks.money import Money
from playbooks.offers import Offer, ends, terms_of, worth_of
from playbooks.suggesting import closest
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ids import new_id
from storage.writer import Lane


class Shared(msgspec.Struct, frozen=True):
    """A code to be shared; `uses` None: as many as the offer allows.

    Without times it is good from now on, as long as the offer says.
    """

    code: str
    offer: str
    uses: int | None = None
    good_from: datetime | None = None
    until: datetime | None = None


class Sharing:
    """Makes shared codes in one database. Thread-safe."""

    def __init__(
        self, database: Database, clock: Clock, offers: Callable[[Connection], Mapping[str, Offer]]
    ) -> None:
        """`offers`: those of the library by id."""
        self._database, self._clock, self._offers = database, clock, offers

    def share(self, wish: Shared, *, by: str) -> str:
        """Make a code; the same again changes nothing. Returns the code, which is kept in capitals.

        Raises:
            ShareRefused: there is no such offer, it costs too much, or the times make no sense.
            CodeTaken: the code is another coupon's.
        """
        now = self._clock.now()
        with self._database.read() as connection:
            offers = self._offers(connection)
        offer = offers.get(wish.offer)
        if offer is None:
            raise ShareRefused(
                f"there is no offer {wish.offer!r} in the library{closest(wish.offer, offers)}"
            )
        _affordable(offer, wish.uses)
        begins = wish.good_from or now
        over = wish.until or ends(offer.validity, begins, UTC)
        if over <= max(begins, now):
            raise ShareRefused(
                f"the code would be good until {over.isoformat()}, which is over before it began"
            )
        new = Coupon(
            new_id(now),
            wish.code.upper(),
            "",
            "",
            "",
            offer.id,
            begins.astimezone(UTC),
            over.astimezone(UTC),
            terms_of(offer),
            worth_of(offer).liability,
            wish.uses or 0,
        )
        if not self._database.write(lambda c: self._add(c, new, wish, by, now), lane=Lane.REQUEST):
            raise CodeTaken(
                f"the code {new.code!r} is another coupon's already, or in a stock: take another code"
            )
        return new.code

    @staticmethod
    def _add(connection: Connection, new: Coupon, wish: Shared, by: str, now: datetime) -> bool:
        found = repository.find(connection, new.code, lock=True)
        if found is not None:
            return _same(found[0], new, wish)
        if stock_repository.are_known(connection, [new.code]):
            return False
        repository.add_coupons(connection, [new])
        facts = [coupon_fact(new, "issued", now), change_fact(new, "shared", by, now)]
        ledger.append(connection, facts, now)
        return True


def _same(one: Coupon, new: Coupon, wish: Shared) -> bool:
    """Whether a coupon is what is wished for; times that were not said may be any."""
    times = (wish.good_from is None or one.issued_at == new.issued_at) and (
        wish.until is None or one.expires_at == new.expires_at
    )
    return times and (one.offer, one.uses, one.user_id) == (new.offer, new.uses, "")


def _affordable(offer: Offer, uses: int | None) -> None:
    """Refuse a code whose uses may cost more than all open coupons of its offer."""
    most, each = offer.maximum_liability, worth_of(offer)
    uses = uses or offer.redemptions.in_all
    if most is None:
        return
    if uses is None:
        raise ShareRefused(f"the offer {offer.id!r} has a maximum_liability of {most}: say how many `uses`")
    if each.liability * uses > most.amount:
        worst = Money(each.liability, most.currency)
        raise ShareRefused(
            f"{uses} uses of up to {worst} may cost more than the offer's maximum_liability of {most}: "
            f"at most {most.amount // each.liability} uses"
        )
