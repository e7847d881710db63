"""The port to a provider of messages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

import msgspec

from audiences.consent.models import Channel as Consent
from delivery.models import Message
from delivery.retry import Retry


class AfterCrash(StrEnum):
    """What is done with a message when the process died between hand-over and record.

    `repeat`: hand it over again if the gate still allows it (else as `unknown`); the provider honours the
    key, so the user gets it once.
    `unknown`: never again; mark it and let a receipt settle it.
    """

    REPEAT = "repeat"
    UNKNOWN = "unknown"


class Address(StrEnum):
    """Which of a user's identities a channel writes to; `none`: it finds users by their ids."""

    NONE = "none"
    EMAIL = "email"
    PHONE = "phone"
    DEVICE = "device"


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """The provider took the message; `delivered` when it also says that the message arrived."""

    reference: str
    delivered: bool = False


class Channel(Protocol):
    """Hands messages to one provider. Thread-safe.

    `address` is what `Message.address` has to be; `consent` is the way on which users agree to be reached,
    or don't: `any` where consents know no way of its own.
    """

    @property
    def address(self) -> Address: ...

    @property
    def consent(self) -> Consent: ...

    @property
    def after_crash(self) -> AfterCrash: ...

    @property
    def retry(self) -> Retry: ...

    def send(self, message: Message) -> Receipt:
        """Hand a message over, with its key as the provider's idempotency key.

        Raises:
            NotHandedOver: the provider did not take it; says whether to try again.
        """
        ...


@runtime_checkable
class KeepsConnections(Protocol):
    """A channel that keeps connections to its provider."""

    def close(self) -> None:
        """Let go of them; nothing is handed over any more."""
        ...


@runtime_checkable
class KeepsCopies(Protocol):
    """A channel that keeps messages itself, and can take them away again when their user is erased."""

    def forget(self, key: str, queued_at: datetime) -> None:
        """Take away what is kept of a message, if anything is.

        Raises:
            NotForgotten: it can't be done now.
        """
        ...


def close_channels(channels: Mapping[str, Channel]) -> None:
    """Let go of the connections that channels keep."""
    for channel in channels.values():
        if isinstance(channel, KeepsConnections):
            channel.close()
