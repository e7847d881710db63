"""Where users are reached: their own identities of the kind that a channel writes to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from sqlalchemy import Connection

from audiences.addresses import AddressKind, normal
from audiences.consent import repository as consent_repository
from audiences.consent.models import Reason
from audiences.consent.service import Consents
from audiences.errors import AddressUnfit
from audiences.identity.models import Held, Identity
from audiences.identity.people import People
from audiences.identity.repository.names import held_by, shared_among
from delivery.channels.channel import Address
from delivery.errors import NoAddress
from storage.engine import Database

# Under which kinds of identities addresses are kept.
_KEPT: Mapping[Address, Collection[str]] = {
    Address.EMAIL: (AddressKind.EMAIL,),
    Address.PHONE: (AddressKind.PHONE,),
    Address.DEVICE: ("device_token", "ios_push_token", "android_push_token"),
}
_CALLED: Mapping[Address, str] = {
    Address.EMAIL: "e-mail address",
    Address.PHONE: "phone number",
    Address.DEVICE: "device that takes messages",
}


class KnownAddresses:
    """Implements `delivery.addresses.Addresses` by all profiles of the person.

    Of several addresses the one that never bounced, that nobody else has, that is verified, and that was
    seen first last: in this order.
    """

    def __init__(self, database: Database, people: People, consents: Consents) -> None:
        self._database, self._people, self._hashes = database, people, consents.addresses

    def of(self, user_id: str, address: Address) -> str:
        held, found = self._look([user_id], address)
        if user_id not in found:
            wrong = " that can be one" if held else ""
            raise NoAddress(f"the user has no {_CALLED[address]}{wrong}")
        return found[user_id]

    def of_many(self, user_ids: Sequence[str], address: Address) -> Mapping[str, str]:
        return self._look(user_ids, address)[1]

    def _look(self, user_ids: Sequence[str], address: Address) -> tuple[bool, dict[str, str]]:
        """Return whether anybody holds what should be one, and the addresses of those who have one."""
        members = {user_id: self._people.members(user_id) for user_id in user_ids}
        with self._database.read() as connection:
            everything = held_by(connection, sorted({one for some in members.values() for one in some}))
            held = [one for one in everything if one.identity.kind in _KEPT[address]]
            fit = [one for one in held if _fits(one.identity, address)]
            if not fit:
                return bool(held), {}
            doubtful = self._doubtful(connection, fit)
        by_profile: dict[str, list[Held]] = {}
        for one in fit:
            by_profile.setdefault(one.profile, []).append(one)
        of_users = {
            user_id: [one for profile in some for one in by_profile.get(profile, ())]
            for user_id, some in members.items()
        }
        return True, {user_id: best(own, *doubtful).value for user_id, own in of_users.items() if own}

    def _doubtful(
        self, connection: Connection, held: Sequence[Held]
    ) -> tuple[Callable[[Identity], bool], Callable[[Identity], bool]]:
        """Return what says whether an address that fits bounced, and whether others have it too."""
        identities = {one.identity for one in held}
        hashes = {
            one: self._hashes.of_normal(AddressKind(one.kind), one.value)
            for one in identities
            if one.kind in set(AddressKind)
        }
        reasons = consent_repository.reasons(connection, sorted(hashes.values())) if hashes else {}
        shared = shared_among(connection, identities)
        return (
            lambda one: Reason.BOUNCED in reasons.get(hashes.get(one, ""), ()),
            lambda one: one in shared,
        )


def best(
    held: Sequence[Held], bounced: Callable[[Identity], bool], shared: Callable[[Identity], bool]
) -> Identity:
    """Return the address of several that is most likely to reach the person and nobody else. Pure."""
    verified = {one.identity for one in held if one.verified}
    return max(
        held,
        key=lambda one: (
            not bounced(one.identity),
            not shared(one.identity),
            one.identity in verified,
            one.first_seen,
            one.identity,
        ),
    ).identity


def _fits(identity: Identity, address: Address) -> bool:
    if address is Address.DEVICE:
        return bool(identity.value)
    try:
        return normal(AddressKind(identity.kind), identity.value) == identity.value
    except AddressUnfit:
        return False
