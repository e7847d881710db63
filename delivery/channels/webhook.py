"""Tells other systems by signed HTTP requests, as Standard Webhooks says (standardwebhooks.com).

The id of a request is the message's key, the same at every attempt, so the receiver knows a repeat. Any
answer of the class 2xx is an acknowledgement; 408, 429 and 5xx are tried again, after `Retry-After` at
least; 410 and what else the receiver refuses is not, nor is a redirect: it would take what is told of a user
to where nobody said it may go.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from standardwebhooks.webhooks import Webhook

from audiences.consent.models import Channel as Consent
from delivery.channels.answers import asked_to_wait, is_over_later
from delivery.channels.channel import Address, AfterCrash, Receipt
from delivery.channels.http import SECONDS, Http, NotReached
from delivery.channels.networks import IPNetwork, allows
from delivery.errors import NotHandedOver
from delivery.models import Message
from delivery.retry import Retry

# Its name in the outbox; no variant can name it.
WEBHOOK: Final = "webhook"


class Webhooks:
    """Posts the body of a message to its address."""

    address = Address.NONE
    consent = Consent.ANY
    after_crash = AfterCrash.REPEAT
    retry = Retry(attempts=10, longest=timedelta(hours=6))

    def __init__(
        self,
        secret: str | None,
        networks: Sequence[IPNetwork] = (),
        *,
        seconds: float = SECONDS,
        allowing: str = "NEXTPLAY_WEBHOOK_NETWORKS allows networks",
    ) -> None:
        """Sign requests.

        Args:
            secret: signs every request (`whsec_…`); without one nothing is told.
            networks: inside which receivers may be although they are not of the public internet.
            seconds: that a request may take.
            allowing: says how more of them may.
        """
        self._webhook = Webhook(secret) if secret else None
        self._http = Http(seconds, allowed=partial(allows, networks))
        self._allowing = allowing

    def send(self, message: Message) -> Receipt:
        """Post a message.

        Raises:
            NotHandedOver: the receiver could not be reached, may not be, or did not take it.
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
            reply = self._http.post(message.address, message.body.encode(), headers)
        except NotReached as error:
            hint = f"; {self._allowing}" if error.refused else ""
            raise NotHandedOver(f"{error}{hint}", permanent=error.refused, perhaps=error.asked) from error
        if 200 <= reply.status < 300:
            return Receipt(f"HTTP {reply.status}", delivered=True)
        told = ": redirects are not followed" if 300 <= reply.status < 400 else ""
        raise NotHandedOver(
            f"{message.address} answered {reply.status}{told}",
            permanent=not is_over_later(reply.status),
            after=asked_to_wait(reply.headers),
        )

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()
