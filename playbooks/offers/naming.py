"""How offers are called that are made of another by giving it a value."""

from __future__ import annotations

from playbooks.money import Money


def offer_id(offer: str, value: Money) -> str:
    """Return the id of the offer of a value: `coupon` of 5.00 EUR is `coupon_5_00`.

    >>> offer_id("coupon", Money(500, "EUR"))
    'coupon_5_00'
    """
    return f"{offer}_{value_name(value)}"


def value_name(value: Money) -> str:
    """Return a value as it stands in names: 5.00 EUR as `5_00`, 500 JPY as `500`."""
    return str(value).partition(" ")[0].replace(".", "_")
