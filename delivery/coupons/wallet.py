"""The wallet: issues coupons, counts them as used, lets them and reservations end; each exactly once."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from functools import partial

from msgspec.structs import replace
from sqlalchemy import Connection

from delivery.coupons import call_repository, repository, stock_repository, use_repository
from delivery.coupons.models import Coupon, CouponFact, Standing, State, Use, UseFact
from delivery.errors import OfferOver
from delivery.gate import CouponLimits, NoLimits
from delivery.models import Enrolment, Report
from playbooks.offers import Offer, ends, terms_of, worth_of
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact
from storage.pace import Pace
from storage.writer import TURN_ROWS

# Digits and letters that nobody mistakes for one another (Crockford's base 32), 16 of them: 80 random bits.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 16
# Of changes of coupons by hand.
CHANGED = "coupon"
# For so long a repeated call under its key is answered as it was.
_CALLS_KEPT = timedelta(days=7)


def new_code() -> str:
    """Return a code that can't be guessed."""
    bits = secrets.randbits(5 * _LENGTH)
    return "".join(_ALPHABET[bits >> 5 * place & 31] for place in range(_LENGTH))


def coupon(
    effect_key: str, enrolment: Enrolment, offer: Offer, at: datetime, zone: tzinfo, code: str | None = None
) -> Coupon:
    """Return a fresh coupon of an enrolment's offer, good from `at` until the offer's validity ends.

    Args:
        zone: the user's own, in which a day ends.
        code: of a stock; without it one is made.

    Raises:
        OfferOver: the offer ended at a fixed moment that is past.
    """
    if offer.validity.over(at):
        raise OfferOver(f"the offer {offer.id!r} ended at {offer.validity.until}; no coupon of it was issued")
    return Coupon(
        id=effect_key,
        code=code or new_code(),
        user_id=enrolment.user_id,
        enrolment_id=enrolment.id,
        decision_id=enrolment.decision_id,
        offer=offer.id,
        issued_at=at,
        expires_at=ends(offer.validity, at, zone),
        terms=terms_of(offer),
        liability=worth_of(offer).liability,
    )


class Wallet:
    """The coupons of all users. `issue`, `mark_used` and `void` work in the caller's transaction."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        batch: int = TURN_ROWS,
        limits: CouponLimits | None = None,
    ) -> None:
        self.limits = limits or NoLimits()
        self._database = database
        self._clock = clock
        self._batch = batch
        self._expiring, self._lapsing = Pace(batch), Pace(batch)

    def line_up(
        self,
        connection: Connection,
        issuing: Sequence[Enrolment],
        uses: Mapping[str, datetime],
        now: datetime,
    ) -> None:
        """Lock what `mark_used` and runs that are about to issue deal with, in the order of all: coupons,
        then users and budgets. Who redeems has locked the coupon when what is owed for it is given back.
        """
        locks = connection.dialect.name == "postgresql"
        used = repository.open_coupons_of(connection, list(uses)) if uses and locks else []
        self.limits.line_up(connection, issuing, [one.decision_id for one in used], now)

    def issue(self, connection: Connection, new: Sequence[Coupon], now: datetime) -> int:
        """Put new coupons into their users' wallets; return how many."""
        repository.add_coupons(connection, new)
        ledger.append(connection, [coupon_fact(one, "issued", one.issued_at) for one in new], now)
        return len(new)

    def code(
        self, connection: Connection, offer: Offer, enrolment: Enrolment, coupon_id: str, now: datetime
    ) -> str | None:
        """Return the code for a new coupon: a new one, or one of the offer's stock, None when that is empty.

        Test users take nothing from a stock.
        """
        if offer.codes == "generated" or not self.limits.counts(connection, enrolment):
            return new_code()
        return stock_repository.draw(connection, offer.id, coupon_id, now)

    def mark_used(self, connection: Connection, uses: dict[str, datetime], now: datetime) -> int:
        """Count the open coupons of enrolments as used at the moments given by enrolment id.

        One that was used before, or had expired at that moment, stays as it is. Returns how many were marked.
        """
        if not uses:
            return 0
        used = [
            one
            for one in repository.open_coupons_of(connection, list(uses))
            if uses[one.enrolment_id] < one.expires_at
        ]
        self.close(connection, [(one, uses[one.enrolment_id]) for one in used], State.USED, now)
        return len(used)

    def void(self, connection: Connection, some: Sequence[Coupon], now: datetime) -> None:
        """Let open coupons, which the caller has locked, be good for nothing any more, reserved or not."""
        held = [(one, use) for one in some for use in use_repository.reserved_of(connection, one.id)]
        # Uses before what is owed, as whoever redeems does.
        self._release(connection, held, now)
        self.close(connection, [(one, now) for one in some], State.VOID, now)

    def close(
        self, connection: Connection, some: Sequence[tuple[Coupon, datetime]], state: State, now: datetime
    ) -> None:
        """Close coupons, each at its moment: nothing is owed for them any more."""
        repository.close_coupons(connection, [one for one, _ in some], state)
        self.limits.ended(connection, [one.decision_id for one, _ in some if one.decision_id])
        label = _LABELS[state]
        ledger.append(connection, [coupon_fact(one, label, at) for one, at in some], now)

    def lapse_due(self) -> int:
        """Give back the uses of all reservations that have run out; forget old calls. Returns how many."""
        now = self._clock.now()
        more = use_repository.anything_due(self._database, now) or call_repository.anything_before(
            self._database, now - _CALLS_KEPT
        )
        total = 0
        while more:
            more, lapsed = self._database.write(self._lapse, rows=self._batch)
            total += lapsed
        return total

    def expire_due(self) -> Report:
        """Let all reservations and open coupons end whose time is over at the present moment."""
        self.lapse_due()
        total = Report()
        more = repository.anything_expires(self._database, self._clock.now())
        while more:
            more, expired = self._database.write(self._expire, rows=self._batch)
            total += Report(expired=expired)
        return total

    def of_user(self, user_id: str) -> list[tuple[Coupon, str]]:
        """Return a user's coupons, oldest first, each with its state: issued, used, expired or void."""
        with self._database.read() as connection:
            return repository.coupons_of_user(connection, user_id)

    def _expire(self, connection: Connection) -> tuple[bool, int]:
        return self._expiring.turn(connection, partial(self._expire_some, connection))

    def _expire_some(self, connection: Connection, limit: int) -> tuple[int, int]:
        now = self._clock.now()
        due = repository.claim_expiring(connection, now, limit)
        self.close(connection, [(one, one.expires_at) for one in due], State.EXPIRED, now)
        return len(due), len(due)

    def _lapse(self, connection: Connection) -> tuple[bool, int]:
        return self._lapsing.turn(connection, partial(self._lapse_some, connection))

    def _lapse_some(self, connection: Connection, limit: int) -> tuple[int, int]:
        now = self._clock.now()
        call_repository.forget(connection, now - _CALLS_KEPT, limit)
        due = use_repository.due(connection, now, limit)
        # The coupon before its uses, as whoever redeems does.
        locked = repository.lock_coupons(connection, sorted({one.coupon_id for one in due}))
        mine = [one.id for one in due if one.coupon_id in locked]
        over = [(locked[one.coupon_id], one) for one in use_repository.still_due(connection, mine, now)]
        self._release(connection, over, now)
        return len(mine), len(over)

    def _release(self, connection: Connection, held: Sequence[tuple[Coupon, Use]], now: datetime) -> None:
        # All at once: what they give back is locked in one order.
        self.limits.released(connection, [use.id for _, use in held])
        for coupon, one in held:
            at = now if one.until is None else min(now, one.until)
            released = replace(one, standing=Standing.RELEASED, at=at, until=None, revision=one.revision + 1)
            use_repository.keep(connection, released)
            ledger.append(connection, [use_fact(coupon, released)], now)


_LABELS = {State.USED: "used", State.EXPIRED: "expired", State.VOID: "voided"}


def coupon_fact(one: Coupon, label: str, at: datetime) -> NewFact:
    """Return the fact of what became of a coupon at a moment."""
    body = CouponFact(one.decision_id, one.enrolment_id, one.offer, one.liability, one.terms.currency)
    # What a roll-back made good again can be used again.
    again = f".{one.reopened}" if one.reopened else ""
    return NewFact(Kind.COUPON, f"{one.id}:{label}{again}", label, one.user_id or None, at, body)


def change_fact(one: Coupon, did: str, by: str, now: datetime) -> NewFact:
    """Return the entry of the optimisation log that somebody did something to a coupon."""
    body = {"coupon": one.id, "offer": one.offer, "did": did, "by": by}
    return NewFact(Kind.CHANGE, new_id(now), CHANGED, None, now, body)


def use_fact(coupon: Coupon, use: Use) -> NewFact:
    """Return the fact of how an order's use of a coupon stands."""
    body = UseFact(
        coupon.decision_id,
        coupon.enrolment_id,
        coupon.offer,
        coupon.id,
        use.order_id,
        use.total,
        use.discount,
        use.currency,
    )
    label = use.standing.value
    return NewFact(Kind.COUPON, f"{use.id}:{use.revision}", label, use.user_id or None, use.at, body)
