"""Makes the links of messages. Implements `delivery.channels.links.Links`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

from audiences.consent.models import Channel
from delivery.links.rewriting import rewritten
from delivery.links.signing import Preferences, Signer, Tracked, Unsubscribe, until
from delivery.models import Message
from playbooks.content.filling import Text

# CAN-SPAM asks for thirty days of a way to opt out; mail is read later than that.
UNSUBSCRIBE_FOR: Final = timedelta(days=180)
PREFERENCES_FOR: Final = timedelta(days=30)
# Where links lead to be followed; addresses of an inbox or a device are opened by its app.
_TRACKED = frozenset({Channel.EMAIL, Channel.SMS})


class SignedLinks:
    """Links to one service, under the address by which users reach it. Thread-safe."""

    def __init__(self, public_url: str, signer: Signer) -> None:
        """Without a `public_url` there are no links."""
        self._url, self._signer = public_url, signer

    def unsubscribe(self, message: Message) -> str | None:
        """Return the address that ends such messages; None of transactional ones, which nobody can end.

        RFC 8058 wants https: at another address there is none.
        """
        if message.transactional or not self._url.startswith("https://"):
            return None
        token = Unsubscribe(message.key, until(message.queued_at + UNSUBSCRIBE_FOR))
        return f"{self._url}/u/{self._signer.sign(token)}"

    def preferences(self, user_id: str, now: datetime) -> str | None:
        """Return the address of a user's preference page, good for thirty days from a moment on."""
        if not self._url:
            return None
        return f"{self._url}/p/{self._signer.sign(Preferences(user_id, until(now + PREFERENCES_FOR)))}"

    def dressed(self, key: str, consent: Channel, text: Text) -> Text:
        """Return the text of a message with its links tracked, where its channel has such."""
        if not self._url or consent not in _TRACKED:
            return text

        def track(url: str, number: int, links: int) -> str:
            return f"{self._url}/t/{self._signer.sign(Tracked(key, url, number, links))}"

        pixel = f"{self._url}/t/{self._signer.sign(Tracked(key, ''))}.gif"
        return msgspec.structs.replace(text, body=rewritten(text.body, track, self._url, pixel))
