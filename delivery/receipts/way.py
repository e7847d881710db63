"""By which way a channel reaches users."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from audiences.addresses import AddressKind
from audiences.consent.models import Channel

# Whose addresses may be on the suppression list.
ADDRESSES: Final[Mapping[Channel, AddressKind]] = {
    Channel.EMAIL: AddressKind.EMAIL,
    Channel.SMS: AddressKind.PHONE,
}


class Way(NamedTuple):
    """Which consent a channel needs, and which kind of address that can be listed it writes to."""

    consent: Channel
    address: AddressKind | None

    @classmethod
    def of(cls, consent: Channel) -> Way:
        """Return the way of channels that need a consent."""
        return cls(consent, ADDRESSES.get(consent))


# Of a channel by its name; None: there is no such channel.
Ways = Callable[[str], Way | None]
