"""The terms of an offer as a coupon carries them and a backend reads them: plain values, minor units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from playbooks.money import Money
from playbooks.offers.documents import Offer, Stacking
from playbooks.offers.worth import currency_of


class Terms(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a coupon takes off or gives, and under which conditions.

    `value`, `ceiling` and `minimum_spend` are minor units of `currency`, `percent` is in (0, 100]. Without
    `products` and `categories` it is good for everything. It may be used together with coupons of the groups
    `stacks_with` that name its `stacking_group`, otherwise alone. `validity` is how long it is good once
    issued, as in the offer. Of the offer's coupons one user may redeem `per_user`, all users `in_all`;
    0 is without limit.
    """

    kind: str = "content_only"
    currency: str = ""
    value: int = 0
    percent: float = 0.0
    ceiling: int = 0
    item: str = ""
    points: int = 0
    minimum_spend: int = 0
    products: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    stacking_group: str = ""
    stacks_with: tuple[str, ...] = ()
    validity: Mapping[str, Any] = {}
    per_user: int = 0
    in_all: int = 0


def terms_of(offer: Offer) -> Terms:
    """Return the terms of an offer."""
    stacking = offer.stacking if isinstance(offer.stacking, Stacking) else None
    return Terms(
        kind=offer.kind,
        currency=currency_of(offer) or "",
        value=_amount(offer.value),
        percent=offer.percent or 0.0,
        ceiling=_amount(offer.ceiling),
        item=offer.item or "",
        points=offer.points or 0,
        minimum_spend=_amount(offer.minimum_spend),
        products=tuple(offer.scope.products),
        categories=tuple(offer.scope.categories),
        stacking_group=stacking.group if stacking else "",
        stacks_with=tuple(stacking.with_) if stacking else (),
        validity=offer.validity.model_dump(mode="json", exclude_none=True),
        per_user=offer.redemptions.per_user or 0,
        in_all=offer.redemptions.in_all or 0,
    )


def combine(one: Terms, other: Terms) -> bool:
    """Say whether two coupons may be used together: each names the other's group."""
    return one.stacking_group in other.stacks_with and other.stacking_group in one.stacks_with


def _amount(money: Money | None) -> int:
    return 0 if money is None else money.amount
