"""Tells machines from people when an event arrives (see `audiences.intake.ports.Machines`)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from audiences.events import Event
from audiences.machines.definitions import MachinesSpec
from audiences.machines.senders import Senders, fetched_ahead

CLICKS = frozenset({"email_link_clicked", "sms_link_clicked"})
OPENS = frozenset({"email_opened"})
DELIVERIES = frozenset({"email_delivered", "sms_delivered"})
_OF_MESSAGES = CLICKS | OPENS | DELIVERIES
# Deliveries that are remembered: a few minutes of a large campaign.
_REMEMBERED = 100_000

# Says when one of our own messages was delivered; None if it is none of ours, or was not.
OwnDelivery = Callable[[str], datetime | None]


class Reason(StrEnum):
    """Why a machine must have sent an event."""

    AGENT = "the user agent of a crawler or mail scanner"
    ADDRESS = "the address of a crawler or mail scanner"
    AHEAD = "fetched ahead: the sender says that nobody asked for it"
    AT_ONCE = "opened at once: nobody opens a message the moment it is delivered"
    # Not known yet: `audiences.machines.service` settles it.
    HELD = "held: clicked within seconds of delivery"


class KnownMachines:
    """Machines as they are known now. Thread-safe."""

    def __init__(self, spec: MachinesSpec, own_delivery: OwnDelivery | None = None) -> None:
        self.spec = spec
        self._senders = Senders(spec)
        self._own_delivery = own_delivery
        self._delivered: OrderedDict[str, datetime] = OrderedDict()
        self._lock = threading.Lock()

    def why(self, event: Event) -> str:
        """Return why a machine must have sent this event, '' if a person may have."""
        if context := event.context:
            if self._senders.is_agent(context.get("userAgent")):
                return Reason.AGENT
            if self._senders.is_address(context.get("ip")):
                return Reason.ADDRESS
            if fetched_ahead(context):
                return Reason.AHEAD
        return self._of_message(event) if event.name in _OF_MESSAGES else ""

    def _of_message(self, event: Event) -> str:
        message = event.properties.get("message_id")
        if not isinstance(message, str):
            return ""
        if event.name in DELIVERIES:
            self._remember(message, event.occurred_at)
            return ""
        delivered = delivered_at(event.properties.get("delivered_at")) or self._known_delivery(message)
        if delivered is None:
            return ""
        after = event.occurred_at - delivered
        # Clocks differ by a little: a click before its delivery came right with it.
        if after < -self.spec.click_window:
            return ""
        if event.name in OPENS:
            return Reason.AT_ONCE if after <= self.spec.open_window else ""
        return Reason.HELD if after <= self.spec.click_window else ""

    def _remember(self, message: str, moment: datetime) -> None:
        with self._lock:
            self._delivered[message] = moment
            if len(self._delivered) > _REMEMBERED:
                self._delivered.popitem(last=False)

    def _known_delivery(self, message: str) -> datetime | None:
        found = self._delivered.get(message)
        if found is None and self._own_delivery is not None:
            found = self._own_delivery(message)
            if found is not None:
                self._remember(message, found)
        return found


def delivered_at(value: Any) -> datetime | None:
    """Return the moment that a property says, None where it says none."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def due_at(event: Event, spec: MachinesSpec) -> datetime:
    """Return when all clicks of a message that may tell of a machine have come in."""
    soonest = event.occurred_at + spec.click_window
    return max(soonest, event.received_at) + spec.patience
