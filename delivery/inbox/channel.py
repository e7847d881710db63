"""The inbox as a channel: what is handed over is kept in our own database.

After a crash: `repeat`; a message that is there already is not put there again.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Annotated

from pydantic import Field

from audiences.consent.models import Channel as Consent
from delivery.channels.channel import Address, AfterCrash, Receipt
from delivery.channels.kinds import Kind, Opening
from delivery.inbox import repository
from delivery.inbox.repository import Notice
from delivery.models import Message
from delivery.retry import Retry
from playbooks.document import Document


class InboxSettings(Document):
    """For how long a message is to be seen, from its arrival on."""

    expires_after: Annotated[timedelta, Field(ge=timedelta(minutes=1), le=timedelta(days=366))] = timedelta(
        days=30
    )


class InboxChannel:
    """Puts messages into the inbox."""

    address = Address.NONE
    consent = Consent.ANY
    after_crash = AfterCrash.REPEAT
    retry = Retry()

    def __init__(self, settings: InboxSettings, name: str, opening: Opening) -> None:
        self._name, self._lasting = name, settings.expires_after
        self._database, self._clock = opening.database, opening.clock

    def send(self, message: Message) -> Receipt:
        """Keep a message; it is where it is read, so it counts as delivered."""
        now = self._clock.now()
        notice = Notice(
            message.key,
            message.user_id,
            self._name,
            _storable(message.subject),
            _storable(message.body),
            now,
            now + self._lasting,
        )
        self._database.write(partial(repository.put, notice=notice))
        return Receipt(message.key, delivered=True)


def _storable(text: str) -> str:
    """Return text as databases take it: without lone surrogates, and without NUL."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "�")


KIND = Kind(InboxSettings, InboxChannel)
