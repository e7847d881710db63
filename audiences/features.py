"""Access to a user's features: the port, and its implementation over the Feast repository."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec
import structlog

from audiences.errors import FeaturesDamaged, FeaturesUnavailable, UnknownFeatures
from feature_repo.aggregates import FeatureType
from feature_repo.errors import FeatureRepositoryError, LayoutMismatch, UnknownService
from feature_repo.store import FeatureRepository
from storage.clock import Clock, SystemClock

_log = structlog.get_logger(__name__)

# Seconds after which the log says again that features can't be read: thousands of reads may find it so.
_TOLD_EVERY = 30.0


class Features(msgspec.Struct, frozen=True):
    """What is known of one user at one moment.

    `values` holds every feature of the service by name: int, float, str, bool, aware datetime, a read-only
    NumPy float32 array (features by a vocabulary, in its order), or None where unknown. `missing` says that
    nothing at all is known of the user (values of the population are there all the same). `as_of` is the
    time the oldest computed value is of. `stale` names the features that are None because of their age;
    `outdated` says that all of the user that can be too old is.
    """

    values: Mapping[str, Any]
    missing: bool
    as_of: datetime | None
    stale: tuple[str, ...] = ()
    outdated: bool = False


class FeatureReader(Protocol):
    """Reads features of one user, many times a second, from any thread."""

    @property
    def types(self) -> Mapping[str, FeatureType]:
        """Every feature that `read` answers with, and the type of its values."""
        ...

    def read(self, user_id: str) -> Features:
        """Features of the user; one nobody has heard of is `missing`. Raises FeaturesUnavailable."""
        ...

    def read_many(self, user_ids: Sequence[str]) -> list[Features]:
        """Features of users, in their order (see `read`)."""
        ...


class FeastFeatureReader:
    """Reads one feature service from the online store of a Feast repository.

    `clock` decides which values are too old. Raises UnknownFeatures for an undeclared service.
    """

    def __init__(
        self,
        repository: FeatureRepository,
        service: str = "decide",
        clock: Clock | None = None,
    ) -> None:
        try:
            self._types = {f.name: f.type for f in repository.specs.features_of(service).values()}
        except UnknownService as error:
            raise UnknownFeatures(str(error)) from error
        self._repository = repository
        self._service = service
        self._clock = clock if clock is not None else SystemClock()
        # On the monotonic clock, when it was last said that they can't be read; None while they can.
        self._told_at: float | None = None
        self._told_damaged_at = -math.inf

    @property
    def types(self) -> Mapping[str, FeatureType]:
        return self._types

    def read(self, user_id: str) -> Features:
        return self.read_many((user_id,))[0]

    def read_many(self, user_ids: Sequence[str]) -> list[Features]:
        try:
            rows = self._repository.online(self._service, user_ids, self._clock.now())
        except LayoutMismatch as error:
            # The store answers: others can be read.
            self._tell_damaged(error)
            raise FeaturesDamaged(str(error)) from error
        except (sqlite3.Error, FeatureRepositoryError) as error:
            self._tell(error)
            raise FeaturesUnavailable(
                f"the online feature store can't be read: {error}; try again"
            ) from error
        if self._told_at is not None:
            self._told_at = None
            _log.info("features answer again")
        return [Features(*row) for row in rows]

    def _tell(self, error: Exception) -> None:
        now = time.monotonic()
        if self._told_at is None or now >= self._told_at + _TOLD_EVERY:
            self._told_at = now
            _log.warning("features unreachable", error=str(error))

    def _tell_damaged(self, error: Exception) -> None:
        now = time.monotonic()
        if now >= self._told_damaged_at + _TOLD_EVERY:
            self._told_damaged_at = now
            _log.warning("features damaged", error=str(error))
