"""When a message's event happened, on our clock rather than on that of the device.

Segment's correction (https://segment.com/docs/connections/spec/common/#timestamps): a device that says when
it sent the message tells by that how far its clock is off, so

    occurred = received - (sentAt - originalTimestamp)
"""

from __future__ import annotations

from datetime import UTC, datetime

from audiences.errors import EventRefused
from audiences.events import EARLIEST, FUTURE_TOLERANCE

# As JSON has them. Anything but text is refused with a word on what to send.
Stamp = str | int | float | None
_SHOWN = 40


def moment(field: str, stamp: Stamp) -> datetime | None:
    """Return a time as UTC, None if there is none.

    Raises:
        EventRefused: it is not ISO 8601 with a time zone.
    """
    if stamp is None or stamp == "":
        return None
    if not isinstance(stamp, str):
        raise EventRefused(
            f"`{field}` is the number {str(stamp)[:_SHOWN]}: write ISO 8601 with a zone, "
            "as in 2026-03-02T09:00:00Z"
        )
    try:
        parsed = datetime.fromisoformat(stamp)
        if parsed.tzinfo is not None:
            return parsed.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise EventRefused(
            f"`{field}` {stamp[:_SHOWN]!a} is no time: write ISO 8601 with a zone, as in 2026-03-02T09:00:00Z"
        ) from error
    raise EventRefused(f"`{field}` {stamp} has no time zone: append Z or an offset")


def occurred_at(
    received_at: datetime, *, timestamp: Stamp, original: Stamp, sent_at: datetime | None
) -> datetime:
    """Return when the event of a message happened.

    SDKs send `timestamp` (or `originalTimestamp`) by the device's clock, and `sentAt` by the same clock. A
    message that has both times was corrected already by whoever forwards it: its `timestamp` counts.

    Raises:
        EventRefused: a time can't be read, lies more than a day in the future or before 2000.
    """
    said, first = moment("timestamp", timestamp), moment("originalTimestamp", original)
    device = said or first
    if device is None:
        return received_at
    field = "timestamp" if said else "originalTimestamp"
    happened, corrected = device, ""
    if sent_at is not None and not (said and first):
        corrected = ", corrected by `sentAt`,"
        try:
            happened = received_at - (sent_at - device)
        except OverflowError as error:
            raise EventRefused(
                f"`{field}` {device.isoformat()} and `sentAt` {sent_at.isoformat()} lie too far apart"
            ) from error
    if happened > received_at + FUTURE_TOLERANCE:
        raise EventRefused(
            f"`{field}` {happened.isoformat()}{corrected} lies in the future "
            f"(it is {received_at.isoformat()})"
        )
    if happened < EARLIEST:
        raise EventRefused(
            f"`{field}` {happened.isoformat()}{corrected} lies before {EARLIEST.date()}: "
            "the clock was not set"
        )
    return happened
