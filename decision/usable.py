"""Whether what was read of users is fit to decide by, or why it is not."""

from __future__ import annotations

from collections.abc import Sequence, Set

from audiences.features import Features
from audiences.repository import are_known
from decision.answers import FEATURES_MISSING, FEATURES_STALE, UNKNOWN_USER
from storage.engine import Database


def usable(database: Database, users: Sequence[str], read: Sequence[Features]) -> Sequence[Features | str]:
    """Return the features of each user, or the reason of the fallback where there are none to decide by."""
    missing = [user for user, one in zip(users, read, strict=True) if one.missing]
    if not missing and not any(one.outdated for one in read):
        return read
    known: Set[str] = frozenset()
    if missing:
        with database.read() as connection:
            known = are_known(connection, missing)
    return [_usable(one, user in known) for user, one in zip(users, read, strict=True)]


def _usable(read: Features, known: bool) -> Features | str:
    if read.missing:
        return FEATURES_MISSING if known else UNKNOWN_USER
    return FEATURES_STALE if read.outdated else read
