"""The wallet: issues coupons, counts them as used, lets them expire; each exactly once."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, tzinfo
from functools import partial

from sqlalchemy import Connection

from delivery import coupon_repository as repository
from delivery.errors import OfferOver
from delivery.gate import CouponLimits, NoLimits
from delivery.models import Coupon, CouponFact, Enrolment, Report
from playbooks.offers import Offer, ends, terms_of, worth_of
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ledger import Kind, NewFact
from storage.pace import Pace
from storage.writer import TURN_ROWS

# Digits and letters that nobody mistakes for one another (Crockford's base 32), 16 of them: 80 random bits.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 16


def new_code() -> str:
    """Return a code that can't be guessed."""
    bits = secrets.randbits(5 * _LENGTH)
    return "".join(_ALPHABET[bits >> 5 * place & 31] for place in range(_LENGTH))


def coupon(effect_key: str, enrolment: Enrolment, offer: Offer, at: datetime, zone: tzinfo) -> Coupon:
    """Return a fresh coupon of an enrolment's offer, good from `at` until the offer's validity ends.

    Args:
        zone: the user's own, in which a day ends.

    Raises:
        OfferOver: the offer ended at a fixed moment that is past.
    """
    if offer.validity.over(at):
        raise OfferOver(f"the offer {offer.id!r} ended at {offer.validity.until}; no coupon of it was issued")
    return Coupon(
        id=effect_key,
        code=new_code(),
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
    """The coupons of all users. `issue` and `mark_used` work in the caller's transaction."""

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
        self._expiring = Pace(batch)

    def issue(self, connection: Connection, new: Sequence[Coupon], now: datetime) -> int:
        """Put new coupons into their users' wallets; return how many."""
        repository.add_coupons(connection, new)
        ledger.append(connection, [coupon_fact(one, "issued", one.issued_at) for one in new], now)
        return len(new)

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
        repository.close_coupons(connection, used, "used")
        self.limits.ended(connection, [one.decision_id for one in used])
        ledger.append(connection, [coupon_fact(one, "used", uses[one.enrolment_id]) for one in used], now)
        return len(used)

    def expire_due(self) -> Report:
        """Let all open coupons expire whose time is over at the present moment."""
        total = Report()
        more = True
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
        repository.close_coupons(connection, due, "expired")
        self.limits.ended(connection, [one.decision_id for one in due])
        ledger.append(connection, [coupon_fact(one, "expired", one.expires_at) for one in due], now)
        return len(due), len(due)


def coupon_fact(one: Coupon, label: str, at: datetime) -> NewFact:
    """Return the fact of what became of a coupon at a moment."""
    body = CouponFact(one.decision_id, one.enrolment_id, one.offer, one.liability, one.terms.currency)
    return NewFact(Kind.COUPON, f"{one.id}:{label}", label, one.user_id, at, body)
