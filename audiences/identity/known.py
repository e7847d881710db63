"""What is settled of the names that messages carry, so that most messages ask the database nothing.

Filled from committed reads only: the transaction that records a message may be rolled back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from audiences.events import Event
from audiences.identity import repository
from audiences.identity.ids import normalise
from audiences.identity.models import CARRIER, Generation, Identity
from audiences.identity.people import JoinedPeople
from storage.engine import Database

K = TypeVar("K")
V = TypeVar("V")

# Names remembered of each sort; at about 200 bytes each.
_ROOM = 200_000


class _Remembered(Generic[K, V]):
    """A dictionary that forgets the oldest when it is full. Thread-safe."""

    def __init__(self) -> None:
        self._values: dict[K, V] = {}
        self._lock = threading.Lock()
        self.get = self._values.get

    def put(self, key: K, value: V) -> None:
        with self._lock:
            if len(self._values) >= _ROOM:
                for oldest in list(self._values)[: _ROOM // 10]:
                    del self._values[oldest]
            self._values[key] = value

    def clear(self) -> None:
        with self._lock:
            self._values.clear()

    def drop(self, key: K) -> None:
        with self._lock:
            self._values.pop(key, None)


class Known:
    """Answers whose a message is when all that it names was recorded before."""

    def __init__(self, database: Database, people: JoinedPeople, region: str) -> None:
        self._database = database
        self._people = people
        self._region = region
        self._forgotten = people.forgotten
        # The current profile of an anonymous id; whether a profile holds an identity verified; the profile
        # of messages that name an identity only.
        self._anonymous = _Remembered[str, str]()
        self._held = _Remembered[tuple[Identity, str], bool]()
        self._carriers = _Remembered[Identity, str]()

    def profile_of(self, event: Event) -> str | None:
        """Return whose a message is, or None when that has to be found out."""
        if event.type == "alias":
            return None
        profile = event.user_id
        if event.anonymous_id:
            current = self._anonymous.get(event.anonymous_id)
            if current is None:
                return None
            if not profile:
                profile = current
            elif self._people.canonical(current) != self._people.canonical(profile):
                return None
        if not event.claims:
            return profile or None
        return self._with_claims(event, profile)

    def learn(self, events: Sequence[Event]) -> None:
        """Read what is committed of the names of messages."""
        anonymous = {event.anonymous_id for event in events if event.anonymous_id}
        identities = {
            identity
            for event in events
            for claim in event.claims
            if (identity := normalise(claim.kind, claim.value, self._region)) is not None
        }
        if not anonymous and not identities:
            return
        revision = self._people.revision
        with self._database.read() as connection:
            generations = repository.generations_of(connection, anonymous)
            holders = repository.holders_of(connection, identities)
        for anonymous_id, all_ in generations.items() if revision == self._people.revision else ():
            self._anonymous.put(anonymous_id, max(all_, key=lambda one: one.chosen).profile)
        for identity, held in holders.items():
            for one in held.values():
                self._held.put((identity, one.profile), one.verified)
                if one.profile.startswith(CARRIER):
                    self._carriers.put(identity, one.profile)

    def forget(self, chosen: Iterable[Generation]) -> None:
        """Ask again for anonymous ids whose current profile has changed."""
        if self._forgotten != self._people.forgotten:
            self._forgotten = self._people.forgotten
            for remembered in (self._anonymous, self._held, self._carriers):
                remembered.clear()
        for one in chosen:
            self._anonymous.drop(one.anonymous_id)

    def _with_claims(self, event: Event, profile: str) -> str | None:
        for claim in event.claims:
            identity = normalise(claim.kind, claim.value, self._region)
            if identity is None:
                continue
            profile = profile or self._carriers.get(identity) or ""
            verified = self._held.get((identity, profile))
            if verified is None or (claim.verified and not verified):
                return None
        return profile or None
