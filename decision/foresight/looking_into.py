"""Looks into each user of a crowd for what constraints ask beside uses: rules, consent, events, zones."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from audiences import repository as users_repository
from audiences.consent import repository as consent_repository
from audiences.consent.models import Consent
from audiences.features import FeatureReader
from audiences.identity.people import People
from audiences.triggers.definitions import ZonesSpec
from audiences.zones import zone_of
from playbooks.constraints.allowing import Moment, allowed
from playbooks.constraints.binding import Terms, asks_for_zone
from playbooks.constraints.circumstances import Circumstances, Needs
from playbooks.eligible import recorded
from playbooks.library import Library, PublishedPlaybook
from playbooks.rehearsal import repository
from playbooks.rehearsal.crowd import Mask, is_looked_into
from playbooks.rehearsal.groups import IntArray, Look
from storage.engine import Database

# Users that are looked into at a time.
_BATCH = 5_000
# Different users of whom the answer is kept: a hundred megabytes of them.
_REMEMBERED = 100_000
# Profiles of one query of consent.
_IN = 500

Names = Callable[[IntArray], Sequence[str]]


@dataclass(frozen=True)
class Seen:
    """Users' `zones` by name, `lives` (users,) as places among them; what stops each playbook, by its key."""

    zones: Sequence[str]
    lives: IntArray
    stopped: Mapping[str, Look]


class LookingInto:
    """Looks into users with what decisions read; asks `playbooks.constraints.allowing` about each."""

    def __init__(self, database: Database, people: People, reader: FeatureReader, zones: ZonesSpec) -> None:
        """`zones` says which of the features that `reader` reads names a time zone."""
        self._database, self._people, self._reader, self._zones = database, people, reader, zones

    def at(
        self, library: Library, names: Names, inside: Mapping[str, Mask], size: int, now: datetime
    ) -> Seen:
        """Look into the users of a crowd for what stops these playbooks and is not counted.

        Args:
            inside: who is in which audience.
        """
        under = {one.key: library.rules.terms(one) for one in library.playbooks}
        into = [one for one in library.playbooks if is_looked_into(under[one.key])]
        zoned = any(
            asks_for_zone([*terms.constraints, *terms.playbook.constraints]) for terms in under.values()
        )
        lives, zones = np.zeros(size, np.int64), {self._zones.fallback: 0}
        if not into and not (zoned and self._zones.feature):
            return Seen(list(zones), lives, {})
        alike = _Alike(into, under, now)
        codes = np.zeros((len(into), size), np.int64)
        for places, looked in self._looked(names, size, [under[one.key] for one in into], now):
            for place, (features, circumstances) in zip(places.tolist(), looked, strict=True):
                lives[place] = zones.setdefault(circumstances.zone, len(zones))
                audiences = frozenset(name for name, mask in inside.items() if mask[place])
                codes[:, place] = alike.codes(features, audiences, circumstances)
        stopped = {one.key: Look(codes[row], alike.kinds(row)) for row, one in enumerate(into)}
        return Seen(list(zones), lives, stopped)

    def _looked(
        self, names: Names, size: int, terms: Sequence[Terms], now: datetime
    ) -> Iterator[tuple[IntArray, list[tuple[Mapping[str, Any], Circumstances]]]]:
        needs = Needs()
        for one in terms:
            needs |= one.needs
        tags, events = self._tags(needs, now), self._events(needs)
        for begin in range(0, size, _BATCH):
            places = np.arange(begin, min(begin + _BATCH, size))
            users = names(places)
            consents = self._consents(users) if needs.consents else {}
            rows = [one.values for one in self._reader.read_many(users)]
            yield (
                places,
                [
                    (
                        features,
                        Circumstances(
                            zone=zone_of(features.get(self._zones.feature or ""), self._zones.fallback).key,
                            tags=frozenset(tags.get(user, ())),
                            consents=consents.get(user, ()),
                            events=events.get(user, {}),
                        ),
                    )
                    for user, features in zip(users, rows, strict=True)
                ],
            )

    def _tags(self, needs: Needs, now: datetime) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        if needs.tags:
            with self._database.read() as connection:
                for user, tags in users_repository.tags_by_user(connection, now).items():
                    found.setdefault(self._people.canonical(user), set()).update(tags)
        return found

    def _events(self, needs: Needs) -> dict[str, dict[str, datetime]]:
        found: dict[str, dict[str, datetime]] = {}
        if needs.events:
            with self._database.read() as connection:
                for user, name, moment in repository.latest_events(connection, needs.events):
                    of = found.setdefault(self._people.canonical(user), {})
                    of[name] = max(moment, of.get(name, moment))
        return found

    def _consents(self, users: Sequence[str]) -> dict[str, list[Consent]]:
        profiles = [profile for user in users for profile in self._people.members(user)]
        found: dict[str, list[Consent]] = {}
        with self._database.read() as connection:
            for at in range(0, len(profiles), _IN):
                for one in consent_repository.of_users(connection, profiles[at : at + _IN]):
                    found.setdefault(self._people.canonical(one.user_id), []).append(one)
        return found


class _Alike:
    """Numbers what stops each of some playbooks; of users who are alike in what is asked, one is asked."""

    def __init__(
        self, playbooks: Sequence[PublishedPlaybook], under: Mapping[str, Terms], now: datetime
    ) -> None:
        self._asked = [(one, under[one.key]) for one in playbooks]
        self._now = now
        self._names = sorted({name for _, terms in self._asked for name in terms.names})
        self._agreements = sorted(
            {(need.purpose, need.channel) for _, terms in self._asked for need in terms.agreements}
        )
        self._kinds: list[dict[Any, int]] = [{} for _ in playbooks]
        self._known: dict[Hashable, list[int]] = {}

    def kinds(self, row: int) -> int:
        """Return how many different codes a playbook has."""
        return max(1, len(self._kinds[row]))

    def codes(
        self, features: Mapping[str, Any], audiences: frozenset[str], circumstances: Circumstances
    ) -> list[int]:
        """Return a code for each playbook; equal ones where the same stops it for a user who used nothing."""
        key = (
            audiences,
            circumstances.zone,
            circumstances.tags,
            tuple(circumstances.agreed(*need) for need in self._agreements),
            tuple(sorted(circumstances.events.items())),
            tuple(_hashable(features.get(name)) for name in self._names),
        )
        found = self._known.get(key)
        if found is None:
            found = [
                kinds.setdefault(self._stops(one, terms, features, audiences, circumstances), len(kinds))
                for (one, terms), kinds in zip(self._asked, self._kinds, strict=True)
            ]
            if len(self._known) < _REMEMBERED:
                self._known[key] = found
        return found

    def _stops(
        self,
        playbook: PublishedPlaybook,
        terms: Terms,
        features: Mapping[str, Any],
        audiences: frozenset[str],
        circumstances: Circumstances,
    ) -> Hashable:
        if playbook.document.audience is not None and playbook.document.audience not in audiences:
            return None
        read = {name: recorded(features.get(name)) for name in terms.names}
        moment = Moment(self._now, playbook.document.placement, read, audiences, circumstances)
        return frozenset(allowed(terms, moment).stopped.items())


def _hashable(value: Any) -> Hashable:
    return value.tobytes() if isinstance(value, np.ndarray) else value
