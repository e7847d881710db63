"""Which message a complaint or an opt-out counts for."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import Connection

from audiences.events import EventBody
from delivery.models import MessageFact, MessageState
from delivery.receipts.permissions import OF_RECEIPTS
from storage import ledger
from storage.ledger import Fact, Kind

# Messages of one user that are looked at for the last one that was sent.
_MESSAGES = 50


def last_sent(
    connection: Connection, profiles: Collection[str], at: datetime, within: timedelta
) -> MessageFact | None:
    """Return the last message that was sent to a person before a moment, None if that was longer ago.

    Args:
        profiles: all user ids of the person.
    """
    for fact in ledger.of_users(connection, profiles, kinds=[Kind.MESSAGE], limit=_MESSAGES):
        if fact.label == MessageState.SENT.value and fact.occurred_at <= at:
            found: MessageFact = fact.decode(MessageFact)
            return found if fact.occurred_at > at - within else None
    return None


def told_by_receipt(fact: Fact) -> bool:
    """Whether an event is what a receipt tells of a message, whose own fact says so too."""
    body: EventBody = fact.decode(EventBody)
    return body.source.startswith(OF_RECEIPTS) and "message_id" in body.properties
