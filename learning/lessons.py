"""What is learnt from: matured rewards beside the records of their decisions, as rows, page by page.

A page is read, joined and decoded in one query, of each record only what learning needs; columns are made of
many rows at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from learning import lesson_repository, outcome_repository
from learning.features import FeatureSet
from learning.plans import Plans, Reads
from learning.rewards import Reward
from learning.rows import FloatArray, Rows
from learning.spec import PolicySpec
from playbooks.models import DO_NOTHING, Arm
from storage.standing_aside import stand_aside

# Rewards of one page: what is decoded of so many records is small enough to be used again for the next ones.
_PAGE = 500
# Cells of a matrix that is folded at once: each fold reads and writes the learner's state, some megabytes.
_CELLS = 4_000_000
# Lessons whose columns are made between two looks at whether a turn to write is under way: a millisecond's
# work. All of a page at once costs a twentieth less.
_PIECE = 32


class _Lesson(msgspec.Struct, frozen=True, gc=False):
    """The part of a decision's record (`playbooks.decision.Decision`) that is learnt from.

    `features` is a struct of those that the policy reads, f0, f1, … in the order of their names.
    """

    decision_id: str
    user_id: str
    features: Any
    propensity: float
    playbook: str | None
    playbook_version: int | None
    holdout: Sequence[str] = ()
    fallback: str | None = None


class _Taught(NamedTuple):
    lesson: _Lesson
    reward: Reward
    earned: float
    importance: float = 1.0


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
        self._inputs = {f"f{place}": name for place, name in enumerate(sorted(features.inputs))}
        read = msgspec.defstruct(
            "Read", [(field, Any, None) for field in self._inputs], rename=self._inputs, gc=False
        )
        lesson: Any = msgspec.defstruct(
            "Lesson", [("features", read)], bases=(_Lesson,), frozen=True, gc=False
        )
        self._lesson: msgspec.json.Decoder[_Lesson] = msgspec.json.Decoder(lesson)
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
        return self._made(self._taught(page))

    def batches(self, pages: Sequence[Page]) -> Iterator[tuple[int, Rows]]:
        """Yield what pages teach, many at a time, each with the `seq` it ends with; pieces that teach nothing
        are left out.

        Raises:
            UnknownPlan, FeaturesMismatch: as `rows`.
        """
        size = max(1, _CELLS // (self.page * max(1, len(self._features.names))))
        for first in range(0, len(pages), size):
            some = pages[first : first + size]
            rows = Rows.joined([self.rows(page) for page in some])
            if len(rows):
                yield some[-1].seqs[-1], rows

    def early(self, seen: Sequence[tuple[Reward, float]]) -> Rows:
        """Return what decisions teach whose windows are open: what each earned so far, how much it counts.

        Raises:
            UnknownPlan, FeaturesMismatch: as `rows`.
        """
        with self._database.read() as connection:
            found = lesson_repository.decisions(connection, [one.decision_id for one, _ in seen])
        taught = []
        for one, importance in seen:
            lesson = self._decoded(one, found.get(one.decision_id))
            if lesson is not None:
                taught.append(_Taught(lesson, one, one.earned, importance))
        return self._made(taught)

    def _made(self, some: Iterable[_Taught]) -> Rows:
        # By what happened, not by ids alone, which are drawn at random.
        taught = sorted(
            some, key=lambda one: (one.reward.decided_at, one.lesson.user_id, one.lesson.decision_id)
        )
        return Rows(
            matrix=self._matrix(taught),
            targets=np.array([one.earned for one in taught], dtype=np.float64),
            propensities=np.array([one.lesson.propensity for one in taught], dtype=np.float64),
            importance=np.array([one.importance for one in taught], dtype=np.float64),
        )

    def _matrix(self, taught: Sequence[_Taught]) -> FloatArray:
        """Return the columns of lessons; a piece at a time, between which who writes has the processor."""
        starts = range(0, max(1, len(taught)), _PIECE)
        return np.concatenate([self._piece(taught[at : at + _PIECE]) for at in starts])

    def _piece(self, taught: Sequence[_Taught]) -> FloatArray:
        stand_aside()
        read = [one.lesson.features for one in taught]
        features = {name: [getattr(one, field) for one in read] for field, name in self._inputs.items()}
        return self._features.rows(features, [self._arm(one) for one in taught])

    def _taught(self, page: Page) -> Iterator[_Taught]:
        """Yield decisions that a policy drew and of which something was delivered.

        Control decisions are for measuring alone.
        """
        with self._database.read() as connection:
            found = lesson_repository.rewards_with_decisions(connection, page.seqs)
            later: Mapping[str, Reward] = {}
            if page.corrected is not None:
                later = outcome_repository.corrected(connection, [id_ for id_, _, _ in found], page.corrected)
        for id_, body, record in found:
            stand_aside()
            reward = self._reward.decode(body)
            lesson = self._decoded(reward, record)
            if lesson is not None:
                yield _Taught(lesson, reward, later.get(id_, reward).earned)

    def _decoded(self, reward: Reward, record: str | None) -> _Lesson | None:
        """Return what is learnt from of a decision, None where nothing is."""
        if not reward.acts or reward.arm == DO_NOTHING or reward.placement not in self._placements:
            return None
        if record is None:
            return None
        try:
            lesson = self._lesson.decode(record)
        except msgspec.ValidationError:
            # Erasure leaves a tombstone in the place of the record.
            return None
        return lesson if lesson.fallback is None and not lesson.holdout else None

    def _arm(self, taught: _Taught) -> Arm:
        lesson = taught.lesson
        return self._plans.arm(lesson.playbook or "", lesson.playbook_version or 0, taught.reward.arm)
