"""Reads what constraints ask for of many users: each query once for all of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection

from audiences import repository
from audiences.accounts.primary import Accounts
from audiences.consent import repository as consent_repository
from audiences.consent.models import Consent
from audiences.identity.people import People
from audiences.triggers.definitions import ZonesSpec
from audiences.zones import zone_of
from playbooks.constraints.circumstances import Circumstances, Needs
from playbooks.constraints.counting import UNREADABLE, Uses, of_account
from playbooks.counters import Counters
from playbooks.errors import CountersUnreachable
from storage import ledger
from storage.engine import Database
from storage.times import to_micros

_log = structlog.get_logger(__name__)
# Parameters of one IN (…).
_IN = 500

T = TypeVar("T")
Levels = Mapping[str, int]


class SurroundingsOfMany:
    """Reads of each user what `Surroundings.of` reads of them alone. Thread-safe."""

    def __init__(
        self, database: Database, counters: Counters, people: People, accounts: Accounts, zones: ZonesSpec
    ) -> None:
        self._database, self._counters, self._people = database, counters, people
        self._accounts, self._zones = accounts, zones

    def of(
        self,
        users: Sequence[str],
        needs: Sequence[Needs],
        features: Sequence[Mapping[str, Any]],
        now: datetime,
    ) -> list[Circumstances]:
        """Return the circumstances of users (by their canonical ids), each as far as their needs go."""
        wanted = Needs()
        for one in set(needs):
            wanted |= one
        accounts = self._accounts.of(users) if wanted.account else {}
        uses = self._uses([*users, *map(of_account, set(accounts.values()))], wanted, now)
        levels = {} if uses is None else self._levels(wanted, now)
        if levels is None:
            uses, levels = None, {}
        tags, consents, events = self._told(users, wanted, now)
        zones = self._zones.feature
        zone = zone_of(None, self._zones.fallback).key
        return [
            Circumstances(
                levels=_among(levels, [budget.key for budget in own.budgets]) if levels else {},
                uses=self._own(uses, user, accounts, own, now),
                zone=zone if zones is None else zone_of(known.get(zones), self._zones.fallback).key,
                account=accounts.get(user) if own.account else None,
                tags=frozenset(tags.get(user, ())) if own.tags else frozenset(),
                consents=consents.get(user, ()) if own.consents else (),
                events=_among(events.get(user, {}), own.events) if events else {},
            )
            for user, own, known in zip(users, needs, features, strict=True)
        ]

    def _told(
        self, users: Sequence[str], wanted: Needs, now: datetime
    ) -> tuple[dict[str, set[str]], dict[str, list[Consent]], dict[str, dict[str, datetime]]]:
        """Return tags, consents and latest events of users, as far as they are wanted."""
        if not (wanted.tags or wanted.consents or wanted.events):
            return {}, {}, {}
        people = {profile: user for user in users for profile in self._people.members(user)}
        with self._database.read() as connection:
            return (
                self._tags(connection, people, now) if wanted.tags else {},
                self._consents(connection, people) if wanted.consents else {},
                self._events(connection, people, wanted) if wanted.events else {},
            )

    def _uses(self, subjects: Sequence[str], needs: Needs, now: datetime) -> Mapping[str, Uses] | None:
        """Return what subjects used, None while nobody can say."""
        if not needs.lookback:
            return {}
        try:
            return self._counters.read_many(subjects, now, since=now - needs.lookback)
        except CountersUnreachable as error:
            _log.warning("counters unreachable", error=str(error))
            return None

    def _levels(self, needs: Needs, now: datetime) -> Levels | None:
        try:
            return self._counters.levels(needs.budgets, now) if needs.budgets else {}
        except CountersUnreachable as error:
            _log.warning("counters unreachable", error=str(error))
            return None

    @staticmethod
    def _own(
        uses: Mapping[str, Uses] | None, user: str, accounts: Mapping[str, str], needs: Needs, now: datetime
    ) -> Uses:
        if uses is None:
            return UNREADABLE if needs.lookback or needs.budgets else {}
        if not needs.lookback:
            return {}
        whose = [user, *([of_account(accounts[user])] if needs.account and user in accounts else [])]
        used = [uses[subject] for subject in whose if subject in uses]
        if not used:
            return {}
        since = to_micros(now - needs.lookback)
        # A user and an account count under names of their own.
        return {
            rule: moments
            for own in used
            for rule, all_moments in own.items()
            if (moments := all_moments[bisect_right(all_moments, since) :])
        }

    def _tags(self, connection: Connection, people: Mapping[str, str], now: datetime) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for some in _shares(list(people)):
            for profile, tags in repository.tags_of_each(connection, some, now).items():
                found.setdefault(people[profile], set()).update(tags)
        return found

    @staticmethod
    def _consents(connection: Connection, people: Mapping[str, str]) -> dict[str, list[Consent]]:
        found: dict[str, list[Consent]] = {}
        for some in _shares(list(people)):
            for one in consent_repository.of_users(connection, some):
                found.setdefault(people[one.user_id], []).append(one)
        return found

    @staticmethod
    def _events(
        connection: Connection, people: Mapping[str, str], needs: Needs
    ) -> dict[str, dict[str, datetime]]:
        found: dict[str, dict[str, datetime]] = {}
        for some in _shares(list(people)):
            latest = ledger.latest_events_of_each(connection, some, sorted(needs.events))
            for profile, moments in latest.items():
                of = found.setdefault(people[profile], {})
                for name, moment in moments.items():
                    of[name] = max(moment, of.get(name, moment))
        return found


def _among(values: Mapping[str, T], names: Sequence[str] | frozenset[str]) -> dict[str, T]:
    return {name: values[name] for name in names if name in values}


def _shares(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + _IN] for start in range(0, len(names), _IN))
