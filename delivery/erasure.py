"""Where delivery keeps something of users, and how it takes that away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from sqlalchemy import Connection, delete, select, tuple_

from audiences.addresses import AddressKind
from audiences.identity.repository.names import held_by
from delivery.channels.channel import Channel, KeepsCopies
from delivery.coupons.tables import coupon_calls, coupon_uses, coupons
from delivery.inbox.tables import inbox
from delivery.outbox_repository import NOBODY
from delivery.people.tables import tasks
from delivery.receipts.repository import erase_naming
from delivery.receipts.tables import stray_receipts
from delivery.repository import lock_of_user
from delivery.tables import enrolments, outbox, parked
from playbooks.controls import Scope
from playbooks.controls.models import key_of
from storage.erasure import Erasing, ErasureUnfinished, Place, Rows, deleted_from


def places(channels: Mapping[str, Channel]) -> Sequence[Place]:
    """Return delivery's places: coupons, tasks, enrolments with their messages and a channel's copies.

    While a message is being handed over the erasure is unfinished, at most until the attempt's lease ends.
    """
    return [
        *deleted_from(coupon_calls, coupon_uses, coupons, tasks),
        Rows("parked", [parked], _stopped),
        Rows("enrolments", [enrolments, outbox], partial(_stop, channels)),
        # After the messages on their way, which could come into it.
        *deleted_from(inbox),
        Rows("stray_receipts", [stray_receipts], _strays),
    ]


def _strays(connection: Connection, whom: Erasing, limit: int) -> int:
    """Take away receipts that could not be used and name an address of the user."""
    held = [one.identity for one in held_by(connection, [whom.user_id])]
    addresses = [one.value for one in held if one.kind in set(AddressKind)]
    return erase_naming(connection, addresses, limit)


def _stopped(connection: Connection, whom: Erasing, limit: int) -> int:
    """Take away what waits because the user was stopped: the control by which it is found names the user."""
    control = key_of(Scope.USER, whom.user_id)
    piece = select(parked.c.kind, parked.c.id).where(parked.c.control == control).limit(limit)
    gone = delete(parked).where(tuple_(parked.c.kind, parked.c.id).in_(piece))
    return connection.execute(gone).rowcount


def _stop(channels: Mapping[str, Channel], connection: Connection, whom: Erasing, limit: int) -> int:
    """Take away runs through flows, so that nothing more is sent, each with its messages."""
    # Locked first: whoever advances one of them then finds it gone, and queues no message for it.
    runs = set(lock_of_user(connection, whom.user_id, limit))
    query = select(
        outbox.c.key,
        outbox.c.enrolment_id,
        outbox.c.queued_at,
        outbox.c.holder,
        outbox.c.available_at,
        outbox.c.channel,
    )
    messages = connection.execute(
        query.where(outbox.c.enrolment_id.in_(runs)).order_by(outbox.c.key).with_for_update()
    ).all()
    in_hand = {
        one.enrolment_id
        for one in messages
        if one.holder not in (None, NOBODY) and one.available_at is not None and one.available_at > whom.now
    }
    free = [one for one in messages if one.enrolment_id not in in_hand]
    for one in free:
        # A copy that is gone already is no error, so this may be done again after a roll-back.
        channel = channels.get(one.channel)
        if isinstance(channel, KeepsCopies):
            channel.forget(one.key, one.queued_at)
    connection.execute(delete(outbox).where(outbox.c.key.in_([one.key for one in free])))
    gone = connection.execute(delete(enrolments).where(enrolments.c.id.in_(runs - in_hand))).rowcount
    if not gone and in_hand:
        raise ErasureUnfinished(
            f"{len(in_hand)} messages to the user are being handed over; what was erased so far stays so: "
            "erase again when they are through, in a few minutes at most"
        )
    return gone
