"""What a coupon takes off an order, and why it may not; pure.

Amounts are whole minor units. A percentage is rounded half up to a whole minor unit, after which the ceiling
and what is in scope bound it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from hashlib import blake2b

import msgspec

from playbooks.money import shown
from playbooks.offers import Terms, combine

# Percentages have two decimals.
_WHOLE = 100 * 100
_NAMED = 3


class Reason(StrEnum):
    """Why a coupon is refused."""

    UNKNOWN = "unknown"
    VOID = "void"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    OTHER_USER = "other_user"
    USER_NEEDED = "user_needed"
    WRONG_CURRENCY = "wrong_currency"
    BELOW_MINIMUM_SPEND = "below_minimum_spend"
    OUT_OF_SCOPE = "out_of_scope"
    NOT_STACKABLE = "not_stackable"
    USED_UP = "used_up"


class Refusal(msgspec.Struct, frozen=True):
    """A reason and what it means for this coupon and order."""

    reason: Reason
    detail: str


class Item(msgspec.Struct, frozen=True):
    """A line of an order; `value` is what all of it costs, in minor units."""

    value: int
    product: str = ""
    category: str = ""


class Basket(msgspec.Struct, frozen=True):
    """An order before the coupon: `total` of the goods, `shipping` beside it; minor units."""

    total: int
    currency: str
    shipping: int = 0
    items: tuple[Item, ...] = ()

    @property
    def mark(self) -> str:
        """What tells this order's contents from another's."""
        return blake2b(msgspec.json.encode(self), digest_size=16).hexdigest()


class Discount(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a coupon is worth to an order: `amount` off its price, in minor units, or a gift, or points."""

    amount: int
    currency: str
    item: str = ""
    points: int = 0


def discount_of(terms: Terms, basket: Basket) -> Discount:
    """Return what a coupon of these terms takes off an order that it is good for.

    Never more than the goods in its scope cost, and never more than the total; free shipping takes off
    just the shipping. A gift or points take nothing off the price.

    >>> discount_of(Terms(kind="percentage", percent=12.5, ceiling=1500), Basket(4_500, "EUR"))
    Discount(amount=563, currency='EUR')
    """
    base = _in_scope(terms, basket)
    amount = 0
    match terms.kind:
        case "fixed_amount":
            amount = min(terms.value, base)
        case "percentage":
            amount = min(_share(base, terms.percent), terms.ceiling, base)
        case "free_shipping":
            amount = basket.shipping
    return Discount(amount, basket.currency, terms.item, terms.points)


def misfits(terms: Terms, basket: Basket) -> list[Refusal]:
    """Return why an order is not one that a coupon of these terms is good for."""
    if terms.currency and terms.currency != basket.currency:
        detail = f"the coupon is of {terms.currency}, the order of {basket.currency}"
        return [Refusal(Reason.WRONG_CURRENCY, detail)]
    found: list[Refusal] = []
    if basket.total < terms.minimum_spend:
        least, has = shown(terms.minimum_spend, terms.currency), shown(basket.total, basket.currency)
        found.append(Refusal(Reason.BELOW_MINIMUM_SPEND, f"the order must come to {least}, not {has}"))
    if (terms.products or terms.categories) and not any(_covers(terms, one) for one in basket.items):
        good_for = _listed("products", terms.products) + _listed("categories", terms.categories)
        what = "no item of the order is" if basket.items else "the order names no `items`, so none is"
        found.append(
            Refusal(Reason.OUT_OF_SCOPE, f"{what} what the coupon is good for: {'; '.join(good_for)}")
        )
    return found


def not_stackable(terms: Terms, others: Iterable[Terms]) -> list[Refusal]:
    """Return why a coupon can't be used beside the others of an order."""
    if all(combine(terms, one) for one in others):
        return []
    with_ = ", ".join(terms.stacks_with)
    alone = f"beside coupons of {with_} that name its own group" if with_ else "alone"
    return [Refusal(Reason.NOT_STACKABLE, f"the order has another coupon already; this one is used {alone}")]


def _in_scope(terms: Terms, basket: Basket) -> int:
    if not (terms.products or terms.categories):
        return basket.total
    return min(basket.total, sum(one.value for one in basket.items if _covers(terms, one)))


def _covers(terms: Terms, item: Item) -> bool:
    return item.product in terms.products or item.category in terms.categories


def _share(base: int, percent: float) -> int:
    return (2 * base * round(percent * 100) + _WHOLE) // (2 * _WHOLE)


def _listed(what: str, names: Sequence[str]) -> list[str]:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return [f"{what} {', '.join(names[:_NAMED])}{more}"] if names else []
