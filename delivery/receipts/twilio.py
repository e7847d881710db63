"""Twilio's callbacks: what became of a text message, and messages that people send to us.

https://www.twilio.com/docs/usage/security#validating-requests,
https://www.twilio.com/docs/messaging/guides/track-outbound-message-status
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime

from audiences.errors import PayloadUnreadable, WebhookRefused
from delivery.receipts.models import MAX_ID, Bounce, Incoming, Texted, Told, What

SIGNATURE = "x-twilio-signature"
_RECEIVED = frozenset({"received", "receiving"})
# Between what we said when it took the message and what it will say in the end.
_ON_THE_WAY = frozenset({"accepted", "scheduled", "queued", "sending", "sent", "canceled"})
_ENDS: Mapping[str, What] = {
    "delivered": What.DELIVERED,
    "read": What.OPENED,
    "failed": What.FAILED,
    "undelivered": What.BOUNCED,
}
# Error codes of numbers that no message will reach: unknown, a landline, not reachable by the operator.
_HARD = frozenset({"30005", "30006", "21211", "21614"})
_LONGEST_TEXT = 2_000


class TwilioSignatures:
    """Verifies callbacks by the account's auth tokens; several count, so that one can be replaced."""

    def __init__(self, tokens: Mapping[str, Sequence[str]]) -> None:
        """Take the auth tokens of each channel."""
        self._tokens = {channel: [one.encode() for one in all_] for channel, all_ in tokens.items()}

    def verify(self, channel: str, url: str, parameters: Mapping[str, Sequence[str]], signature: str) -> None:
        """Make sure that a callback is Twilio's.

        Args:
            url: that Twilio was given, with its query.

        Raises:
            WebhookRefused: it is not. What is wrong with it is not said, for that would help forgers.
        """
        given = signature.encode("utf-8", "replace")
        for token in self._tokens.get(channel, ()):
            if hmac.compare_digest(_signature(token, url, parameters), given):
                return
        raise WebhookRefused("the callback is not signed as it must be")


def _signature(token: bytes, url: str, parameters: Mapping[str, Sequence[str]]) -> bytes:
    text = url + "".join(
        name + value for name in sorted(parameters) for value in sorted(set(parameters[name]))
    )
    return base64.b64encode(hmac.new(token, text.encode("utf-8", "replace"), hashlib.sha1).digest())


def read(parameters: Mapping[str, Sequence[str]], now: datetime) -> Incoming | None:
    """Return what a callback tells; None where it says no more than that the message is on its way.

    Raises:
        PayloadUnreadable: it is no callback of a message.
    """
    sid, status = _one(parameters, "MessageSid") or _one(parameters, "SmsSid"), _status(parameters)
    if not 0 < len(sid) <= MAX_ID or not status:
        raise PayloadUnreadable(
            "`MessageSid` and `MessageStatus` are missing: this is no callback of a message"
        )
    if status in _RECEIVED:
        text = _one(parameters, "Body")[:_LONGEST_TEXT]
        return Texted(sid, _one(parameters, "From"), text, now)
    if status in _ON_THE_WAY:
        return None
    what, code = _ENDS.get(status), _one(parameters, "ErrorCode")
    if what is None:
        raise PayloadUnreadable(
            f"no message is {status[:64]!r}: `MessageStatus` is one of {', '.join(_ENDS)}"
        )
    return Told(
        f"{sid}:{status}",
        what,
        now,
        reference=sid,
        address=_one(parameters, "To"),
        bounce=Bounce.HARD if code in _HARD else Bounce.SOFT,
        reason=f"error {code}" if code else "",
    )


def _status(parameters: Mapping[str, Sequence[str]]) -> str:
    return (_one(parameters, "MessageStatus") or _one(parameters, "SmsStatus")).lower()


def _one(parameters: Mapping[str, Sequence[str]], name: str) -> str:
    values = parameters.get(name, ())
    return values[0].replace("\0", "") if values else ""
