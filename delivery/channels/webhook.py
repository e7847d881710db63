"""Tells other systems by signed HTTP requests, as Standard Webhooks says (standardwebhooks.com).

The id of a request is the message's key, the same at every attempt, so the receiver knows a repeat. Any
answer of the class 2xx is an acknowledgement; 408, 429 and 5xx are tried again, after `Retry-After` at
least; 410 and what else the receiver refuses is not.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import httpx2
from standardwebhooks.webhooks import Webhook

from audiences.consent.models import Channel as Consent
from delivery.channels.channel import Address, AfterCrash, Receipt
from delivery.errors import NotHandedOver
from delivery.models import Message
from delivery.retry import Retry

# Its name in the outbox; no variant can name it.
WEBHOOK: Final = "webhook"
_SECONDS = 10.0
# Whose refusals may be over later.
_LATER = frozenset((408, 425, 429))
_LONGEST = timedelta(days=1)


class Webhooks:
    """Posts the body of a message to its address."""

    address = Address.NONE
    consent = Consent.ANY
    after_crash = AfterCrash.REPEAT
    retry = Retry(attempts=10, longest=timedelta(hours=6))

    def __init__(self, secret: str | None) -> None:
        """`secret` signs every request (`whsec_…`); without one nothing is told."""
        self._webhook = Webhook(secret) if secret else None
        # A redirect would take what is told of a user to where nobody said it may go.
        self._http = httpx2.Client(timeout=_SECONDS, follow_redirects=False)

    def send(self, message: Message) -> Receipt:
        """Post a message.

        Raises:
            NotHandedOver: the receiver could not be reached, or did not take it.
        """
        if self._webhook is None:
            raise NotHandedOver(
                "webhooks are signed, and there is no secret: set NEXTPLAY_SIGNING_SECRET and requeue",
                permanent=True,
            )
        # By the machine's clock: the receiver holds it against its own.
        now = datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": message.key,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(message.key, now, message.body),
        }
        try:
            response = self._http.post(message.address, content=message.body.encode(), headers=headers)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise NotHandedOver(f"{message.address} can't be reached: {error}") from error
        if response.is_success:
            return Receipt(f"HTTP {response.status_code}", delivered=True)
        raise NotHandedOver(
            f"{message.address} answered {response.status_code}",
            permanent=response.status_code < 500 and response.status_code not in _LATER,
            after=_asked_to_wait(response.headers.get("retry-after")),
        )


def _asked_to_wait(said: str | None) -> timedelta | None:
    """Return how long `Retry-After` asks to wait, as seconds; dates are left to the retry's own delay."""
    if said is None or not said.strip().isdigit():
        return None
    return min(timedelta(seconds=min(int(said), 10**6)), _LONGEST)
