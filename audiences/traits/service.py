"""Traits of one database: kept as identify events come in, and shown with what was overruled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection

from audiences.consent.service import OneProfile, Profiles
from audiences.events import Event
from audiences.traits import repository
from audiences.traits.models import OVERRULED, Trait, effective, settle, source_of
from storage.engine import Database


class Traits:
    """Implements `audiences.intake.ports.Traits`. Thread-safe."""

    def __init__(
        self, database: Database, owners: Mapping[str, str] | None = None, profiles: Profiles | None = None
    ) -> None:
        """Keep traits, of which some have an owner."""
        self._database = database
        self.owners = owners or {}
        self._profiles = profiles or OneProfile()

    def settle(
        self, connection: Connection, events: Sequence[Event], profiles: Sequence[str], *, past: bool
    ) -> list[Event]:
        """Keep what identify events say of their users, and return all events with only what counts.

        What is overruled is set aside in the event's context, under `OVERRULED`.
        """
        settled = list(events)
        told: list[Trait] = []
        for place, (event, profile) in enumerate(zip(events, profiles, strict=True)):
            if event.type != "identify" or not event.properties:
                continue
            source = source_of(event.source, past=past)
            new = [
                Trait(profile, name, value, source, event.occurred_at)
                for name, value in event.properties.items()
            ]
            owned = [one.name for one in new if one.name in self.owners]
            if owned:
                # What the events before this one said must be seen.
                repository.keep(connection, _latest(told))
                told = []
                settled[place] = self._settled(connection, event, profile, source, owned)
            told += new
        repository.keep(connection, _latest(told))
        return settled

    def of(self, user_id: str) -> dict[str, Any]:
        """Return a person's traits: what counts, with its source, and what each other source says."""
        with self._database.read() as connection:
            told = repository.of_users(connection, self._profiles.of(connection, user_id))
        result: dict[str, Any] = {}
        for name, words in _by_name(told).items():
            owner = self.owners.get(name)
            counts = effective(words, owner)
            result[name] = {
                "value": counts.value,
                "source": counts.source,
                "at": counts.at,
                "owner": owner,
                "overruled": [
                    {"value": one.value, "source": one.source, "at": one.at}
                    for one in words
                    if one is not counts
                ],
            }
        return result

    def held(self, connection: Connection, user_id: str) -> dict[str, Trait]:
        """Return the word that counts on each of a person's traits."""
        told = repository.of_users(connection, self._profiles.of(connection, user_id))
        return {name: effective(words, self.owners.get(name)) for name, words in _by_name(told).items()}

    def everyone(self, connection: Connection, name: str) -> dict[str, Any]:
        """Return the value that counts of one trait, by profile."""
        words: dict[str, list[Trait]] = {}
        for one in repository.named(connection, name):
            words.setdefault(one.user_id, []).append(one)
        return {user: effective(said, self.owners.get(name)).value for user, said in words.items()}

    def _settled(
        self, connection: Connection, event: Event, profile: str, source: str, owned: Sequence[str]
    ) -> Event:
        members = self._profiles.of(connection, profile)
        held = _by_name(repository.of_users(connection, members, owned))
        result = settle(event.properties, source, event.occurred_at, held, self.owners)
        context = {**event.context, OVERRULED: result.overruled} if result.overruled else event.context
        return msgspec.structs.replace(
            event, properties=result.counted, context=context, occurred_at=result.at
        )


def _by_name(told: Sequence[Trait]) -> dict[str, list[Trait]]:
    found: dict[str, list[Trait]] = {}
    for one in told:
        found.setdefault(one.name, []).append(one)
    return found


def _latest(told: Sequence[Trait]) -> list[Trait]:
    """Return the latest word of each source on each trait; of two of one moment the one that came last."""
    found: dict[tuple[str, str, str], Trait] = {}
    for one in told:
        key = (one.user_id, one.name, one.source)
        if key not in found or one.at >= found[key].at:
            found[key] = one
    return list(found.values())
