"""What the ledger says of scores: grades that changed, and sales' answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from audiences.scores.definitions import Score
from audiences.scores.grading import Standing, Status
from storage import ledger
from storage.ids import new_id
from storage.ledger import Kind, NewFact


class GradeChange(msgspec.Struct, frozen=True):
    """Body of the fact that a user's grade changed: the score, and what each line of points was worth.

    `up` says that it is a higher grade than before. `quiet` says that history did it, imported or
    older than the score, so nothing is to be started by it.
    """

    score: str
    before: str | None
    after: str | None
    value: float
    lines: Mapping[str, float]
    handed_over: bool
    up: bool
    quiet: bool = False


class Answer(msgspec.Struct, frozen=True):
    """Body of the fact that sales answered a hand-over; `lines` are those of the hand-over."""

    score: str
    accepted: bool
    by: str
    reason: str
    value: float
    lines: Mapping[str, float]


def changed(
    score: Score,
    user: str,
    old: Standing,
    new: Standing,
    lines: Mapping[str, float],
    quiet: bool,
    now: datetime,
) -> NewFact:
    grade = score.grade_at(new.rank)
    body = GradeChange(
        score=score.spec.id,
        before=score.grade_at(min(old.rank, len(score.spec.grades))),
        after=grade,
        value=round(sum(lines.values()), 6),
        lines={line: round(value, 6) for line, value in lines.items()},
        handed_over=new.status is Status.HANDED_OVER and old.status is not Status.HANDED_OVER,
        up=new.rank > old.rank,
        quiet=quiet,
    )
    return NewFact(Kind.SCORE, new_id(now), f"{score.spec.id}.{grade or 'none'}", user, now, body)


def hand_over_of(connection: Connection, score: str, user: str) -> GradeChange:
    """Return the latest hand-over of a user, which there is whenever the standing says so."""
    changes = [
        fact.decode(GradeChange)
        for fact in ledger.of_user(connection, user, kinds=(Kind.SCORE,), limit=1_000)
        if not fact.label.endswith((".accepted", ".rejected"))
    ]
    found: GradeChange = next(one for one in changes if one.score == score and one.handed_over)
    return found
