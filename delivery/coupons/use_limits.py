"""How often coupons may be used: each by itself, by one user, and by all, counted by the counters module.

What is counted is an order's use of a coupon; a reservation counts until it runs out. Checking and taking is
one step of the caller's transaction, so there is never one over.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from delivery.coupons.discount import Reason, Refusal
from delivery.coupons.models import Coupon, Use
from playbooks.constraints.counting import UseLimit
from playbooks.counters import PASSING, Budget, Counters, Spend, Wanted
from playbooks.errors import CountersUnreachable

_COUPON, _OFFER, _USER = "coupon_uses.", "offer_redemptions.", "user_redemptions."
_RULES = (_COUPON, _OFFER, _USER)
# Uses by one user count for good.
_EVER = timedelta(days=100 * 365)


class UseLimits:
    """The limits of coupons over one service's counters."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def take(
        self,
        connection: Connection,
        coupon: Coupon,
        use: Use,
        now: datetime,
    ) -> Refusal | None:
        """Take one use of a coupon, as it is to stand; what the use held before is replaced.

        Raises:
            CountersUnreachable: nothing can be said now.
        """
        limits, spends = _user_limits(coupon, use.user_id), _spends(coupon)
        if not limits and not spends:
            return None
        again, for_good = use.revision > 1, use.until is None
        wanted = Wanted(use.id, use.user_id, limits, spends, again=again, for_good=for_good, until=use.until)
        full = self._counters.reserve(wanted, now, connection).keep(connection)
        if full in PASSING:
            raise CountersUnreachable(
                f"nobody can say at the moment whether a use is left ({full}): try again"
            )
        return None if full is None else _used_up(coupon, full)

    def full(self, coupon: Coupon, user_id: str, now: datetime) -> Refusal | None:
        """Return what would refuse a use at this moment; takes nothing.

        Raises:
            CountersUnreachable: nothing can be said now.
        """
        spends = _spends(coupon)
        levels = self._counters.levels([one.budget for one in spends], now)
        for one in spends:
            if levels[one.budget.key] + one.amount > one.budget.limit:
                return _used_up(coupon, one.budget.rule)
        for limit in _user_limits(coupon, user_id):
            uses = self._counters.read(user_id, now, since=now - limit.window)
            if len(uses.get(limit.counter, ())) >= limit.limit:
                return _used_up(coupon, limit.rule)
        return None

    def give_back(self, connection: Connection, use_id: str) -> None:
        """Give a use back, whether it was reserved or for good."""
        self._counters.settle(connection, [use_id], _RULES)


def _spends(coupon: Coupon) -> list[Spend]:
    found = []
    if coupon.uses:
        found.append(Spend(Budget(f"{_COUPON}{coupon.id}", "all", coupon.uses), 1))
    if coupon.terms.in_all:
        found.append(Spend(Budget(f"{_OFFER}{coupon.offer}", "all", coupon.terms.in_all), 1))
    return found


def _user_limits(coupon: Coupon, user_id: str) -> Sequence[UseLimit]:
    if not (coupon.terms.per_user and user_id):
        return ()
    return [UseLimit(f"{_USER}{coupon.offer}", coupon.terms.per_user, _EVER)]


def _used_up(coupon: Coupon, rule: str) -> Refusal:
    offer, terms = coupon.offer, coupon.terms
    if rule.startswith(_USER):
        detail = f"the user has redeemed {terms.per_user} of the offer {offer!r}, the most for one user"
    elif rule.startswith(_OFFER):
        detail = f"all {terms.in_all} redemptions of the offer {offer!r} are taken"
    else:
        detail = "the coupon is used" if coupon.uses == 1 else f"all {coupon.uses} uses of the code are taken"
    return Refusal(Reason.USED_UP, detail)
