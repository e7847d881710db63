"""What holds between a coupon and one order: whether it is over, what is taken, what a repeat says; pure."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from delivery.coupons.answers import Used, used
from delivery.coupons.asking import Asked
from delivery.coupons.discount import Reason, Refusal, discount_of
from delivery.coupons.errors import OrderConflict
from delivery.coupons.models import Coupon, Standing, State, Use
from playbooks.money import shown
from storage.ids import new_id


def over(coupon: Coupon, state: State, now: datetime) -> list[Refusal]:
    """Return why a coupon is good for nobody at this moment, but for how often it was used."""
    if state is State.VOID:
        return [Refusal(Reason.VOID, "the coupon was taken back")]
    if state is State.EXPIRED or now >= coupon.expires_at:
        return [Refusal(Reason.EXPIRED, f"the coupon was good until {coupon.expires_at.isoformat()}")]
    if now < coupon.issued_at:
        return [Refusal(Reason.NOT_YET_VALID, f"the coupon is good from {coupon.issued_at.isoformat()} on")]
    # An order event that reaches a run's goal only suggests that its coupon was used; the shop knows.
    if state is State.USED and not coupon.enrolment_id:
        return [Refusal(Reason.USED_UP, "the coupon is used")]
    return []


def taken(
    asked: Asked, coupon: Coupon, before: Use | None, user_id: str, now: datetime, until: datetime | None
) -> Use:
    standing = Standing.REDEEMED if until is None else Standing.RESERVED
    if asked.basket is None:
        assert before is not None  # noqa: S101 - redeemed as it was reserved
        return replace(before, standing=standing, at=now, until=until, revision=before.revision + 1)
    discount = discount_of(coupon.terms, asked.basket)
    return Use(
        before.id if before else new_id(now),
        coupon.id,
        asked.order_id,
        user_id,
        standing,
        now,
        until,
        asked.basket.mark,
        asked.basket.total,
        discount.amount,
        asked.basket.currency,
        before.revision + 1 if before else 1,
    )


def repeat(coupon: Coupon, use: Use, asked: Asked) -> Used | Exception:
    """Answer what was said before, if the same was said."""
    if asked.basket is None or asked.basket.mark == use.basket:
        return used(coupon, use)
    before, now = shown(use.total, use.currency), shown(asked.basket.total, asked.basket.currency)
    what = f"a total of {now}, not {before}" if before != now else f"other items or shipping for {now}"
    return OrderConflict(
        f"the order {use.order_id!r} {use.standing.value} this coupon at {use.at.isoformat()} and now says "
        f"{what}; nothing was changed: roll it back first if it is another order by now"
    )


def through(use: Use) -> OrderConflict:
    return OrderConflict(
        f"the order {use.order_id!r} redeemed this coupon and rolled it back at {use.at.isoformat()}, "
        "which is the end of it: a new order needs an id of its own"
    )


def by_whom(asked: Asked, use: Use | None) -> Asked:
    """Return a call with the user that the order named before, if it names none now."""
    return asked if asked.user_id or use is None else replace(asked, user_id=use.user_id)
