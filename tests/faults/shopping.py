"""A shop's checkout: orders that reserve, redeem and give back the uses of codes that many may use."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

import httpx2

from tests.faults.journal import Journal

# Many more orders ask for a code than may use it.
USES = 25
ORDERS_A_CODE = 60
OFFER = "apples"
BASKET = {"total": "30.00 EUR"}
# What a refusal is noted as: all uses are taken, or something else.
FULL, OVER = "full", "over"
_CONFLICT = httpx2.codes.CONFLICT
_NEW = 201


class Share:
    """A code for many is made; that it is there already is an answer."""

    def __init__(self, shop: Shop, code: str) -> None:
        self._shop, self._code = shop, code

    def send(self, http: httpx2.Client) -> httpx2.Response:
        body = {"code": self._code, "offer": OFFER, "uses": USES}
        response = http.post("/v1/coupons", json=body)
        there = response.status_code == _NEW or ":code-taken" in response.text
        return httpx2.Response(200, json={}) if there else response

    def answered(self, answer: Any) -> None:
        self._shop.code = self._code


class Call:
    """One order reserves, redeems or gives back a use; that none is left is an answer too."""

    def __init__(self, journal: Journal, what: str, code: str, order: str, user: str) -> None:
        self._journal, self._what, self._code, self._order = journal, what, code, order
        self._body: dict[str, Any] = {"order_id": order}
        if what != "rollback":
            self._body |= {"basket": BASKET, "user_id": user}

    def send(self, http: httpx2.Client) -> httpx2.Response:
        path = f"/v1/coupons/{self._code}/{self._what}"
        headers = {"Idempotency-Key": f"{self._what}-{self._order}"}
        response = http.post(path, json=self._body, headers=headers)
        if response.status_code != _CONFLICT or not response.json()["type"].endswith(":coupon-refused"):
            return response
        # Other reasons are the clock's, which leaps past the code's last day.
        full = "used_up" in [one["reason"] for one in response.json()["reasons"]]
        return httpx2.Response(200, json={"standing": FULL if full else OVER})

    def answered(self, answer: Any) -> None:
        self._journal.acknowledge_use(self._code, self._order, answer["standing"])


class Shop:
    """Makes what one shop asks, one call after the other. Of use to one client."""

    def __init__(self, journal: Journal, name: str) -> None:
        """`name` tells its codes from another shop's."""
        self.code: str | None = None
        self._journal, self._name = journal, name
        self._orders = 0
        self._next: list[tuple[str, str, str]] = []

    def ask(self, chance: random.Random, user: str) -> Share | Call:
        """Return the next call."""
        if self._next:
            what, order, whose = self._next.pop()
            assert self.code is not None
            return Call(self._journal, what, self.code, order, whose)
        number, place = divmod(self._orders, ORDERS_A_CODE)
        code = f"{self._name}-{number:04}"
        if place == 0 and self.code != code:
            return Share(self, code)
        self._orders += 1
        order = str(UUID(int=chance.getrandbits(128), version=4))
        first, then = chance.choice(
            [("redeem", ()), ("reserve", ("redeem",)), ("reserve", ("rollback",)), ("redeem", ("rollback",))]
        )
        self._next = [(what, order, user) for what in then]
        return Call(self._journal, first, code, order, user)
