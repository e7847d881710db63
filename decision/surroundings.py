"""Reads what constraints ask for of a user: tags, consent, account, latest events, and what was used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog

from audiences import repository
from audiences.accounts.primary import Accounts, NoAccounts
from audiences.consent import repository as consent_repository
from audiences.consent.models import Consent
from audiences.identity.people import People
from audiences.triggers.definitions import ZonesSpec
from audiences.zones import zone_of
from decision.surroundings_of_many import SurroundingsOfMany
from playbooks.constraints.circumstances import Circumstances, Needs
from playbooks.constraints.counting import UNREADABLE, Uses, of_account
from playbooks.counters import Counters
from playbooks.errors import CountersUnreachable
from storage import ledger
from storage.engine import Database

_log = structlog.get_logger(__name__)


class Surroundings:
    """Reads as much as is needed, and no more. Thread-safe."""

    def __init__(
        self,
        database: Database,
        counters: Counters,
        people: People,
        accounts: Accounts | None = None,
        zones: ZonesSpec | None = None,
    ) -> None:
        """`accounts` says to which account a user belongs, `zones` which feature names a user's time zone."""
        self._database, self._counters, self._people = database, counters, people
        self._accounts = accounts or NoAccounts()
        self._zones = zones or ZonesSpec()
        # The same for many users at once.
        self.of_many = SurroundingsOfMany(database, counters, people, self._accounts, self._zones).of

    def of(self, user: str, needs: Needs, features: Mapping[str, Any], now: datetime) -> Circumstances:
        """Return the circumstances of a user (by the canonical id) with these features."""
        account = self._accounts.of([user]).get(user) if needs.account else None
        tags: frozenset[str] = frozenset()
        events: Mapping[str, datetime] = {}
        consents: Sequence[Consent] = ()
        if needs.tags or needs.consents or needs.events:
            profiles = self._people.members(user)
            with self._database.read() as connection:
                if needs.tags:
                    tags = frozenset(repository.tags_of(connection, profiles, now))
                if needs.consents:
                    consents = consent_repository.of_users(connection, profiles)
                if needs.events:
                    events = ledger.latest_events(connection, profiles, sorted(needs.events))
        levels: Mapping[str, int] = {}
        uses = self._uses(user, account, needs, now)
        if needs.budgets and uses is not UNREADABLE:
            try:
                levels = self._counters.levels(needs.budgets, now)
            except CountersUnreachable as error:
                _log.warning("counters unreachable", error=str(error))
                uses = UNREADABLE
        return Circumstances(
            levels=levels,
            uses=uses,
            zone=zone_of(features.get(self._zones.feature or ""), self._zones.fallback).key,
            account=account,
            tags=tags,
            consents=consents,
            events=events,
        )

    def _uses(self, user: str, account: str | None, needs: Needs, now: datetime) -> Uses:
        if not needs.lookback:
            return {}
        since = now - needs.lookback
        try:
            uses = self._counters.read(user, now, since=since)
            if account is not None:
                # Each is counted under names of its own.
                return {**uses, **self._counters.read(of_account(account), now, since=since)}
        except CountersUnreachable as error:
            _log.warning("counters unreachable", error=str(error))
            return UNREADABLE
        return uses
