"""What a shop says in a call."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from delivery.coupons.discount import Basket

# How long a reservation lasts unless the shop says otherwise, and the longest it may.
RESERVED_FOR = timedelta(minutes=30)
LONGEST = timedelta(hours=24)


class Asked(msgspec.Struct, frozen=True):
    """A shop's call about one coupon and one order.

    `basket` is the order before the coupon, `coupons` the codes of others that it has. `user_id` is whose
    order it is, '' where the shop does not know. A reservation lasts `lasting`.
    """

    code: str
    order_id: str = ""
    user_id: str = ""
    basket: Basket | None = None
    coupons: tuple[str, ...] = ()
    lasting: timedelta = RESERVED_FOR
