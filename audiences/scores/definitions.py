"""Definitions of scores: `scores.yaml`, read as a whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from audiences.definitions import Name
from audiences.errors import ScoreError
from audiences.library_files import Document, read_document
from audiences.properties import PropertyRule, PropertyType, parse_property_rule
from audiences.rules import Rule, RuleError, Schema, parse
from feature_repo.schema import EventSchemas

Points = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]


class PointSpec(Document):
    """Points for each event of a name, or, with `rule`, for as long as a rule holds for the user.

    `cap` is the most the events of this line may give together (the least, where points are negative);
    `properties` are types of properties that `where` uses and `events.yaml` does not name.
    """

    id: Name
    points: Points
    event: str | None = None
    where: str | None = None
    properties: Mapping[str, PropertyType] = {}
    rule: str | None = None
    cap: Points | None = None

    @model_validator(mode="after")
    def check(self) -> Self:
        if (self.event is None) == (self.rule is None):
            raise ValueError("a line of points has either `event` or `rule`")
        if self.points == 0:
            raise ValueError("a line of 0 points changes nothing; give it points or take it out")
        if self.rule is not None and (self.where is not None or self.cap is not None):
            raise ValueError("`where` and `cap` go with `event`")
        if self.cap is not None and self.cap * self.points <= 0:
            raise ValueError("`cap` has the sign of `points`: it is the most this line may give")
        return self


class AtOnce(Document):
    """An event that makes a grade at once, whatever the score."""

    event: str
    where: str | None = None
    properties: Mapping[str, PropertyType] = {}


class GradeSpec(Document):
    """A grade that a score of at least `at` has, or that one event makes at once."""

    grade: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_]{0,63}$")]
    at: Points
    at_once: list[AtOnce] = []


class ScoreSpec(Document):
    """A score: its points, how fast they fade, its grades from low to high.

    Who reaches the grade `hand_over` is handed to sales and keeps it until sales answers.
    """

    id: Name
    name: str
    half_life: timedelta | None = None
    points: list[PointSpec] = Field(min_length=1)
    grades: list[GradeSpec] = []
    hand_over: str | None = None

    @field_validator("half_life")
    @classmethod
    def check_half_life(cls, half_life: timedelta | None) -> timedelta | None:
        if half_life is not None and half_life <= timedelta(0):
            raise ValueError("a half-life is longer than zero; leave it out for points that never fade")
        return half_life

    @model_validator(mode="after")
    def check(self) -> Self:
        for what, names in (
            ("point", [one.id for one in self.points]),
            ("grade", [one.grade for one in self.grades]),
        ):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{what} {twice[0]!r} is there twice")
        thresholds = [one.at for one in self.grades]
        if thresholds != sorted(set(thresholds)):
            raise ValueError("grades go from low to high, each `at` above the one before")
        if thresholds and thresholds[0] <= 0:
            raise ValueError("the lowest grade needs `at` above 0: a score of 0 is no grade")
        if self.hand_over is not None and self.hand_over not in {one.grade for one in self.grades}:
            raise ValueError(f"`hand_over` names {self.hand_over!r}, which is no grade of this score")
        return self


class _File(Document):
    scores: list[ScoreSpec] = []


@dataclass(frozen=True, slots=True)
class EventPoints:
    """A line of points for events, its condition parsed."""

    spec: PointSpec
    where: PropertyRule | None


@dataclass(frozen=True, slots=True)
class GradeAtOnce:
    """An event that makes the grade number `rank` (from 1) at once."""

    rank: int
    where: PropertyRule | None


@dataclass(frozen=True, slots=True)
class Score:
    """A score ready for use: what each event name gives, and the rules over features."""

    spec: ScoreSpec
    by_event: Mapping[str, tuple[EventPoints, ...]]
    at_once: Mapping[str, tuple[GradeAtOnce, ...]]
    by_rule: tuple[tuple[PointSpec, Rule], ...]

    @property
    def hand_over_rank(self) -> int | None:
        """The rank (from 1) of the grade that is handed to sales."""
        return self.rank_of(self.spec.hand_over) if self.spec.hand_over else None

    def rank_of(self, grade: str) -> int:
        """The place of a grade from low to high, from 1; 0 is no grade."""
        return [one.grade for one in self.spec.grades].index(grade) + 1

    def grade_at(self, rank: int) -> str | None:
        """The grade of a rank, None for 0."""
        return self.spec.grades[rank - 1].grade if rank else None


def read_scores(path: Path, schema: Schema, events: EventSchemas) -> tuple[Score, ...]:
    """Read and check `scores.yaml`; without the file there are no scores.

    Raises:
        ScoreError: a field is wrong or unknown, or a condition does not parse; every problem is listed.
    """
    file = read_document(path, _File, ScoreError)
    ids = [spec.id for spec in file.scores]
    problems = [f"{one}: used twice" for one in sorted({one for one in ids if ids.count(one) > 1})]
    scores = [_ready(spec, schema, events, problems) for spec in file.scores]
    if problems:
        raise ScoreError(f"{path}: " + "; ".join(problems))
    return tuple(scores)


def _ready(spec: ScoreSpec, schema: Schema, events: EventSchemas, problems: list[str]) -> Score:
    by_event: dict[str, list[EventPoints]] = {}
    at_once: dict[str, list[GradeAtOnce]] = {}
    by_rule: list[tuple[PointSpec, Rule]] = []
    for line in spec.points:
        place = f"{spec.id}.points.{line.id}"
        if line.rule is not None:
            try:
                by_rule.append((line, parse(line.rule, schema)))
            except RuleError as error:
                problems.append(f"{place}.rule: {error}")
        elif line.event is not None:
            where = _where(line, line.event, events, f"{place}.where", problems)
            by_event.setdefault(line.event, []).append(EventPoints(line, where))
    for rank, grade in enumerate(spec.grades, start=1):
        for one in grade.at_once:
            where = _where(one, one.event, events, f"{spec.id}.grades.{grade.grade}.at_once", problems)
            at_once.setdefault(one.event, []).append(GradeAtOnce(rank, where))
    return Score(
        spec,
        {name: tuple(lines) for name, lines in by_event.items()},
        {name: tuple(lines) for name, lines in at_once.items()},
        tuple(by_rule),
    )


def _where(
    line: PointSpec | AtOnce, event: str, events: EventSchemas, place: str, problems: list[str]
) -> PropertyRule | None:
    if line.where is None:
        return None
    try:
        return parse_property_rule(line.where, event, events, line.properties)
    except RuleError as error:
        problems.append(f"{place}: {error}")
        return None
