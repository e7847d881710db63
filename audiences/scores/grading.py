"""From a score to a grade: degraded and raised with the score before the hand-over, by sales after it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from audiences.scores.definitions import Score
from audiences.scores.points import crosses_at


class Status(StrEnum):
    """Whether sales has the user."""

    OPEN = "open"
    HANDED_OVER = "handed_over"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Standing(msgspec.Struct, frozen=True):
    """Where one user stands in one score.

    `rank` is the grade's place from 1, 0 none, held since `since`. `held_rank` is a grade that an event made
    at once, held until `held_until` (None: for good). Events before `counted_from` count no more: sales
    has rejected the user since. `due_at` is when the grade would change by itself.
    """

    rank: int
    since: datetime
    status: Status = Status.OPEN
    answered_at: datetime | None = None
    held_rank: int = 0
    held_until: datetime | None = None
    counted_from: datetime | None = None
    due_at: datetime | None = None


class AtOnce(msgspec.Struct, frozen=True):
    """An event made the grade of this rank at a moment."""

    rank: int
    at: datetime


def stand(
    score: Score,
    before: Standing,
    fading: float,
    lasting: float,
    now: datetime,
    at_once: AtOnce | None = None,
) -> Standing:
    """Return where a user stands at `now`, whose events are worth `fading` and attributes `lasting` points.

    After the hand-over the grade is sales' to change (see `answered`), whatever the score does.
    """
    if before.status in (Status.HANDED_OVER, Status.ACCEPTED):
        return msgspec.structs.replace(before, due_at=None)
    held_rank, held_until = before.held_rank, before.held_until
    if at_once is not None and at_once.rank >= held_rank:
        half_life = score.spec.half_life
        held_rank = at_once.rank
        held_until = at_once.at + half_life if half_life else None
    if held_until is not None and held_until <= now:
        held_rank, held_until = 0, None
    thresholds = [grade.at for grade in score.spec.grades]
    value = fading + lasting
    rank = max(sum(threshold <= value for threshold in thresholds), held_rank)
    hand_over = score.hand_over_rank
    handed_over = hand_over is not None and rank >= hand_over
    crosses = crosses_at(fading, lasting, thresholds, score.spec.half_life, now)
    due = [moment for moment in (crosses, held_until) if moment is not None]
    status = Status.HANDED_OVER if handed_over else before.status
    return Standing(
        rank=rank,
        since=before.since if rank == before.rank else now,
        status=status,
        answered_at=None if handed_over else before.answered_at,
        held_rank=held_rank,
        held_until=held_until,
        counted_from=before.counted_from,
        due_at=None if handed_over else min(due, default=None),
    )


def answered(before: Standing, *, accepted: bool, now: datetime) -> Standing:
    """Return where a user stands after sales has answered.

    Accepted keeps the grade. Rejected takes it away, and only what happens from now on counts again.
    """
    if accepted:
        return msgspec.structs.replace(before, status=Status.ACCEPTED, answered_at=now, due_at=None)
    return Standing(rank=0, since=now, status=Status.REJECTED, answered_at=now, counted_from=now)
