"""The market played over HTTP: customers talk to a running service, whose simulated clock is moved.

The service knows no more than what a shop would tell it: how customers are described, their orders, and who
wants no more messages.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from benchmarks.market.customers import Market
from benchmarks.market.in_process import PLACEMENT
from benchmarks.market.tally import Tally
from decision.demo.client import DemoError, Message, ServiceClient

PLAYBOOK = "coupons"
_DENIED = {"source": "market", "consents": [{"purpose": "any", "channel": "any", "state": "denied"}]}


class Visiting:
    """Customers of a market as a running service meets them. Its clock starts where the market does."""

    def __init__(self, market: Market, service: ServiceClient, *, at_once: bool = True) -> None:
        """Those of a day come `at_once`, or one after the other: then runs that are equal end equal."""
        self._market, self._service, self._at_once = market, service, at_once
        self._coming: list[tuple[datetime, str, Message]] = []
        self.tally = Tally()
        # How many of the answers were fallbacks.
        self.fallbacks = 0

    def introduce(self) -> None:
        """Tell the service of all customers, and let it compute their features."""
        market = self._market
        self._service.ingest(
            (
                {
                    "type": "identify",
                    "messageId": f"described-{market.name(customer)}",
                    "userId": market.name(customer),
                    "timestamp": (market.start - timedelta(days=1)).isoformat(),
                    "traits": market.described(customer),
                }
                for customer in range(len(market))
            ),
            lambda _: None,
        )
        for job in ("features", "audiences"):
            self._service.run(job)

    def live(self, days: range) -> Iterator[int]:
        """Let days go by, and yield each when its decisions are made."""
        for day in days:
            now = self._market.start + timedelta(days=day)
            self._service.move_clock(now)
            self._tell(now)
            for job in ("push", "reward", "learn"):
                self._service.run(job)
            self._decide(day, now)
            yield day

    def _decide(self, day: int, now: datetime) -> None:
        market = self._market
        asked = [
            customer
            for customer in range(day % market.parameters.cadence, len(market), market.parameters.cadence)
            if market.here[customer]
        ]
        names = [market.name(customer) for customer in asked]
        requests = [(name, PLACEMENT, f"{day}:{name}") for name in names]
        together = [requests] if self._at_once else [[one] for one in requests]
        answers = [one for some in together for one in self._service.decide_all(some, lambda _: None)]
        for customer, answer in zip(asked, answers, strict=True):
            self._answer(customer, day, now, answer)

    def _answer(self, customer: int, day: int, now: datetime, answer: Message) -> None:
        market = self._market
        offer: Any = answer["offer"]
        place = None if offer is None else self._place(offer)
        self.fallbacks += answer["fallback"] is not None
        self.tally.add(market.worth(np.array([customer]), day), [place])
        did = market.answer(customer, day, place)
        discount = 0.0 if place is None else float(market.values[place])
        if place is not None:
            self._will_tell(customer, f"shown-{day}", "coupon_shown", now, {"value": discount})
        if did.ordered:
            self.tally.realised += did.margin - discount
            order = {"margin": did.margin, "discount": discount, "currency": "EUR"}
            self._will_tell(customer, f"order-{day}", "order_completed", now + did.after, order)
        if did.left:
            self.tally.realised -= market.parameters.opt_out.costs
            path = f"/v1/users/{market.name(customer)}/consents"
            if not self._service.http.put(path, json=_DENIED).is_success:
                raise DemoError(f"PUT {path}: the service did not take the customer's word")

    def _place(self, offer: Any) -> int:
        amount = offer["terms"]["value"] / 100
        return int(abs(self._market.values - amount).argmin())

    def _will_tell(
        self, customer: int, number: str, event: str, at: datetime, properties: dict[str, Any]
    ) -> None:
        user = self._market.name(customer)
        message: Message = {
            "type": "track",
            "messageId": f"{number}-{user}",
            "userId": user,
            "event": event,
            "timestamp": at.isoformat(),
            "properties": properties,
        }
        heapq.heappush(self._coming, (at, str(message["messageId"]), message))

    def _tell(self, now: datetime) -> None:
        """Send what was shown and ordered by now."""
        due = []
        while self._coming and self._coming[0][0] <= now:
            due.append(heapq.heappop(self._coming)[2])
        self._service.ingest(due, lambda _: None)
