"""What is learnt from: matured rewards beside the records of their decisions, as rows, page by page.

A page is read, joined and decoded in one query, of each record only what learning needs; columns are made of
all its rows at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import numpy as np

from learning import lesson_repository, outcome_repository
from learning.features import FeatureSet
from learning.plans import Plans, Reads
from learning.rewards import Reward
from learning.rows import Rows
from learning.spec import PolicySpec
from playbooks.models import DO_NOTHING, Arm

# Rewards of one page: what is decoded of so many records is small enough to be used again for the next ones.
_PAGE = 500


class Lesson(msgspec.Struct, frozen=True, gc=False):
    """The part of a decision's record (`playbooks.decision.Decision`) that is learnt from."""

    decision_id: str
    user_id: str
    placement: str
    decided_at: datetime
    features: Mapping[str, Any]
    arms: Sequence[str]
    chosen: int
    propensity: float
    playbook: str | None
    playbook_version: int | None
    holdout: Sequence[str] = ()
    refused_by: str | None = None
    fallback: str | None = None

    @property
    def teaches(self) -> bool:
        """Whether a policy drew it and something was delivered; control decisions are for measuring alone."""
        delivered = self.refused_by is None and self.arms[self.chosen] != DO_NOTHING
        return delivered and self.fallback is None and not self.holdout


class Page(NamedTuple):
    """Rewards by their `seq`. They count as they were first recorded; with `corrected` as facts up to this
    `seq` corrected them.
    """

    seqs: Sequence[int]
    corrected: int | None


class Lessons:
    """Makes rows of pages, for one policy."""

    def __init__(self, database: Reads, spec: PolicySpec, features: FeatureSet) -> None:
        # The number of rewards of a page, but for the last one.
        self.page = _PAGE
        self._database, self._features = database, features
        self._placements = frozenset(spec.placements)
        self._plans = Plans(database)
        self._lesson = msgspec.json.Decoder(Lesson)
        self._reward = msgspec.json.Decoder(Reward)

    def pages(self, after: int, until: int | None, corrected: int | None) -> list[Page]:
        """Return the pages of all rewards after one `seq`, up to and with another, in their order."""
        with self._database.read() as connection:
            seqs = lesson_repository.rewards_since(connection, after, until)
        return [Page(seqs[at : at + self.page], corrected) for at in range(0, len(seqs), self.page)]

    def rows(self, page: Page) -> Rows:
        """Return what a page teaches, in the order in which it was decided.

        Raises:
            UnknownPlan: an arm that was drawn was never published.
            FeaturesMismatch: a record's features are not what the specification says.
        """
        # By what happened, not by ids alone, which are drawn at random.
        taught = sorted(
            self._taught(page), key=lambda one: (one[0].decided_at, one[0].user_id, one[0].decision_id)
        )
        lessons = [lesson for lesson, _ in taught]
        arms = [self._arm(lesson) for lesson in lessons]
        return Rows(
            matrix=self._features.rows([lesson.features for lesson in lessons], arms),
            targets=np.array([value for _, value in taught], dtype=np.float64),
            propensities=np.array([lesson.propensity for lesson in lessons], dtype=np.float64),
            importance=np.ones(len(lessons)),
        )

    def _taught(self, page: Page) -> Iterator[tuple[Lesson, float]]:
        with self._database.read() as connection:
            found = lesson_repository.rewards_with_decisions(connection, page.seqs)
            later: Mapping[str, Reward] = {}
            if page.corrected is not None:
                ids = [row.id for row in found]
                later = outcome_repository.corrected(connection, ids, page.corrected)
        for row in found:
            try:
                lesson = self._lesson.decode(row.decision)
            except msgspec.ValidationError:
                # Erasure leaves a tombstone in the place of the record.
                continue
            if lesson.teaches and lesson.placement in self._placements:
                reward = later.get(row.id) or self._reward.decode(row.reward)
                yield lesson, reward.earned

    def _arm(self, lesson: Lesson) -> Arm:
        return self._plans.arm(
            lesson.playbook or "", lesson.playbook_version or 0, lesson.arms[lesson.chosen]
        )
