"""Where users are reached, on both databases: by the identities of all profiles of the person."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Connection

from audiences.addresses import AddressKind
from audiences.consent.address_hash import AddressHash
from audiences.consent.models import Reason
from audiences.consent.service import Consents, Listed
from audiences.identity.models import Held, Identity
from audiences.identity.people import EveryoneAlone
from audiences.identity.repository.names import record_held, record_shared
from decision.known_addresses import KnownAddresses
from delivery.channels.channel import Address
from delivery.errors import NoAddress
from storage.clock import SimulatedClock
from storage.engine import Database


class Ann(EveryoneAlone):
    """Ann has two profiles."""

    def members(self, user_id: str) -> tuple[str, ...]:
        return ("ann", "ann_at_work") if user_id.startswith("ann") else (user_id,)


def test_a_persons_address_is_the_one_that_is_most_likely_to_reach_them(
    database: Database, clock: SimulatedClock
) -> None:
    consents = Consents(database, clock, AddressHash(b"k" * 32))
    addresses = KnownAddresses(database, Ann(), consents)
    now = clock.now()
    first, second, third, fourth = (f"{name}@example.com" for name in ("first", "second", "third", "fourth"))

    def holds(profile: str, kind: str, value: str, hours: int, verified: bool = False) -> None:
        held = Held(profile, Identity(kind, value), verified, now + timedelta(hours=hours))
        database.write(lambda connection: record_held(connection, [held]))

    with pytest.raises(NoAddress, match=r"^the user has no e-mail address$"):
        addresses.of("ann", Address.EMAIL)
    holds("ann", "email", "ann at home", 1)
    with pytest.raises(NoAddress, match=r"no e-mail address that can be one$"):
        addresses.of("ann", Address.EMAIL)
    holds("ann", "email", first, 2)
    holds("ann_at_work", "email", second, 3)
    holds("bob", "email", "bob@example.com", 9)
    assert addresses.of("ann", Address.EMAIL) == second
    holds("ann", "email", third, 1, verified=True)
    assert addresses.of("ann_at_work", Address.EMAIL) == third
    holds("ann", "email", fourth, 4, verified=True)

    def share(connection: Connection) -> None:
        record_shared(connection, Identity("email", fourth), now, "many")

    database.write(share)
    assert addresses.of("ann", Address.EMAIL) == third
    consents.suppress([Listed(AddressKind.EMAIL, third, Reason.BOUNCED, now)], "provider")
    assert addresses.of("ann", Address.EMAIL) == second

    holds("ann", "phone", "0151 1234", 1)
    with pytest.raises(NoAddress, match="no phone number that can be one"):
        addresses.of("ann", Address.PHONE)
    holds("ann", "phone", "+4915112345678", 1)
    assert addresses.of("ann", Address.PHONE) == "+4915112345678"
    holds("ann", "device_token", "an-old-phone", 1)
    holds("ann", "android_push_token", "a-new-phone", 2)
    assert addresses.of("ann", Address.DEVICE) == "a-new-phone"
    with pytest.raises(NoAddress, match="no device that takes messages"):
        addresses.of("bob", Address.DEVICE)

    # Of many at once it is the same, of those who have one.
    everybody = ["ann_at_work", "bob", "carl", "ann"]
    assert addresses.of_many(everybody, Address.EMAIL) == {
        "ann_at_work": second,
        "bob": "bob@example.com",
        "ann": second,
    }
    assert addresses.of_many(["bob", "carl"], Address.DEVICE) == {}
