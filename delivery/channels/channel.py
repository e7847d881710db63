"""The port to a provider of messages."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec

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


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """The provider took the message; `delivered` when it also says that the message arrived."""

    reference: str
    delivered: bool = False


class Channel(Protocol):
    """Hands messages to one provider. Thread-safe."""

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
