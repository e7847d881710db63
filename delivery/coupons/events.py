"""Redemptions as events, so that goals, flows, features and tags may speak of them.

Amounts are in units of the currency, as in the other events about orders. The code stays in the wallet.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from audiences.events import Event
from delivery.coupons.models import Coupon, Use
from playbooks.money import units

REDEEMED, ROLLED_BACK = "coupon_redeemed", "coupon_rolled_back"
SOURCE = "checkout"


def redeemed_event(coupon: Coupon, use: Use, now: datetime) -> Event:
    """Return the event that a user redeemed a coupon."""
    return _event(REDEEMED, coupon, use, now)


def rolled_back_event(coupon: Coupon, use: Use, now: datetime) -> Event:
    """Return the event that an order which redeemed a coupon was rolled back."""
    return _event(ROLLED_BACK, coupon, use, now)


def _event(name: str, coupon: Coupon, use: Use, now: datetime) -> Event:
    properties: Mapping[str, Any] = {
        "order_id": use.order_id,
        "offer": coupon.offer,
        "value": units(use.total, use.currency),
        "discount": units(use.discount, use.currency),
        "currency": use.currency,
    }
    if coupon.decision_id:
        properties = {**properties, "decision_id": coupon.decision_id}
    return Event(
        event_id=f"{name}:{use.id}:{use.revision}",
        user_id=use.user_id,
        name=name,
        properties=properties,
        occurred_at=use.at,
        received_at=now,
        source=SOURCE,
    )
