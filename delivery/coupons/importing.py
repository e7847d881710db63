"""Importing coupons that were issued elsewhere: they keep their codes, owners and ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection

from audiences import repository as users
from audiences.errors import RowRefused
from audiences.importing.port import choice, moment, text
from delivery.coupons import import_repository as repository
from delivery.coupons.models import Coupon
from delivery.coupons.stock_repository import are_known
from delivery.coupons.wallet import coupon_fact
from playbooks.offers import Offer, terms_of, worth_of
from storage import ledger
from storage.ids import new_id

IMPORTED = "imported"
_IN_STOCK = "`code`: this code is in a stock of codes; it was left there"
_MAX_CODE = 32


class ImportedCoupon(msgspec.Struct, frozen=True):
    """A coupon and the state it is in: issued, used or expired."""

    coupon: Coupon
    state: str


class CouponImporter:
    """Rows of coupons."""

    columns = ("code", "user_id", "offer", "issued_at", "expires_at", "state")

    def __init__(self, offers: Mapping[str, Offer]) -> None:
        """Import coupons of these offers; others could not be honoured.

        A coupon is good under the terms that its offer has now: those of the time of its issue are not known.
        """
        self._offers = offers
        self._terms = {name: (terms_of(offer), worth_of(offer).liability) for name, offer in offers.items()}

    def read(self, values: Mapping[str, Any], now: datetime) -> ImportedCoupon:
        offer = text(values, "offer", most=64)
        if offer not in self._offers:
            raise RowRefused(f"`offer`: there is no offer {offer!r} in offers.yaml: add it first")
        issued_at = moment(values, "issued_at", until=now)
        expires_at = moment(values, "expires_at")
        if expires_at <= issued_at:
            raise RowRefused("`expires_at` must be later than `issued_at`")
        state = choice(values, "state", ("issued", "used", "expired"), "issued")
        if state == "issued" and expires_at <= now:
            state = "expired"
        code = text(values, "code", most=_MAX_CODE)
        # Neither an enrolment nor a decision stands behind it.
        terms, liability = self._terms[offer]
        user = text(values, "user_id")
        one = Coupon(new_id(issued_at), code, user, "", "", offer, issued_at, expires_at, terms, liability)
        return ImportedCoupon(one, state)

    def size(self, row: ImportedCoupon) -> int:
        return 3

    def record(
        self, connection: Connection, rows: Sequence[ImportedCoupon], now: datetime
    ) -> Sequence[bool | str]:
        first = {one.coupon.code: one for one in reversed(rows)}
        stock = are_known(connection, list(first))
        fresh = [(one.coupon, one.state) for code, one in first.items() if code not in stock]
        added = repository.add(connection, fresh)
        kept = repository.of_codes(connection, list(first))
        facts = [
            coupon_fact(one.coupon, IMPORTED, one.coupon.issued_at)
            for one in first.values()
            if one.coupon.code in added
        ]
        ledger.append(connection, facts, now)
        users.add_users(
            connection,
            [
                (one.coupon.user_id, one.coupon.issued_at)
                for one in first.values()
                if one.coupon.code in added
            ],
        )
        return [
            _IN_STOCK
            if one.coupon.code in stock
            else self._outcome(one, one is first[one.coupon.code], added, kept)
            for one in rows
        ]

    def recorded(self, rows: Sequence[ImportedCoupon]) -> None:
        pass

    @staticmethod
    def _outcome(
        one: ImportedCoupon, is_first: bool, added: set[str], kept: Mapping[str, Coupon]
    ) -> bool | str:
        if is_first and one.coupon.code in added:
            return True
        other = kept[one.coupon.code]
        if (other.user_id, other.offer) == (one.coupon.user_id, one.coupon.offer):
            return False
        return "`code`: a coupon with this code is there already, of another user or offer; it was kept"
