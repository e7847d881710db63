"""Where users live, by what features say: their time zone (`zones` of triggers.yaml) and their country."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from audiences.errors import FeaturesUnavailable
from audiences.triggers.definitions import ZonesSpec
from audiences.zones import zone_of
from decision.files import DECIDE
from feature_repo.errors import FeatureRepositoryError
from feature_repo.store import FeatureRepository
from playbooks.windows import Place
from playbooks.windows.days_off import known
from playbooks.windows.document import Countries
from storage.clock import Clock

_log = structlog.get_logger(__name__)


class Whereabouts:
    """Reads it online. Thread-safe."""

    def __init__(self, features: FeatureRepository, clock: Clock, zones: ZonesSpec) -> None:
        self._features, self._clock, self._zones = features, clock, zones

    def of(self, user_id: str) -> ZoneInfo:
        """Return a user's zone; while features can't be read, the one that holds for all."""
        try:
            return self.places([user_id], Countries())[user_id].zone
        except FeaturesUnavailable as error:
            _log.warning("a zone can't be read; the fallback holds", error=str(error))
            return ZoneInfo(self._zones.fallback)

    def places(self, users: Sequence[str], countries: Countries) -> Mapping[str, Place]:
        """Return where users live; where nothing is known of one, the stated fallbacks.

        Raises:
            FeaturesUnavailable: features can't be read now.
        """
        names = {name for name in (self._zones.feature, countries.feature) if name is not None}
        rows = self._values(users, names)
        return {user: self._place(row, countries) for user, row in zip(users, rows, strict=True)}

    def _place(self, row: Mapping[str, Any], countries: Countries) -> Place:
        said = row.get(countries.feature or "")
        country = said.upper() if isinstance(said, str) and known(said.upper()) else countries.fallback or ""
        return Place(zone_of(row.get(self._zones.feature or ""), self._zones.fallback), country)

    def _values(self, users: Sequence[str], names: Collection[str]) -> Sequence[Mapping[str, Any]]:
        if not names or not users:
            return [{}] * len(users)
        try:
            rows = self._features.online(DECIDE, users, self._clock.now())
        except (sqlite3.Error, FeatureRepositoryError) as error:
            raise FeaturesUnavailable(
                f"the online feature store can't be read: {error}; try again"
            ) from error
        return [row.values for row in rows]
