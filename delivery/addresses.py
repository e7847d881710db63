"""Where channels reach users; whoever stands above knows their identities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from delivery.channels.channel import Address
from delivery.errors import NoAddress


class Addresses(Protocol):
    """Tells where to reach users. Thread-safe."""

    def of(self, user_id: str, address: Address) -> str:
        """Return a user's address of a kind (not `none`), the one that is most likely to reach them.

        Raises:
            NoAddress: the user has none that can be one.
            NextplayError: it can't be read; `retry` says whether it may be later.
        """
        ...

    def of_many(self, user_ids: Sequence[str], address: Address) -> Mapping[str, str]:
        """Return what `of` does of users, of those who have one.

        Raises:
            NextplayError: it can't be read.
        """
        ...


class NobodysAddresses:
    """Knows of no address."""

    def of(self, user_id: str, address: Address) -> str:
        raise NoAddress(f"the user has no address of the kind {address.value!r}")

    def of_many(self, user_ids: Sequence[str], address: Address) -> Mapping[str, str]:
        return {}
