"""What the wallet holds: coupons, their uses by orders, and the facts that both leave."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from playbooks.offers import Terms


class State(StrEnum):
    """Where a coupon stands, as the wallet keeps it.

    `used`: all its uses are redeemed, or an order event said so. One of several uses stays `issued`.
    """

    ISSUED = "issued"
    USED = "used"
    EXPIRED = "expired"
    VOID = "void"


class Coupon(msgspec.Struct, frozen=True, gc=False):
    """An issued instance of an offer. `id` is the key of the effect that issued it.

    It is good in [issued_at, expires_at) under the `terms` that the offer had when it was issued. `liability`
    is what it may cost at worst, in minor units of the terms' currency. A shared one belongs to no `user_id`;
    `uses` is how many orders may use it, 0 for any number. `reopened` counts how often a roll-back made it
    good again.
    """

    id: str
    code: str
    user_id: str
    enrolment_id: str
    decision_id: str
    offer: str
    issued_at: datetime
    expires_at: datetime
    terms: Terms = Terms()
    liability: int = 0
    uses: int = 1
    reopened: int = 0


class Standing(StrEnum):
    """Where an order's use of a coupon stands.

    `released`: a reservation was given back or ran out; the order may take it again. `rolled_back`: what was
    redeemed was given back; for this order that is the end.
    """

    RESERVED = "reserved"
    REDEEMED = "redeemed"
    RELEASED = "released"
    ROLLED_BACK = "rolled_back"


class Use(msgspec.Struct, frozen=True, gc=False):
    """What one order does with one coupon. `revision` counts its changes, from 1.

    `total` and `discount` are minor units of `currency`; `basket` tells one order's contents from another's.
    `until` is when a reservation ends, `at` when it came to stand where it does.
    """

    id: str
    coupon_id: str
    order_id: str
    user_id: str
    standing: Standing
    at: datetime
    until: datetime | None
    basket: str
    total: int
    discount: int
    currency: str
    revision: int = 1

    def holds(self, now: datetime) -> bool:
        """Whether it takes one of the coupon's uses at a moment."""
        if self.standing is Standing.RESERVED:
            return self.until is not None and now < self.until
        return self.standing is Standing.REDEEMED


class CouponFact(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Body of the facts `issued`, `used`, `expired` and `voided`; the code stays in the wallet.

    `liability` is what the coupon may cost at worst, in minor units of `currency`.
    """

    decision: str
    enrolment: str
    offer: str
    liability: int = 0
    currency: str = ""


class UseFact(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Body of the facts `reserved`, `redeemed`, `released` and `rolled_back`.

    `total` of the order and `discount` of the coupon are minor units of `currency`.
    """

    decision: str
    enrolment: str
    offer: str
    coupon: str
    order: str
    total: int = 0
    discount: int = 0
    currency: str = ""
