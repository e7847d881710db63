"""Consent of users and the suppression list of one database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec
from sqlalchemy import Connection

from audiences import repository as users
from audiences.addresses import AddressKind
from audiences.consent import repository
from audiences.consent.address_hash import AddressHash
from audiences.consent.models import Channel, Consent, Reason, SuppressionBody
from audiences.consent.standing import allowed
from storage.clock import Clock
from storage.engine import Database
from storage.errors import ConfigurationError
from storage.ledger import Fact
from storage.writer import Lane

HISTORY_LIMIT = 200


class Profiles(Protocol):
    """Says which profiles are one person's."""

    def of(self, connection: Connection, user_id: str) -> Sequence[str]:
        """Return the ids of all profiles of whoever has this one, this one included."""
        ...


class OneProfile:
    """Everybody has one profile."""

    def of(self, connection: Connection, user_id: str) -> Sequence[str]:
        return [user_id]


class Listed(msgspec.Struct, frozen=True):
    """An address that may not be written to, and why."""

    kind: AddressKind
    address: str
    reason: Reason
    at: datetime


class Consents:
    """Who may be written to. Thread-safe; what is recorded holds from the commit on."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        addresses: AddressHash,
        profiles: Profiles | None = None,
    ) -> None:
        """Keep consent in a database.

        Raises:
            ConfigurationError: addresses were hashed under another key before; with this one nobody would be
                found on the list.
        """
        self._database = database
        self._clock = clock
        self.addresses = addresses
        self._profiles = profiles or OneProfile()
        kept = database.write(
            lambda connection: repository.keep_fingerprint(connection, addresses.fingerprint)
        )
        if kept != addresses.fingerprint:
            raise ConfigurationError(
                "the suppression list was made under another address key: give back the file address.key or "
                "the setting NEXTPLAY_ADDRESS_KEY that this database was used with before"
            )

    def say(self, said: Sequence[Consent]) -> list[bool]:
        """Record what users said; returns which words are new. Durable when it returns."""
        now = self._clock.now()
        return self._database.write(
            lambda connection: record(connection, said, now), rows=3 * len(said), lane=Lane.REQUEST
        )

    def of(self, user_id: str) -> tuple[list[Consent], list[Fact]]:
        """Return a person's words that count now, and the latest of all that were ever said."""
        with self._database.read() as connection:
            ids = self._profiles.of(connection, user_id)
            return repository.of_users(connection, ids), repository.history(connection, ids, HISTORY_LIMIT)

    def allowed(self, connection: Connection, user_id: str, purpose: str, channel: Channel) -> bool:
        """Say whether a person agreed, in any of the profiles (see `standing`)."""
        ids = self._profiles.of(connection, user_id)
        return allowed(repository.of_users(connection, ids), purpose, channel)

    def suppress(self, listed: Sequence[Listed], source: str, *, lift: bool = False) -> list[bool]:
        """Put addresses on the suppression list, or take them off; returns which words are new.

        Raises:
            AddressUnfit: one is no address; nothing was done.
        """
        now = self._clock.now()
        rows = [(self.listed(one, source), one.at) for one in listed]
        state = repository.LIFTED if lift else repository.SUPPRESSED
        return self._database.write(
            lambda connection: repository.suppress(connection, rows, now, state),
            rows=2 * len(rows),
            lane=Lane.REQUEST,
        )

    def listed(self, one: Listed, source: str) -> SuppressionBody:
        """Return an entry of the list as it is kept.

        Raises:
            AddressUnfit: it is no address.
        """
        return SuppressionBody(one.kind.value, self.addresses.of(one.kind, one.address), one.reason, source)

    def suppressed(self, connection: Connection, kind: AddressKind, address: str) -> list[Reason]:
        """Return why an address may not be written to; nothing if it may.

        Raises:
            AddressUnfit: it is no address.
        """
        hashed = self.addresses.of(kind, address)
        return repository.reasons(connection, [hashed]).get(hashed, [])


def record(connection: Connection, said: Sequence[Consent], now: datetime) -> list[bool]:
    """Record what users said in the caller's transaction; those who were unknown are known from now on."""
    users.add_users(connection, [(one.user_id, one.at) for one in said])
    return repository.record(connection, said, now)
