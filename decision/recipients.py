"""Who a message is for: features, traits, the account, the event of the trigger, the coupon issued."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from audiences.accounts.primary import PrimaryAccounts
from audiences.events import EventBody
from audiences.features import FeatureReader
from audiences.identity.people import People
from audiences.traits.models import LANGUAGE_TRAITS
from audiences.traits.service import Traits
from audiences.triggers.firing import Firing
from delivery.coupons.repository import coupon_of_run
from delivery.links.links import SignedLinks
from delivery.recipients import Occasion
from feature_repo.store import FeatureRepository
from playbooks.content.languages import language_of
from playbooks.content.names import LINKS, Recipient
from playbooks.decision import Decision
from storage import ledger
from storage.clock import Clock
from storage.engine import Database
from storage.ledger import Kind

# Firings of one user that are looked at for the one before the decision.
_FIRINGS = 200


class KnownUsers:
    """Implements `delivery.recipients.Recipients`; only what a content names is read."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        reader: FeatureReader,
        features: FeatureRepository,
        traits: Traits,
        accounts: PrimaryAccounts,
        people: People,
        links: SignedLinks | None = None,
    ) -> None:
        """`reader` reads the features of one user, `features` those of accounts; `links` lead back to us."""
        self._links = links
        self._database, self._clock = database, clock
        self._reader, self._features = reader, features
        self._traits, self._accounts, self._people = traits, accounts, people

    def of(self, user_id: str, roots: Set[str], occasion: Occasion) -> Recipient:
        user = self._people.canonical(user_id)
        traits: Mapping[str, Any] = {}
        if roots & {"trait", "language"}:
            with self._database.read() as connection:
                traits = {name: one.value for name, one in self._traits.held(connection, user).items()}
        return Recipient(
            user_id=user_id,
            language=_language(traits),
            user=_plain(self._reader.read(user).values) if "user" in roots else {},
            trait=traits,
            account=self._account(user) if "account" in roots else {},
            trigger=self._trigger(user, occasion) if "trigger" in roots else {},
            coupon=self._coupon(occasion) if "coupon" in roots else {},
            links=self._leading_back(user_id) if LINKS in roots else {},
        )

    def _leading_back(self, user_id: str) -> Mapping[str, Any]:
        page = None if self._links is None else self._links.preferences(user_id, self._clock.now())
        return {} if page is None else {"preferences": page}

    def _coupon(self, occasion: Occasion) -> Mapping[str, Any]:
        with self._database.read() as connection:
            coupon = coupon_of_run(connection, occasion.run) if occasion.run else None
        return {} if coupon is None else {"code": coupon.code, "expires_at": coupon.expires_at}

    def _account(self, user: str) -> Mapping[str, Any]:
        account = self._accounts.of([user]).get(user)
        if account is None:
            return {}
        values, _ = self._features.account(account, self._clock.now())
        traits = {name: column[0].as_py() for name, column in self._accounts.traits([account]).items()}
        return {**_plain(values), **traits}

    def _trigger(self, user: str, occasion: Occasion) -> Mapping[str, Any]:
        """Return the properties of the event of the trigger's last firing before the decision."""
        if occasion.trigger is None:
            return {}
        with self._database.read() as connection:
            decided = ledger.get(connection, Kind.DECISION, occasion.decision_id)
            at = self._clock.now() if decided is None else decided.decode(Decision).decided_at
            fired = ledger.of_users(
                connection, self._people.members(user), kinds=[Kind.TRIGGER], limit=_FIRINGS
            )
            for fact in fired:
                if fact.label == occasion.trigger and fact.recorded_at <= at:
                    event = ledger.get(connection, Kind.EVENT, fact.decode(Firing).cause)
                    return {} if event is None else event.decode(EventBody).properties
        return {}


def _language(traits: Mapping[str, Any]) -> str | None:
    for name in LANGUAGE_TRAITS:
        if (language := language_of(traits.get(name))) is not None:
            return language
    return None


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as templates take them: lists for arrays, nothing where nothing is known."""
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in values.items()
        if value is not None
    }
