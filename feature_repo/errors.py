"""Errors of the feature repository (a room that stands beside storage, so the tree has a root of its own).

FeatureRepositoryError
├── SpecError          a YAML document is wrong; the message says which file and where
├── HistoryError       an event can't enter the Parquet history
├── SnapshotMissing    nothing was computed as of the time asked for
├── UnknownService     a feature service or view of that name is not declared
├── StoreUnavailable   its files can't be read or written: a full or read-only disk (retry can help)
│   └── OnlineStoreUnreachable   the Valkey or Redis server of the online store does not answer
└── LayoutMismatch     the online store's tables are not what the direct reader expects
"""

from __future__ import annotations


class FeatureRepositoryError(Exception):
    """A failure whose text may be shown: what was wrong, where, and what to do."""


class SpecError(FeatureRepositoryError):
    pass


class HistoryError(FeatureRepositoryError):
    pass


class SnapshotMissing(FeatureRepositoryError):
    pass


class UnknownService(FeatureRepositoryError):
    pass


class StoreUnavailable(FeatureRepositoryError):
    pass


class LayoutMismatch(FeatureRepositoryError):
    pass


class OnlineStoreUnreachable(StoreUnavailable):
    pass
