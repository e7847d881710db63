"""What follows from receipts for whom may be written to, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from audiences.addresses import AddressKind, normal
from audiences.consent import repository as consent_repository
from audiences.consent.models import ANY, Consent, ConsentState, Reason
from audiences.consent.service import Consents, Listed, record
from audiences.consent.standing import standing
from audiences.errors import AddressUnfit
from audiences.events import EventBody
from audiences.identity.models import Held, Identity
from audiences.identity.people import People
from audiences.identity.repository.names import held_by, holders_of
from delivery.receipts.way import Way
from storage import ledger
from storage.ledger import Kind

# So many soft bounces in a row, none of them followed by an e-mail that arrived, are a hard one.
SOFT_BOUNCES = 5
_LOOKED_AT = 50
# So begins the source of what is known by receipts.
OF_RECEIPTS = "receipt."


class Permissions:
    """Keeps the suppression list and consents as receipts say."""

    def __init__(self, consents: Consents, people: People, region: str | None) -> None:
        """`region` is where phone numbers without a country code are from."""
        self._consents, self._people, self._region = consents, people, region

    def suppress(
        self,
        connection: Connection,
        way: Way,
        address: str,
        reason: Reason,
        source: str,
        at: datetime,
        now: datetime,
    ) -> bool:
        """Put an address on the suppression list; returns False if it is none that could be on it."""
        if way.address is None:
            return False
        try:
            body = self._consents.listed(Listed(way.address, address, reason, at), source)
        except AddressUnfit:
            return False
        consent_repository.suppress(connection, [(body, at)], now)
        return True

    def address_of(self, connection: Connection, way: Way, user_id: str) -> str:
        """Return the only address that a person has for a way; '' where there are several, or none."""
        if way.address is None:
            return ""
        held = held_by(connection, self._people.members(user_id))
        known = {one.identity.value for one in held if one.identity.kind == way.address.value}
        return known.pop() if len(known) == 1 else ""

    def softly_dead(self, connection: Connection, way: Way, user_id: str) -> bool:
        """Whether the latest things that are known of a person's e-mails are soft bounces, and many."""
        names = (f"{way.consent.value}_bounced", f"{way.consent.value}_delivered")
        facts = ledger.of_users(
            connection, self._people.members(user_id), kinds=[Kind.EVENT], limit=_LOOKED_AT
        )
        in_a_row = 0
        for fact in facts:
            if fact.label not in names:
                continue
            body: EventBody = fact.decode(EventBody)
            if fact.label == names[1] or body.properties.get("bounce") != "soft":
                break
            in_a_row += 1
        return in_a_row >= SOFT_BOUNCES

    def deny(
        self,
        connection: Connection,
        user_id: str,
        purpose: str,
        way: Way,
        source: str,
        at: datetime,
        now: datetime,
    ) -> None:
        """Record that a user does not want messages of a purpose by a way any more."""
        record(connection, [Consent(user_id, purpose, way.consent, ConsentState.DENIED, at, source)], now)

    def holders(self, connection: Connection, kind: AddressKind, address: str) -> list[str]:
        """Return all persons who have an address, whether anybody vouched for that or not.

        Raises:
            AddressUnfit: it is none.
        """
        identity = Identity(kind.value, normal(kind, address, self._region))
        held: Sequence[Held] = list(holders_of(connection, [identity]).get(identity, {}).values())
        return sorted({self._people.canonical(one.profile) for one in held})

    def stop(
        self,
        connection: Connection,
        way: Way,
        kind: AddressKind,
        address: str,
        source: str,
        at: datetime,
        now: datetime,
    ) -> list[str]:
        """Send nothing but what is transactional to an address any more; returns the persons who have it.

        Where nobody has it, it goes on the suppression list: whoever has it tomorrow said so today.

        Raises:
            AddressUnfit: it is none.
        """
        persons = self.holders(connection, kind, address)
        for person in persons:
            self.deny(connection, person, ANY, way, source, at, now)
        if not persons:
            self.suppress(connection, Way(way.consent, kind), address, Reason.DO_NOT_CONTACT, source, at, now)
        return persons

    def start(
        self,
        connection: Connection,
        way: Way,
        kind: AddressKind,
        address: str,
        source: str,
        at: datetime,
        now: datetime,
    ) -> None:
        """Take back what `stop` did, where nothing was said since.

        Raises:
            AddressUnfit: it is none.
        """
        for person in self.holders(connection, kind, address):
            words = consent_repository.of_users(connection, self._people.members(person))
            last = standing(words, ANY, way.consent)
            if last is not None and last.state is ConsentState.DENIED and last.source == source:
                again = Consent(person, ANY, way.consent, ConsentState.GRANTED, at, source)
                record(connection, [again], now)
        listed = self._consents.listed(Listed(kind, address, Reason.DO_NOT_CONTACT, at), source)
        consent_repository.suppress(connection, [(listed, at)], now, consent_repository.LIFTED)


def says(channel: str) -> str:
    """Return the source of what is known by receipts of a channel."""
    return f"{OF_RECEIPTS}{channel}"
