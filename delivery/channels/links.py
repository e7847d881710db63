"""Links that a channel puts into messages; whoever stands above signs them and answers when they are used."""

from __future__ import annotations

from typing import Protocol

from delivery.models import Message


class Links(Protocol):
    """Makes links for messages. Thread-safe."""

    def unsubscribe(self, message: Message) -> str | None:
        """Return the https address that ends such messages by a POST of `List-Unsubscribe=One-Click`.

        RFC 8058: it needs no cookie and no key, and says by itself whose it is, so it is signed. The same at
        every attempt of a message. None: this message can't be unsubscribed from, or nobody answers links.
        """
        ...


class NoLinks:
    """Nobody answers links."""

    def unsubscribe(self, message: Message) -> str | None:
        return None
