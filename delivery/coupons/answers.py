"""What a shop is answered: a coupon checked, used and shown. Amounts are minor units."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from delivery.coupons.discount import Basket, Discount, Refusal, discount_of
from delivery.coupons.models import Coupon, Standing, State, Use
from playbooks.offers import Terms


class Checked(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether a coupon is good for an order: what it is worth to it, or everything that refuses it."""

    code: str
    valid: bool
    discount: Discount | None = None
    reasons: Sequence[Refusal] = ()
    offer: str = ""
    expires_at: datetime | None = None


class Used(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an order's use of a coupon stands; `until` is when a reservation ends."""

    id: str
    code: str
    offer: str
    order_id: str
    standing: str
    at: datetime
    discount: Discount
    total: int
    user_id: str = ""
    decision_id: str = ""
    until: datetime | None = None


class CouponShown(msgspec.Struct, frozen=True, omit_defaults=True):
    """A coupon and what orders did with it lately, newest first.

    `state` is issued, reserved, used, expired or void; one of several uses (`uses`, 0: any number) is issued
    until its time is over.
    """

    code: str
    state: str
    offer: str
    good_from: datetime
    expires_at: datetime
    terms: Terms
    user_id: str = ""
    decision_id: str = ""
    uses: int = 1
    orders: Sequence[Used] = ()


def refused(code: str, reasons: Sequence[Refusal]) -> Checked:
    """Return the answer about a code that says nothing of the coupon."""
    return Checked(code, valid=False, reasons=reasons)


def checked(coupon: Coupon, basket: Basket, reasons: Sequence[Refusal]) -> Checked:
    """Return the answer about a coupon that was looked at."""
    discount = None if reasons else discount_of(coupon.terms, basket)
    return Checked(coupon.code, not reasons, discount, reasons, coupon.offer, coupon.expires_at)


def used(coupon: Coupon, use: Use) -> Used:
    """Return the answer about an order's use."""
    discount = Discount(use.discount, use.currency, coupon.terms.item, coupon.terms.points)
    return Used(
        use.id,
        coupon.code,
        coupon.offer,
        use.order_id,
        use.standing.value,
        use.at,
        discount,
        use.total,
        use.user_id,
        coupon.decision_id,
        use.until,
    )


def shown(coupon: Coupon, state: State, uses: Sequence[Use], now: datetime) -> CouponShown:
    """Return a coupon as it stands at a moment."""
    return CouponShown(
        coupon.code,
        _standing(coupon, state, uses, now),
        coupon.offer,
        coupon.issued_at,
        coupon.expires_at,
        coupon.terms,
        coupon.user_id,
        coupon.decision_id,
        coupon.uses,
        [used(coupon, one) for one in uses],
    )


def _standing(coupon: Coupon, state: State, uses: Sequence[Use], now: datetime) -> str:
    if state is not State.ISSUED:
        return state.value
    if coupon.uses == 1 and any(one.standing is Standing.RESERVED and one.holds(now) for one in uses):
        return Standing.RESERVED.value
    return State.EXPIRED.value if now >= coupon.expires_at else state.value
