"""A channel that tells another system what to say to a user, by a signed request (Standard Webhooks).

For what reaches users by ways of its own: a chat, a call centre, an app's own server. After a crash:
`repeat`; the id of the request is the message's key.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

import msgspec
from pydantic import Field

from audiences.consent.models import Channel as Consent
from audiences.crm.signatures import is_secret
from delivery.channels.channel import Address, Receipt
from delivery.channels.http import SECONDS
from delivery.channels.kinds import Kind, Opening
from delivery.channels.signing_in import SecretName, Url
from delivery.channels.webhook import Webhooks
from delivery.models import Message
from playbooks.document import Document
from storage.errors import ConfigurationError


class NamedWebhookSettings(Document):
    """Where to post messages and under which secret; `networks` may be reached although they are private.

    `address` is what the receiver needs of a user, `consent` the way on which users agree to hear from it.
    """

    url: Url
    secret: SecretName
    address: Address = Address.NONE
    consent: Consent = Consent.ANY
    networks: Annotated[list[IPv4Network | IPv6Network], Field(max_length=100)] = []
    seconds: float = Field(default=SECONDS, ge=0.1, le=60)


class NamedWebhook:
    """Posts `{"type": "message", "timestamp": …, "data": {…}}`; any answer 2xx takes it."""

    def __init__(self, settings: NamedWebhookSettings, name: str, opening: Opening) -> None:
        """Raises ConfigurationError: there is no such secret, or it is none for signatures."""
        secret = opening.secret(settings.secret)
        if not is_secret(secret):
            raise ConfigurationError(
                f"the secret {settings.secret!r} can't sign: write whsec_ and base64 of 16 bytes at least"
            )
        self.address, self.consent = settings.address, settings.consent
        self._webhooks = Webhooks(
            secret,
            settings.networks,
            seconds=settings.seconds,
            allowing="`networks` of the channel allows some",
        )
        self.after_crash, self.retry = self._webhooks.after_crash, self._webhooks.retry
        self._name, self._url = name, settings.url

    def send(self, message: Message) -> Receipt:
        """Post a message; the receiver knows it by its key, also in what it tells of it later.

        Raises:
            NotHandedOver: the receiver could not be reached, may not be, or did not take it.
        """
        data = {
            "message_id": message.key,
            "user_id": message.user_id,
            "channel": self._name,
            "subject": message.subject,
            "body": message.body,
            "address": message.address or None,
            "transactional": message.transactional,
        }
        told = {"type": "message", "timestamp": message.queued_at, "data": data}
        body = msgspec.json.encode(told).decode()
        self._webhooks.send(msgspec.structs.replace(message, address=self._url, body=body))
        return Receipt(message.key)

    def close(self) -> None:
        """Let go of connections."""
        self._webhooks.close()


KIND = Kind(NamedWebhookSettings, NamedWebhook)
