"""Reads a single user as a decision reads one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from audiences.features import FeatureReader, Features
from audiences.selection.memberships import Memberships
from decision.surroundings import Surroundings
from playbooks.eligible import needs_at
from playbooks.library import Library
from playbooks.rehearsal.asking import Member


class Inquiries:
    """Asks for features, audiences and circumstances of users."""

    def __init__(self, memberships: Memberships, features: FeatureReader, surroundings: Surroundings) -> None:
        self.memberships, self._features, self._surroundings = memberships, features, surroundings

    def members(self, users: Sequence[str], library: Library, placement: str, now: datetime) -> list[Member]:
        """Return users as matching is asked about them at a placement of a library.

        Raises:
            FeaturesUnavailable: features can't be read now.
        """
        known = self._features.read_many(users)
        return [
            self._member(user, features, library, placement, now)
            for user, features in zip(users, known, strict=True)
        ]

    def _member(
        self, user: str, features: Features, library: Library, placement: str, now: datetime
    ) -> Member:
        audiences = self.memberships.of(user)
        needs = needs_at(library, placement, audiences, now)
        circumstances = self._surroundings.of(user, needs, features.values, now)
        return Member(user, audiences, features.values, circumstances, features.missing or features.outdated)
