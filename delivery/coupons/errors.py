"""Errors of the checkout.

DeliveryError
├── UnknownCoupon   there is no coupon of a code
├── UnknownUse      an order has nothing to do with a coupon
├── CouponRefused   a coupon is not good for an order; `reasons` says why
├── OrderConflict   an order said something else before, or its use was rolled back
├── CallReused      an idempotency key came back with another call
├── BasketUnsound   an order's amounts do not go together
├── NotVoidable     a coupon is used or over already
├── TooManyGuesses  too many wrong codes were tried (retry can help, after `retry_after` seconds)
├── CodeTaken       a code is another coupon's
├── ShareRefused    a code can't be shared: its offer, its times or its cost
└── StockRefused    codes can't be added: their offer, or rows that are named
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import ceil
from typing import Any

import msgspec

from delivery.coupons.discount import Refusal
from delivery.errors import DeliveryError

NO_COUPON = "there is no coupon of this code: check how it is written"


class UnknownCoupon(DeliveryError):
    status = 404
    code = "unknown-coupon"


class UnknownUse(DeliveryError):
    status = 404
    code = "unknown-use"


class CouponRefused(DeliveryError):
    status = 409
    code = "coupon-refused"

    def __init__(self, reasons: Sequence[Refusal]) -> None:
        super().__init__("; ".join(f"{one.reason.value}: {one.detail}" for one in reasons))
        self.reasons = reasons

    @property
    def members(self) -> Mapping[str, Any]:
        return {"reasons": msgspec.to_builtins(self.reasons)}


class OrderConflict(DeliveryError):
    status = 409
    code = "order-conflict"


class CallReused(DeliveryError):
    status = 409
    code = "idempotency-key-reused"


class BasketUnsound(DeliveryError):
    status = 422
    code = "basket-unsound"


class NotVoidable(DeliveryError):
    status = 409
    code = "not-voidable"


class TooManyGuesses(DeliveryError):
    status = 429
    code = "too-many-guesses"
    retry = True

    def __init__(self, until: datetime, now: datetime) -> None:
        seconds = ceil((until - now).total_seconds())
        super().__init__(
            f"too many wrong codes were tried; no code is looked at for {seconds} s: check how it is written"
        )
        self.retry_after = seconds


class CodeTaken(DeliveryError):
    status = 409
    code = "code-taken"


class ShareRefused(DeliveryError):
    status = 422
    code = "share-refused"


class StockRefused(DeliveryError):
    status = 422
    code = "stock-refused"
