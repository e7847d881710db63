"""For tests of delivery and of what stands on it: a small playbook, plans in memory, an obedient channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from audiences.consent.models import Channel as Consent
from delivery.channels.channel import Address, AfterCrash, Receipt
from delivery.errors import UnknownVersion
from delivery.models import Message
from delivery.people.hours import Known
from delivery.plans import Plan
from delivery.retry import Retry
from playbooks.content.documents import Content
from playbooks.decision import Decision, certain
from playbooks.library import VersionBody
from playbooks.models import Arm, Playbook
from playbooks.offers import Offer

# Issue a coupon, say so, and see within two weeks whether the category is bought.
COUPON_FLOW: Mapping[str, Any] = {
    "start": "issue",
    "states": {
        "issue": {"kind": "issue", "next": "send"},
        "send": {"kind": "send", "next": "wait"},
        "wait": {
            "kind": "wait_for_event",
            "event": "order_completed",
            "where": "list_contains(event.categories, arm.category)",
            "timeout": "P14D",
            "on_event": "goal",
            "on_timeout": "expired",
        },
        "goal": {"kind": "goal", "next": "used"},
        "used": {"kind": "end", "result": "used"},
        "expired": {"kind": "end", "result": "expired"},
    },
}


def version_body(
    flow: Mapping[str, Any] = COUPON_FLOW,
    *,
    playbook: str = "coupons",
    body: str = "Hello {{ user_id }}: {{ offer.name }}",
    terms: Mapping[str, Any] | None = None,
) -> VersionBody:
    """Return a playbook version with the offers `milk` and `bread` on the channel `memory`.

    Args:
        terms: fields of both offers, beside their names.
    """
    offers = [
        Offer.model_validate(
            {
                "id": category,
                "name": f"10 % off {category}",
                "attributes": {"group": "food", "category": category},
            }
            | dict(terms or {})
        )
        for category in ("milk", "bread")
    ]
    document = Playbook.model_validate(
        {
            "id": playbook,
            "name": playbook,
            "placement": "outbound",
            "goal": {"event": "order_completed", "window": "P14D"},
            "variants": [{"group": "food", "channel": "memory", "content": "hello"}],
            "flow": flow,
        }
    )
    content = Content(id="hello", subject="{{ offer.name }} for you", body=body)
    return VersionBody(playbook=document, offers=offers, contents=[content])


def arms_of(body: VersionBody) -> dict[str, Arm]:
    """Return the arms of a version by their offers."""
    return {arm.offer: arm for arm in body.arms}


def decision_for(
    user_id: str, arm: Arm, at: datetime, *, decision_id: str | None = None, version: int = 1
) -> Decision:
    """Return a decision that drew `arm` for certain; its id is `user_id` unless given."""
    return certain(decision_id or user_id, user_id, arm, version, at, placement="outbound")


class MemoryPlans:
    """Plans of given versions; `forget` makes one unknown."""

    def __init__(self, bodies: Mapping[int, VersionBody], hours: Known | None = None) -> None:
        """`hours` say when people work."""
        self._plans = {
            (body.playbook.id, version): Plan.of(body, version, hours=hours)
            for version, body in bodies.items()
        }

    def find(self, connection: Connection, playbook: str, version: int) -> Plan:
        try:
            return self._plans[playbook, version]
        except KeyError:
            raise UnknownVersion(
                f"the library has no version {version} of the playbook {playbook!r}"
            ) from None

    def forget(self, playbook: str, version: int) -> None:
        """Make a version unknown."""
        del self._plans[playbook, version]


class MemoryChannel:
    """Keeps what it is sent, by key, and every hand-over in order.

    `before` and `after` are called with each message around its taking; what they raise, `send` raises.
    """

    def __init__(
        self,
        *,
        after_crash: AfterCrash = AfterCrash.REPEAT,
        retry: Retry | None = None,
        before: Callable[[Message], None] | None = None,
        after: Callable[[Message], None] | None = None,
        address: Address = Address.NONE,
    ) -> None:
        self.address = address
        self.consent = Consent.ANY
        self.after_crash = after_crash
        self.retry = retry or Retry()
        self.before = before
        self.after = after
        self.messages: dict[str, Message] = {}
        self.handed_over: list[str] = []

    def send(self, message: Message) -> Receipt:
        if self.before is not None:
            self.before(message)
        self.handed_over.append(message.key)
        self.messages[message.key] = message
        if self.after is not None:
            self.after(message)
        return Receipt(message.key)


def once(error: BaseException) -> Callable[[Message], None]:
    """Return a `before` or `after` that raises `error` at its first message and does nothing from then on."""
    left = [error]

    def fail(_message: Message) -> None:
        if left:
            raise left.pop()

    return fail
